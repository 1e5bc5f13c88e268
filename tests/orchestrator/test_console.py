"""What a person reads: progress per epoch, the result, the findings; other libraries' chatter goes to a file."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from configs.job import JobSpec
from orchestrator import console
from orchestrator.doctor import Finding

Make = Callable[..., JobSpec]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What both streams of a program without a terminal get."""
    text = io.StringIO()
    for name in ("out", "err"):
        monkeypatch.setattr(console, name, Console(file=text, highlight=False, soft_wrap=True, width=200))
    yield text


def test_a_line_per_epoch_and_worker(small_job: Make, written: io.StringIO) -> None:
    view = console.TrainingView(small_job("train.epochs=10"))
    metrics = {"loss": 0.51239, "val_loss": 1.0, "epoch": 3, "samples_per_s": 12345.6, "weights_sha256": "abc"}
    with view.watching():
        view({"kind": "worker", "rank": 1, "host": "node1", "pid": 7})
        view({"kind": "step", "epoch": 3, "step": 1, "steps": 4, "samples_per_s": 5.0, "metrics": {"loss": 1.0}})
        view({"kind": "epoch", "metrics": metrics, "checkpoint": None, "workers": 2})
        view({"kind": "failure", "ranks": [0, 1]})
    lines = [line for line in written.getvalue().splitlines() if line.strip()]
    assert lines == [
        "  starting Ray and the workers",
        "  rank 1 runs on node1 (process 7)",
        "  epoch  3/10    12,346 samples/s  loss 0.5124  val_loss 1.0000",
        "  lost rank 0, 1",
    ]
    assert metrics["epoch"] == 3, "the event belongs to others too"


def test_on_a_terminal_the_live_line_shows_no_chatter(
    small_job: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = io.StringIO()
    monkeypatch.setattr(console, "err", Console(file=text, force_terminal=True, width=200))
    with console.TrainingView(small_job()).watching():
        print("chatter on stdout")  # noqa: T201
        print("chatter on stderr", file=sys.stderr)  # noqa: T201
    assert "chatter" not in text.getvalue()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("chatter on stdout\n", "chatter on stderr\n")


def test_the_result(written: io.StringIO) -> None:
    result = SimpleNamespace(
        best_epoch=2,
        epochs=3,
        metrics={"val_loss": 0.25},
        weights_sha256="0123456789abcdef0123",
        ranks=("rank 0 on a", "rank 1 on b"),
        reference="small@champion",
        version=4,
        run_id="r1",
    )
    console.show_result(result)
    assert written.getvalue().splitlines() == [
        "best epoch 2 of 3: val_loss 0.2500",
        "weights proven equal: sha256 0123456789abcdef... on rank 0 on a, rank 1 on b",
        "registered small@champion (version 4), MLflow run r1",
    ]


def test_answers_beside_the_truth(written: io.StringIO) -> None:
    console.show_answers(SimpleNamespace(url="http://x", answers=[3, 8], scores=[0.5, 1.0], truth=[3, 5]))
    rows = [line.split() for line in written.getvalue().splitlines()]
    assert ["1", "3", "0.500", "3"] in rows
    assert ["2", "8", "1.000", "5", "(wrong)"] in rows


def test_findings_and_errors_are_no_markup(written: io.StringIO) -> None:
    findings = [Finding("gpus", "ok", "[none]"), Finding("keras", "wrong", "not installed", "install '.[train-cpu]'")]
    console.show_findings(findings)
    console.fail("column '[red]' is missing")
    assert written.getvalue().splitlines() == [
        "ok    gpus: [none]",
        "wrong keras: not installed -> install '.[train-cpu]'",
        "error: column '[red]' is missing",
    ]


def test_where_to_look(small_job: Make, written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.shutil, "which", lambda name: f"/bin/{name}")
    console.show_dashboard(small_job())
    console.show_dashboard(small_job("folder=elsewhere"))
    monkeypatch.setattr(console.shutil, "which", lambda name: None)
    monkeypatch.setattr(console.sys, "executable", str(Path(".venv/bin/python").absolute()))
    console.show_dashboard(small_job())
    assert written.getvalue().splitlines() == [
        "see it in MLflow: ringmaster dashboard",
        "see it in MLflow: ringmaster dashboard --folder elsewhere",
        "see it in MLflow: .venv/bin/ringmaster dashboard",
    ]


def test_chatter_goes_to_the_log_and_our_lines_do_not(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what is written past Python, to the file descriptors."""
    monkeypatch.setattr(console, "_log_folder", [])
    console.keep_log(tmp_path)
    with console.quiet():
        os.write(1, b"chatter of a library\n")
        os.write(2, b"more of it\n")
        console.out.print("a result")
        console.err.print("an error")
    os.write(1, b"after\n")
    captured: Any = capfd.readouterr()
    assert captured.out == "a result\nafter\n"
    assert captured.err == "an error\n"
    assert (tmp_path / "logs" / "driver.log").read_text() == "chatter of a library\nmore of it\n"


def test_a_log_that_cannot_be_written_hides_no_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    console.keep_log(tmp_path)
    with pytest.raises(ValueError, match="the cause"), console.quiet():
        os.write(1, b"chatter")
        raise ValueError("the cause")


def test_a_folder_that_no_job_made_gets_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_log_folder", [])
    console.keep_log(tmp_path / "none")
    with console.quiet():
        os.write(1, b"chatter\n")
    assert list(tmp_path.iterdir()) == []
