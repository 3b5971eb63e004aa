"""`springtide validate`: what the API server would refuse, found without one."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from springtide.api.base import GROUP, VERSION
from springtide.api.errors import Invalid
from springtide.api.modelservice import ModelService
from springtide.api.problems import Problem, problems
from springtide.api.runtime import RuntimeName
from springtide.api.trafficforecast import TrafficForecast
from springtide.cli.documents import BadYaml, Document, documents, read, title
from springtide.controllers.observing import timezone
from springtide.manifests.revisions import plan_pools
from springtide.manifests.settings import Settings

API_VERSION = f"{GROUP}/{VERSION}"
Valid = ModelService | TrafficForecast
KINDS: dict[str, type[Valid]] = {"ModelService": ModelService, "TrafficForecast": TrafficForecast}
_KIND_NAMES = " or ".join(KINDS)

_FIELDS = {"apiVersion", "kind", "metadata", "spec", "status"}
# Of metav1.ObjectMeta. What is not here is refused, since a misplaced field does nothing.
_METADATA = {
    *("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "managedFields"),
    *("uid", "resourceVersion", "generation", "selfLink"),
    *("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
}


@dataclass(frozen=True)
class Found:
    """One document that was looked at: what it is if it is valid, what is wrong with it, or why it was skipped."""

    line: int
    name: str
    valid: Valid | None = None
    problems: tuple[tuple[int, Problem], ...] = ()
    skipped: str = ""

    @property
    def service(self) -> ModelService | None:
        """The service that it is, if it is one and valid."""
        return self.valid if isinstance(self.valid, ModelService) else None


def validate(files: Sequence[str]) -> int:
    """Print one line for each problem, else for each document; return 1 when there is a problem."""
    wrong = False
    for file in files:
        for found in look(file):
            if found.skipped:
                print(f"{file}:{found.line}: {found.name}: skipped: {found.skipped}")
            elif found.problems:
                wrong = True
                for line, problem in found.problems:
                    print(f"{file}:{line}: {problem}")
            else:
                print(f"{file}: {found.name}: valid")
    return int(wrong)


def look(file: str) -> Iterator[Found]:
    """Check each document of a file; a file that can't be read is a problem of its first line."""
    empty = True
    try:
        for document in documents(read(file)):
            empty = False
            yield inspect(document)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8"
        yield _unreadable(1, f"can't be read: {reason or error}")
    except BadYaml as error:
        yield _unreadable(error.line, f"not YAML: {error}")
    else:
        if empty:
            print(f"{file}: holds no object", file=sys.stderr)


def _unreadable(line: int, message: str) -> Found:
    return Found(line, "", problems=((line, Problem((), message)),))


def inspect(document: Document) -> Found:
    """Check one document."""
    value, name = document.value, title(document.value)
    if not isinstance(value, dict):
        return Found(document.line, name, problems=((document.line, Problem((), "must be a mapping")),))
    kind = value.get("kind")
    if not isinstance(kind, str):
        problem = Problem(("kind",), f"must be {_KIND_NAMES}")
        return Found(document.line, name, problems=((document.line_of(("kind",)), problem),))
    if kind not in KINDS:
        return Found(document.line, name, skipped=f"{kind} is no {_KIND_NAMES}")
    return _checked(document, name, KINDS[kind])


def _checked(document: Document, name: str, model: type[Valid]) -> Found:
    value, wrong = document.value, [*document.duplicates]
    if value.get("apiVersion") != API_VERSION:
        wrong.append(Problem(("apiVersion",), f"must be {API_VERSION}"))
    wrong += [Problem((key,), "unknown field") for key in value if key not in _FIELDS]
    metadata, more = _metadata(value.get("metadata"))
    wrong += more
    # No answer about spec is lost for a bad name: a good one stands in for it.
    valid, more = _parse(model, {"metadata": metadata, "spec": value.get("spec")})
    wrong += more
    if isinstance(valid, ModelService):
        wrong += _unsupported(valid)
    # Rules about names have no field that the API server could name; they are about metadata.name.
    lines = [(document.line_of(one.path or ("metadata", "name")), one) for one in wrong]
    lines.sort(key=lambda pair: pair[0])
    return Found(document.line, name, None if lines else valid, tuple(lines))


def _unsupported(service: ModelService) -> list[Problem]:
    """Return what no field says by itself: timezones that there are not, and what a pool's runtime can't do."""
    wrong = [
        Problem(("spec", "scaling", "schedules", index, "timezone"), f"there is no timezone {one.timezone}")
        for index, one in enumerate(service.spec.scaling.schedules)
        if timezone(one.timezone) is None
    ]
    named: dict[RuntimeName, str] = {"VLLM": "vllm", "SGLang": "sglang"}
    try:
        plan_pools(service, Settings("model-server", images=named))
    except Invalid as error:
        wrong.append(Problem((), str(error)))
    return wrong


def _metadata(written: Any) -> tuple[dict[str, Any], list[Problem]]:
    made = {"name": "x", "namespace": "default", "uid": ""}
    if not isinstance(written, dict):
        return made, [Problem(("metadata",), "must be a mapping with a name")]
    wrong = [Problem(("metadata", str(key)), "unknown field") for key in written if key not in _METADATA]
    for key in ("name", "namespace"):
        value = written.get(key)
        if isinstance(value, str) and value:
            made[key] = value
        elif value is not None or key == "name":
            wrong.append(Problem(("metadata", key), "must be a string" if value is not None else "is required"))
    return made, wrong


def _parse(model: type[Valid], value: dict[str, Any]) -> tuple[Valid | None, list[Problem]]:
    try:
        # JSON, since there strict means what it means to the API server: a list is a tuple, but "1" is no integer
        return model.model_validate_json(
            json.dumps(_without_nulls(value), default=str), strict=True, by_alias=True, by_name=False
        ), _unknown_nulls(model, value)
    except ValidationError as error:
        return None, problems(error) + _unknown_nulls(model, value)


def _without_nulls(value: Any) -> Any:
    # The API server drops a null before it looks at the field.
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _unknown_nulls(model: type[Valid], value: dict[str, Any]) -> list[Problem]:
    """Return the unknown fields that are null, which are gone from what is checked otherwise."""
    try:
        model.model_validate_json(json.dumps(value, default=str), by_alias=True, by_name=False)
    except ValidationError as error:
        unknown = [one for one in error.errors() if one["type"] == "extra_forbidden" and one["input"] is None]
        return [Problem(one["loc"], "unknown field") for one in unknown]
    return []
