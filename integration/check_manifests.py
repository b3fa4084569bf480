"""`make check-manifests CRDS=folder [EGCTL=egctl]`: the manifests of envoy-config/ against published definitions.

    .venv/bin/python integration/check_manifests.py folder [egctl]

As the API server does it with `kubectl apply --validate=strict`: the schema has to hold, and a field that it does
not know is a mistake. A manifest with lines `#SECRETS` is checked with them, too. egctl, a tool of Envoy Gateway,
evaluates the rules in CEL (x-kubernetes-validations) of its manifests; without egctl they are not evaluated. What
stands in Envoy's own language, in patches and in the bootstrap, is opaque to these schemas;
integration/tests/test_manifests.py has Envoy read it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("istio", "envoy-gateway")
MARK = "#SECRETS "
# The Gateway that the manifests name.
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: { name: eg }
spec: { controllerName: gateway.envoyproxy.io/gatewayclass-controller }
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: my-gateway, namespace: default }
spec:
  gatewayClassName: eg
  listeners:
  - { name: https, protocol: HTTP, port: 8888 }
"""
# What every object has beside what its definition says.
OF_ALL_OBJECTS = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


def main() -> int:
    if len(sys.argv) not in (2, 3) or not sys.argv[1] or not Path(sys.argv[1]).is_dir():
        print(
            "check-manifests: no folder of custom resource definitions named: make check-manifests CRDS=folder",
            file=sys.stderr,
        )
        return 2
    schemas = dict(definitions(Path(sys.argv[1])))
    mistakes = unknown = 0
    for name, text in texts():
        for document in yaml.safe_load_all(text):
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
    if len(sys.argv) == 3 and sys.argv[2]:
        return evaluate(sys.argv[2])
    print("check-manifests: NOT RUN: the rules in CEL; for those of Envoy Gateway: make check-manifests EGCTL=egctl")
    return 0


def evaluate(egctl: str) -> int:
    """Lets egctl read the manifests of Envoy Gateway, which evaluates the rules in CEL."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifests.yaml"
        ours = [text for name, text in texts() if "envoy-gateway/" in name]
        file.write_text("---\n".join([GATEWAY, *ours]), encoding="utf-8")
        command = [
            egctl,
            "experimental",
            "translate",
            "--from",
            "gateway-api",
            "--to",
            "gateway-api",
            "--file",
            str(file),
        ]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        print(f"check-manifests: egctl: {ended.stderr}", file=sys.stderr)
        return 1
    print("check-manifests: egctl evaluated the rules in CEL, all valid")
    return 0


def texts() -> Iterator[tuple[str, str]]:
    """The manifests by their names, and those with secrets in files as well."""
    for path in sorted(path for folder in FOLDERS for path in (ROOT / "envoy-config" / folder).glob("*.yaml")):
        name, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        yield name, text
        if MARK in text:
            yield f"{name} with its lines {MARK.strip()}", text.replace(MARK, "")


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
