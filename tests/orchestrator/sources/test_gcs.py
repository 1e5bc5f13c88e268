"""Files in a store that speaks Google's protocol, which the test starts: read, found by glob, and what is said where
they are not."""

import gzip
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

from orchestrator.sources import Loaded

Load = Callable[..., Loaded]
Problem = Callable[..., str]
Put = Callable[[str, bytes], None]


STORE = """
import sys
from gcp_storage_emulator.server import create_server
store = create_server("127.0.0.1", 0, in_memory=True, default_bucket="rows")
store.start()
print(*store._api._httpd.server_address, sep=":", flush=True)
sys.stdin.read()
store.stop()
"""
"""A process of its own, which ends with its standard input: pyarrow waits for an answer with Python's lock held."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The host and port of a store with a bucket `rows`."""
    pipe, quiet = subprocess.PIPE, subprocess.DEVNULL
    command = [sys.executable, "-c", STORE]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, text=True) as store:
        yield store.stdout.readline().strip() if store.stdout else ""
        store.communicate(timeout=30)


@pytest.fixture
def put(server: str) -> Put:
    """Return `put(name, content)` for the bucket `rows`, which is empty."""
    requests.get(f"http://{server}/wipe?keep-buckets=true", timeout=10)

    def upload(name: str, content: bytes) -> None:
        url = f"http://{server}/upload/storage/v1/b/rows/o?uploadType=media&name={quote(name, safe='')}"
        headers = {"Content-Type": "application/octet-stream"}
        requests.post(url, data=content, headers=headers, timeout=10).raise_for_status()

    return upload


@pytest.fixture
def at(server: str) -> Callable[[str], str]:
    """Return `at(path)`: the URL of a path in the store, which asks for no account."""
    return lambda path: f"gs://anonymous@{path}?scheme=http&endpoint_override={server}&retry_limit_seconds=3"


def test_files_folders_and_globs(put: Put, at: Callable[[str], str], load: Load) -> None:
    put("d/a.csv", b"x,y\n1,a\n")
    put("d/b.csv.gz", gzip.compress(b"x,y\n2,a\n"))
    for part in range(2):
        data = io.BytesIO()
        pq.write_table(pa.table({"x": [3.0 + part], "y": ["a"]}), data)
        put(f"p/year={part}/0.parquet", data.getvalue())
    assert load(files=at("rows/d/a.csv")).columns["x"].tolist() == [1]
    assert load(files=at("rows/d")).columns["x"].tolist() == [1, 2]
    assert load(files=at("rows/p")).columns["x"].tolist() == [3, 4]
    assert load(files=at("rows/p/year=0")).columns["x"].tolist() == [3]
    assert load(files=at("rows/p/*=1/*.parquet")).columns["x"].tolist() == [4]
    put("d/two words.csv", b"x,y\n9,a\n")
    assert load(files=at("rows/d/two words.csv")).columns["x"].tolist() == [9]
    assert load(files=at("rows/d/?.csv")).columns["x"].tolist() == [1]


def test_what_is_not_there(put: Put, at: Callable[[str], str], problem: Problem) -> None:
    put("a.csv", b"x,z\n1,a\n")
    assert problem(files=at("rows/a.csv")).endswith("rows/a.csv has no column 'y'; it has 'x', 'z'")
    for place in ("rows/b.csv", "rows/*.parquet", "cows/a.csv"):
        assert problem(files=at(place)) == f"data.files={at(place)}: no such file, folder or match; correct it"


def test_a_file_that_is_cut_off(put: Put, at: Callable[[str], str], problem: Problem) -> None:
    put("a.csv.gz", gzip.compress(b"x,y\n2,a\n")[:-9])
    text = problem(files=at("rows/a.csv.gz"))
    assert "rows/a.csv.gz: cannot be read as CSV: Truncated compressed stream; copy it again" in text
