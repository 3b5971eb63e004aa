"""Detokenising and stop strings: whatever the pieces, what comes out is the text."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from springtide_server.engine.text import Detokenizer, StopStrings


def decode_bytes(tokens: Sequence[int]) -> str:
    """A tokenizer whose tokens are bytes: every longer character comes in pieces."""
    return bytes(tokens).decode("utf-8", errors="replace")


def detokenize(data: bytes) -> list[str]:
    detokenizer = Detokenizer(decode_bytes)
    return [*map(detokenizer.push, data), detokenizer.flush()]


@given(st.text())
def test_pieces_join_to_the_text(text: str) -> None:
    assert "".join(detokenize(text.encode())) == text


@given(st.text(st.characters(exclude_characters="\ufffd", codec="utf-8")))
def test_no_piece_holds_a_broken_character(text: str) -> None:
    assert not any("\ufffd" in piece for piece in detokenize(text.encode()))


def test_a_character_comes_with_its_last_token() -> None:
    assert detokenize("é🎉".encode()) == ["", "é", "", "", "", "🎉", ""]


def test_bytes_that_never_become_a_character_are_replaced_once_at_the_end() -> None:
    assert detokenize(b"a\xf0\x9f") == ["a", "", "", "\ufffd"]


def test_bytes_that_turn_out_wrong_do_not_hold_up_what_follows() -> None:
    assert "".join(detokenize(b"\xf0abc")[:-1]) == "\ufffdabc"


def test_a_space_that_depends_on_the_token_before_is_kept() -> None:
    words = ["Hello", "big", "world"]

    def decode(tokens: Sequence[int]) -> str:  # as SentencePiece does: no space before the first word
        return " ".join(words[token] for token in tokens)

    detokenizer = Detokenizer(decode)
    assert [detokenizer.push(token) for token in (0, 1, 2)] == ["Hello", " big", " world"]


def through(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    stopper = StopStrings(stops)
    text = ""
    for piece in pieces:
        text += stopper.push(piece)
        if stopper.found:
            return text, True
    return text + stopper.flush(), False


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.randoms())
def test_text_ends_before_the_first_stop_string_however_it_is_cut(text: str, stops: list[str], random: object) -> None:
    pieces, rest = [], text
    while rest:
        size = random.randint(1, 3)  # type: ignore[attr-defined]
        pieces.append(rest[:size])
        rest = rest[size:]
    got, found = through(pieces, stops)
    assert found == any(stop in text for stop in stops)
    assert text.startswith(got)
    assert not any(stop in got for stop in stops)
    if not found:
        assert got == text


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert through(["one END two STOP"], ["STOP", "END"]) == ("one ", True)


def test_the_beginning_of_a_stop_string_is_held_back_until_it_is_clear() -> None:
    stopper = StopStrings(["\n\nUser:"])
    assert [stopper.push(piece) for piece in ("a\n", "\nUs", "b")] == ["a", "", "\n\nUsb"]
