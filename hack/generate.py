"""Write what is generated from operator/springtide/api: the CRDs, the chart's copy and the reference.

`python -m hack.generate` writes; `--check` writes nothing and exits 1 with a diff when a file is stale.
"""

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from springtide.api.base import GROUP
from springtide.api.crd import crds

ROOT = Path(__file__).resolve().parent.parent
NOTICE = "# Generated from operator/springtide/api by `make generate`. Don't edit.\n"


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120)


def _chart_copy(definitions: Sequence[dict[str, Any]]) -> str:
    # uninstalling the chart deletes every object of a kind with its definition, unless that is kept
    keep = "  annotations:\n    helm.sh/resource-policy: keep\n"
    kept = []
    for crd in definitions:
        head, rest = _yaml(crd).split("metadata:\n", 1)
        kept.append(f"{head}metadata:\n{{{{- if .Values.crds.keep }}}}\n{keep}{{{{- end }}}}\n{rest}")
    body = "---\n".join(kept)
    return f"{{{{- if .Values.crds.enabled }}}}\n{NOTICE}{body}{{{{- end }}}}\n"


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " \\| ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "quantity"
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    if isinstance(values := schema.get("additionalProperties"), dict):
        return f"map of {_type(values)}"
    return str(schema["type"])


def _bounds(schema: dict[str, Any]) -> list[str]:
    names = {
        "minimum": "≥ {}",
        "maximum": "≤ {}",
        "maxItems": "at most {} items",
        "maxProperties": "at most {} entries",
    }
    return [text.format(schema[key]) for key, text in names.items() if key in schema]


def _rows(schema: dict[str, Any], path: str) -> list[str]:
    rows = []
    for name, child in schema.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        must = "yes" if name in schema.get("required", []) else ""
        limits = ", ".join(_bounds(child))
        rows.append(
            f"| `{at}` | {_type(child)} | {must} | {child.get('description', '')}{f' ({limits})' if limits else ''} |"
        )
        if child.get("type") == "array":
            rows += _rows(child["items"], f"{at}[]")
        rows += _rows(child, at)
    return rows


def _rules(schema: dict[str, Any], path: str) -> list[str]:
    found = []
    for made in schema.get("x-kubernetes-validations", []):
        at = f"{path}{made.get('fieldPath', '')}".removeprefix(".")
        found.append(f"| `{at or '(whole object)'}` | {made['message']} |")
    for name, child in schema.get("properties", {}).items():
        found += _rules(child, f"{path}.{name}")
    if "items" in schema:
        found += _rules(schema["items"], f"{path}[]")
    return found


def _reference(crd: dict[str, Any]) -> str:
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    lines = [
        "<!-- Generated from operator/springtide/api by `make generate`. Don't edit. -->",
        f"# {crd['spec']['names']['kind']}",
        "",
        f"`apiVersion: {crd['spec']['group']}/{version['name']}`, namespaced, short name "
        f"`{crd['spec']['names']['shortNames'][0]}`. {schema['description']}",
        "",
    ]
    for part in ("spec", "status"):
        child = schema["properties"][part]
        lines += [f"## {part}", "", "| field | type | required | meaning |", "|---|---|---|---|"]
        lines += [*_rows(child, part), ""]
    lines += ["## Rules", "", "Refused by the API server, beside what the types say:", ""]
    lines += ["| field | rule |", "|---|---|", *_rules(schema, "")]
    return "\n".join(lines) + "\n"


def generated() -> dict[Path, str]:
    """Return the wanted content of every generated file."""
    definitions = crds()
    made = {ROOT / "charts/springtide/templates/crds.yaml": _chart_copy(definitions)}
    for crd in definitions:
        names = crd["spec"]["names"]
        made[ROOT / f"crds/{GROUP}_{names['plural']}.yaml"] = NOTICE + _yaml(crd)
        made[ROOT / f"docs/reference/{names['singular']}.md"] = _reference(crd)
    return made


def main() -> int:
    """Write the files, or compare them with `--check`."""
    parser = argparse.ArgumentParser(prog="hack.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when a file is stale")
    check = parser.parse_args().check
    stale = False
    for path, wanted in generated().items():
        name = str(path.relative_to(ROOT))
        present = path.read_text() if path.exists() else ""
        if present == wanted:
            continue
        stale = True
        if check:
            diff = difflib.unified_diff(present.splitlines(True), wanted.splitlines(True), name, f"{name} (generated)")
            sys.stderr.writelines(diff)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted)
            print(f"wrote {name}")
    if check and stale:
        print("generated files are stale: run `make generate`", file=sys.stderr)
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main())
