"""The files that a job takes along: its YAML file and its Python files in a ConfigMap, and what may not travel."""

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from configs.errors import SpecError
from configs.job import JobSpec
from configs.kubernetes import KubernetesSpec
from configs.secrets import require_no_secret

Manifest = dict[str, Any]
CONFIGMAP_LIMIT = 2**20
SOURCES = ("csv", "files", "valid_files", "test_files")
"""Keys of the data section that name files."""


def job_tree(spec: JobSpec) -> dict[str, Any]:
    """Return the YAML file that the pods read: what the user gave, overrides applied, without what is for us."""
    tree: dict[str, Any] = spec.model_dump(mode="json", exclude_unset=True)
    tree.pop("kubernetes", None)
    tree.pop("folder", None)
    tree.get("cluster", {}).pop("address", None)
    return tree


def require_portable(spec: JobSpec, tree: Mapping[str, Any], kubernetes: KubernetesSpec) -> None:
    """Raise SpecError for a secret in plain sight, a file of this machine, or a store that pods do not reach."""
    _require_no_secret(tree)
    _require_reachable_data(tree.get("data", {}), kubernetes)
    _require_server(spec)


def config_map(name: str, namespace: str, marks: Mapping[str, str], files: Mapping[str, bytes]) -> Manifest:
    """A ConfigMap of files. Raises SpecError when they are larger than Kubernetes takes."""
    size = sum(len(content) for content in files.values())
    if size > CONFIGMAP_LIMIT - 4096:
        largest = max(files, key=lambda path: len(files[path]))
        raise SpecError(
            f"the job's files are {size / 2**20:.1f} MiB, and a ConfigMap holds 1 MiB (the largest is {largest}): "
            "leave files out with .ringmasterignore, or set kubernetes.code.by to image or runtime_env"
        )
    texts, binaries = {}, {}
    for path, key in _keys(files).items():
        try:
            texts[key] = files[path].decode()
        except UnicodeDecodeError:
            binaries[key] = base64.b64encode(files[path]).decode()
    data = ({"data": texts} if texts else {}) | ({"binaryData": binaries} if binaries else {})
    metadata = {"name": name, "namespace": namespace, "labels": dict(marks)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **data, "immutable": True}


def volume_items(files: Iterable[str]) -> list[Manifest]:
    """Where each key of the ConfigMap lies as a file; nothing where every key is the path already."""
    keys = _keys(files)
    return [{"key": key, "path": path} for path, key in keys.items()] if any(p != k for p, k in keys.items()) else []


def dump(document: Any) -> str:
    """A document as YAML, keys in the order given and nothing abbreviated."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


class _Dumper(yaml.SafeDumper):
    """Writes out what is used twice, and texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _keys(files: Iterable[str]) -> dict[str, str]:
    """Path -> key of the ConfigMap, which may hold neither slash nor blank."""
    keys: dict[str, str] = {}
    for number, path in enumerate(sorted(files)):
        plain = re.sub(r"[^-._A-Za-z0-9]", "_", path)[:200]
        keys[path] = plain if plain == path else f"{number}.{plain}"
    return keys


def _require_no_secret(tree: Mapping[str, Any]) -> None:
    try:
        require_no_secret(tree, where="")
    except ValueError as error:
        raise SpecError(str(error).removeprefix(".")) from error


def _require_server(spec: JobSpec) -> None:
    uri = spec.tracking.uri
    if uri is not None and not uri.startswith(("http://", "https://")):
        raise SpecError(
            f"tracking.uri={uri}: pods reach an MLflow server by http:// or https:// only; remove it to use "
            "kubernetes.mlflow_uri"
        )


def _require_reachable_data(data: Mapping[str, Any], kubernetes: KubernetesSpec) -> None:
    """Files of this machine do not travel: data are read from a volume or a URI."""
    if kubernetes.code.by != "configmap":
        return  # the image, or the working folder that Ray fetches, may hold them
    for path in [*data_paths(data), *data_paths(data.get("test") or {})]:
        if "://" not in path and not any(within(path, volume.path) for volume in kubernetes.volumes):
            raise SpecError(
                f"data file {path} is on this machine, and data do not travel with a job: give a URI such as "
                "s3://bucket/train.csv, or a path on one of kubernetes.volumes"
            )


def data_paths(section: Any) -> list[str]:
    """The files that a data section, or its `test` part, names."""
    found: list[str] = []
    for key in SOURCES:
        value = section.get(key) if isinstance(section, Mapping) else None
        value = value.get("path") if isinstance(value, Mapping) else value
        found += [str(one) for one in (value if isinstance(value, list) else [value]) if one]
    return found


def within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
