"""What is sent: the bytes of each request, and whatever of it is drawn."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from hack.load.options import KINDS, MAX_TOKENS, Options, lengths, mix
from hack.load.targets import Target
from hack.shell import Failure

MAX_FILE_BYTES = 64 * 1024 * 1024
# Each is one token, with the space before it, in the vocabularies of most models.
_WORDS = """
time year people way day man thing woman life child world school state family student group country problem hand
part place case week company system program question work government number night point home water room mother
area money story fact month lot right study book eye job word business issue side kind head house service friend
father power hour game line end member law car city name team minute idea body back parent face others level
office door health person art war history party result change morning reason research girl guy moment air teacher
""".split()  # noqa: SIM905 - a list would fill a screen
_LENGTH = 8192
PLACES = (b"$text", b"$max_tokens", b"$index")


@dataclass(frozen=True)
class Draw:
    """What chance decides for one request."""

    lengths: tuple[int, ...]
    max_tokens: int
    value: str  # of the header of --header-mix
    abandon_after: float | None


def draws(options: Options, shard: int = 0) -> Iterator[Draw]:
    """Draw for request after request, for ever; the same for the same seed."""
    rng = random.Random(f"requests {options.seed} {shard}")  # noqa: S311
    tokens, max_tokens = lengths(options.tokens), lengths(options.max_tokens)
    _, weights = mix(options.header_mix)
    values, shares = list(weights), list(weights.values())
    uniform, choices = rng.random, rng.choices
    fixed = all(len(parts) == 1 and parts[0][0] == parts[0][1] for parts in (tokens, max_tokens))

    def length(parts: list[tuple[int, int]]) -> int:
        if fixed:
            return parts[0][0]
        low, high = parts[int(uniform() * len(parts))]
        return low + int(uniform() * (high - low + 1))

    while True:
        abandons = options.abandon > 0 and uniform() < options.abandon
        yield Draw(
            tuple(length(tokens) for _ in range(options.inputs)),
            length(max_tokens),
            choices(values, shares)[0] if weights else "",
            uniform() * options.abandon_within_seconds if abandons else None,
        )


class Content:
    """Makes requests as bytes."""

    def __init__(self, options: Options, targets: list[Target]) -> None:
        """Read the file of --body or --template.

        Raises Failure when that can't be read.
        """
        self._options = options
        rng = random.Random(f"text {options.seed}")  # noqa: S311
        words = [rng.choice(_WORDS) for _ in range(_LENGTH)]
        self._text = " ".join([*words, *words])
        self._starts = [0]
        for word in [*words, *words]:
            self._starts.append(self._starts[-1] + len(word) + 1)
        self._body = self._file() if options.file else b""
        self._heads = [self._head(target) for target in targets]
        self._mixed = mix(options.header_mix)[0]

    def request(self, index: int, draw: Draw) -> bytes:
        """Return the whole request of that number."""
        body = self._make(index, draw)
        mixed = f"{self._mixed}: {draw.value}\r\n" if self._mixed else ""
        length = f"Content-Length: {len(body)}\r\n" if self._options.kind != "get" else ""
        return b"%b%b\r\n%b" % (self._heads[index % len(self._heads)], (mixed + length).encode(), body)

    def text(self, index: int, length: int) -> str:
        """Return a text of so many words, which begins at another place for every request."""
        begin = (index * 2654435761 + self._options.seed) % _LENGTH
        parts = []
        while length > 0:
            take = min(length, 2 * _LENGTH - begin)
            parts.append(self._text[self._starts[begin] : self._starts[begin + take] - 1])
            begin, length = 0, length - take
        return " ".join(parts)

    def _make(self, index: int, draw: Draw) -> bytes:
        options = self._options
        if options.kind in {"get", "body"}:
            return self._body
        texts = [self.text(index + 7 * place, min(length, MAX_TOKENS)) for place, length in enumerate(draw.lengths)]
        if options.kind == "template":
            values = (texts[0].encode(), b"%d" % draw.max_tokens, b"%d" % index)
            body = self._body
            for place, replacement in zip(PLACES, values, strict=True):
                body = body.replace(place, replacement)
            return body
        fields: dict[str, object] = {"model": options.model}
        if options.kind == "embeddings":
            fields["input"] = texts[0] if len(texts) == 1 else texts
        else:
            asked = {"messages": [{"role": "user", "content": texts[0]}]}
            fields |= asked if options.kind == "chat" else {"prompt": texts[0]}
            fields |= {"max_tokens": draw.max_tokens, "temperature": 0}
            if options.stream:
                fields |= {"stream": True, "stream_options": {"include_usage": True}}
        for name, value in options.fields:
            fields[name] = json.loads(value)
        return json.dumps(fields).encode()

    def _head(self, target: Target) -> bytes:
        options = self._options
        path = target.path
        if path == "/" or path.startswith("/?"):
            path = KINDS[options.kind] + path[1:]
        given = {name.lower() for name, _ in options.headers}
        lines = [f"{'GET' if options.kind == 'get' else 'POST'} {path} HTTP/1.1"]
        if "host" not in given:
            lines.append(f"Host: {target.authority}")
        if "user-agent" not in given:
            lines.append("User-Agent: springtide-load")
        if options.kind != "get" and "content-type" not in given:
            lines.append(f"Content-Type: {options.content_type}")
        if options.connections == "fresh":
            lines.append("Connection: close")
        lines += [f"{name}: {value}" for name, value in options.headers]
        return "".join(f"{line}\r\n" for line in lines).encode()

    def _file(self) -> bytes:
        path = self._options.file
        assert path is not None  # noqa: S101
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                raise Failure(f"{path}: more than {MAX_FILE_BYTES} bytes")
            return path.read_bytes()
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None
