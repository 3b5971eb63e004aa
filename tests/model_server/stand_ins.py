"""What stands beside the engines in their tests: a tokenizer that is none, and memory that never ends."""

from collections.abc import Sequence


class Letters:
    """Each token is a letter."""

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(chr(0x100 + token) for token in tokens)


class Plenty:
    """Memory without end."""

    percent = 90

    def available(self) -> float:
        return 1e15

    def begin(self) -> None: ...

    def peak(self) -> int | None:
        return None

    def give_back(self) -> None: ...
