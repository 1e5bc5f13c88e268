"""The data report warns of what it should, keeps quiet else, and shows the numbers that are there."""

import html
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.job import JobSpec
from orchestrator.datasets import prepare
from orchestrator.report import digest, page, row_sums, warnings

Make = Callable[..., JobSpec]


def warned(small_job: Make, content: str, *overrides: str) -> list[str]:
    Path("small.csv").write_text(content)
    return list(warnings(prepare(small_job(*overrides)).facts))


def rows(make: Callable[[int], str], count: int = 200) -> str:
    return "size,colour,label\n" + "".join(make(number) + "\n" for number in range(count))


def noise(number: int) -> tuple[float, str]:
    draws = np.random.default_rng(number)
    return draws.random(), "ab"[int(draws.random() > 0.5)]


def test_honest_data_is_not_warned_of(small_job: Make) -> None:
    assert not warned(small_job, rows(lambda n: f"{noise(n)[0]},{'red' if n % 3 else 'blue'},{noise(n)[1]}"))


def test_a_column_that_gives_the_label_away(small_job: Make) -> None:
    content = rows(lambda n: f"{noise(n)[0]},{noise(n)[1]}!,{noise(n)[1]}")
    assert warned(small_job, content) == ["colour alone predicts label (100.0%); will it be known when predicting?"]


def test_an_id_among_the_features(small_job: Make) -> None:
    content = rows(lambda n: f"{noise(n)[0]},passenger {n},{noise(n)[1]}")
    assert warned(small_job, content) == [
        "colour differs in every row, as an id does; a model can only learn it by heart"
    ]


def test_a_class_that_is_hardly_there(small_job: Make) -> None:
    content = rows(lambda n: f"{noise(n)[0]},red{n % 2},{'rare' if n < 5 else 'ab'[n % 2]}", 1005)
    multiclass = "train.loss=sparse_categorical_crossentropy"
    found = warned(small_job, content, multiclass, "data.split.by=stratified")
    assert found[-1] == "class 'rare' of label has 3 of 603 training rows"


def test_rows_in_two_parts(small_job: Make) -> None:
    content = rows(lambda n: f"{n % 40},{'red' if n % 40 % 3 else 'blue'},{noise(n % 40)[1]}")
    found = [line for line in warned(small_job, content) if "stand in" in line]
    assert [re.sub(r"\d+", "N", line) for line in found] == [
        "N rows of the valid part (N.N%) stand in the training part too",
        "N rows of the test part (N.N%) stand in the training part too",
    ]


def test_a_column_that_is_mostly_missing_or_all_the_same(small_job: Make) -> None:
    content = rows(lambda n: f"{noise(n)[0] if n % 2 and n % 3 else ''},same,{noise(n)[1]}")
    assert [re.sub(r"\d\d%", "N%", line) for line in warned(small_job, content)[:2]] == [
        "colour has 1 value(s) in the training part; it teaches nothing",
        "size is missing in N% of the training rows",
    ]


def test_the_page_shows_the_numbers_and_escapes_what_the_data_holds(small_job: Make) -> None:
    Path("small.csv").write_text(rows(lambda n: f"{n},<b>{'red' if n % 3 else 'blue'},{noise(n)[1]}"))
    facts = prepare(small_job()).facts
    text = page(facts, ["<i> is odd"], "0f0f")
    train = facts.columns["size"][facts.parts["train"]]
    assert f"mean {train.mean():.4g}, deviation {train.std():.4g}" in text
    assert "&lt;b&gt;red" in text and "&lt;i&gt; is odd" in text and "<b>" not in text
    assert 'src="data:image/png;base64,' in text
    counts = [int((facts.labels[part] == "a").sum()) for part in facts.parts.values()]
    for count in counts:
        assert re.search(rf"<td>{count} \(", html.unescape(text))


def fingerprint(columns: dict[str, np.ndarray], labels: np.ndarray) -> str:
    return digest(columns, row_sums(columns, labels, np.arange(len(labels))))


def test_the_digest_changes_with_any_value() -> None:
    columns = {"x": np.arange(4.0), "y": np.array(["a", None, "b", "c"], object)}
    labels = np.array([0, 1, 0, 1])
    first = fingerprint(columns, labels)
    assert len(first) == 36
    assert first == fingerprint(dict(reversed(columns.items())), labels.copy())
    assert first != fingerprint({**columns, "x": columns["x"] + (columns["x"] == 3)}, labels)
    assert first != fingerprint({**columns, "y": np.array(["a", None, "b", "d"], object)}, labels)
    assert first != fingerprint(columns, labels[::-1])
    assert first != fingerprint({"x": columns["x"], "z": columns["y"]}, labels)
    backwards = {name: column[::-1] for name, column in columns.items()}
    assert first != fingerprint(backwards, labels[::-1])


def test_the_digest_does_not_depend_on_blocks() -> None:
    columns, labels = {"x": np.arange(9.0), "y": np.array(list("abcabcabc"), object)}, np.arange(9) % 2
    sums = np.zeros(2, np.uint64)
    for start, stop in ((0, 2), (2, 3), (3, 9)):
        block = {name: column[start:stop] for name, column in columns.items()}
        sums = sums + row_sums(block, labels[start:stop], np.arange(start, stop))
    assert digest(columns, sums) == fingerprint(columns, labels)


@pytest.mark.parametrize("kind", ["tensor", "image"])
def test_images_have_a_histogram(kind: str, small_job: Make, tmp_path: Path) -> None:
    (tmp_path / "pictures.py").write_text(
        "import numpy as np\ndef load():\n"
        "    return {'image': np.random.default_rng(0).integers(0, 255, (50, 4, 4)), 'label': np.arange(50) % 2}\n"
    )
    job = small_job(
        "data.csv=null", "data.function=pictures:load", f"data.features={{image: {kind}}}", "train.loss=null"
    )
    assert "shape (4, 4)" in page(prepare(job).facts, [], "0f0f")


def test_the_report_takes_little_memory_beside_the_images(small_job: Make, tmp_path: Path) -> None:
    (tmp_path / "many_pictures.py").write_text(
        "import numpy as np\ndef load():\n"
        "    return {'image': np.zeros((4000, 64, 64, 3), np.uint8), 'label': np.arange(4000) % 2}\n"
    )
    options = ("data.csv=null", "data.function=many_pictures:load", "data.features={image: image}", "train.loss=null")
    facts = prepare(small_job(*options)).facts
    tracemalloc.start()
    try:
        page(facts, list(warnings(facts)), facts.fingerprint)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < facts.columns["image"].nbytes
