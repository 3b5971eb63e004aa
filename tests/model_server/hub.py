"""A Hugging Face hub as far as models are fetched from it: metadata, files, large files from another host."""

import hashlib
import json
import random
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

from tests.model_server.faulty import Answer, FaultyServer

REPO = "springtide/tiny"
URI = f"hf://{REPO}"
WEIGHTS = random.Random(1).randbytes(3_000_000)  # noqa: S311
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "sub folder/ünï.json": b"{}",
    "empty.txt": b"",
}
USELESS = {".gitattributes": b"*.safetensors", "pytorch_model.bin": b"pickle", "onnx/model.onnx": b"onnx"}
LARGE = 10_000  # from this size on a file is LFS


class Hub(FaultyServer):
    """Repositories are pushed into it; one whose name begins with `private` or `gated` needs the token."""

    token = "hf_sEcReToFtEsTs"
    signature = "sIgNeDaDdReSs"

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__(address)
        self.files_host = "localhost"  # another host, so that a token sent there would be seen
        self.branches: dict[tuple[str, str], str] = {}
        self.commits: dict[tuple[str, str], dict[str, bytes]] = {}
        self.large: dict[str, bytes] = {}

    def push(self, repo: str, files: Mapping[str, bytes], branch: str = "main") -> str:
        """Make a commit and let the branch be it."""
        content = repr([(path, _sha256(data)) for path, data in sorted(files.items())])
        commit = hashlib.sha1(content.encode()).hexdigest()  # noqa: S324
        self.branches[repo, branch] = commit
        self.commits[repo, commit] = dict(files)
        self.large |= {_sha256(data): data for data in files.values() if len(data) >= LARGE}
        return commit

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        url = urlsplit(path)
        if found := re.fullmatch(r"/cdn/(\w+)", url.path):
            if headers.get("Authorization") or url.query != f"X-Amz-Signature={self.signature}":
                return 400, {}, b"a file server gets no token, and a signature"
            return _ranged(self.large[found.group(1)], headers, {})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", url.path):
            return self._info(found.group(1), unquote(found.group(2)), url.query, headers)
        if found := re.fullmatch(
            r"/api/models/([^/]+/[^/]+)/tree/(\w+)", url.path
        ):  # which huggingface_hub itself asks for
            files = self.commits[found.group(1), found.group(2)]
            return 200, {}, json.dumps([_described(name, data) for name, data in files.items()]).encode()
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", url.path):
            return self._file(found.group(1), unquote(found.group(2)), unquote(found.group(3)), headers)
        return _error(404, "", "Not found")

    def _info(self, repo: str, revision: str, query: str, headers: Mapping[str, str]) -> Answer:
        # a gated repository is described to everybody
        if refusal := self._refusal(repo, revision, headers, gate=False):
            return refusal
        commit = self.branches.get((repo, revision), revision)
        siblings = []
        for name, data in self.commits[repo, commit].items():
            sibling: dict[str, object] = {"rfilename": name}
            if "blobs=true" in query.lower():
                sibling |= {"size": len(data), "blobId": _git_sha1(data)}
                if len(data) >= LARGE:
                    sibling["lfs"] = {"sha256": _sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(sibling)
        body = {"_id": "0", "id": repo, "modelId": repo, "sha": commit, "private": False, "siblings": siblings}
        return 200, {"Content-Type": "application/json", "X-Repo-Commit": commit}, json.dumps(body).encode()

    def _file(self, repo: str, revision: str, name: str, headers: Mapping[str, str]) -> Answer:
        if refusal := self._refusal(repo, revision, headers, gate=True):
            return refusal
        commit = self.branches.get((repo, revision), revision)
        data = self.commits[repo, commit].get(name)
        if data is None:
            return _error(404, "EntryNotFound", "Entry not found")
        about = {"X-Repo-Commit": commit, "ETag": f'"{_git_sha1(data)}"'}
        if len(data) < LARGE:
            return _ranged(data, headers, about)
        about |= {"X-Linked-Etag": f'"{_sha256(data)}"', "X-Linked-Size": str(len(data))}
        about["Location"] = f"http://{self.files_host}:{self.port}/cdn/{_sha256(data)}?X-Amz-Signature={self.signature}"
        return 302, about, b""

    def _refusal(self, repo: str, revision: str, headers: Mapping[str, str], *, gate: bool) -> Answer | None:
        authorization = headers.get("Authorization")
        if authorization not in (None, f"Bearer {self.token}"):
            return _error(401, "", "Invalid credentials in Authorization header")
        hidden = repo.split("/")[1].startswith("private") and not authorization
        if hidden or repo not in {name for name, _ in self.commits}:
            # the hub doesn't tell strangers which of the two it is
            return _error(404 if authorization else 401, "RepoNotFound", "Repository not found")
        if gate and repo.split("/")[1].startswith("gated"):
            return _error(403 if authorization else 401, "GatedRepo", "Access to model is restricted")
        if self.branches.get((repo, revision), revision) not in {
            commit for name, commit in self.commits if name == repo
        }:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None


def _described(name: str, data: bytes) -> dict[str, object]:
    lfs = {"lfs": {"oid": _sha256(data), "size": len(data), "pointerSize": 134}} if len(data) >= LARGE else {}
    return {"type": "file", "path": name, "size": len(data), "oid": _git_sha1(data), **lfs}


def _ranged(data: bytes, headers: Mapping[str, str], more: dict[str, str]) -> Answer:
    found = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
    if not found:
        return 200, {"Accept-Ranges": "bytes", **more}, data
    start = int(found.group(1))
    return 206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}", **more}, data[start:]


def _error(status: int, code: str, message: str) -> Answer:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return status, headers, json.dumps({"error": message}).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324
