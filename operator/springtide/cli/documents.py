"""YAML files of Kubernetes objects, with the line of every field."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from springtide.api.problems import Path as FieldPath
from springtide.api.problems import Problem


@dataclass
class Document:
    """One document of a file: its value, where each field stands, and the keys that stand there twice."""

    line: int
    value: Any
    lines: dict[FieldPath, int] = field(default_factory=dict)
    duplicates: list[Problem] = field(default_factory=list)

    def line_of(self, path: FieldPath) -> int:
        """Return the line of a field, or of the closest field around it when it is absent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


class BadYaml(Exception):
    """The text is no YAML; what was read before it is lost too."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: a date is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(name: str) -> str:
    """Return the text of a file, or of standard input for '-'; raises OSError or UnicodeDecodeError."""
    return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")


def documents(text: str) -> Iterator[Document]:
    """Return the documents that are not empty; raises BadYaml."""
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                break
            document = Document(node.start_mark.line + 1, loader.construct_document(node))
            if document.value is not None:
                _note(node, (), document, ())
                yield document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise BadYaml(mark.line + 1 if mark else 1, error.problem or "not YAML") from None
    except yaml.reader.ReaderError as error:
        raise BadYaml(
            text.count("\n", 0, error.position) + 1, f"{error.reason}: character {error.character!r}"
        ) from None


def _note(node: yaml.Node, path: FieldPath, document: Document, around: tuple[yaml.Node, ...]) -> None:
    if node in around:
        raise BadYaml(node.start_mark.line + 1, "an alias refers to what it is part of")
    around = (*around, node)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            # as JSON has it: every key is a string
            below = (*path, str(key.value))
            if below in seen:
                document.duplicates.append(Problem(below, "stands here twice"))
            seen.add(below)
            document.lines[below] = key.start_mark.line + 1
            _note(value, below, document, around)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            document.lines[*path, index] = item.start_mark.line + 1
            _note(item, (*path, index), document, around)


def title(value: Any) -> str:
    """Return how a message calls an object: its name, else its kind."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return re.sub(r"\s+", " ", str(name or "an object without a name"))
