"""The CPU images, built for real: a job, its registry and its endpoint, each in the image that is made for it."""

import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.kubernetes import KubernetesSpec
from configs.serve import ServeSpec
from deploy.manifests.rayservice import serve_config

ROOT = Path(__file__).parents[2]
MLFLOW = ROOT / "k8s" / "mlflow"
SIZES_MB = {"train-cpu": 2600, "serve": 2300, "mlflow": 1100}
"""Not to be exceeded unnoticed."""
START_S = 300.0
ADMIN, JOBS = ("admin", "admin-password-1"), ("jobs", "jobs-password-1")
pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def last_json(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


@pytest.mark.parametrize("name", SIZES_MB)
def test_an_image_is_small_and_holds_no_compiler(images: Any, name: str) -> None:
    assert images.run(name, "id", "-u").stdout.strip() == "1000"
    assert images.run(name, "sh", "-c", "command -v cc gcc g++ c++ make pip").stdout == ""
    assert images.run(name, "sh", "-c", "test -w /opt/venv || echo read-only").stdout == "read-only\n"
    size = images.size_mb(name)
    print(f"{name}: {size:.0f} MB")  # noqa: T201 (pytest -s shows the sizes that the docs state)
    assert size <= SIZES_MB[name]


def test_the_serving_image_holds_what_it_serves_with_and_no_more(images: Any) -> None:
    for module in ("horovod", "orchestrator", "trainers"):
        assert images.run("serve", "python", "-c", f"import {module}").returncode == 1, module


def test_doctor_finds_nothing_wrong_in_the_training_image(images: Any) -> None:
    done = images.run("train-cpu", "ringmaster", "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert last_json(done.stdout)["ok"] is True


def test_a_job_runs_in_the_training_image(images: Any, tmp_path: Path) -> None:
    folder = writable(tmp_path / "job")
    done = images.run(
        "train-cpu", *"ringmaster train digits train.epochs=2 folder=/job --json".split(), mounts={folder: "/job"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = last_json(done.stdout)
    assert (result["workers"], result["version"]) == (2, 1)
    assert result["metrics"]["test_accuracy"] > 0.6


def test_mlflow_refuses_to_start_without_an_admin_password(images: Any, tmp_path: Path) -> None:
    folder = writable(tmp_path / "auth")
    (folder / "auth.ini").write_text("[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:////tmp/auth.db\n")
    command = [part for part in deployment()["args"] if not part.startswith("--backend-store-uri")]
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": "/etc/mlflow/auth.ini",
        "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "key",
    }
    done = images.run(
        "mlflow", "timeout", "300", *command, "--backend-store-uri=sqlite:////tmp/runs.db",
        mounts={folder: "/etc/mlflow"}, **environment,
    )  # fmt: skip
    assert done.returncode not in {0, 124}
    assert "MLFLOW_AUTH_ADMIN_PASSWORD" in done.stdout + done.stderr


def test_train_register_and_serve_each_in_its_image(images: Any, tmp_path: Path, free_port: Any) -> None:
    with mlflow_server(images, tmp_path, free_port) as url:
        ask(f"{url}/api/2.0/mlflow/users/create", ADMIN, {"username": JOBS[0], "password": JOBS[1]})
        login = {"MLFLOW_TRACKING_USERNAME": JOBS[0], "MLFLOW_TRACKING_PASSWORD": JOBS[1]}
        folder = writable(tmp_path / "job")
        command = "ringmaster train digits train.epochs=2 folder=/job --json".split()
        done = images.run("train-cpu", *command, mounts={folder: "/job"}, MLFLOW_TRACKING_URI=url, **login)
        assert done.returncode == 0, done.stderr[-3000:]
        run = ask(f"{url}/api/2.0/mlflow/runs/get?run_id={last_json(done.stdout)['run_id']}", JOBS)["run"]
        assert run["info"]["status"] == "FINISHED"
        assert b"mlflow_http_request" in get(f"{url}/metrics", ADMIN), "as the ServiceMonitor asks"
        answers = served(images, tmp_path, free_port, url, login)
    assert answers["health"] == {"status": "ok", "model": "digits", "version": 1}
    assert answers["predict"]["version"] == 1
    assert len(answers["predict"]["scores"][0]) == 10


def served(images: Any, folder: Path, port: Any, url: str, login: dict[str, str]) -> dict[str, Any]:
    """What an endpoint answers whose Ray cluster runs in the serving image, as KubeRay would start it."""
    http, dashboard = port(), port()
    config = serve_config(ServeSpec(), KubernetesSpec(mlflow_uri=url), model="digits", version=1)
    inputs = writable(folder / "inputs")
    (inputs / "serve.yaml").write_text(config.replace("port: 8000", f"port: {http}"))
    (inputs / "rows.json").write_text(json.dumps({"rows": [{"image": [[[0.0]] * 8] * 8}]}))
    (inputs / "run.sh").write_text(
        f"""set -e
        ray start --head --block --num-cpus=1 --port={port()} --dashboard-host=127.0.0.1 \
            --dashboard-port={dashboard} --dashboard-agent-listen-port={port()} \
            --ray-client-server-port={port()} --temp-dir=/tmp/ray >&2 &
        ray=$!
        trap "kill $ray; wait $ray || true" EXIT
        retry() {{ for second in $(seq 120); do "$@" && return; sleep 1; done; return 1; }}
        retry serve status --address http://127.0.0.1:{dashboard} >&2
        serve deploy --address http://127.0.0.1:{dashboard} /inputs/serve.yaml >&2
        retry wget --quiet --output-document=/tmp/health http://127.0.0.1:{http}/health
        wget --quiet --output-document=/tmp/predict --header='Content-Type: application/json' \
            --post-file=/inputs/rows.json http://127.0.0.1:{http}/predict
        serve shutdown --yes --address http://127.0.0.1:{dashboard} >&2
        echo "{{\\"health\\": $(cat /tmp/health), \\"predict\\": $(cat /tmp/predict)}}"
        """
    )
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
    done = images.run("serve", "bash", "/inputs/run.sh", mounts={inputs: "/inputs"}, **login, **token)
    assert done.returncode == 0, done.stderr[-3000:]
    return last_json(done.stdout)


@contextmanager
def mlflow_server(images: Any, folder: Path, port: Any) -> Iterator[str]:
    """The Deployment's own command and settings, with a PostgreSQL of this machine."""
    with postgres(port()) as database:
        container, http = deployment(), port()
        auth = writable(folder / "auth")
        (auth / "auth.ini").write_text((MLFLOW / "auth.ini").read_text().replace("mlflow-postgres:5432", database))
        command = [part.replace("mlflow-postgres:5432", database) for part in container["args"]]
        command = [part.replace("--port=5000", f"--port={http}") for part in command]
        settings = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        settings["MLFLOW_SERVER_ALLOWED_HOSTS"] = settings["MLFLOW_SERVER_ALLOWED_HOSTS"].replace(
            "$(POD_IP)", "10.0.0.1"
        )
        secrets = {
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN[0], "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN[1],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "key", "PGPASSWORD": "database",
        }  # fmt: skip
        mounts = {auth: "/etc/mlflow", writable(folder / "artifacts"): "/mlartifacts"}
        log = folder / "mlflow.log"
        settings["prometheus_multiproc_dir"] = "/tmp/prometheus"
        server = images.start("mlflow", *command, log=log, mounts=mounts, **settings, **secrets)
        url = f"http://localhost:{http}"
        with ending(server):
            wait_until(lambda: answers(f"{url}/health"), server, log)
            yield url


@contextmanager
def postgres(port: int) -> Iterator[str]:
    """host:port of a PostgreSQL with an empty database `mlflow`; skip where Debian's package is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="ringmaster-postgres-") as folder:
        (Path(folder) / "password").write_text("database")
        subprocess.run(["chown", "-R", "postgres", folder], check=True)

        def control(command: str) -> None:
            run = ["runuser", "--user", "postgres", "--", "bash", "-c", f"cd {folder} && {found[-1]}/{command}"]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)

        control("initdb --pgdata data --auth scram-sha-256 --username mlflow --pwfile password")
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        control(f"pg_ctl --pgdata data --options '{options}' --log log --wait start")
        try:
            control(
                f"psql 'postgresql://mlflow:database@127.0.0.1:{port}/postgres' --command 'create database mlflow'"
            )
            yield f"127.0.0.1:{port}"
        finally:
            control("pg_ctl --pgdata data --mode immediate stop")


def deployment() -> dict[str, Any]:
    """The container of k8s/mlflow/server.yaml."""
    documents = yaml.safe_load_all((MLFLOW / "server.yaml").read_text())
    (found,) = [one for one in documents if one["kind"] == "Deployment"]
    container: dict[str, Any] = found["spec"]["template"]["spec"]["containers"][0]
    return container


def writable(folder: Path) -> Path:
    """A folder for the user of the images."""
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    return folder


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a process group after the block."""
    try:
        yield
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not ready():
        assert process.poll() is None or ready(), log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.5)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def get(url: str, login: tuple[str, str], body: dict[str, Any] | None = None) -> bytes:
    request = urllib.request.Request(url, data=json.dumps(body).encode() if body else None)
    request.add_header("Authorization", f"Basic {b64encode(':'.join(login).encode()).decode()}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as response:
        return bytes(response.read())


def ask(url: str, login: tuple[str, str], body: dict[str, Any] | None = None) -> Any:
    return json.loads(get(url, login, body))
