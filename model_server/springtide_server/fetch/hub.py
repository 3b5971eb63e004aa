"""A model on a Hugging Face hub."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx2
from huggingface_hub import HfApi, get_session, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from springtide_server.fetch.choose import wanted
from springtide_server.fetch.digests import Digest
from springtide_server.fetch.errors import SECRET, FetchError, Transient, Unavailable, retry_after
from springtide_server.fetch.source import TIMEOUT, TRANSIENT_STATUS, Listing, RemoteFile, Stream, start_of, transient
from springtide_server.fetch.uri import COMMIT, HubUri, check_paths

_HUB = "https://huggingface.co"


class Hub:
    """The repository at a revision; HF_ENDPOINT says which hub, HF_TOKEN who asks."""

    def __init__(self, uri: HubUri) -> None:
        self.name = str(uri)
        self.revision = uri.revision
        self.pinned = uri.revision if COMMIT.fullmatch(uri.revision) else None
        self._repo = uri.repo
        self._token = os.environ.get("HF_TOKEN")
        self._endpoint = os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
        # What another hub says of a commit must not be taken for what this one says.
        root = "hub" if self._endpoint == _HUB else f"hub-{hashlib.sha256(self._endpoint.encode()).hexdigest()[:12]}"
        self.folder = f"{root}/models--{uri.repo.replace('/', '--')}"  # as huggingface_hub names it
        self._commit = ""
        self._digests: dict[str, Digest] = {}

    def list(self) -> Listing:
        """The revision's files, in one request."""
        api = HfApi(endpoint=self._endpoint, token=self._token or False, library_name="springtide")
        try:
            # The parameter is handed on to httpx2, which takes more than the number that it is declared as.
            timeout = cast(float, TIMEOUT)
            info = api.model_info(self._repo, revision=self.revision, files_metadata=True, timeout=timeout)
        except HfHubHTTPError as error:
            raise self._refused(error.response) from None
        except OfflineModeIsEnabled:
            raise Unavailable(f"{self.name} can't be asked for, since HF_HUB_OFFLINE is set") from None
        except HFValidationError:
            raise FetchError(f"{self.name} is not the name of a repository; correct model.uri") from None
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL):
            raise FetchError("HF_ENDPOINT is not a URL that begins with https:// or http://; correct it") from None
        except httpx2.TransportError as error:
            raise transient(error) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise FetchError(f"{self._host()} doesn't answer like a Hugging Face hub; correct HF_ENDPOINT") from None
        return self._read(info.sha or "", info.siblings or [])

    def _read(self, commit: str, siblings: Any) -> Listing:
        if not COMMIT.fullmatch(commit) or (self.pinned and commit != self.pinned):
            raise FetchError(f"{self._host()} answered with another commit of {self.name}; is HF_ENDPOINT right?")
        check_paths(self.name, [sibling.rfilename for sibling in siblings])
        chosen = wanted(sibling.rfilename for sibling in siblings)
        files = []
        for sibling in siblings:
            if sibling.rfilename not in chosen:
                continue
            # LFS files are named by their sha256, the others by git's own hash.
            digest = Digest("sha256", sibling.lfs.sha256) if sibling.lfs else Digest("git-sha1", sibling.blob_id or "")
            if sibling.size is None or len(digest.value) != (64 if sibling.lfs else 40):
                raise FetchError(f"{self._host()} states no digest of {sibling.rfilename}; use a hub that does")
            files.append(RemoteFile(sibling.rfilename, sibling.size, digest.value))
            self._digests[sibling.rfilename] = digest
        if not files:
            raise FetchError(f"{self.name} holds no files at revision {self.revision}; correct model.uri")
        self._commit = commit
        return Listing(commit, tuple(files))

    def digest(self, file: RemoteFile) -> Digest:
        """What the listing said."""
        return self._digests[file.path]

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Stream]:
        """The file's bytes, from where the hub sends us to."""
        url = hf_hub_url(self._repo, file.path, revision=self._commit, endpoint=self._endpoint)
        # httpx2 keeps the token to itself when it is sent to another host. Compression would make ranges meaningless.
        headers = {"Accept-Encoding": "identity", "User-Agent": "springtide"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT) as response:
                if response.status_code >= 400:
                    raise self._refused(response)
                yield start_of(response), response.iter_bytes()
        except httpx2.TransportError as error:
            raise transient(error) from None
        except httpx2.HTTPError as error:
            raise Transient(type(error).__name__) from None

    def _refused(self, response: httpx2.Response) -> Exception:
        status, code = response.status_code, response.headers.get("X-Error-Code", "")
        if status in TRANSIENT_STATUS:
            return Transient(f"HTTP {status}", _wait(response))
        if response.history:  # a signed address that has run out, say; the next try gets a new one
            return Transient(f"HTTP {status} of the hub's file server")
        if code == "GatedRepo" and self._token:
            return FetchError(f"{self.name} is gated: accept its terms at the hub as the user whose HF_TOKEN this is")
        if status == 401 and self._token:
            return FetchError(f"{self.name}: the hub refuses HF_TOKEN; put a valid token into {SECRET}")
        if status == 401:
            return FetchError(f"{self.name} needs a token, or doesn't exist: put HF_TOKEN into {SECRET}")
        if status == 403:
            return FetchError(f"{self.name}: HF_TOKEN has no right to read it; put another token into {SECRET}")
        if code == "RevisionNotFound":
            return FetchError(f"{self.name} has no revision {self.revision}; correct model.revision")
        if code == "EntryNotFound":
            return FetchError(f"{self.name} has lost a file that it lists; use another revision")
        if status == 404:
            hint = "or HF_TOKEN has no right to read it" if self._token else f"or needs HF_TOKEN in {SECRET}"
            return FetchError(f"{self.name} doesn't exist, {hint}; correct model.uri")
        return FetchError(f"{self.name}: {self._host()} answered HTTP {status}")

    def _host(self) -> str:
        return httpx2.URL(self._endpoint).host or "HF_ENDPOINT"


def _wait(response: httpx2.Response) -> float | None:
    """How long to wait: the hub tells it in a header of its own, as `"api";r=0;t=55`, if not in Retry-After."""
    reset = re.search(r"\br=0\s*;\s*t=(\d+)", response.headers.get("RateLimit", ""))
    used_up = response.status_code == 429 and reset
    return retry_after(response.headers.get("Retry-After")) or (float(used_up.group(1)) if used_up else None)
