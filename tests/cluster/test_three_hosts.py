"""A Ray cluster of three hosts, each with an address of its own, and an MLflow server that none of them is.

Hosts are network namespaces on a bridge, so this needs root. They share a disk for checkpoints alone; metrics and
model go to the server over HTTP, which keeps the former in PostgreSQL where Debian's package is installed, and the
latter in an S3-compatible store that the hosts do not know.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import mlflow
import pytest
import requests
from mlflow.tracking import MlflowClient

from benchmarks.links import Hosts, shaped_hosts
from orchestrator.session import end_processes, processes_with

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

ROOT = Path(__file__).parents[2]
MARK = "RINGMASTER_TEST_HOSTS"
PYTHON = sys.executable


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """URI of an empty database: PostgreSQL behind a socket of its own, or a SQLite file where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        yield f"sqlite:///{folder}/server.db"
        return
    with tempfile.TemporaryDirectory(prefix="rm-postgres-") as place:
        shutil.chown(place, "postgres")

        def control(command: str) -> None:
            run = ["runuser", "--user", "postgres", "--", "bash", "-c", f"cd {place} && {found[-1]}/{command}"]
            subprocess.run(run, check=True, stdout=subprocess.DEVNULL)

        control("initdb --pgdata data --auth trust --username mlflow")
        options = f"-c listen_addresses= -c unix_socket_directories={place}"
        control(f"pg_ctl --pgdata data --options '{options}' --log log --wait start")
        try:
            control(f"createdb --host {place} --username mlflow mlflow")
            yield f"postgresql+psycopg2://mlflow@/mlflow?host={place}"
        finally:
            control("pg_ctl --pgdata data --mode immediate stop")


@contextmanager
def s3_store() -> Iterator[dict[str, str]]:
    """An S3-compatible store with a bucket `files`; yields the variables that name it and its keys."""
    moto = pytest.importorskip("moto.server", reason="moto's server needs flask and flask-cors")
    thread = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        requests.put(f"http://{host}:{port}/files", timeout=10).raise_for_status()
        yield {"MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}", "AWS_EC2_METADATA_DISABLED": "true", **keys}
    finally:
        thread.stop()


@contextmanager
def mlflow_server(folder: Path, store: str, host: str, variables: dict[str, str]) -> Iterator[str]:
    """A tracking server through which the files of runs reach the bucket `files`; yields its address."""
    address = f"{host}:5000"
    command = [PYTHON, "-m", "mlflow", "server", "--host", host, "--port", "5000", "--workers", "1"]
    command += ["--backend-store-uri", store, "--artifacts-destination", "s3://files", "--allowed-hosts", address]
    path = os.pathsep.join([str(Path(PYTHON).parent), os.environ["PATH"]])
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env={**variables, "PATH": path}, cwd=folder, stdout=log, stderr=log)
    try:
        while True:
            assert server.poll() is None, (folder / "server.log").read_text()
            try:
                requests.get(f"http://{address}/health", timeout=5)
                break
            except requests.RequestException:
                time.sleep(0.2)
        yield f"http://{address}"
    finally:
        server.terminate()
        server.wait(60)


def start_ray(hosts: Hosts, number: int, folder: Path, variables: dict[str, str]) -> None:
    """Make a host the head, or let it join."""
    own = hosts.addresses[number]
    role = [f"--address={hosts.addresses[0]}:6379"]
    if number == 0:
        role = ["--head", "--port=6379", "--dashboard-host=0.0.0.0", "--dashboard-port=8265"]
    command = [str(Path(PYTHON).parent / "ray"), "start", "--disable-usage-stats", f"--node-ip-address={own}", *role]
    command += ["--num-cpus=1", "--object-store-memory=100000000", f"--temp-dir={folder / str(number)}"]
    log = folder / f"ray{number}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            hosts.on(number, command),
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    assert done.returncode == 0, log.read_text()


@pytest.fixture
def there() -> Iterator[SimpleNamespace]:
    """Two hosts that run Ray, a third that does not yet, a server, and a user outside of all of them."""
    if os.geteuid() != 0 or not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("network namespaces need root and iproute2")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rm3-")))  # short: Ray's sockets
        try:
            hosts = stack.enter_context(shaped_hosts(3, mbit_per_s=1000))
        except SystemExit as error:
            pytest.skip(f"network namespaces cannot be made here: {error}")
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
        variables |= {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": str(ROOT),
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
        variables |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "c" * 64}
        stack.callback(lambda: end(processes_with(MARK, str(folder))))
        store = stack.enter_context(database(folder))
        bucket = stack.enter_context(s3_store())
        server = stack.enter_context(mlflow_server(folder, store, hosts.bridge, variables | bucket))
        ours = {**variables, MARK: str(folder)}
        start_ray(hosts, 0, folder, ours)
        start_ray(hosts, 1, folder, ours)

        def ringmaster(*arguments: str, code: int = 0) -> str:
            command = [PYTHON, "-m", "orchestrator", *arguments]
            done = subprocess.run(
                command, cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=400
            )
            assert done.returncode == code, done.stdout + done.stderr
            return done.stdout if code == 0 else done.stderr

        yield SimpleNamespace(
            run=ringmaster,
            url=f"http://{hosts.addresses[0]}:8265",
            server=server,
            bucket=f"{bucket['MLFLOW_S3_ENDPOINT_URL']}/files",
            folder=folder,
            variables=variables,
            join=lambda: start_ray(hosts, 2, folder, ours),
        )


def end(processes: list) -> None:
    for process in processes:
        process.terminate()
    end_processes(processes)


def follow(there: SimpleNamespace, id: str) -> subprocess.Popen[str]:
    command = [PYTHON, "-m", "orchestrator", "logs", id, "-f", "--folder", f"{there.folder}/shared"]
    return subprocess.Popen(command, cwd=there.folder, env=there.variables, stdout=subprocess.PIPE, text=True)


def test_jobs_on_three_hosts_with_a_remote_tracking_server(there: SimpleNamespace) -> None:
    job = ("digits", "train.epochs=2", f"tracking.uri={there.server}", f"folder={there.folder}/shared")
    submit = ("submit", *job, "--to", "ray", "--address", there.url, "--python", PYTHON)
    error = there.run(*submit, "cluster.workers=3", code=1)
    assert error == (
        "error: cluster.workers=3 with 1 CPU each do not fit: the cluster has 2 CPU on 2 node(s), 1 CPU too few; use "
        "cluster.workers=2, or add nodes\n"
    )
    runs = ("--folder", f"{there.folder}/shared")
    there.run(*submit, "--id", "two")
    output = there.run("logs", "two", "-f", *runs)
    assert "rank 1 runs on" in output
    assert "registered digits@champion (version 1)" in output

    grow = ("cluster.min_workers=2", "cluster.workers=3", "train.epochs=100000")
    there.run(*submit, *grow, "--id", "elastic")
    with follow(there, "elastic") as following:
        seen: list[str] = []
        for line in following.stdout:
            if not seen and "loss" in line:
                there.join()
            if "loss" in line or seen:
                seen.append(line)
            if len(seen) > 1 and "rank 2 runs on" in line:
                break
        epoch = next(line for line in following.stdout if "loss" in line)
        stopped = there.run("stop", "elastic", *runs)
        assert stopped.startswith(f"elastic was stopped\nMLflow run: {there.server}/#/experiments/")
        following.stdout.read()
    assert int(epoch.split("/")[0].split()[-1]) > 1, "it went on from a checkpoint"
    there.run("wait", "elastic", *runs, code=130)

    there.run("plan", "digits", "cluster.workers=3", "--address", there.url)
    there.run(*submit, "cluster.workers=3", "--id", "three")
    there.run("wait", "three", *runs)
    output = there.run("logs", "three", *runs)
    assert "rank 2 runs on" in output
    assert "registered digits@champion (version 2)" in output

    three, elastic, two = json.loads(there.run("jobs", *runs, "--json"))["jobs"]
    states = [(one["id"], one["state"]) for one in (three, elastic, two)]
    assert states == [("three", "SUCCEEDED"), ("elastic", "STOPPED"), ("two", "SUCCEEDED")]
    assert three["mlflow_url"].startswith(f"{there.server}/#/experiments/")
    client = MlflowClient(there.server, there.server)
    assert client.get_run(elastic["mlflow_url"].rpartition("/")[2]).info.status == "KILLED"
    run = client.get_run(three["mlflow_url"].rpartition("/")[2])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test_accuracy"] > 0.5
    assert run.data.tags["ringmaster.ranks"].count("rank") == 3
    mlflow.set_tracking_uri(there.server)
    try:
        version = client.get_model_version_by_alias("digits", "champion")
        files = {Path(one.path).name for one in mlflow.artifacts.list_artifacts(version.source)}
    finally:
        mlflow.set_tracking_uri(None)
    assert {"model.keras", "preprocessing.json", "golden.json"} <= files
    assert "/model.keras</Key>" in requests.get(there.bucket, timeout=30).text, "they lie in the bucket"
