"""The roles in k8s/ allow what the client asks for, and nothing else."""

from pathlib import Path
from typing import Any

import yaml

from configs.kubernetes import KubernetesSpec
from configs.load import load_spec
from configs.serve import ServeSpec
from orchestrator.submit.kuberay import KubeRay
from orchestrator.submit.kuberay_service import render
from orchestrator.submit.kuberay_target import KubeRayTarget
from orchestrator.submit.target import Submission

RBAC = Path(__file__).parents[3] / "k8s" / "base" / "rbac.yaml"
SPEC = KubernetesSpec.model_validate({"volumes": [{"claim": "jobs", "path": "/mnt/ringmaster"}]})


def allowed(role: str) -> set[tuple[str, str]]:
    documents = yaml.safe_load_all(RBAC.read_text())
    (rules,) = [one["rules"] for one in documents if one["kind"] == "Role" and one["metadata"]["name"] == role]
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def asked(cluster: Any) -> set[tuple[str, str]]:
    return {(verb, resource) for verb, resource, _ in cluster.requests}


def test_submitters_may_do_what_the_verbs_of_jobs_need(cluster: Any) -> None:
    place = KubeRayTarget(SPEC)
    place.submit(Submission("digits-1", load_spec("digits"), {}))
    labels = {"ringmaster/id": "digits-1"}
    container = {"name": "ray-job-submitter"}
    pod = {"metadata": {"name": "s1", "labels": labels}, "spec": {"containers": [container]}, "status": {}}
    cluster.put("pods", pod)
    cluster.set_status("digits-1", jobDeploymentStatus="Running", jobStatus="RUNNING")
    place.jobs()
    list(place.logs("digits-1", follow=False))
    next(KubeRay(SPEC).watch("digits-1"))
    watch = KubeRay(SPEC).watch("digits-1")
    next(watch)
    cluster.set_status("digits-1", jobDeploymentStatus="Running", jobStatus="RUNNING", message="still")
    next(watch)
    place.stop("digits-1")
    place.status("digits-1")
    assert asked(cluster) == allowed("ringmaster-submitter")


def test_deployers_may_serve_models_and_no_more(cluster: Any) -> None:
    kuberay = KubeRay(SPEC)
    kuberay.require_ready()
    for version in (1, 2):
        kuberay.apply(render(ServeSpec(), SPEC, model="digits", version=version))
    # An apply of what is not there is checked as a creation too.
    created = {(verb, resource) for verb, resource in allowed("ringmaster-deployer") if verb == "create"}
    assert {resource for _, resource in created} == {"rayservices", "poddisruptionbudgets"}
    assert asked(cluster) == allowed("ringmaster-deployer") - created
