"""Where a model comes from."""

from typing import Annotated, Literal

from pydantic import Field

from springtide.api.base import ApiModel
from springtide.api.rules import Rule, Rules, matches

Task = Literal["Generate", "Embed"]

_OCI = (
    r"^oci://[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    r"(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)
_HF = r"^hf://([a-zA-Z0-9][a-zA-Z0-9._-]*/)?[a-zA-Z0-9][a-zA-Z0-9._-]*$"
_S3 = r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/\s]+)+/?$"
_PVC = r"^pvc://[a-z0-9]([-a-z0-9.]*[a-z0-9])?(/[^/\s]+)*$"
_FILE = r"^file://(/[^/\s]+)+$"
_SCHEMES = r"^(oci|hf|s3|pvc|file)://"
_NO_PARENT = r"(^|/)\.\.?(/|$)"


def _form(scheme: str, pattern: str, text: str) -> Rule:
    return Rule(
        f"!self.startsWith('{scheme}://') || self.matches('{pattern.replace(chr(92), chr(92) * 2)}')",
        f"must be {text}",
        lambda uri: not uri.startswith(f"{scheme}://") or matches(uri, pattern),
    )


URI_RULES = Rules(
    Rule(
        f"self.matches('{_SCHEMES}')",
        "must begin with oci://, hf://, s3://, pvc:// or file://, as in oci://registry.example.com/models/chat:v1",
        lambda uri: uri.startswith(("oci://", "hf://", "s3://", "pvc://", "file://")),
    ),
    _form("oci", _OCI, "oci://REGISTRY/REPOSITORY with an optional :TAG or @sha256:DIGEST"),
    _form("hf", _HF, "hf://ORGANIZATION/REPOSITORY, as in hf://Qwen/Qwen3-8B"),
    _form("s3", _S3, "s3://BUCKET/PREFIX, as in s3://models/qwen3-8b"),
    _form("pvc", _PVC, "pvc://CLAIM or pvc://CLAIM/PATH, as in pvc://models/qwen3-8b"),
    _form("file", _FILE, "file:///PATH, an absolute path inside the runtime's image"),
    Rule(
        "!self.contains('$')",
        "must not hold $, which Kubernetes would put variables for",
        lambda uri: "$" not in uri,
    ),
    Rule(
        f"!self.matches('{_NO_PARENT.replace(chr(92), chr(92) * 2)}')",
        "must not have . or .. as a part of its path",
        lambda uri: not any(part in {".", ".."} for part in uri.split("/")),
    ),
)

# The last part of the path holds neither a tag nor a digest; a ':' before it belongs to the port.
PLAIN_IMAGE = "^[^@]*/[^:@/]*$"
_UNVERSIONED = ("s3://", "pvc://", "file://")


def _written(rule: str) -> str:
    """Return a rule about a uri and its revision, for a model that may lack either."""
    return f"!has(self.uri) || !has(self.revision) || {rule}"


_VERSION_RULES = (
    Rule(
        _written(f"!self.uri.startsWith('oci://') || self.uri.matches('{PLAIN_IMAGE}')"),
        "must be left out: uri already has a tag or a digest",
        lambda model: (
            model.uri is None
            or model.revision is None
            or not model.uri.startswith("oci://")
            or matches(model.uri, PLAIN_IMAGE)
        ),
        ".revision",
    ),
    Rule(
        _written("!self.uri.startsWith('oci://') || !self.revision.contains('/')"),
        "must be a tag or sha256:DIGEST of the image",
        lambda model: (
            model.uri is None
            or model.revision is None
            or not model.uri.startswith("oci://")
            or "/" not in model.revision
        ),
        ".revision",
    ),
    Rule(
        _written("!self.uri.matches('^(s3|pvc|file)://')"),
        "must be left out: only oci:// and hf:// have revisions; put another version under another path",
        lambda model: model.uri is None or model.revision is None or not model.uri.startswith(_UNVERSIONED),
        ".revision",
    ),
)
_SECRET_RULE = Rule(
    "!has(self.uri) || !has(self.credentialsSecretName) || !self.uri.matches('^(pvc|file)://')",
    "must be left out: only oci://, hf:// and s3:// take credentials",
    lambda model: (
        model.uri is None or model.credentials_secret_name is None or not model.uri.startswith(("pvc://", "file://"))
    ),
    ".credentialsSecretName",
)
MODEL_RULES = (*_VERSION_RULES, _SECRET_RULE)

Uri = Annotated[str, Field(min_length=1, max_length=1024), URI_RULES]
Revision = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^(sha256:[a-f0-9]{64}|[a-zA-Z0-9_][a-zA-Z0-9._/-]{0,127})$")
]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]

_URI_TEXT = (
    "oci://REGISTRY/REPOSITORY is an image that the kubelet pulls, keeps and mounts, its "
    "files those of a Hugging Face model folder. hf://ORGANIZATION/REPOSITORY and s3://BUCKET/PREFIX are fetched into "
    "spec.cache before the server starts. pvc://CLAIM/PATH is a folder of a PersistentVolumeClaim of the namespace. "
    "file:///PATH is a folder of the runtime's image."
)
_REVISION_TEXT = (
    "Of oci:// the tag or the digest (sha256:...) when uri has neither, default latest; of hf:// a commit, "
    "a tag or a branch, default main."
)
_CREDENTIALS_TEXT = (
    "A Secret of the namespace. For hf:// it holds HF_TOKEN and may hold HF_ENDPOINT; for s3:// it holds "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and may hold AWS_SESSION_TOKEN, AWS_REGION and AWS_ENDPOINT_URL; for "
    "oci:// it is an image pull secret."
)


class Model(ApiModel):
    """The model that is served."""

    uri: Uri = Field(description=f"Where the model is. {_URI_TEXT}")
    revision: Revision | None = Field(default=None, description=_REVISION_TEXT)
    task: Task = Field(
        default="Generate",
        description="What the model does: Generate answers chats and completions, Embed turns text into vectors. "
        "Default: Generate.",
    )
    credentials_secret_name: ObjectName | None = Field(default=None, description=_CREDENTIALS_TEXT)


class PoolModel(ApiModel):
    """What a pool serves instead."""

    uri: Uri | None = Field(
        default=None,
        description="Another model, as a smaller one for a Fallback pool. revision and credentialsSecretName of "
        "spec.model belong to its uri, so a pool that names another uri takes neither.",
    )
    revision: Revision | None = Field(default=None, description=f"Another revision. {_REVISION_TEXT}")
    credentials_secret_name: ObjectName | None = Field(default=None, description=_CREDENTIALS_TEXT)


class Cache(ApiModel):
    """Where fetched models are kept."""

    claim_name: ObjectName = Field(
        description="A PersistentVolumeClaim of the namespace that keeps what is fetched from hf:// and s3://, so that "
        "pods which start later fetch nothing. Without it each pod fetches into a volume of its own.",
    )
