"""`ringmaster dashboard`: MLflow's own server on the store of the jobs, for the length of the command."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from configs.errors import TrackingError
from configs.serve import http_url
from orchestrator.serving import require_free_port
from orchestrator.tracking import connect_existing

START_TIMEOUT_S = 60.0


def serve_dashboard(
    folder: Path,
    uri: str | None,
    *,
    host: str,
    port: int,
    verbose: bool,
    announce: Callable[[str], None],
) -> None:
    """Serve until Ctrl-C. Raises TrackingError when there is nothing to show, DeployError when the port is taken."""
    store = connect_existing(uri, folder)
    url = http_url(host, port)
    if store.startswith(("http://", "https://")):
        announce(store)  # a server shows its own pages
        return
    require_free_port(host, port, option="--port")
    # By module, and with this interpreter's folder first: the server starts `uvicorn` by name.
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    command += ["--workers", "1"]  # the store by its variable: a command line is there for all to see
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    quiet = None if verbose else subprocess.DEVNULL
    server = subprocess.Popen(
        command, env={**os.environ, "PATH": path, "MLFLOW_BACKEND_STORE_URI": store}, stdout=quiet, stderr=quiet
    )
    try:
        _wait_until_up(server, url)
        announce(url)
        server.wait()
    except KeyboardInterrupt:
        pass  # the usual end
    finally:
        server.terminate()
        server.wait()


def _wait_until_up(server: "subprocess.Popen[bytes]", url: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # http_proxy is not for this machine
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if server.poll() is not None:
            raise TrackingError(f"MLflow's server ended with code {server.returncode}; see why with --verbose")
        try:
            direct.open(f"{url}/health", timeout=1).close()
            return
        except (HTTPException, OSError):  # not up yet, or in the middle of starting
            time.sleep(0.2)
    raise TrackingError(
        f"MLflow's server did not answer at {url} within {START_TIMEOUT_S:g} s; see why with --verbose"
    )
