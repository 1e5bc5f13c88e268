"""Data larger than memory: a job whose input is generated on disk, streamed through its worker.

    python -m benchmarks.stream --gb 20

The input is a folder of Parquet files with 100 columns of random numbers. A whole job runs on it: rows are counted,
preprocessing is learned, rows are stored as the model sees them, and a small network takes one pass over them. Prints
one JSON line: seconds of each pass, rows per second of the training, and the peak memory (resident, with the pages of
mapped files) of the training worker, of the largest task that prepares rows, and of the driver. Takes as much disk as
twice the input.
"""

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet

from configs.job import JobSpec
from orchestrator import run
from orchestrator.memory import size_shown

COLUMNS = 100
FILE_ROWS = 400_000
GROUP_ROWS = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gb", type=float, default=20.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where there is room")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ringmaster-stream-", dir=arguments.folder) as name:
        folder = Path(name)
        size, rows = write(folder / "rows", int(arguments.gb * 1e9))
        print(f"wrote {size_shown(size)} in {rows:,} rows", flush=True)
        print(json.dumps(measure(folder, size, rows, arguments.workers)))


def write(folder: Path, size: int) -> tuple[int, int]:
    """Files of at least so many bytes; (bytes, rows)."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    written = files = 0
    while written < size:
        values = draw.standard_normal((COLUMNS, FILE_ROWS), np.float32)
        columns = {f"n{number}": column for number, column in enumerate(values)}
        table = pa.table({**columns, "label": (values[0] > values[1]).astype(np.int64)})
        path = folder / f"{files:05}.parquet"
        pa.parquet.write_table(table, path, row_group_size=GROUP_ROWS, use_dictionary=False, compression="none")
        written, files = written + path.stat().st_size, files + 1
    return written, files * FILE_ROWS


def measure(folder: Path, size: int, rows: int, workers: int) -> dict[str, Any]:
    """Run the job."""
    spec = JobSpec.model_validate(
        {
            "name": "stream",
            "folder": str(folder / "runs"),
            "data": {
                "files": str(folder / "rows"),
                "loading": "streaming",
                "features": {f"n{number}": "number" for number in range(COLUMNS)},
                "target": {"column": "label"},
                "split": {"valid": 0},
            },
            "model": {"function": "trainers.zoo.mlp:build", "params": {"hidden": [16]}},
            "train": {
                "epochs": 1,
                "global_batch_rows": 8192,
                "optimizer": "adam",
                "loss": "binary_crossentropy",
                "metrics": ["accuracy"],
            },
            "cluster": {"workers": workers},
        }
    )
    times: list[float] = []
    seen: dict[str, list[Any]] = {"worker": [], "epoch": []}

    def on_event(event: dict[str, Any]) -> None:
        if event["kind"] == "note" and len(times) < 4:  # how rows are loaded, then the beginning of each pass
            times.append(time.perf_counter())
        elif event["kind"] == "run":
            times.append(time.perf_counter())
        seen.get(event["kind"], []).append(event)

    with peaks() as peak:
        result = run(spec, on_event=on_event)
    worker_pids = {event["pid"] for event in seen["worker"]}
    tasks = [value for (pid, name), value in peak.items() if pid not in worker_pids and name.startswith("ray::")]
    passes = dict(zip(("count_s", "learn_s", "store_s"), np.diff(times[1:5]).round(1).tolist(), strict=True))
    return {
        "benchmark": "stream",
        "gb": round(size / 1e9, 2),
        "rows": rows,
        "workers": workers,
        **passes,
        "rows_per_s": round(seen["epoch"][0]["metrics"]["samples_per_s"]),
        "accuracy": round(result.metrics["accuracy"], 4),
        "worker_peak_mb": round(max(value for (pid, _), value in peak.items() if pid in worker_pids)),
        "task_peak_mb": round(max(tasks)),
        "driver_peak_mb": round(peak[psutil.Process().pid, "driver"]),
    }


@contextmanager
def peaks() -> Iterator[dict[tuple[int, str], float]]:
    """(process, name) -> its largest resident memory in MB, of this process and those below it."""
    found: dict[tuple[int, str], float] = {}
    ended = threading.Event()
    me = psutil.Process()

    def look() -> None:
        while not ended.wait(0.5):
            found[me.pid, "driver"] = high_water_mb(me.pid)
            for process in me.children(recursive=True):
                with suppress(psutil.Error, OSError):
                    name = (process.cmdline() or [""])[0]
                    found[process.pid, name] = high_water_mb(process.pid)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def high_water_mb(pid: int) -> float:
    """The kernel's own account of a process's largest resident memory."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
