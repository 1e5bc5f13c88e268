"""Where the endpoint may listen, said before anything is started."""

import socket

import pytest

from configs.errors import DeployError
from orchestrator.serving import require_free_port


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


@pytest.mark.parametrize("host", ["192.0.2.1", "256.256.256.256"])
def test_a_host_that_is_not_here(host: str) -> None:
    text = message(host, 8000)
    assert text.startswith(f"{host!r} is no address of this machine (")
    assert text.endswith("); use 127.0.0.1, or 0.0.0.0 for all its addresses")
