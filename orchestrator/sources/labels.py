"""The label of a file that is a row, or whose lines are, by where it lies."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from configs.errors import DataError
from orchestrator.sources.blocks import Reading
from orchestrator.sources.places import File, Found

BY_PLACE = {
    "first": "the first folder below the place that the job names",
    "parent": "the folder that the file lies in",
    "place": "the place that the job names",
}
"""What `read.labels` may say, and what the label is then."""
SHOWN = 10


def label_of(file: File, labels: Any) -> str:
    """labels: `read.labels`. Raises DataError where it gives the file no label."""
    if isinstance(labels, Mapping):
        return _mapped(file, labels)
    if labels not in (None, *BY_PLACE):
        raise DataError(
            f"data.read.labels={labels}: expected {', '.join(BY_PLACE)}, or a mapping of file, folder or suffix to "
            "label"
        )
    found = {"parent": file.folder, "place": file.place}.get(labels or "first", file.branch)
    if not found:
        raise DataError(
            f"{file.name}: lies in no class folder; move it into a folder named after its class below {file.place}, "
            f"give its label with data.read.labels: {{{file.base}: LABEL}}, or leave it out with data.bad_rows: skip"
        )
    return found


def labelled(files: Sequence[File], reading: Reading) -> Sequence[File]:
    """The files that have a label. Raises DataError naming the first that has none, unless bad rows are left out."""
    good = []
    for file in files:
        try:
            label_of(file, reading.read.labels)
        except DataError as error:
            reading.bad.add(str(error))
        else:
            good.append(file)
    return good


def _mapped(file: File, labels: Mapping[str, str]) -> str:
    names = (file.base, file.folder, *(f".{part}" for part in file.base.split(".")[1:]), file.branch)
    found = next((labels[name] for name in names if name in labels), None)
    if found is not None:
        return str(found)
    raise DataError(
        f"data.read.labels has no label for {file.name}; it knows {', '.join(labels)}, expected the name of the "
        f"file, of its folder ({file.folder}) or its suffix"
    )


def classes_told(found: Found, labels: Any) -> list[str]:
    """One line on the labels of files of images or texts."""
    if isinstance(labels, Mapping):
        return []
    counts = Counter(file.folder if labels == "parent" else file.branch for file in found.files)
    if labels == "place":
        counts = Counter(file.place for file in found.files)
    shown = ", ".join(f"{name!r} ({count:,} files)" for name, count in sorted(counts.items())[:SHOWN] if name)
    more = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    return [f"label is {BY_PLACE[labels or 'first']}: {shown}{more}"]
