"""`Gate`: whether a registered folder can be served, asked of a new interpreter that sees none of the job's files.

Used by a worker before the first epoch and by the driver before the alias moves. Starting it costs the import of
TensorFlow, so it is started before there is something to ask.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

TIMEOUT_S = 900.0
ROOT = Path(__file__).parents[1]
"""Holds our packages; needed where they came with a Ray job and are not installed."""
START = "import sys; sys.path.append(sys.argv.pop(1)); from deploy.gate import main; main()"


class Gate:
    """One process for one question; a context manager that ends it."""

    def __init__(self, packages: Sequence[str] = ()) -> None:
        """packages: what the serving image has beside our own requirements (serve.packages)."""
        self._folder = tempfile.TemporaryDirectory(prefix="ringmaster-gate-")
        self._verdict = Path(self._folder.name, "verdict.json")
        # -I: neither PYTHONPATH nor the working folder is searched for modules.
        flags = ["-I", *(["-B"] if sys.dont_write_bytecode else [])]
        command = [sys.executable, *flags, "-c", START, str(ROOT), str(self._verdict), json.dumps(list(packages))]
        # Without a GPU: those belong to the workers.
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with Path(self._folder.name, "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder.name,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def ask(self, folder: Path) -> None:
        """Name the folder; `problem` waits for the answer."""
        if self._process.stdin is None:  # pragma: no cover
            return
        try:
            self._process.stdin.write(f"{folder.absolute()}\n".encode())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it has died; `problem` says of what

    def problem(self) -> str | None:
        """Why the folder cannot be served; None where it can."""
        try:
            code = self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"it was not loaded within {TIMEOUT_S:g} s; look for code of its files that waits"
        if self._verdict.is_file():
            problem = json.loads(self._verdict.read_text(encoding="utf-8"))["problem"]
            return None if problem is None else str(problem)
        lines = Path(self._folder.name, "stderr").read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"the process that tried it ended with code {code}: {last}"

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()
        self._folder.cleanup()

    def __enter__(self) -> "Gate":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
