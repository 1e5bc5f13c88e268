"""Starts N rank processes of one file of cases and brings back what every case returned on every
rank.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainers.hvd.rendezvous import start_rendezvous

ROOT = Path(__file__).parents[3]
RANK_MAIN = Path(__file__).with_name("rank_main.py")


@dataclass
class Launch:
    """The end of N rank processes; `answers[rank][case]` is {"value": ...} or {"error": [type,
    message]}.
    """

    codes: list[int]
    answers: list[dict[str, Any]]
    stderr: list[str] = field(repr=False)

    def values(self, case: str) -> list[Any]:
        """Return what `case` returned, one value per rank; fails with the rank's own error where
        it raised.
        """
        for rank, answers in enumerate(self.answers):
            if "value" not in answers.get(case, {}):
                tail = self.stderr[rank][-3000:]
                raise AssertionError(f"{case} on rank {rank}: {answers.get(case)}, exit {self.codes}\n{tail}")
        return [answers[case]["value"] for answers in self.answers]

    def errors(self, case: str) -> list[tuple[str, str]]:
        """Return (type, message) of what `case` raised, one per rank."""
        return [tuple(answers[case]["error"]) for answers in self.answers]


def launch(cases: Path, ranks: int, *, only: str = "", timeout_s: float = 240.0, **variables: str) -> Launch:
    """Run the `case_*` functions of the file `cases` (or only the one named) on `ranks` processes
    of this machine.
    """
    rendezvous = start_rendezvous(["localhost"] * ranks, address="127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            _start(
                rank,
                [str(cases), f"{folder}/{rank}.json", only],
                rendezvous.environment(rank, "lo") | variables,
            )
            for rank in range(ranks)
        ]
        try:
            stderr = [_wait(process, timeout_s) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
            rendezvous.stop()
        paths = [Path(folder, f"{rank}.json") for rank in range(ranks)]
        answers = [json.loads(path.read_text()) if path.exists() else {} for path in paths]
    return Launch([process.returncode for process in processes], answers, stderr)


def _wait(process: subprocess.Popen[str], timeout_s: float) -> str:
    """Return the process's stderr; a process that hangs is killed, and its code says so."""
    try:
        return process.communicate(timeout=timeout_s)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[1]


def _start(rank: int, arguments: list[str], variables: dict[str, str]) -> subprocess.Popen[str]:
    quiet = {
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "tensorflow",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "2",
    }
    return subprocess.Popen(
        [sys.executable, str(RANK_MAIN), *arguments],
        env=os.environ | quiet | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
