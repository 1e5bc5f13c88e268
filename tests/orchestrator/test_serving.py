"""Where the endpoint may listen, said before anything is started."""

import socket

import pytest

from configs.errors import DeployError
from configs.serve import ServeSpec, http_url
from orchestrator.serving import require_free_port, require_replicas


def message(host: str, port: int) -> str:
    with pytest.raises(DeployError) as caught:
        require_free_port(host, port, option="--port")
    return str(caught.value)


def test_a_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        assert message("127.0.0.1", port) == (
            f"port {port} on 127.0.0.1 cannot be used: Address already in use. Stop what listens there, or choose "
            "another with --port"
        )
    require_free_port("127.0.0.1", port, option="--port")


@pytest.mark.parametrize(
    ("replicas", "cpus", "problem"),
    [
        (8, 1.0, "serve.replicas=8 with 1 CPU each do not fit: there is room for 3 on 3.5 CPUs. To serve here, use "
         "--replicas 3"),
        (1, 4.0, "serve.replicas=1 with 4 CPU each do not fit: there is room for 0 on 3.5 CPUs. To serve here, use "
         "machines with more CPUs"),
    ],
)  # fmt: skip
def test_more_replicas_than_there_is_room_for(replicas: int, cpus: float, problem: str) -> None:
    """A replica lies on one node: 1.5 and 2 CPUs hold three of one CPU."""
    nodes = [{"Alive": True, "Resources": {"CPU": 1.5}}, {"Alive": True, "Resources": {"CPU": 2.0}}]
    nodes += [{"Alive": True, "Resources": {}}, {"Alive": False, "Resources": {"CPU": 64.0}}]
    with pytest.raises(DeployError) as caught:
        require_replicas(ServeSpec(replicas=replicas, cpus_per_replica=cpus), nodes)
    assert str(caught.value) == problem
    require_replicas(ServeSpec(replicas=7, cpus_per_replica=0.5), nodes)


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert http_url("::1", 8000) == "http://[::1]:8000"
    assert http_url("127.0.0.1", 8000) == "http://127.0.0.1:8000"


@pytest.mark.parametrize("host", ["192.0.2.1", "256.256.256.256"])
def test_a_host_that_is_not_here(host: str) -> None:
    text = message(host, 8000)
    assert text.startswith(f"{host!r} is not an address of this machine (")
    assert text.endswith("); use 127.0.0.1, or 0.0.0.0 for all its addresses")
