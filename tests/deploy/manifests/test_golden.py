"""Rendered manifests, word for word, and valid for the API server and for KubeRay.

`make render` writes tests/golden again: RINGMASTER_RENDER=1 pytest tests/deploy/manifests/test_golden.py
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from configs.kubernetes import KubernetesSpec
from configs.load import load_spec
from deploy.manifests.checks import faults
from deploy.manifests.jobfiles import dump
from deploy.manifests.names import object_name
from deploy.manifests.rayjob import render_job
from deploy.manifests.rayservice import render_service

GOLDEN = Path(__file__).parents[2] / "golden"
NAMES = sorted(path.stem for path in (GOLDEN / "jobs").glob("*.yaml"))
FILES = {"mymodel.py": b"def build(hidden):\n    ...\n", "layers/blocks.py": b"# blocks\n"}
KUBERNETES = "1.36"
Manifest = dict[str, Any]


def rendered(name: str) -> list[Manifest]:
    spec = load_spec(GOLDEN / "jobs" / f"{name}.yaml")
    if name == "service":
        kubernetes = spec.kubernetes or KubernetesSpec()
        return render_service(spec.serve, kubernetes, name=spec.name, model=spec.name, version=7).documents
    return render_job(spec, FILES if name == "cpu" else {}, name=object_name(spec.name)).documents


@pytest.mark.parametrize("name", NAMES)
def test_what_is_rendered_is_what_was_agreed_on(name: str) -> None:
    text, file = "---\n".join(dump(one) for one in rendered(name)), GOLDEN / f"{name}.yaml"
    if "RINGMASTER_RENDER" in os.environ:
        file.write_text(text)
    assert file.read_text() == text, "if the change is wanted: make render"


@pytest.mark.parametrize("name", NAMES)
def test_core_kinds_are_valid(name: str) -> None:
    for document in rendered(name):
        if not document["apiVersion"].startswith("ray.io/"):
            kubernetes_validate.validate(document, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_pod_templates_are_valid_pods(name: str) -> None:
    """KubeRay's schemas leave out what the API server checks in a pod."""
    for document in rendered(name):
        for template in pod_templates(document):
            pod = {"apiVersion": "v1", "kind": "Pod", **template}
            kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_kuberay_takes_them(name: str, crds: Callable[[Manifest], list[str]]) -> None:
    for document in rendered(name):
        assert crds(document) == []
        assert list(faults(document)) == []


def test_the_job_that_travels_is_the_job_that_was_given(tmp_path: Path) -> None:
    config = next(one for one in rendered("cpu") if one["kind"] == "ConfigMap")
    (tmp_path / "job.yaml").write_text(config["data"]["job.yaml"])
    given = load_spec(GOLDEN / "jobs" / "cpu.yaml")
    assert load_spec(tmp_path / "job.yaml").model_dump() == given.model_dump() | {"kubernetes": None}


def pod_templates(document: Manifest) -> list[Manifest]:
    spec = document.get("spec", {})
    cluster = spec.get("rayClusterSpec") or spec.get("rayClusterConfig")
    if not cluster:
        return []
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    submitter = [spec["submitterPodTemplate"]] if "submitterPodTemplate" in spec else []
    return [*(group["template"] for group in groups), *submitter]


def test_golden_files_have_jobs() -> None:
    documents = [list(yaml.safe_load_all(path.read_text())) for path in GOLDEN.glob("*.yaml")]
    assert len(documents) == len(NAMES)
