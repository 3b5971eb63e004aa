"""From tokens to text that can be sent: whole characters only, and nothing of a stop string."""

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"


class Detokenizer:
    """Text of a growing list of tokens, piece by piece.

    A token may hold a part of a character, and its text may depend on the token before (a leading space), so a window
    of tokens is decoded with and without the new ones, and the difference is the new text.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._tokens: list[int] = []
        self._start = 0  # of the window
        self._sent = 0  # tokens before this one are out

    def push(self, token: int) -> str:
        """The text that the token completes, "" while a character is still in pieces."""
        self._tokens.append(token)
        before, now = self._window()
        if len(now) <= len(before) or now.endswith(REPLACEMENT):
            return ""
        self._start, self._sent = self._sent, len(self._tokens)
        return now[len(before) :]

    def flush(self) -> str:
        """What is left at the end; bytes that never became a character come out as U+FFFD."""
        before, now = self._window()
        self._start = self._sent = len(self._tokens)
        return now[len(before) :]

    def _window(self) -> tuple[str, str]:
        tokens = self._tokens[self._start :]
        return self._decode(tokens[: self._sent - self._start]), self._decode(tokens)


class StopStrings:
    """Lets text through until a stop string, and holds back what may yet become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The part of the text so far that is certainly before any stop string and was not given out yet."""
        if self.found:
            return ""
        text = self._held + text
        places = [place for place in map(text.find, self._stops) if place >= 0]
        if places:
            self.found, self._held = True, ""
            return text[: min(places)]
        keep = max((self._overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, now that nothing more comes."""
        held, self._held = self._held, ""
        return held

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        """Length of the longest end of the text that begins the stop string."""
        return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
