"""What a command refuses, as the user sees it: one line and an exit code; the results of commands that need no Ray."""

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.cli import main

Ask = Callable[..., SimpleNamespace]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Return `ask(*arguments)`: runs the command in a folder of its own, without a terminal; gives code, out, err."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").write_text("")

    def run(*arguments: str) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["ringmaster", *arguments])
        with (tmp_path / "nothing").open() as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            with pytest.raises(SystemExit) as ended:
                main()
        captured = capfd.readouterr()
        return SimpleNamespace(code=ended.value.code, out=captured.out, err=captured.err)

    return run


def make_runs(folder: Path) -> None:
    (folder / "checkpoints" / "small-1").mkdir(parents=True)
    (folder / "mlflow.db").write_text("")
    for name in ("artifacts", "autotune", "logs", "stream"):
        (folder / name).mkdir()


def test_clean_removes_what_jobs_wrote(ask: Ask, tmp_path: Path) -> None:
    make_runs(tmp_path / "runs")
    done = ask("clean", "--folder", "runs", "--yes", "--json")
    expected = {"folder": str(tmp_path / "runs"), "message": f"removed {tmp_path / 'runs'}"}
    assert (done.code, json.loads(done.out), done.err) == (0, expected, "")
    assert not (tmp_path / "runs").exists()
    assert ask("clean", "--folder", "runs").out == f"{tmp_path / 'runs'} does not exist; nothing to remove\n"


def test_clean_asks_and_says_how_to_answer_where_nobody_can(ask: Ask, tmp_path: Path) -> None:
    make_runs(tmp_path / "runs")
    done = ask("clean", "--folder", "runs")
    assert (done.code, done.out) == (1, "")
    question, line = done.err.splitlines()
    assert question.startswith(f"Remove {tmp_path / 'runs'} with all runs and models in it? [y/n]")
    assert line == "error: there is no terminal to answer on; add --yes to remove the folder unasked"
    assert (tmp_path / "runs" / "mlflow.db").exists()


def test_clean_removes_nothing_of_others(ask: Ask, tmp_path: Path) -> None:
    make_runs(tmp_path / "mixed")
    (tmp_path / "mixed" / "thesis.tex").write_text("")
    (tmp_path / "other" / "logs").mkdir(parents=True)
    make_runs(tmp_path / "runs")
    (tmp_path / "link").symlink_to("runs")
    for name, problem in {
        "mixed": "holds thesis.tex, which Ringmaster did not write; remove it yourself",
        "other": "holds no run; if it is the right one, remove it yourself",
        "nothing": "is a file; name the folder that jobs write to",
        "link": "is a link; name the folder that jobs write to",
    }.items():
        done = ask("clean", "--folder", name, "--yes")
        assert (done.code, done.out, done.err) == (1, "", f"error: --folder {name} {problem}\n")
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["deploy", "small", "--port", "0"], "Invalid value for '--port': Input should be greater than or equal to 1"),
        (["dashboard", "--port", "70000"], "Invalid value for '--port': Input should be less than or equal to 65535"),
        (
            ["deploy", "small", "--replicas", "0"],
            "Invalid value for '--replicas': Input should be greater than or equal to 1",
        ),
        (["trian"], "No such command 'trian'. Did you mean 'train'?"),
    ],
)
def test_wrong_arguments(ask: Ask, arguments: list[str], expected: str) -> None:
    done = ask(*arguments)
    assert (done.code, done.out, done.err) == (2, "", f"error: {expected}\n")


def test_the_schema_is_one_json_object(ask: Ask) -> None:
    done = ask("schema", "--json")
    assert (done.code, done.err, done.out.count("\n")) == (0, "", 1)
    assert "train" in json.loads(done.out)["properties"]


def test_a_full_disk_is_one_line(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/runs/file")

    monkeypatch.setattr("orchestrator.cli.load_spec", fill)
    done = ask("train", "job.yaml")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: no space is left on the disk of /runs/file; free some, or use another\n"
