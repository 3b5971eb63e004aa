"""A model in a store that speaks S3."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote, unquote_plus
from xml.etree import ElementTree

import httpx2

from springtide_server.fetch.choose import wanted
from springtide_server.fetch.digests import Algorithm, Digest
from springtide_server.fetch.errors import SECRET, FetchError, Transient, Unavailable
from springtide_server.fetch.refusals import Refusal
from springtide_server.fetch.signer import Signer
from springtide_server.fetch.source import TIMEOUT, Listing, RemoteFile, Stream, start_of, transient
from springtide_server.fetch.uri import BucketUri, check_paths

# The checksums that a store may state, the one to believe first.
STATED: tuple[Algorithm, ...] = ("sha256", "sha1", "crc64nvme", "crc32c", "crc32")


@dataclass(frozen=True)
class _Object:
    key: str
    size: int
    etag: str
    modified: str


class Bucket:
    """The objects below a prefix; the environment's AWS_* variables say which store and who asks."""

    revision = "latest"

    def __init__(self, uri: BucketUri, environment: Mapping[str, str]) -> None:
        self.name = str(uri)
        self.pinned: str | None = None  # objects may change at any time
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
        self._base = _base(uri.bucket, region, endpoint)
        self._prefix = uri.prefix
        place = hashlib.sha256(f"{self._base}\0{uri.prefix}".encode()).hexdigest()[:16]
        self.folder = f"s3/{uri.bucket}--{place}"
        present = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if environment.get(name)]
        if len(present) == 1:
            raise FetchError(f"{self.name}: only {present[0]} is there; put both halves of the key into {SECRET}")
        self._signer = Signer(environment, region) if present else None
        self._client = httpx2.Client(timeout=TIMEOUT, follow_redirects=False)
        self._objects: dict[str, _Object] = {}

    def list(self) -> Listing:
        """The objects that are there now, in a request for each thousand."""
        objects = {found.key.removeprefix(self._prefix): found for found in self._pages() if found.key[-1] != "/"}
        if not objects:
            raise FetchError(f"{self.name} holds no objects; correct model.uri")
        check_paths(self.name, objects)
        self._objects = {path: objects[path] for path in sorted(wanted(objects))}
        files = tuple(RemoteFile(path, found.size, _id(vars(found))) for path, found in self._objects.items())
        return Listing(_id([(file.path, file.content) for file in files]), files)

    def _pages(self) -> Iterator[_Object]:
        query = {"encoding-type": "url", "list-type": "2", "prefix": self._prefix}
        while True:
            with self._request("GET", "", query) as response:
                try:
                    page = ElementTree.fromstring(response.read())  # noqa: S314 (today's expat limits entities)
                    decode = unquote_plus if page.findtext("{*}EncodingType") == "url" else str
                    for found in page.findall("{*}Contents"):
                        text = {name: found.findtext(f"{{*}}{name}") or "" for name in ("Key", "ETag", "LastModified")}
                        etag, size = text["ETag"].strip('"'), int(found.findtext("{*}Size") or 0)
                        # A store that states no ETag leaves only the time to tell that an object has changed.
                        yield _Object(decode(text["Key"]), size, etag, "" if etag else text["LastModified"])
                except (ElementTree.ParseError, ValueError):
                    raise FetchError(
                        f"{self._host()} doesn't answer like an S3 store; correct AWS_ENDPOINT_URL"
                    ) from None
            token = page.findtext("{*}NextContinuationToken")
            if page.findtext("{*}IsTruncated") != "true" or not token:
                return
            query["continuation-token"] = token

    def digest(self, file: RemoteFile) -> Digest:
        """The checksum that the store states, else the MD5 that the ETag of a simple upload is, else the size."""
        if not file.size:
            return Digest("size", "")
        with self._request("HEAD", file.path, {}, {"x-amz-checksum-mode": "ENABLED"}) as response:
            headers = response.headers
        if headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE":
            for algorithm in STATED:
                try:
                    value = base64.b64decode(headers.get(f"x-amz-checksum-{algorithm}", ""), validate=True)
                except binascii.Error:
                    continue  # one of parts, as "…-3"
                if value:
                    return Digest(algorithm, value.hex())
        etag = self._objects[file.path].etag
        # An object encrypted with a key of KMS or of the customer has an ETag of other meaning.
        encrypted = headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
        encrypted = encrypted or "x-amz-server-side-encryption-customer-algorithm" in headers
        if len(etag) == 32 and not set(etag) - set("0123456789abcdef") and not encrypted:
            return Digest("md5", etag)
        return Digest("size", "")

    @contextmanager
    def open(self, file: RemoteFile, offset: int) -> Iterator[Stream]:
        """The object's bytes, of the very version that was listed."""
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
        with self._request("GET", file.path, {}, headers) as response:
            yield start_of(response), response.iter_bytes()

    @contextmanager
    def _request(
        self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx2.Response]:
        wanted_etag = self._objects[path].etag if path else ""
        conditions = {"If-Match": f'"{wanted_etag}"'} if wanted_etag else {}
        target = self._base + quote(self._prefix + path if path else "", safe="/-_.~")
        if query:
            target += "?" + "&".join(f"{name}={quote(query[name], safe='-_.~')}" for name in sorted(query))
        url = httpx2.URL(target)
        sent = {**conditions, **(headers or {})}
        if self._signer:
            sent = self._signer.sign(method, url, sent)
        try:
            with self._client.stream(method, url, headers=sent) as response:
                if response.status_code >= 300:
                    response.read()
                    raise Refusal.of(response).error(self.name, path, signed=self._signer is not None)
                if wanted_etag and response.headers.get("ETag", "").strip('"') not in ("", wanted_etag):
                    raise Unavailable(f"{self.name}: {path} has changed meanwhile; the next start fetches it anew")
                yield response
        except httpx2.TransportError as error:
            raise transient(error) from None
        except httpx2.HTTPError as error:
            raise Transient(type(error).__name__) from None

    def _host(self) -> str:
        return httpx2.URL(self._base).host


def _base(bucket: str, region: str, endpoint: str | None) -> str:
    """The bucket's address with a slash at its end: in the path of an endpoint that is given, else as AWS has it."""
    if endpoint:
        try:
            url = httpx2.URL(endpoint)
        except httpx2.InvalidURL:
            url = httpx2.URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise FetchError("AWS_ENDPOINT_URL is not a URL that begins with https:// or http://; correct it")
        return f"{endpoint.rstrip('/')}/{bucket}/"
    domain = f"s3.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
    # A name with dots doesn't fit AWS's certificates as a host.
    return f"https://{domain}/{bucket}/" if "." in bucket else f"https://{bucket}.{domain}/"


def _id(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:40]
