"""KubeRay's own schemas, which are not part of the project, as strict validators."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[3]
Schema = dict[str, Any]


@pytest.fixture(scope="session")
def crds() -> Callable[[Schema], list[str]]:
    """Return `problems(document)`: what the CRDs of KubeRay say against it; skip where they are not there."""
    folder = Path(os.environ.get("RINGMASTER_TEST_CRDS", ROOT.parent / "shared" / "k8s" / "crds"))
    files = sorted(folder.glob("ray.io_*.yaml")) if folder.is_dir() else []
    if not files:
        pytest.skip(f"no CRDs of KubeRay at {folder}; set RINGMASTER_TEST_CRDS")
    validators = {}
    for file in files:
        definition = yaml.load(file.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
        for version in definition["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            # The API server adds these two, and checks metadata itself.
            schema["properties"] |= {"apiVersion": {"const": f"{definition['group']}/{version['name']}"}}
            schema["properties"] |= {"metadata": {"type": "object"}, "kind": {"const": definition["names"]["kind"]}}
            refuse_unknown_fields(schema)
            place = (f"{definition['group']}/{version['name']}", definition["names"]["kind"])
            validators[place] = Draft202012Validator(schema)

    def problems(document: Schema) -> list[str]:
        validator = validators.get((document["apiVersion"], document["kind"]))
        if validator is None:
            return [] if "ray.io" not in document["apiVersion"] else [f"no schema for {document['kind']}"]
        return [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(document)]

    return problems


def refuse_unknown_fields(schema: Schema) -> None:
    """Turn a structural schema of Kubernetes into a JSON Schema in place; what is not named in it is refused."""
    if schema.pop("x-kubernetes-int-or-string", False):
        schema.pop("type", None)
        schema["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if schema.pop("nullable", False) and "type" in schema:
        schema["type"] = [schema["type"], "null"]
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and not open_ended:
        schema["additionalProperties"] = False
    children = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for child in children:
        if isinstance(child, dict) and child.get("type", child):
            refuse_unknown_fields(child)
