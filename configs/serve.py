"""`ServeSpec`: the HTTP endpoint."""

from pydantic import Field, PositiveFloat, PositiveInt

from configs.spec import Spec


def http_url(host: str, port: int) -> str:
    """The URL of an address; one of IPv6 stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class ServeSpec(Spec):
    """Where and how wide the endpoint listens."""

    host: str = "127.0.0.1"
    """0.0.0.0 opens it to the network: put a proxy with authentication before it."""
    port: int = Field(default=8000, ge=1, le=65535)
    replicas: PositiveInt = 1
    cpus_per_replica: PositiveFloat = 1.0
    max_rows: PositiveInt = 1024
    """Rows that one request may carry."""
    packages: tuple[str, ...] = ()
    """Import names of packages that your serving image has beside Ringmaster's own; custom layers may need them."""
