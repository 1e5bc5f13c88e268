"""Files in an S3-compatible store that the test starts: read, found by glob, and what is said where they are not."""

import gzip
import io
import socket
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from PIL import Image

from orchestrator.sources import Loaded

Load = Callable[..., Loaded]
Problem = Callable[..., str]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a store with a bucket `rows`."""
    moto = pytest.importorskip("moto.server", reason="moto's server needs flask and flask-cors")
    thread = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    thread.start()
    host, port = thread.get_host_and_port()
    yield f"http://{host}:{port}"
    thread.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bytes], None]]:
    """Return `put(key, content)` for the bucket `rows`, which is all that the test's process knows of S3."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ada")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    requests.post(f"{server}/moto-api/reset", timeout=10)
    client: Any = boto3.client("s3")
    client.create_bucket(Bucket="rows")
    yield lambda key, content: client.put_object(Bucket="rows", Key=key, Body=content)
    client.close()


def parquet(rows: range) -> bytes:
    data = io.BytesIO()
    pq.write_table(pa.table({"x": np.array(rows, float), "y": ["a"] * len(rows)}), data)
    return data.getvalue()


def test_files_folders_and_globs(bucket: Callable[[str, bytes], None], load: Load) -> None:
    bucket("d/a.csv", b"x,y\n1,a\n")
    bucket("d/b.csv.gz", gzip.compress(b"x,y\n2,a\n"))
    bucket("p/year=2024/0.parquet", parquet(range(3, 6)))
    bucket("p/year=2025/0.parquet", parquet(range(6, 9)))
    assert load(files="s3://rows/d/a.csv").columns["x"].tolist() == [1]
    assert load(csv="s3://rows/d/a.csv").columns["x"].tolist() == [1]
    assert load(files="s3://rows/d/").columns["x"].tolist() == [1, 2]
    assert load(files="s3://rows/p/year=2024").columns["x"].tolist() == [3, 4, 5]
    assert load(files="s3://rows/p").columns["x"].tolist() == [3, 4, 5, 6, 7, 8]
    bucket("d/two words.csv", b"x,y\n9,a\n")
    assert load(files="s3://rows/d/?.csv").columns["x"].tolist() == [1]
    assert load(files="s3://rows/d/two words.csv").columns["x"].tolist() == [9]
    rows = load(files="s3://rows/p/*2024/*.parquet", test_files="s3://rows/p/**/*.parquet")
    assert rows.parts == {"train": 3, "test": 6}


def test_paths_of_pictures(bucket: Callable[[str, bytes], None], load: Load) -> None:
    data = io.BytesIO()
    Image.new("RGB", (3, 2), (7, 0, 0)).save(data, "PNG")
    bucket("d/pics/1.png", data.getvalue())
    bucket("d/rows.csv", b"x,y\npics/1.png,a\ns3://rows/d/pics/1.png,b\n")
    rows = load(files="s3://rows/d/rows.csv", features={"x": "image"})
    assert rows.columns["x"][:, 0, 0].tolist() == [[7, 0, 0]] * 2


def test_what_is_not_there(bucket: Callable[[str, bytes], None], problem: Problem) -> None:
    bucket("a.csv", b"x,z\n1,a\n")
    assert problem(files="s3://rows/a.csv") == "s3://rows/a.csv has no column 'y'; it has 'x', 'z'"
    for place in ("s3://rows/b.csv", "s3://rows/*.parquet", "s3://cows/a.csv"):
        assert problem(files=place) == f"data.files={place}: no such file, folder or match; correct it"


def test_a_file_that_is_cut_off(bucket: Callable[[str, bytes], None], problem: Problem) -> None:
    bucket("a.parquet", parquet(range(9))[:-9])
    bucket("a.csv.gz", gzip.compress(b"x,y\n2,a\n")[:-9])
    assert problem(files="s3://rows/a.parquet").startswith("s3://rows/a.parquet: cannot be read as Parquet: ")
    assert problem(files="s3://rows/a.csv.gz") == (
        "s3://rows/a.csv.gz: cannot be read as CSV: Truncated compressed stream; copy it again, or correct its name "
        "if it is not compressed"
    )


@pytest.mark.parametrize("known", [True, False], ids=["wrong credentials", "no credentials"])
def test_access_denied(
    bucket: Callable[[str, bytes], None], server: str, problem: Problem, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    bucket("a.csv", b"x,y\n1,a\n")
    if not known:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "none")
        monkeypatch.setenv("AWS_CONFIG_FILE", "none")
    requests.post(f"{server}/moto-api/reset-auth", data="0", timeout=10)  # from now on, accounts have to exist
    try:
        text = problem(files="s3://rows/a.csv")
    finally:
        requests.post(f"{server}/moto-api/reset-auth", data="inf", timeout=10)
    assert text.startswith(
        "data.files=s3://rows/a.csv: access is denied; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
        "AWS_PROFILE, for an account that may read it ("
    )
    assert "secret" not in text.replace("AWS_SECRET_ACCESS_KEY", "").lower()


@pytest.mark.slow
def test_a_server_that_does_not_answer(
    bucket: Callable[[str, bytes], None], problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        text = problem(files="s3://rows/a.csv")
    assert text.startswith("data.files=s3://rows/a.csv: cannot be reached: ")
    assert "Could not connect to server" in text


def test_hdfs_without_its_library(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JAVA_HOME", "HADOOP_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert problem(files="hdfs://localhost:1/a.csv").startswith(
        "data.files=hdfs://localhost:1/a.csv: cannot be reached: Unable to load lib"
    )
