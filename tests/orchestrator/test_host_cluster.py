"""The launcher file for hosts that are reached by ssh; `tests/cluster/test_ssh_hosts.py` starts a cluster with one."""

import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from configs.errors import ClusterError, SpecError
from orchestrator import host_cluster
from orchestrator.host_cluster import HostOptions, down, launcher_file, launcher_path, read_hosts, up

OPTIONS = HostOptions("me", Path("/home/me/.ssh/id"), "/opt/ringmaster/bin/python")


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    path = tmp_path / "hosts.txt"
    path.write_text("# the head first\n10.0.0.1\nnode-2.example.com  # slow\n\n")
    return path


def silent(_: str) -> None:
    pass


def test_hosts_become_rays_own_launcher_file(hosts: Path) -> None:
    assert read_hosts(hosts) == ["10.0.0.1", "node-2.example.com"]
    document = yaml.safe_load(launcher_file(["10.0.0.1", "10.0.0.2"], OPTIONS, token="/home/me/.ray/auth_token"))
    assert document["cluster_name"] == "ringmaster-10.0.0.1"
    assert document["provider"] == {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2"]}
    assert document["auth"] == {"ssh_user": "me", "ssh_private_key": "/home/me/.ssh/id"}
    assert document["file_mounts"] == {"~/.ray/auth_token": "/home/me/.ray/auth_token"}
    assert document["head_start_ray_commands"] == [
        "/opt/ringmaster/bin/ray stop",
        "set -- $SSH_CONNECTION; RAY_AUTH_MODE=token /opt/ringmaster/bin/ray start --disable-usage-stats "
        "--node-ip-address=$3 --head --port=6379 --dashboard-host=0.0.0.0 --dashboard-port=8265 "
        "--autoscaling-config=~/ray_bootstrap_config.yaml",
    ]
    assert document["worker_start_ray_commands"][1].endswith("--node-ip-address=$3 --address=$RAY_HEAD_IP:6379")


def test_options_and_settings_of_tls_reach_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.setenv("RAY_TLS_CA_CERT", "/etc/our ca.pem")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    options = HostOptions("me", None, "python", port=7000, dashboard_port=7001, cpus_per_node=3)
    text = launcher_file(["10.0.0.1", "10.0.0.2"], options, token="/tmp/token")
    assert "b" * 64 not in text
    document = yaml.safe_load(text)
    assert document["auth"] == {"ssh_user": "me"}
    (head,), (worker,) = (document[f"{role}_start_ray_commands"][1:] for role in ("head", "worker"))
    for command in (head, worker):
        words = shlex.split(command)
        assert {"RAY_AUTH_MODE=token", "RAY_USE_TLS=1", "RAY_TLS_CA_CERT=/etc/our ca.pem"} <= set(words)
        assert "--num-cpus=3" in words
    assert {"--port=7000", "--dashboard-port=7001"} <= set(shlex.split(head))
    assert worker.endswith("--address=$RAY_HEAD_IP:7000")


def test_ray_itself_takes_the_launcher_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    document = yaml.safe_load(launcher_file(["10.0.0.1", "10.0.0.2"], OPTIONS, token="token"))
    prepared = prepare_config(document)
    validate_config(prepared)
    assert prepared["max_workers"] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a host name or IPv4 address on each line, got 'none'"),
        ("a b\n", "expected a host name or IPv4 address on each line, got 'a b'"),
        ("fe80::1\n", "expected a host name or IPv4 address on each line, got 'fe80::1'"),
        ("a\nb\na\n", "a is listed twice; remove one"),
    ],
)
def test_a_file_of_hosts_that_cannot_be_right(hosts: Path, text: str, message: str) -> None:
    hosts.write_text(text)
    with pytest.raises(SpecError, match=message):
        read_hosts(hosts)
    with pytest.raises(SpecError, match="cannot be read"):
        read_hosts(hosts.with_name("none"))


def test_what_is_wrong_is_said_before_a_host_is_asked(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"--key /no/key: no such file; name the private key of ssh"):
        up(hosts, HostOptions("me", Path("/no/key"), "python"), say=silent, verbose=False)
    options = HostOptions("me", None, "python")
    hosts.write_text("no-such-host.invalid\n")
    with pytest.raises(SpecError, match=r"no-such-host.invalid is not known \(.*\); correct it, or give its address"):
        up(hosts, options, say=silent, verbose=False)
    hosts.write_text("127.0.0.1\n")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="^ssh and rsync not found, and Ray's launcher needs them: apt-get install"):
        up(hosts, options, say=silent, verbose=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--hosts", "hosts.txt", "--nodes", "2"],
            "--nodes is for a cluster on this machine; with --hosts every host",
        ),
        (["--python", "/opt/python"], "--user, --key and --python go with --hosts"),
        (["--hosts", "none.txt"], "--hosts none.txt cannot be read: "),
    ],
)
def test_options_that_do_not_go_together(ask: Callable[..., SimpleNamespace], arguments: list, message: str) -> None:
    done = ask("cluster", "up", *arguments)
    assert (done.code, done.out, done.err.startswith(f"error: {message}")) == (1, "", True), done.err


def test_down_without_what_up_left(hosts: Path) -> None:
    with pytest.raises(
        ClusterError, match=r"hosts.launcher.yaml, which `ringmaster cluster up --hosts .*` writes, ca"
    ):
        down(hosts, verbose=False)
    launcher_path(hosts).write_text("provider: {}\n")
    with pytest.raises(ClusterError, match="cannot be used .*; nothing was ended"):
        down(hosts, verbose=False)


def test_a_token_of_the_environment_travels_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    with host_cluster._token_file() as path:
        assert (Path(path).read_text(), Path(path).stat().st_mode & 0o777) == ("b" * 64, 0o600)
    assert not Path(path).exists()
