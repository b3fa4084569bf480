"""`make check-manifests CRDS=folder`: the manifests of envoy-config/ against published custom resource definitions.

    .venv/bin/python integration/check_manifests.py folder

As the API server does it with `kubectl apply --validate=strict`: the schema has to hold, and a field that it does
not know is a mistake. Rules in CEL (x-kubernetes-validations) are not evaluated. What stands in Envoy's own language,
in patches and in the bootstrap, is opaque to these schemas; integration/tests/test_manifests.py has Envoy read it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("istio", "envoy-gateway")
# What every object has beside what its definition says.
OF_ALL_OBJECTS = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def main() -> int:
    if len(sys.argv) != 2 or not sys.argv[1] or not Path(sys.argv[1]).is_dir():
        print(
            "check-manifests: no folder of custom resource definitions named: make check-manifests CRDS=folder",
            file=sys.stderr,
        )
        return 2
    schemas = dict(definitions(Path(sys.argv[1])))
    mistakes = unknown = 0
    for path in manifests():
        name = path.relative_to(ROOT)
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            kind = f"{document['apiVersion']} {document['kind']}"
            if kind not in schemas:
                unknown += 1
                print(f"check-manifests: {name}: NOT CHECKED, there is no definition of {kind}")
                continue
            found = list(problems(document, schemas[kind]))
            mistakes += len(found)
            print(f"check-manifests: {name}: {kind}, {f'{len(found)} mistakes' if found else 'valid'}")
            for line in found:
                print(f"    {line}")
    if not schemas or mistakes:
        reason = f"{mistakes} mistakes" if schemas else f"no definitions in {sys.argv[1]}"
        print(f"check-manifests: {reason}", file=sys.stderr)
        return 1
    print(f"check-manifests: all valid{f', {unknown} not checked' if unknown else ''}")
    return 0


def manifests() -> list[Path]:
    return sorted(path for folder in FOLDERS for path in (ROOT / "envoy-config" / folder).glob("*.yaml"))


def definitions(folder: Path) -> Iterator[tuple[str, dict]]:
    """The schema of each version of each kind."""
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            if not document or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                schema = {**schema, "properties": {**schema["properties"], **OF_ALL_OBJECTS}}
                yield f"{spec['group']}/{version['name']} {spec['names']['kind']}", strict(schema)


def strict(schema: Any) -> Any:
    """A schema that refuses the unknown fields that the API server would drop."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # Only of values: `properties` may itself have a field with the name of a keyword.
    made = {
        key: ({name: strict(each) for name, each in value.items()} if key == "properties" else strict(value))
        for key, value in schema.items()
    }
    opens = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and schema.get("properties") and not opens:
        made["additionalProperties"] = False
    return made


def problems(document: dict, schema: dict) -> Iterator[str]:
    for error in sorted(Draft7Validator(schema).iter_errors(document), key=lambda error: list(map(str, error.path))):
        yield f"{'.'.join(map(str, error.path)) or 'the document'}: {error.message[:300]}"


if __name__ == "__main__":
    sys.exit(main())
