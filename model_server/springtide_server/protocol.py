"""The OpenAI API as far as this server speaks it: requests, checked, and the shapes of its answers.

A parameter that would change the answer and isn't honoured is refused by name rather than ignored. Parameters that only
describe the caller (`user`, `metadata`, ...) are accepted and have no effect, as in OpenAI's API.
"""

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from springtide_server.errors import RequestError

Task = Literal["Generate", "Embed"]

MAX_INPUTS = 2048
MAX_PROMPTS = 64
MAX_STOPS = 4
MAX_LOGPROBS = 20
# Accepted without effect: about the caller, or the one value that says "nothing special".
DESCRIPTIVE = ("user", "metadata", "store", "safety_identifier", "prompt_cache_key", "service_tier")
NEUTRAL: dict[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": (),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
}


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    model: str

    @model_validator(mode="before")
    @classmethod
    def _drop_what_has_no_effect(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        return {
            name: value
            for name, value in fields.items()
            if not (name in DESCRIPTIVE or (name in NEUTRAL and (value is None or value in NEUTRAL[name])))
        }


def _text(content: Any) -> Any:
    """OpenAI allows a list of parts; only text parts are understood here."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError("should be a string or a list of text parts")
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError('has a part that is not {"type": "text", "text": "..."}; this server reads text only')
        texts.append(part["text"])
    return "\n".join(texts)


class Message(BaseModel):
    """One turn of a chat. Other fields that OpenAI's answers carry (`refusal`, `annotations`) may be sent back."""

    model_config = ConfigDict(strict=True, extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]


def _stops(value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if stops is None:
        return []
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise ValueError("should be a string or a list of strings, none of them empty")
    if len(stops) > MAX_STOPS:
        raise ValueError(f"should hold at most {MAX_STOPS} strings")
    return stops


Stops = Annotated[list[str], BeforeValidator(_stops)]


class StreamOptions(BaseModel):
    """What a stream tells besides its text."""

    model_config = ConfigDict(strict=True, extra="forbid")

    include_usage: bool = False


def _inputs(value: Any) -> Any:
    return _several(value, MAX_INPUTS)


def _prompts(value: Any) -> Any:
    return _several(value, MAX_PROMPTS)


def _several(value: Any, most: int) -> Any:
    """One text, texts, one list of tokens or lists of tokens → a list of texts or of token lists."""
    several = value if isinstance(value, list) and not _is_tokens(value) else [value]
    if not several or len(several) > most:
        raise ValueError(f"should hold between 1 and {most} inputs")
    if not (all(isinstance(item, str) for item in several) or all(_is_tokens(item) for item in several)):
        raise ValueError("should be a string, a list of strings, a list of token numbers or a list of such lists")
    for index, item in enumerate(several):
        if not item:
            raise ValueError(f"has an empty input at index {index}; leave it out")
    return several


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int and item >= 0 for item in value)


class GenerateRequest(_Request):
    """What both ways of asking for a text have in common. Lengths are in tokens.

    `top_k` and `ignore_eos` are not OpenAI's; vLLM and others have them under these names.
    """

    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    ignore_eos: bool | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[list[str], BeforeValidator(_stops)] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _stream_options_are_for_streams(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for streams; send it with stream: true")
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens that the client wants."""
        return self.max_tokens

    @property
    def told(self) -> int | None:
        """How many likely tokens are to be told with each; None: no log-probabilities at all."""
        raise NotImplementedError


class ChatRequest(GenerateRequest):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        lengths = {self.max_tokens, self.max_completion_tokens} - {None}
        if len(lengths) > 1:
            raise ValueError("max_tokens and max_completion_tokens differ; send max_completion_tokens only")
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs is for log-probabilities; send it with logprobs: true")
        return self

    @property
    def limit(self) -> int | None:
        """The most tokens that the client wants."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def told(self) -> int | None:
        """How many likely tokens are to be told with each; None: no log-probabilities at all."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(GenerateRequest):
    """POST /v1/completions: the prompts are continued as they are. Without max_tokens it is OpenAI's 16."""

    prompt: Annotated[list[str | list[int]], BeforeValidator(_prompts)]
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)

    @property
    def limit(self) -> int | None:
        """The most tokens that the client wants."""
        return 16 if self.max_tokens is None else self.max_tokens

    @property
    def told(self) -> int | None:
        """How many likely tokens are to be told with each; None: no log-probabilities at all."""
        return self.logprobs


class EmbeddingRequest(_Request):
    """POST /v1/embeddings. Token lists are used as they are: special tokens are the client's part."""

    input: Annotated[list[str | list[int]], BeforeValidator(_inputs)]
    encoding_format: Literal["float", "base64"] | None = None


R = TypeVar("R", bound=BaseModel)


def parse(kind: type[R], body: bytes) -> R:
    """The request in the body; raises RequestError (400) that names the first field at fault."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> RequestError:
    first = error.errors(include_url=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return RequestError(400, f"The body is not valid JSON: {message.removeprefix('Invalid JSON: ')}")
    param = field_path(first["loc"])
    if param is None:
        return RequestError(400, message if first["type"] == "value_error" else "The body should be a JSON object")
    if first["type"] == "extra_forbidden":
        code = "unsupported_parameter"
        if param in NEUTRAL:
            return RequestError(
                400, f"{param}: this server supports only its default; leave it out", param=param, code=code
            )
        return RequestError(
            400, f"{param}: this server does not know this parameter; leave it out", param=param, code=code
        )
    if first["type"] == "missing":
        message = "is required"
    return RequestError(400, f"{param}: {message[0].lower()}{message[1:]}", param=param)


def field_path(location: tuple[int | str, ...]) -> str | None:
    """Where pydantic found an error, as `messages[0].role`; None for the whole."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or None
