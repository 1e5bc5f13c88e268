"""The verbs of jobs on a Ray cluster, against a server that speaks the Jobs API; `tests/cluster` has a real one."""

import io
import socket
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.errors import ClusterError, SpecError, Unreachable
from configs.job import JobSpec
from orchestrator.submit import ray
from orchestrator.submit.ray import RayTarget
from orchestrator.submit.ray_dashboard import Dashboard, read_token
from orchestrator.submit.target import JobStatus, Submission, wait

Make = Callable[..., JobSpec]
There = tuple[Any, str]
"""A `FakeDashboard` and its address."""
PAGE = "http://mlflow:5000/#/experiments/1/runs/" + "b" * 32


def test_a_job_travels_with_its_files_and_starts_like_everywhere(
    dashboard: There, small_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, address = dashboard
    spec = small_job("data.csv=/data/small.csv", "train.epochs=7", "tracking.uri=http://mlflow:5000")
    target = RayTarget(address, python="/opt/ringmaster/bin/python")
    assert target.submit(Submission("small-1f", spec, {"models.py": b"x = 1\n", "a/b.py": b"y = 2\n"})) == "small-1f"
    (body,) = fake.bodies
    assert body["entrypoint"] == (
        "/opt/ringmaster/bin/python -m orchestrator train job.yaml cluster.address=auto 'folder=~/ringmaster-runs'"
    )
    assert body["metadata"] == {
        "ringmaster": "1",
        "ringmaster.job": "small",
        "ringmaster.mlflow": "http://mlflow:5000",
    }
    environment = body["runtime_env"]["env_vars"]
    assert (environment["MLFLOW_TRACKING_URI"], environment["RAY_JOB_STOP_WAIT_TIME_S"]) == (
        "http://mlflow:5000",
        "60",
    )
    (package,) = fake.packages.values()
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        assert sorted(names) == ["a/b.py", "job.yaml", "models.py"]
        tree = yaml.safe_load(archive.read("job.yaml"))
    assert tree["train"]["epochs"] == 7
    assert "folder" not in tree
    with pytest.raises(ClusterError) as caught:
        target.submit(Submission("small-1f", spec, {}))
    assert str(caught.value) == f"the id small-1f is taken at {address}; choose another with --id, or leave it out"


def test_a_cluster_that_is_too_small_is_sent_nothing(dashboard: There, small_job: Make) -> None:
    fake, address = dashboard
    spec = small_job("data.csv=/data/small.csv", "cluster.workers=3")
    with pytest.raises(ClusterError, match="cluster.workers=3 with 1 CPU each do not fit: .* 1 CPU too few"):
        RayTarget(address).submit(Submission("small-1f", spec, {}))
    assert (fake.bodies, fake.packages) == ([], {})


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "name=small",
            "data file small.csv is on this machine, and data do not travel with a job: give a URI such as",
        ),
        (
            "tracking.experiment=ftp://u:pw@host/x",
            "tracking.experiment holds a password in a URI, and secrets do not travel",
        ),
    ],
)
def test_what_would_not_be_there_is_said_before_anything_is_sent(
    dashboard: There, small_job: Make, override: str, message: str
) -> None:
    fake, address = dashboard
    with pytest.raises(SpecError) as caught:
        RayTarget(address).submit(Submission("a", small_job(override), {}))
    assert str(caught.value).startswith(message)
    assert "pw" not in str(caught.value)
    assert fake.bodies == []


def test_a_password_in_the_environment_does_not_travel(
    dashboard: There, small_job: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = small_job("data.csv=/data/small.csv")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hunter22@mlflow")
    with pytest.raises(SpecError, match="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD where") as caught:
        RayTarget(dashboard[1]).submit(Submission("a", spec, {}))
    assert "hunter22" not in str(caught.value)


def test_jobs_are_ours_with_state_reason_and_page(dashboard: There) -> None:
    fake, address = dashboard
    fake.add("others", "RUNNING", metadata={})
    fake.add("first", "SUCCEEDED", driver_exit_code=0)
    fake.add("second", "RUNNING", start_time=1_700_000_060_000, job_id="02000000")
    fake.add("third", "RUNNING", start_time=1_700_000_120_000, job_id="03000000")
    fake.output["first"] = f"digits: 2 ranks\n  MLflow run: {PAGE}\n"
    bundles = [{"unit_resources": {"CPU": 1.0}}, {"unit_resources": {"CPU": 1.0}}]
    fake.groups = [
        {"creator_job_id": "02000000", "state": "CREATED", "bundles": bundles},
        {"creator_job_id": "03000000", "state": "PENDING", "bundles": bundles},
    ]
    third, second, first = RayTarget(address).jobs()
    assert (third.id, third.state, third.reason) == ("third", "QUEUED", "it waits for room: 2 x (1 CPU)")
    assert (second.state, second.reason, second.mlflow_url) == ("RUNNING", "", None)
    assert first == JobStatus("first", "SUCCEEDED", "", submitted=first.submitted, mlflow_url=PAGE, exit_code=0)
    assert first.submitted.isoformat() == "2023-11-14T22:13:20+00:00"


@pytest.mark.parametrize(
    ("fields", "reason", "verdict"),
    [
        (
            {
                "driver_exit_code": 1,
                "message": "failed with exit code 1, last logs:\n  epoch 1\nerror: no such file\n",
            },
            "no such file",
            1,
        ),
        (
            {"driver_exit_code": 1, "message": "x\n/usr/bin/python: No module named orchestrator"},
            "python of the cluster does not have Ringmaster; name the interpreter that has it with --python",
            1,
        ),
        (
            {"driver_exit_code": 127, "message": "sh: 1: python: not found"},
            "python of the cluster does not have Ringmaster; name the interpreter that has it with --python",
            127,
        ),
        ({"message": "Job supervisor actor died"}, "Job supervisor actor died", 1),
    ],
)
def test_what_ended_a_job_is_one_line(dashboard: There, fields: dict[str, Any], reason: str, verdict: int) -> None:
    fake, address = dashboard
    fake.add("a", "FAILED", **fields)
    status = RayTarget(address).status("a")
    assert (status.state, status.reason, status.verdict) == ("FAILED", reason, verdict)


def test_lines_are_whole_and_come_once_though_the_connection_breaks(dashboard: There) -> None:
    fake, address = dashboard
    lines = [f"line {number}" for number in range(40)]
    fake.add("a", "RUNNING")
    fake.output["a"] = "\n".join(lines) + "\n"
    fake.cuts = [30, 100, 100, 101]
    target = RayTarget(address)
    assert list(target.logs("a", follow=True)) == lines
    assert fake.cuts == []
    assert list(target.logs("a", follow=False)) == lines
    assert list(target.logs("a", follow=True)) == lines, "it has ended: nothing to follow"


def test_a_connection_that_stays_broken_is_given_up(dashboard: There, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, address = dashboard
    monkeypatch.setattr(ray, "PATIENCE_S", 0.05)
    fake.add("a", "RUNNING")
    fake.output["a"] = "one\ntwo"
    fake.cuts = [5] * 1000
    seen = []
    with pytest.raises(ClusterError, match=f"the connection to {address} broke and does not come back"):
        for line in RayTarget(address).logs("a", follow=True):
            seen.append(line)
    assert seen == ["one"]


def test_stop_says_what_was_done(dashboard: There) -> None:
    fake, address = dashboard
    fake.add("a", "RUNNING")
    target = RayTarget(address)
    assert target.stop("a") == "a was stopped"
    assert target.status("a").verdict == 130
    assert target.stop("a") == "a had ended already (stopped); nothing was stopped"


def test_an_id_that_is_not_there(dashboard: There) -> None:
    target = RayTarget(dashboard[1])
    expected = f"there is no job a at {dashboard[1]}; `ringmaster jobs --address {dashboard[1]}` lists what is there"
    for ask in (target.status, target.stop, lambda id: list(target.logs(id, follow=True))):
        with pytest.raises(ClusterError) as caught:
            ask("a")
        assert str(caught.value) == expected


def test_tokens_are_looked_for_where_ray_does(
    dashboard: There, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    fake, address = dashboard
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(ClusterError, match=f"^{address} refuses the token; it is read from RAY_AUTH_TOKEN, else"):
        Dashboard(address)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with pytest.raises(ClusterError, match=f"^{address} asks for a token: set RAY_AUTH_TOKEN, or put the cluster's"):
        Dashboard(address)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(f"{fake.token}\n")
    assert Dashboard(address).url == address
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="none: no such file; correct it, or unset it"):
        read_token()


def test_behind_tls_with_an_authority_of_ones_own(
    tls_dashboard: There, small_job: Make, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, address = tls_dashboard
    with pytest.raises(ClusterError) as caught:
        Dashboard(address)
    assert str(caught.value) == (
        f"no TLS connection to {address}: CERTIFICATE_VERIFY_FAILED; if its certificate is signed by an authority of "
        "your own, name that one's certificate in REQUESTS_CA_BUNDLE; if it speaks no TLS, use http://"
    )
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "none.pem"))
    with pytest.raises(ClusterError, match=r"none.pem cannot be used \(No such file or directory\); name a file of"):
        Dashboard(address)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority / "ca.pem"))
    target = RayTarget(address)
    target.submit(Submission("a", small_job("data.csv=/data/small.csv"), {}))
    fake.jobs["a"]["status"] = "RUNNING"
    fake.output["a"] = "one\ntwo\n"
    assert list(target.logs("a", follow=True)) == ["one", "two"], "over a WebSocket"
    assert target.status("a").verdict == 0


def test_tls_where_the_dashboard_speaks_none(dashboard: There) -> None:
    address = dashboard[1].replace("http://", "https://")
    with pytest.raises(ClusterError, match=f"no TLS connection to {address}: .*; if it speaks no TLS, use http://$"):
        Dashboard(address)


@pytest.mark.parametrize("address", ["auto", "ray://head:10001", "http://", "http://me:pw@head:8265", "head 8265"])
def test_an_address_of_another_kind(address: str) -> None:
    with pytest.raises(
        ClusterError, match="expected the address of the cluster's dashboard, for example http://head:"
    ):
        Dashboard(address)


def test_nothing_listens_or_something_else_does() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(
            ClusterError, match=rf"no Ray dashboard answers at http://127.0.0.1:{port} \(Connection ref"
        ):
            Dashboard(f"127.0.0.1:{port}")
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_speak, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError, match="what listens there does not speak HTTP"):
            Dashboard(url)
        with pytest.raises(
            ClusterError, match=rf"what answers at {url} is no Ray dashboard \(Version check returned 404\)"
        ):
            Dashboard(url)
        thread.join()


def _speak(server: socket.socket) -> None:
    for answer in (b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"):
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)


def test_waiting_reads_the_output_once_and_outlives_a_head_node_that_is_away(dashboard: There) -> None:
    fake, address = dashboard
    fake.add("small-1f", "PENDING")
    fake.states = ["PENDING", "RUNNING", "AWAY", "AWAY", "RUNNING", "RUNNING", "SUCCEEDED"]
    fake.output["small-1f"] = "no page yet\n" * 10_000
    ended = wait(RayTarget(address), "small-1f", poll_s=0)
    assert (ended.state, fake.asked, fake.outputs_sent) == ("SUCCEEDED", 8, 1)


def test_a_head_node_behind_a_proxy_that_does_not_find_it(dashboard: There) -> None:
    fake, address = dashboard
    fake.add("small-1f", "RUNNING")
    target = RayTarget(address)
    fake.states = ["AWAY"]
    with pytest.raises(
        Unreachable, match=rf"^no Ray dashboard answers at {address} \(503\); check that the head node"
    ):
        target.status("small-1f")
