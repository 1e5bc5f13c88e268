"""Rows per second from files into the batches of a training worker, beside tf.data and Ray Data.

    python -m benchmarks.ingest

A wide CSV file (200 numbers), a Parquet table (40 numbers) and a folder of JPEGs (64 x 64). Every way reads the files
once, standardises and gives float32 batches of 256 rows, in a process of its own. Not counted: the start of Python,
TensorFlow and Ray, and learning means and deviations, which all ways are given. tf.data is written as its guide
advises: vectorised decoding, parallel maps, prefetch. Rounds alternate. Prints one JSON line; `ratio` is the median
over the rounds of our rows per second over those of the faster other way.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

BATCH = 256
CSV_COLUMNS, PARQUET_COLUMNS, PIXELS = 200, 40, 64
WAYS = ("ringmaster", "tf_data", "ray_data")
KINDS = ("csv", "parquet", "jpeg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv-rows", type=int, default=50_000)
    parser.add_argument("--parquet-rows", type=int, default=1_000_000)
    parser.add_argument("--jpegs", type=int, default=4_000)
    parser.add_argument("--way", choices=WAYS, help="run one way on a folder")
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments.way, arguments.kind, arguments.folder)))
        return
    line: dict[str, Any] = {"benchmark": "ingest", "rounds": arguments.rounds, "batch_rows": BATCH}
    rows = {"csv": arguments.csv_rows, "parquet": arguments.parquet_rows, "jpeg": arguments.jpegs}
    with tempfile.TemporaryDirectory(prefix="ringmaster-ingest-") as name:
        folder = Path(name)
        for kind in KINDS:
            WRITERS[kind](folder, rows[kind])
            rounds = [{way: run(way, kind, folder) for way in WAYS} for _ in range(arguments.rounds)]
            speeds = {way: round(statistics.median(one[way] for one in rounds)) for way in WAYS}
            ratios = [one["ringmaster"] / max(one["tf_data"], one["ray_data"]) for one in rounds]
            line[kind] = {"rows": rows[kind], "rows_per_s": speeds, "ratio": round(statistics.median(ratios), 3)}
    print(json.dumps(line))


def run(way: str, kind: str, folder: Path) -> float:
    """Rows per second of one way, in a new process."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--way", way, "--kind", kind, "--folder", str(folder)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(json.loads(done.stdout.splitlines()[-1]))


def write_csv(folder: Path, rows: int) -> None:
    draw = np.random.default_rng(0).normal(size=(rows, CSV_COLUMNS)).round(5)
    columns = {f"n{number}": draw[:, number] for number in range(CSV_COLUMNS)}
    pa.csv.write_csv(pa.table({**columns, "label": np.arange(rows) % 2}), folder / "rows.csv")


def write_parquet(folder: Path, rows: int) -> None:
    draw = np.random.default_rng(0).normal(size=(rows, PARQUET_COLUMNS)).astype(np.float32)
    columns = {f"n{number}": draw[:, number] for number in range(PARQUET_COLUMNS)}
    table = pa.table({**columns, "label": np.arange(rows) % 2})
    pa.parquet.write_table(table, folder / "rows.parquet", row_group_size=100_000)


def write_jpegs(folder: Path, rows: int) -> None:
    from PIL import Image

    draw = np.random.default_rng(0)
    for label in ("a", "b"):
        (folder / "jpeg" / label).mkdir(parents=True)
        for number in range(rows // 2):
            coarse = Image.fromarray(draw.integers(0, 255, (8, 8, 3), np.uint8))
            coarse.resize((PIXELS, PIXELS)).save(folder / "jpeg" / label / f"{number:05}.jpg", quality=90)


WRITERS: dict[str, Callable[[Path, int], None]] = {"csv": write_csv, "parquet": write_parquet, "jpeg": write_jpegs}


def measure(way: str, kind: str, folder: Path) -> float:
    """Rows per second from the files to the last batch."""
    if way == "ray_data":
        import ray

        ray.init(num_cpus=os.cpu_count(), log_to_driver=False, object_store_memory=2 * 2**30, include_dashboard=False)
    import tensorflow as tf

    import orchestrator.datasets  # noqa: F401
    import trainers.data  # noqa: F401

    tf.constant(0.0)  # TensorFlow's own start is not counted, nor are imports
    batches = {"ringmaster": ringmaster_batches, "tf_data": tf_data_batches, "ray_data": ray_data_batches}[way]
    start_s = time.perf_counter()
    rows = sum(int(label.shape[0]) for _, label in batches(kind, folder))
    return rows / (time.perf_counter() - start_s)


def ringmaster_batches(kind: str, folder: Path) -> Iterator[Any]:
    """The path of a job: read, transform, and a rank's batches of one epoch."""
    from configs.job import JobSpec
    from configs.preprocessing import Preprocessing
    from orchestrator.sources import load_columns
    from trainers.data import steps_per_epoch, training_dataset
    from trainers.job import Split

    spec = JobSpec.model_validate(job(kind, folder))
    columns = load_columns(spec).columns
    some = np.random.default_rng(0).permutation(len(columns["label"]))[:1000]
    fitted = Preprocessing.fit({name: values[some] for name, values in columns.items()}, spec.data)
    inputs, later = fitted.transform_most(columns)
    split = Split(inputs, fitted.target.encode(columns["label"]), deferred=later)
    dataset = training_dataset(split, global_batch_rows=BATCH, rank=0, size=1, seed=0, first_epoch=0)
    for x, label, _ in dataset.take(steps_per_epoch(len(split), BATCH)):
        yield x, label


def job(kind: str, folder: Path) -> dict[str, Any]:
    """The job that reads the files."""
    count = {"csv": CSV_COLUMNS, "parquet": PARQUET_COLUMNS}.get(kind, 0)
    files = {"csv": "rows.csv", "parquet": "rows.parquet", "jpeg": "jpeg"}[kind]
    features: dict[str, Any] = {f"n{number}": "number" for number in range(count)} or {"image": "image"}
    data = {"files": str(folder / files), "features": features, "target": {"column": "label"}}
    return {
        "name": "ingest",
        "data": data | ({"format": "images"} if kind == "jpeg" else {}),
        "model": {"function": "trainers.zoo.mlp:build"},
        "train": {"epochs": 1, "global_batch_rows": BATCH},
    }


def tf_data_batches(kind: str, folder: Path) -> Any:
    """What the guide to tf.data's performance advises for each kind."""
    import tensorflow as tf

    parallel = tf.data.AUTOTUNE
    if kind == "csv":
        defaults = [tf.float32] * CSV_COLUMNS + [tf.int32]

        def decode(lines: Any) -> Any:
            columns = tf.io.decode_csv(lines, [tf.constant([], kind) for kind in defaults])
            return (tf.stack(columns[:-1], axis=1) - 0.0) / 1.0, columns[-1]

        lines = tf.data.TextLineDataset(str(folder / "rows.csv")).skip(1)
        return lines.shuffle(10_000).batch(BATCH).map(decode, num_parallel_calls=parallel).prefetch(parallel)
    if kind == "parquet":
        table = pa.parquet.read_table(folder / "rows.parquet")
        values = np.stack([table[f"n{number}"].to_numpy() for number in range(PARQUET_COLUMNS)], axis=1)
        rows = tf.data.Dataset.from_tensor_slices((values, table["label"].to_numpy()))
        scaled = rows.shuffle(10_000).batch(BATCH)
        return scaled.map(lambda x, y: ((x - 0.0) / 1.0, y), num_parallel_calls=parallel).prefetch(parallel)

    def load(path: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.cast(image, tf.float32) / 255.0, tf.strings.split(path, "/")[-2] == "b"

    paths = tf.data.Dataset.list_files(str(folder / "jpeg" / "*" / "*.jpg"), shuffle=True, seed=0)
    return paths.map(load, num_parallel_calls=parallel).batch(BATCH).prefetch(parallel)


def ray_data_batches(kind: str, folder: Path) -> Iterator[Any]:
    """read_* and iter_tf_batches, with its local shuffle."""
    import ray
    import tensorflow as tf

    if kind == "jpeg":
        images = ray.data.read_images(str(folder / "jpeg"), include_paths=True)
        for batch in images.iter_tf_batches(batch_size=BATCH, local_shuffle_buffer_size=1_000):
            yield tf.cast(batch["image"], tf.float32) / 255.0, batch["path"]
        return
    read = {"csv": ray.data.read_csv, "parquet": ray.data.read_parquet}[kind]
    count = {"csv": CSV_COLUMNS, "parquet": PARQUET_COLUMNS}[kind]
    rows = read(str(folder / f"rows.{kind}"))
    for batch in rows.iter_tf_batches(batch_size=BATCH, local_shuffle_buffer_size=10_000):
        columns = [tf.cast(batch[f"n{number}"], tf.float32) for number in range(count)]
        yield (tf.stack(columns, axis=1) - 0.0) / 1.0, batch["label"]


if __name__ == "__main__":
    main()
