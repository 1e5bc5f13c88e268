"""Fitting the preprocessing of 10 million rows x 20 columns, against pandas and scikit-learn on the same file.

    python -m benchmarks.fit

Both read the same Parquet file and learn the same: medians, means and deviations of 14 number columns, the values of 6
text columns. Each runs in a process of its own, so that its peak memory is seen. Prints one JSON line; `ratio` is the
median over the rounds of scikit-learn's seconds over ours.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

NUMBERS, TEXTS = 14, 6
BLOCK_ROWS = 250_000
WAYS = ("ringmaster", "sklearn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--file", type=Path, help="run one way on this file")
    parser.add_argument("--way", choices=WAYS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments.way, arguments.file)))
        return
    with tempfile.TemporaryDirectory(prefix="ringmaster-fit-") as folder:
        file = Path(folder) / "rows.parquet"
        write(file, arguments.rows)
        rounds = [{way: run(way, file) for way in WAYS} for _ in range(arguments.rounds)]
    line = {
        "benchmark": "fit",
        "rows": arguments.rows,
        "columns": NUMBERS + TEXTS,
        "rounds": arguments.rounds,
        "ratio": round(statistics.median(one["sklearn"]["s"] / one["ringmaster"]["s"] for one in rounds), 3),
    }
    for way in WAYS:
        line[f"{way}_s"] = round(statistics.median(one[way]["s"] for one in rounds), 2)
        line[f"{way}_peak_mb"] = round(max(one[way]["peak_mb"] for one in rounds))
    print(json.dumps(line))


def run(way: str, file: Path) -> dict[str, float]:
    """Seconds and peak memory of one way, in a new process."""
    command = [sys.executable, "-m", "benchmarks.fit", "--way", way, "--file", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def write(file: Path, rows: int) -> None:
    """A table with holes, long tails and texts of 3 to 3,000 distinct values."""
    draw = np.random.default_rng(0)
    schema = _block(draw, 1).schema
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, rows, BLOCK_ROWS):
            writer.write_table(_block(draw, min(BLOCK_ROWS, rows - start)))


def _block(draw: np.random.Generator, rows: int) -> pa.Table:
    columns: dict[str, pa.Array] = {}
    for number in range(NUMBERS):
        values = draw.lognormal(size=rows) if number % 2 else draw.normal(50, 10, rows)
        columns[f"n{number}"] = pa.array(values, mask=draw.random(rows) < 0.02 * (number % 3))
    for number in range(TEXTS):
        distinct = 3 * 4**number
        codes = pa.array(draw.zipf(1.5, rows) % distinct, pa.int32())
        values = pa.DictionaryArray.from_arrays(codes, [f"value {code}" for code in range(distinct)])
        columns[f"t{number}"] = values.cast(pa.string())
    return pa.table({**columns, "label": pa.array(draw.integers(0, 2, rows))})


def measure(way: str, file: Path) -> dict[str, float]:
    """Seconds of reading and fitting, and the process's peak memory."""
    fit = {"ringmaster": fit_ringmaster, "sklearn": fit_sklearn}[way](file)
    return {"s": fit, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def fit_ringmaster(file: Path) -> float:
    from configs.data import DataSpec
    from configs.preprocessing import Fitter
    from orchestrator.sources import parquet_files
    from orchestrator.sources.blocks import BadRows, Reading
    from orchestrator.sources.places import local_file

    numbers = {f"n{number}": {"kind": "number", "fill": "median"} for number in range(NUMBERS)}
    texts = {f"t{number}": {"kind": "category"} for number in range(TEXTS)}
    spec = DataSpec.model_validate(
        {"files": str(file), "features": {**numbers, **texts}, "target": {"column": "label"}}
    )
    start_s = time.perf_counter()
    fitter = Fitter(spec)
    for block in parquet_files.blocks([local_file(file)], Reading.of(spec, BadRows(), whole=False)):
        fitter.update(block.columns)
    fitter.finish()
    return time.perf_counter() - start_s


def fit_sklearn(file: Path) -> float:
    import pandas as pd
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    fitter = ColumnTransformer(
        [
            ("numbers", numbers, [f"n{number}" for number in range(NUMBERS)]),
            ("texts", texts, [f"t{number}" for number in range(TEXTS)]),
        ]
    )
    start_s = time.perf_counter()
    fitter.fit(pd.read_parquet(file))
    return time.perf_counter() - start_s


if __name__ == "__main__":
    main()
