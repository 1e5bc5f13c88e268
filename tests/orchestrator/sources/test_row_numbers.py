"""A row has one number, whatever reads it: what could be a row is counted from 1, in memory as in blocks."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.source import ReadSpec
from orchestrator.sources import BadRows, Block, Reading, blocks_of, csv_files, texts
from orchestrator.sources.places import find

KINDS = ("good", "bad", "blank", "comment", "lines")
CSV = {"good": "{0},a\n", "bad": "{0}\n", "blank": "\n", "comment": "# {0},b\n", "lines": '{0},"# a\n\nb"\n'}
JSON = {"good": '{{"x": {0}, "y": 1}}\n', "bad": '{{"x"\n', "blank": "\n", "comment": " \n", "lines": '{{"x": {0}}}\n'}


def rows_of(name: str, read: ReadSpec, *, whole: bool) -> tuple[list[tuple[str, int]], BadRows]:
    """(value of x, number) of each row, and the rows that cannot be read."""
    bad = BadRows(skip=True)
    reading = Reading(read, {"x": "text"}, wanted=("x",), bad=bad, whole=whole)
    blocks: list[Block] = list(blocks_of(find((name,), Path.cwd(), None, "data.files"), reading))
    return [(str(x), block.place(row)[1]) for block in blocks for row, x in enumerate(block.columns["x"])], bad


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=30))
def test_numbers_are_those_of_what_could_be_a_row(
    kinds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 64)
    monkeypatch.setattr(texts, "BLOCK_BYTES", 64)
    could = [kind for kind in kinds if kind not in {"blank", "comment"}]
    expected = [(str(number), number) for number, kind in enumerate(could, 1) if kind != "bad"]
    for name, lines, head in (("a.csv", CSV, "x,y\n"), ("a.jsonl", JSON, '{"x": "x"}\n')):
        number, text = 0, ""
        for kind in kinds:
            number += kind not in {"blank", "comment"}
            text += lines[kind].format(number)
        Path(name).write_text(head + text)
        shift = int(name == "a.jsonl")
        for whole in (True, False):
            found, bad = rows_of(name, ReadSpec(comment="#"), whole=whole)
            assert found == [("x", 1)] * shift + [(x, row + shift) for x, row in expected], json.dumps(text)
            assert bad.count == kinds.count("bad")
