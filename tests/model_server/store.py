"""A real S3 store (versitygw over a folder), behind a proxy that counts and breaks."""

import base64
import hashlib
import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from awscrt import auth
from awscrt import http as aws

from hack.cluster import tools
from tests.model_server.faulty import Answer, FaultyServer

START_SECONDS = 60


class S3(FaultyServer):
    """The store's address is the proxy's; keys and their names stay as the program sends them."""

    access_key, secret_key = "AKIATESTS", "sEcReT/kEy+OfTeStS"
    bucket = ""  # that of the test which runs

    def __enter__(self) -> "S3":
        super().__enter__()
        self._folder = tempfile.TemporaryDirectory(prefix="springtide-s3-")
        self.root = Path(self._folder.name, "buckets")
        self.root.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.upstream = free.getsockname()[1]
        self._log = Path(self._folder.name, "log").open("wb")
        environment = {**os.environ, "ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        address = f"127.0.0.1:{self.upstream}"
        command = [str(tools.program("versitygw")), "--port", address, "--keep-alive", "posix", str(self.root)]
        self._gateway = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if not probe.connect_ex(("127.0.0.1", self.upstream)):
                    return self
            assert self._gateway.poll() is None and time.monotonic() < deadline, Path(self._log.name).read_text()
            time.sleep(0.05)

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._gateway.kill()
        self._gateway.wait()
        self._log.close()
        self._folder.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """What a pod gets from its Secret."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": self.url,
        }

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        status, received, body = self._ask(method, path, dict(headers), b"")
        kept = {name: value for name, value in received.items() if name.lower() not in ("connection", "date", "server")}
        return status, kept, body

    def create(self, bucket: str) -> None:
        self._signed("PUT", f"/{bucket}", b"", {})

    def put(self, bucket: str, key: str, data: bytes, **headers: str) -> None:
        """Upload an object; headers as x_amz_checksum_sha256."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._signed("PUT", f"/{bucket}/{quote(key)}", data, named)

    def put_in_parts(self, bucket: str, key: str, parts: list[bytes]) -> None:
        path = f"/{bucket}/{quote(key)}"
        answer = self._signed("POST", f"{path}?uploads=", b"", {})
        upload = answer.split(b"<UploadId>")[1].split(b"<")[0].decode()
        listed = ""
        for number, data in enumerate(parts, 1):
            self._signed("PUT", f"{path}?partNumber={number}&uploadId={upload}", data, {})
            etag = hashlib.md5(data).hexdigest()  # noqa: S324
            listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        done = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        self._signed("POST", f"{path}?uploadId={upload}", done, {})

    def delete(self, bucket: str, key: str) -> None:
        self._signed("DELETE", f"/{bucket}/{quote(key)}", b"", {})

    def _signed(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        host = ("Host", f"127.0.0.1:{self.upstream}")
        config = auth.AwsSigningConfig(
            credentials_provider=auth.AwsCredentialsProvider.new_static(self.access_key, self.secret_key),
            region="us-east-1",
            service="s3",
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=hashlib.sha256(body).hexdigest(),
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        request = aws.HttpRequest(method, path, aws.HttpHeaders([host, *headers.items()]))
        signed = dict(auth.aws_sign_request(request, config).result(60).headers)
        status, _, answer = self._ask(method, path, signed, body)
        assert status < 300, answer
        return answer

    def _ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers.items():
                if name.lower() != "content-length":
                    connection.putheader(name, value)
            if body or method in ("PUT", "POST"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()


def stated(digest: bytes) -> str:
    """A checksum as S3's headers have it."""
    return base64.b64encode(digest).decode()
