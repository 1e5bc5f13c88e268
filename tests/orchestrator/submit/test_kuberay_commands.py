"""`render` and `deploy --to kuberay` as the user types them, on an API server and an MLflow server that speak HTTP."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from mlflow.tracking import MlflowClient

Ask = Callable[..., SimpleNamespace]
GOLDEN = Path(__file__).parents[2] / "golden"
JOB = """
name: My_digits
data: {function: "orchestrator.samples:digits", features: {image: {kind: tensor}}, target: {column: digit}}
model: {function: "cnn:build"}
kubernetes: {volumes: [{claim: jobs, path: /mnt/ringmaster}]}
"""
START_S = 120.0


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an MLflow server whose registry has two models with versions 1 and 2; the champion is version 2."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    # `mlflow server` starts uvicorn by name.
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _await(url, server)
        client = MlflowClient(url, url)
        run = client.create_run("0").info
        for model in ("digits", "titanic"):
            client.create_registered_model(model)
            for _ in range(2):
                client.create_model_version(model, f"{run.artifact_uri}/model", run.run_id)
            client.set_registered_model_alias(model, "champion", "2")
        yield url
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _await(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the MLflow server did not start")


def test_render_prints_what_submit_would_create(ask: Ask) -> None:
    done = ask("render", str(GOLDEN / "jobs" / "gpu.yaml"), "--to", "kuberay")
    assert (done.code, done.err) == (0, "")
    assert done.out == (GOLDEN / "gpu.yaml").read_text()


def test_render_takes_the_code_along_and_the_options(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "cnn.py").write_text("def build():\n\treturn [1]  # a tab, and [brackets]\n")
    (tmp_path / "rows.csv").write_text("data do not travel\n")
    done = ask("render", "job.yaml", "train.epochs=3", "--namespace", "team-a", "--queue", "small")
    config, rayjob = yaml.safe_load_all(done.out)
    assert set(config["data"]) == {"cnn.py", "job.yaml"}
    assert config["data"]["cnn.py"] == (tmp_path / "cnn.py").read_text()
    assert yaml.safe_load(config["data"]["job.yaml"])["train"]["epochs"] == 3
    assert rayjob["metadata"]["name"] == "my-digits"
    assert rayjob["metadata"]["namespace"] == config["metadata"]["namespace"] == "team-a"
    assert rayjob["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "small"


def test_render_writes_a_file_per_object(ask: Ask, tmp_path: Path) -> None:
    job = str(GOLDEN / "jobs" / "elastic.yaml")
    assert ask("render", job, "--output", "rendered").out == "rendered/configmap.yaml\nrendered/rayjob.yaml\n"
    texts = [(tmp_path / "rendered" / name).read_text() for name in ("configmap.yaml", "rayjob.yaml")]
    assert "---\n".join(texts) == (GOLDEN / "elastic.yaml").read_text()
    (tmp_path / "file").write_text("")
    done = ask("render", job, "--output", "file")
    assert (done.code, done.err) == (
        1,
        "error: --output file cannot be written to: File exists; name another folder\n",
    )


def test_render_with_json(ask: Ask) -> None:
    done = ask("render", str(GOLDEN / "jobs" / "gpu.yaml"), "--json")
    assert json.loads(done.out) == {"documents": list(yaml.safe_load_all((GOLDEN / "gpu.yaml").read_text()))}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--namespace", "Team_A"], "kubernetes.namespace: expected lower-case letters, digits and '-', at most 63"),
        ([], "kubernetes.volumes names no claim to write to, and the pods must share the checkpoints"),
    ],
)
def test_what_cannot_be_rendered_is_one_line(ask: Ask, arguments: list[str], expected: str) -> None:
    done = ask("render", "digits", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert expected in done.err


def test_a_model_becomes_a_service(ask: Ask, cluster: Any, mlflow_server: str) -> None:
    done = ask("deploy", "digits@champion", "--to", "kuberay", "--tracking-uri", mlflow_server)
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "RayService digits: created; it serves digits version 2\n"
        "when its pods are up, it answers in the cluster at http://digits-serve-svc.ringmaster:8000/predict; "
        "from here:\n"
        "  kubectl port-forward --namespace ringmaster service/digits-serve-svc 8000\n"
    )
    service = cluster.objects["rayservices", "ringmaster", "digits"]
    application = yaml.safe_load(service["spec"]["serveConfigV2"])["applications"][0]
    served = application["deployments"][0]["user_config"]["model"]
    assert served == {"name": "digits", "version": 2, "tracking_uri": "http://mlflow:5000"}, "as the pods see it"
    done = ask("deploy", "digits/1", "--to", "kuberay", "--tracking-uri", mlflow_server, "--json")
    assert json.loads(done.out) == {
        "name": "digits",
        "namespace": "ringmaster",
        "model": "digits",
        "version": 1,
        "change": "updated in place",
        "url": "http://digits-serve-svc.ringmaster:8000",
    }


def test_a_service_is_what_the_job_says(ask: Ask, cluster: Any, mlflow_server: str) -> None:
    cluster.namespaces.add("team-a")
    job = ["--job", str(GOLDEN / "jobs" / "service.yaml"), "--namespace", "team-a"]
    done = ask("deploy", "digits", "--to", "kuberay", "--tracking-uri", mlflow_server, *job)
    assert done.code == 0, done.err
    service = cluster.objects["rayservices", "team-a", "digits"]
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    assert (group["minReplicas"], group["maxReplicas"]) == (2, 4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--namespace", "Team_A"], "--namespace Team_A: expected lower-case letters, digits and '-', at most 63"),
        (["--port", "9000"], "--port is for an endpoint on this machine; on Kubernetes kubernetes.serve in the file"),
        (["--context", "other"], "context other cannot be used"),
    ],
)
def test_what_cannot_be_deployed_is_one_line(
    ask: Ask, cluster: Any, mlflow_server: str, arguments: list[str], expected: str
) -> None:
    done = ask("deploy", "digits", "--to", "kuberay", "--tracking-uri", mlflow_server, *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert expected in done.err
    assert cluster.objects == {}


def test_pods_cannot_read_a_registry_that_is_a_file(ask: Ask, cluster: Any, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    MlflowClient(f"sqlite:///{tmp_path}/runs/mlflow.db").search_experiments(max_results=1)
    done = ask("deploy", "digits", "--to", "kuberay", "--folder", "runs")
    assert done.code == 1
    assert (
        f"error: the model registry is sqlite:///{tmp_path}/runs/mlflow.db, a file that pods cannot read" in done.err
    )
    assert cluster.requests == []


def test_the_page_of_the_docs_does_what_it_says(ask: Ask, cluster: Any, mlflow_server: str, tmp_path: Path) -> None:
    """Every command of docs/kubernetes.md, in its order, on its YAML file."""
    page = (Path(__file__).parents[3] / "docs" / "kubernetes.md").read_text()
    job, serving = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    commands = [line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    (tmp_path / "job.yaml").write_text(job)
    (tmp_path / "mymodel.py").write_text("def build():\n    ...\n")
    printed = {}
    for command in commands:
        program, *arguments = command.replace("http://localhost:5000", mlflow_server).split()
        assert program == "ringmaster"
        if "--job" in arguments:
            merged = yaml.safe_load(job) | {"serve": yaml.safe_load(serving)["serve"]}
            merged["kubernetes"] |= yaml.safe_load(serving)["kubernetes"]
            (tmp_path / "job.yaml").write_text(yaml.safe_dump(merged))
        done = ask(*arguments)
        assert done.code == 0, (command, done.err)
        printed[f"{arguments[0]} {'--job' in arguments}"] = done.out
        if arguments[0] == "status":
            finish(cluster, "titanic-1")
    assert printed["submit False"] == "titanic-1\n"
    assert "PENDING" in printed["status False"]
    assert printed["logs False"] == "one line\n"
    assert "had ended already (succeeded)" in printed["stop False"]
    assert "created; it serves titanic version 2" in printed["deploy False"]
    assert "KubeRay starts a new cluster beside the old one" in printed["deploy True"]


def test_the_job_of_the_administrators_page_is_accepted(ask: Ask, cluster: Any) -> None:
    page = (Path(__file__).parents[3] / "k8s" / "README.md").read_text()
    found = re.search(r"^ringmaster (submit .*)$", page, re.MULTILINE)
    assert found
    done = ask(*shlex.split(found[1]))
    assert done.code == 0, done.err
    (name,) = [name for plural, _, name in cluster.objects if plural == "rayjobs"]
    assert done.out == f"{name}\n"
    assert name.startswith("digits-")


def finish(cluster: Any, name: str) -> None:
    """What KubeRay and the job would do."""
    cluster.set_status(name, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    spec = {"containers": [{"name": "ray-job-submitter"}]}
    metadata = {"name": f"{name}-s1", "labels": {"ringmaster/id": name}}
    cluster.put("pods", {"metadata": metadata, "spec": spec, "status": {"phase": "Succeeded"}})
    cluster.logs[f"{name}-s1"] = ["2026-01-01T00:00:00.1Z one line"]
