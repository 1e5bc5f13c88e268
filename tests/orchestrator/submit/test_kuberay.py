"""The client against an API server that speaks HTTP: what is sent, and what every refusal becomes."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.errors import ClusterError
from configs.kubernetes import KubernetesSpec
from configs.load import load_spec
from configs.serve import ServeSpec
from deploy.manifests.rayjob import RenderedJob, render_job
from deploy.manifests.rayservice import RenderedService, render_service
from orchestrator.submit.kuberay import KubeRay

Manifest = dict[str, Any]
FORBIDDEN = (
    '{resource} is forbidden: User "ann" cannot {verb} resource "{plural}" in API group "ray.io" in the namespace '
    '"ringmaster"'
)


def job(name: str = "digits") -> RenderedJob:
    spec = load_spec("digits", ["kubernetes.volumes=[{claim: jobs, path: /mnt/ringmaster}]"])
    return render_job(spec, {}, name=name)


def service(version: int = 1, **serve: Any) -> RenderedService:
    spec = KubernetesSpec.model_validate({"serve": serve})
    return render_service(ServeSpec(), spec, name="digits", model="digits", version=version)


def message(action: Callable[[], Any]) -> str:
    with pytest.raises(ClusterError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def pod(name: str, job: str = "digits", container: str = "ray-job-submitter", phase: str = "Running") -> Manifest:
    return {
        "metadata": {"name": name, "labels": {"ringmaster/id": job}},
        "spec": {"containers": [{"name": container}]},
        "status": {"phase": phase},
    }


def event(name: str, reason: str, text: str, **fields: Any) -> Manifest:
    return {
        "metadata": {"name": f"{name}.{reason}"},
        "involvedObject": {"kind": "RayJob", "name": name},
        "reason": reason,
        "message": text,
        "type": "Warning",
        "lastTimestamp": "2026-01-01T00:00:01Z",
        **fields,
    }


def test_a_job_is_created_with_its_files(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.require_ready()
    assert kuberay.create(job()) == "digits"
    rayjob = cluster.objects["rayjobs", "ringmaster", "digits"]
    files = cluster.objects["configmaps", "ringmaster", "digits"]
    assert rayjob["spec"] == job().rayjob["spec"]
    assert files["data"] == job().config["data"]
    (owner,) = files["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("RayJob", rayjob["metadata"]["uid"])
    queries = [query for verb, resource, query in cluster.requests if (verb, resource) == ("create", "rayjobs")]
    assert queries == [{"fieldManager": "ringmaster", "fieldValidation": "Strict"}]


def test_a_dry_run_leaves_nothing(cluster: Any) -> None:
    KubeRay(KubernetesSpec()).create(job(), dry_run=True)
    assert cluster.objects == {}
    assert cluster.asked("create", "configmaps") == 1, "the server checks it too"


def test_a_name_that_is_taken(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    assert message(lambda: kuberay.create(job())) == (
        "rayjobs.ray.io digits exists already in namespace ringmaster; choose another name"
    )
    assert len(cluster.objects) == 2, "the job of that name stays as it is"


def test_a_job_without_its_files_is_taken_back(cluster: Any) -> None:
    cluster.refuse("create", "configmaps", 403, FORBIDDEN.format(resource="configmaps", verb="create", plural="x"))
    assert message(lambda: KubeRay(KubernetesSpec()).create(job())) == (
        "user ann may not create configmaps in namespace ringmaster (permission missing: verb create on resource "
        "configmaps; the answer is the same where there is no such namespace); an administrator binds you to the role "
        "of submitters, see docs/kubernetes.md"
    )
    assert cluster.objects == {}


def test_a_namespace_that_is_missing(cluster: Any) -> None:
    assert message(lambda: KubeRay(KubernetesSpec(namespace="other")).create(job())) == (
        "namespace other does not exist; create it (kubectl create namespace other) or name another with --namespace"
    )


def test_a_cluster_without_kuberay(cluster: Any) -> None:
    cluster.kuberay = False
    expected = (
        "the cluster has no KubeRay (resource rayjobs of ray.io/v1 is unknown); an administrator installs it once"
    )
    kuberay = KubeRay(KubernetesSpec())
    assert message(kuberay.require_ready).startswith(expected)
    assert message(lambda: kuberay.create(job())).startswith(expected)


def test_a_permission_that_is_missing(cluster: Any) -> None:
    text = FORBIDDEN.format(resource="rayjobs.ray.io", verb="create", plural="rayjobs")
    cluster.refuse("create", "rayjobs", 403, text)
    assert message(lambda: KubeRay(KubernetesSpec()).create(job())).startswith(
        "user ann may not create rayjobs.ray.io in namespace ringmaster"
    )


def test_a_quota_that_is_exceeded(cluster: Any) -> None:
    text = (
        'rayjobs.ray.io "digits" is forbidden: exceeded quota: jobs, requested: count/rayjobs.ray.io=1, used: '
        "count/rayjobs.ray.io=5, limited: count/rayjobs.ray.io=5"
    )
    cluster.refuse("create", "rayjobs", 403, text)
    assert message(lambda: KubeRay(KubernetesSpec()).create(job())) == (
        "quota jobs of the namespace is exceeded: requested count/rayjobs.ray.io=1, used count/rayjobs.ray.io=5, "
        "limited count/rayjobs.ray.io=5; ask for less, wait for other jobs, or have the quota raised"
    )


def test_a_quota_that_is_not_counted_yet(cluster: Any) -> None:
    text = 'rayjobs.ray.io "digits" is forbidden: status unknown for quota: jobs, resources: count/rayjobs.ray.io'
    cluster.refuse("create", "rayjobs", 403, text)
    assert message(lambda: KubeRay(KubernetesSpec()).create(job())) == (
        "quota jobs of namespace ringmaster is new and has not been counted yet; try again in a few minutes"
    )


def test_a_kuberay_that_is_too_old(cluster: Any) -> None:
    text = 'RayJob in version "v1" cannot be handled: strict decoding error: unknown field "spec.authOptions"'
    cluster.refuse("create", "rayjobs", 400, text)
    assert message(lambda: KubeRay(KubernetesSpec()).create(job())).startswith(
        "the cluster's KubeRay is older than v1.7, it does not know spec.authOptions"
    )


@pytest.mark.parametrize("version", [("1", "24"), ("1", "24+"), ("0", "99")])
def test_a_kubernetes_that_is_too_old(cluster: Any, version: tuple[str, str]) -> None:
    cluster.version = version
    assert message(KubeRay(KubernetesSpec()).require_ready) == (
        f"the cluster runs Kubernetes {version[0]}.{version[1]}, and KubeRay v1.7 needs 1.25 or later; upgrade it, or "
        "choose another --context"
    )


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, "the API server does not accept your credentials (401); log in again"),
        (422, "the API server does not accept rayjobs.ray.io digits: no good"),
        (429, "the API server has too much to do (429: no good)"),
        (503, "the API server failed to get rayjobs.ray.io digits (503: no good); try again"),
    ],
)
def test_other_refusals(cluster: Any, status: int, expected: str) -> None:
    cluster.refuse("get", "rayjobs", status, "no good")
    assert message(lambda: KubeRay(KubernetesSpec()).find("digits")).startswith(expected)


def test_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    given = yaml.safe_load((tmp_path / "kubeconfig").read_text())
    given["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{port}"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(given))
    text = message(KubeRay(KubernetesSpec()).require_ready)
    assert text.startswith(f"no API server answers at http://127.0.0.1:{port} (")
    assert text.endswith("check the network, the kubeconfig file and --context")


def test_a_context_that_is_unknown(cluster: Any) -> None:
    text = message(lambda: KubeRay(KubernetesSpec(context="production")))
    assert text.startswith("context production cannot be used: ")
    assert "kubectl config get-contexts" in text
    assert KubeRay(KubernetesSpec(context="fake")).find("digits") is None


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    text = message(lambda: KubeRay(KubernetesSpec()))
    assert text.startswith("there is no Kubernetes configuration to use (")
    assert "set KUBECONFIG, or put the cluster's file at ~/.kube/config" in text


def test_a_kubeconfig_that_is_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kubeconfig").write_text("just a text")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    assert "there is no Kubernetes configuration to use" in message(lambda: KubeRay(KubernetesSpec()))


def test_why_a_job_waits(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.set_status("digits", jobDeploymentStatus="Initializing", rayClusterName="digits-abcde")
    stranger = event("other-xyz", "FailedToCreateHeadPod", "not ours")
    quota = event(
        "digits-abcde",
        "FailedToCreateHeadPod",
        'pods "digits-abcde-head" is forbidden: exceeded quota: cpus, requested: limits.cpu=2, used: limits.cpu=7, '
        "limited: limits.cpu=8",
        involvedObject={"kind": "RayCluster", "name": "digits-abcde"},
    )
    for one in (stranger, quota):
        cluster.put("events", one)
    stands = kuberay.condition(kuberay.find("digits"))
    assert stands.state == "PENDING"
    assert stands.reason.startswith("quota cpus of the namespace is exceeded: requested limits.cpu=2")


def test_who_may_not_see_pods_still_sees_the_state(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.set_status("digits", jobDeploymentStatus="Running", jobStatus="RUNNING")
    cluster.refuse("list", "pods", 403, "no")
    assert kuberay.condition(kuberay.find("digits")).state == "RUNNING"


def states(kuberay: KubeRay, seen: list[str]) -> None:
    for rayjob in kuberay.watch("digits"):
        seen.append("gone" if rayjob is None else kuberay.condition(rayjob).state)


def test_a_watch_sees_every_change_and_the_end(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    seen: list[str] = []
    watcher = threading.Thread(target=states, args=(kuberay, seen))
    watcher.start()
    cluster.wait_for(lambda: cluster.asked("watch", "rayjobs") == 1)
    cluster.set_status("digits", jobDeploymentStatus="Running", jobStatus="RUNNING")
    cluster.put("rayjobs", job("other").rayjob)
    cluster.set_status("digits", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    cluster.remove("rayjobs", "digits")
    watcher.join(60)
    assert seen == ["PENDING", "RUNNING", "SUCCEEDED", "gone"]


@pytest.mark.parametrize("fault", ["too old", "too old at once", "broken"])
def test_a_watch_that_ends_is_taken_up_again(cluster: Any, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.submit.kuberay.RETRY_S", 0.01)
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    if fault == "too old":
        cluster.oldest = 10**6  # every watch is answered with an ERROR event of code 410
    elif fault == "too old at once":
        cluster.refuse("watch", "rayjobs", 410, "too old resource version", times=2)
    watch = kuberay.watch("digits")
    assert next(watch)["metadata"]["name"] == "digits"
    if fault == "broken":
        cluster.changes.append((len(cluster.changes) + 1, "DROP", "rayjobs", {"metadata": {"name": "digits"}}))
    else:
        assert next(watch)["metadata"]["name"] == "digits", "listed again"
    cluster.oldest = 0
    cluster.set_status("digits", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    found = next(one for one in watch if one is None or one.get("status"))
    assert found["status"]["jobStatus"] == "SUCCEEDED"


def test_the_output_of_a_finished_job(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.set_status("digits", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    cluster.put("pods", pod("digits-s1", phase="Succeeded"))
    cluster.put("pods", pod("digits-head", container="ray-head"))
    cluster.logs["digits-s1"] = ["2026-01-01T00:00:00.1Z one", "2026-01-01T00:00:00.2Z ", "2026-01-01T00:00:00.3Z è"]
    assert list(kuberay.log_lines("digits", follow=True)) == ["one", "", "è"]


def test_output_is_followed_over_a_broken_connection(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.submit.kuberay.RETRY_S", 0.01)
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.set_status("digits", jobDeploymentStatus="Running", jobStatus="RUNNING")
    lines = kuberay.log_lines("digits", follow=True)
    cluster.put("pods", pod("digits-s1", phase="Pending"))
    first: list[str] = []
    reader = threading.Thread(target=lambda: first.extend(lines))
    reader.start()
    cluster.wait_for(lambda: cluster.asked("list", "pods") >= 2)
    cluster.open_logs.add("digits-s1")
    cluster.logs["digits-s1"] = ["2026-01-01T00:00:00.100Z one", "2026-01-01T00:00:00.200Z two", "DROP"]
    cluster.put("pods", pod("digits-s1"))
    cluster.wait_for(lambda: cluster.asked("get", "pods/log") >= 2)
    with cluster.condition:
        cluster.logs["digits-s1"].append("2026-01-01T00:00:00.300Z three")
        cluster.open_logs.clear()
    cluster.set_status("digits", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    reader.join(60)
    assert first == ["one", "two", "three"]


def test_output_that_is_not_there(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    assert message(lambda: list(kuberay.log_lines("digits", follow=False))).startswith(
        "there is no output of digits (pending): KubeRay's operator has not taken it up yet"
    )
    ended = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "endTime": "2026-01-01T00:00:00Z"}
    cluster.set_status("digits", **ended)
    assert message(lambda: list(kuberay.log_lines("digits", follow=True))) == (
        "there is no output of digits (succeeded): its Ray cluster was removed at 2026-01-01 00:01:00 UTC (ttl_s)"
    )


def test_a_stop_lets_the_operator_end_the_job_and_leaves_word(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.set_status("digits", jobDeploymentStatus="Running", jobStatus="RUNNING")
    assert kuberay.stop("digits") == "digits was stopped by `ringmaster stop`"
    assert [plural for plural, _, _ in cluster.objects] == ["events"], "the ConfigMap goes with its owner"
    stopped, text = kuberay.absence("digits")
    assert stopped and text.startswith("digits was stopped by `ringmaster stop` at 20")
    assert kuberay.stop("digits") == text


def test_a_stop_without_permission_to_leave_word(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.refuse("create", "events", 403, "no")
    kuberay.stop("digits")
    assert kuberay.find("digits") is None


def test_a_job_that_has_ended_is_not_stopped(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.set_status("digits", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    assert kuberay.stop("digits") == "digits had ended already (succeeded); nothing was stopped"
    assert kuberay.find("digits") is not None


def test_a_job_that_someone_else_deleted(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.put("events", event("digits", "DeletedRayCluster", "Deleted cluster ringmaster/digits-abcde"))
    cluster.remove("rayjobs", "digits")
    expected = (
        "RayJob digits in namespace ringmaster was deleted by someone else, or by its deletion rules; the last that "
        "was heard of it: DeletedRayCluster: Deleted cluster ringmaster/digits-abcde"
    )
    assert kuberay.absence("digits") == (False, expected)
    assert message(lambda: kuberay.stop("digits")) == expected
    assert message(lambda: list(kuberay.log_lines("digits", follow=True))) == expected


def test_only_our_jobs_are_listed(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    kuberay.create(job())
    cluster.put("rayjobs", {"metadata": {"name": "somebodys", "labels": {}}, "spec": {}})
    assert [one["metadata"]["name"] for one in kuberay.rayjobs()] == ["digits"]


def test_a_new_version_of_the_model_leaves_the_pods(cluster: Any) -> None:
    kuberay = KubeRay(KubernetesSpec())
    assert kuberay.apply(service(1)) == "created"
    before = cluster.objects["rayservices", "ringmaster", "digits"]["spec"]
    assert kuberay.apply(service(2)) == "updated in place"
    after = cluster.objects["rayservices", "ringmaster", "digits"]["spec"]
    assert after["rayClusterConfig"] == before["rayClusterConfig"]
    assert after["serveConfigV2"].replace("version: 2", "version: 1") == before["serveConfigV2"]
    assert kuberay.apply(service(2, max_replicas=3)).startswith("updated: KubeRay starts a new cluster")
    assert ("poddisruptionbudgets", "ringmaster", "digits") in cluster.objects


def test_requests_carry_the_token_of_the_kubeconfig(cluster: Any) -> None:
    KubeRay(KubernetesSpec()).find("digits")
    assert cluster.tokens == {"Bearer not-a-secret"}
