"""A cluster whose nodes talk to each other by TLS: Ray's own variables pass through to nodes, jobs and drivers."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator.session import processes_with

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

ROOT = Path(__file__).parents[2]
PORT, DASHBOARD = 26379, 28265


def test_jobs_and_drivers_on_a_cluster_with_tls(authority: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="rm-") as name:  # short, for the paths of Ray's sockets
        folder = Path(name)
        variables = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_"))}
        variables |= {"HOME": name, "TMPDIR": name, "PYTHONPATH": str(ROOT)}
        tls = {"SERVER_CERT": "server.pem", "SERVER_KEY": "server.key", "CA_CERT": "ca.pem"}
        tls = {f"RAY_TLS_{key}": str(authority / file) for key, file in tls.items()} | {"RAY_USE_TLS": "1"}

        def ringmaster(*arguments: str, code: int = 0, **others: str) -> str:
            command = [sys.executable, "-m", "orchestrator", *arguments]
            environment = {**variables, **tls, **others}
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
            )
            assert done.returncode == code, done.stderr
            return done.stdout if code == 0 else done.stderr

        options = ("--nodes", "2", "--cpus-per-node", "1", "--port", str(PORT), "--dashboard-port", str(DASHBOARD))
        runs = ("--folder", f"{folder}/runs")
        job = ("digits", "train.epochs=1", f"folder={folder}/runs")
        try:
            ringmaster("cluster", "up", *options)
            ringmaster("submit", *job, "--address", f"http://127.0.0.1:{DASHBOARD}", "--id", "first")
            ringmaster("wait", "first", *runs)
            assert "rank 1 runs on" in ringmaster("logs", "first", *runs)
            joined = ("train", *job, f"cluster.address=127.0.0.1:{PORT}")
            assert "registered digits@champion (version 2)" in ringmaster(*joined)
            assert "and that RAY_USE_TLS is set here as it is there" in ringmaster(*joined, code=1, RAY_USE_TLS="0")
        finally:
            ringmaster("cluster", "down")
        assert processes_with("RINGMASTER_CLUSTER", str(folder / f"ringmaster-cluster-{os.getuid()}")) == []
