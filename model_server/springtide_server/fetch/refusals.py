"""What an S3 store's refusal means, and what to do about it."""

from dataclasses import dataclass
from xml.etree import ElementTree

import httpx2

from springtide_server.fetch.errors import SECRET, FetchError, Transient, Unavailable, retry_after
from springtide_server.fetch.source import TRANSIENT_STATUS

# Codes that come with a status of their own kind, but pass.
TRANSIENT_CODES = frozenset({"RequestTimeout", "SlowDown", "Throttling", "ThrottlingException", "InternalError"})
_UNKNOWN_KEY = f"the store doesn't know the key AWS_ACCESS_KEY_ID; correct {SECRET}"
TELLING = {
    "AccessDenied": f"the key may not list or read it; allow s3:ListBucket and s3:GetObject, or change {SECRET}",
    "ExpiredToken": f"AWS_SESSION_TOKEN has expired; renew {SECRET}",
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "InvalidObjectState": "it is archived; restore it first",
    "InvalidToken": f"the store refuses AWS_SESSION_TOKEN; renew {SECRET}",
    "NoSuchBucket": "there is no such bucket; correct model.uri",
    "RequestTimeTooSkewed": "the node's clock differs from the store's; set the clock",
    "SignatureDoesNotMatch": f"AWS_SECRET_ACCESS_KEY doesn't fit AWS_ACCESS_KEY_ID; correct {SECRET}",
    "XAdminUserNotFound": _UNKNOWN_KEY,  # versitygw's name for it
}


@dataclass(frozen=True)
class Refusal:
    """An answer that isn't a success: S3's own code, where the body has one, tells more than the status."""

    status: int
    code: str
    region: str
    retry_after: float | None

    @staticmethod
    def of(response: httpx2.Response) -> "Refusal":
        """The refusal that an answer is, once its body was read."""
        try:
            body = ElementTree.fromstring(response.content or b"<Error/>")  # noqa: S314 (today's expat limits entities)
        except ElementTree.ParseError:
            body = ElementTree.Element("Error")
        region = response.headers.get("x-amz-bucket-region") or body.findtext("{*}Region") or ""
        wait = retry_after(response.headers.get("Retry-After"))
        return Refusal(response.status_code, body.findtext("{*}Code") or "", region, wait)

    def error(self, name: str, path: str, *, signed: bool) -> Exception:
        """What to raise for it; the path is that of an object, or empty for the bucket."""
        if self.status in TRANSIENT_STATUS or self.code in TRANSIENT_CODES:
            return Transient(f"HTTP {self.status} {self.code}".strip(), self.retry_after)
        where = f"{name}: {path}" if path else name
        if path and self.status in (404, 412):
            return Unavailable(f"{where} has changed meanwhile; the next start fetches it anew")
        if self.status in (401, 403) and not signed:
            return FetchError(f"{name} needs a key: put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into {SECRET}")
        if self.status in (301, 307, 308, 400) and self.region:
            return FetchError(f"{name} is in region {self.region}; set AWS_REGION to it in {SECRET}")
        if self.code in TELLING:
            return FetchError(f"{where}: {TELLING[self.code]}")
        if self.status == 403:  # an answer to HEAD has no body
            return FetchError(f"{where}: {TELLING['AccessDenied']}")
        return FetchError(f"{where}: the store answered HTTP {self.status} {self.code}".rstrip())
