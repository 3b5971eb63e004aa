"""Signs requests to S3 with AWS's own library."""

from collections.abc import Mapping

import httpx2
from awscrt import auth, http


class Signer:
    """One key for one region; takes AWS_ACCESS_KEY_ID and the like from what it is given."""

    def __init__(self, environment: Mapping[str, str], region: str) -> None:
        self._provider = auth.AwsCredentialsProvider.new_static(
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            environment.get("AWS_SESSION_TOKEN"),
        )
        self._region = region

    def sign(self, method: str, url: httpx2.URL, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers and those that prove who asks; valid for some minutes."""
        request = http.HttpRequest(
            method,
            url.raw_path.decode("ascii"),
            http.HttpHeaders([("Host", url.netloc.decode("ascii")), *headers.items()]),
        )
        config = auth.AwsSigningConfig(
            algorithm=auth.AwsSigningAlgorithm.V4,
            signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
            credentials_provider=self._provider,
            region=self._region,
            service="s3",
            # S3 signs paths as they are
            use_double_uri_encode=False,
            should_normalize_uri_path=False,
            signed_body_value=auth.AwsSignedBodyValue.EMPTY_SHA256,
            signed_body_header_type=auth.AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
        )
        signed = auth.aws_sign_request(request, config).result(timeout=60)
        return dict(signed.headers)
