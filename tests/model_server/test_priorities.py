"""The names, options and defaults of priority classes."""

import subprocess
import sys

import pytest

from springtide_server.errors import RequestError
from springtide_server.priorities import DEFAULTS, PriorityClass, check, default_rank, parse, rank_of


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("gold", PriorityClass("gold")),
        ("gold:20", PriorityClass("gold", 20)),
        ("bulk:sheddable", PriorityClass("bulk", sheddable=True)),
        ("bulk:5:default:sheddable", PriorityClass("bulk", 5, True, True)),
    ],
)
def test_parse(text: str, meant: PriorityClass) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize("text", ["", "Gold", "a b", "a:", "a:-1", "a:1.5", "a:5:6", "a:best", "a:5:5", "-a", "a" * 64])
def test_what_is_no_class(text: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        parse(text)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([], "there are 0"),
        ([f"c{i}" for i in range(9)], "there are 9"),
        (["a", "a"], "same name"),
        (["a:60", "b:41"], "more than 100"),
        (["a:default", "b:default"], "more than one"),
    ],
)
def test_classes_that_do_not_go_together(texts: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check([parse(text) for text in texts])


@pytest.mark.parametrize(
    ("texts", "default"),
    [
        (["a", "standard", "c"], "standard"),
        (["a:default", "standard"], "a"),
        (["a", "b", "c:sheddable"], "b"),
        (["a:sheddable", "b:sheddable"], "b"),
    ],
)
def test_the_class_of_requests_that_name_none(texts: list[str], default: str) -> None:
    classes = [parse(text) for text in texts]
    check(classes)
    assert classes[default_rank(classes)].name == classes[rank_of(None, classes)].name == default


def test_an_unknown_name_is_told_the_known_ones() -> None:
    check(DEFAULTS)
    assert rank_of("critical", DEFAULTS) == 0
    with pytest.raises(RequestError, match="critical, standard, background") as refused:
        rank_of("CRITICAL", DEFAULTS)
    assert (refused.value.status, refused.value.code) == (400, "unknown_priority")


def test_the_command_line_says_what_is_wrong_with_a_class() -> None:
    for arguments, said in (
        (["--priority", "Gold"], "not a name"),
        (["--priority", "a", "--priority", "a"], "same name"),
    ):
        command = [sys.executable, "-m", "springtide_server", "--model", ".", "--served-model-name", "m"]
        done = subprocess.run([*command, "--task", "Embed", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and said in done.stderr.splitlines()[-1], done.stderr
