"""What a model's URI says, and which names may become paths below the cache."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from springtide_server.fetch.errors import FetchError

# one name of a repository, as the hub allows them
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubUri:
    """A repository and a revision of it: a branch, a tag or a commit."""

    repo: str
    revision: str

    def __str__(self) -> str:
        return f"hf://{self.repo}"


@dataclass(frozen=True)
class BucketUri:
    """The objects of a bucket below a prefix, which is empty or ends with a slash."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def parse(uri: str, revision: str | None) -> HubUri | BucketUri:
    """The URI's parts; FetchError says what is wrong with it."""
    scheme, _, rest = uri.partition("://")
    if scheme == "hf":
        names = rest.split("/")
        if len(names) > 2 or not all(_NAME.fullmatch(name) and "--" not in name and ".." not in name for name in names):
            raise FetchError(f"{uri} is not of the form hf://ORGANISATION/REPOSITORY; correct model.uri")
        if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision or "//" in revision):
            raise FetchError(f"{revision!r} can't be a branch, a tag or a commit; correct model.revision")
        return HubUri(rest, (revision or "main").rstrip("/"))
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        prefix = prefix.rstrip("/")
        if not _BUCKET.fullmatch(bucket) or (prefix and any(part in ("", ".", "..") for part in prefix.split("/"))):
            raise FetchError(f"{uri} is not of the form s3://BUCKET/PREFIX; correct model.uri")
        if revision is not None:
            raise FetchError(
                f"{uri} can't have a revision: leave model.revision away and use a prefix for each version"
            )
        return BucketUri(bucket, f"{prefix}/" if prefix else "")
    raise FetchError(f"{uri} begins neither with hf:// nor with s3://; correct model.uri")


def check_paths(uri: object, paths: Iterable[str]) -> None:
    """Raise FetchError unless each path stays inside the model's folder and none is the folder of another one."""
    known = set(paths)
    for path in known:
        parts = path.split("/")
        if any(part in ("", ".", "..") for part in parts) or any(ord(c) < 32 or c in "\\\x7f" for c in path):
            raise FetchError(f"{uri} holds {path!r}, which would lie outside the model's folder; rename or delete it")
        if inside := next((str(p) for p in PurePosixPath(path).parents if str(p) in known), None):
            raise FetchError(f"{uri} holds both {inside!r} and {path!r}, which can't be file and folder; delete one")
