"""A container may use less than its machine has."""

from pathlib import Path

import pytest

from orchestrator import limits
from orchestrator.limits import cpu_count, free_memory


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)


def test_memory_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    machine = free_memory()
    assert machine > 10**6
    write(tmp_path, memory_max="max\n", memory_current="1000\n", memory_stat="anon 5\ninactive_file 600\n")
    assert free_memory() > 10**6
    write(tmp_path, memory_max="50000\n")
    assert free_memory() == 49600 < machine
    write(tmp_path, memory_current="90000\n")
    assert free_memory() == 0


def test_cpus_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CGROUP", tmp_path)
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda pid: set(range(8)))
    assert cpu_count() == 8
    for text, expected in (("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("1600000 100000", 8)):
        write(tmp_path, cpu_max=text)
        assert cpu_count() == expected
