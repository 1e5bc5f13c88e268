"""Files of images -> the columns `image`, `label` (by where a file lies) and, for whoever asks, `file`."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa

from configs.errors import DataError, one_line
from configs.source import ReadSpec
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Reading
from orchestrator.sources.labels import label_of, labelled
from orchestrator.sources.pixels import Note, decode
from orchestrator.sources.places import File

COLUMNS = ("image", "label")
FILE = "file"
"""Column of the path of each file below the place that the job names, given where it is asked for by name."""
PER_TASK = 64
"""Images that a thread decodes in a row: small ones take less time than handing one over."""


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give images as (rows, height, width, channels) uint8, decoded and resized.

    Raises DataError naming the file that is not an image, or that has another size than the first where none is given.
    """
    asked = FILE in (reading.wanted or reading.required)
    names, read = reading.choose((*COLUMNS, FILE) if asked else COLUMNS, files[0].name), reading.read
    if "label" in names:
        files = labelled(files, reading)
    if not files:
        return
    if "image" not in names:  # to count rows, none need be decoded
        columns = _columns(files, names, read)
        yield Block(columns, files[0].name, 1, tuple(file.name for file in files))
        return
    size = reading.image_size or image_size(files, read, skip=reading.bad.skip)
    shape = (*size, read.channels)
    step = len(files) if reading.whole else max(1, BLOCK_BYTES // math.prod(shape))
    for start in range(0, len(files), step):
        some = files[start : start + step]
        images, good = _decode_files(some, shape, reading)
        if good.any():
            columns = {"image": images} | _columns(some, names, read)
            if not good.all():
                columns = {name: values[good] for name, values in columns.items()}
            paths = tuple(file.name for file, is_good in zip(some, good, strict=True) if is_good)
            yield Block({name: columns[name] for name in names}, some[0].name, start + 1, paths)


def _columns(files: Sequence[File], names: Sequence[str], read: ReadSpec) -> dict[str, np.ndarray]:
    """What is known of files without decoding them."""
    found = {FILE: [file.below or file.base for file in files] if FILE in names else []}
    if "label" in names:
        found["label"] = [label_of(file, read.labels) for file in files]
    return {name: np.array(values, object) for name, values in found.items() if name in names}


def _decode_files(
    files: Sequence[File], shape: tuple[int, int, int], reading: Reading
) -> tuple[np.ndarray, np.ndarray]:
    images = np.empty((len(files), *shape), np.uint8)

    def decode_one(place: int, note: Note) -> str:
        return _decode_file(files[place], reading.read, images[place], note)

    problems = in_threads(decode_one, [file.name for file in files], reading)
    return images, np.array([not problem for problem in problems])


def in_threads(work: Callable[[int, Note], str], names: Sequence[str], reading: Reading) -> list[str]:
    """What `work` says is wrong with each image. Raises DataError unless bad rows are left out. names: for notes."""
    problems: list[str] = []
    tasks = [range(start, min(start + PER_TASK, len(names))) for start in range(0, len(names), PER_TASK)]

    def each(places: range) -> list[tuple[str, list[str]]]:
        noted: list[list[str]] = [[] for _ in places]
        return [(work(place, noted[number].append), noted[number]) for number, place in enumerate(places)]

    # Decoding and resizing happen outside the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            for places, some in zip(tasks, threads.map(each, tasks), strict=True):
                for place, (problem, noted) in zip(places, some, strict=True):
                    problems.append(problem)
                    if problem:
                        reading.bad.add(problem)
                    for what in noted if not problem else ():
                        reading.notes.add(f"picture(s) {what}", names[place])
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return problems


def image_size(files: Iterable[File], read: ReadSpec, *, skip: bool) -> tuple[int, int]:
    """(height, width) that images are resized to, or else that of the first file. Raises DataError.

    skip: of the first file that can be read.
    """
    if read.height and read.width:
        return read.height, read.width
    problems: list[str] = []
    for file in files:
        pixels = _pixels_of(file, read)
        if not isinstance(pixels, str):
            return pixels.shape[0], pixels.shape[1]
        problems.append(pixels)
        if not skip:
            break
    raise DataError(problems[0])


def _decode_file(file: File, read: ReadSpec, image: np.ndarray, note: Note) -> str:
    """Fill in the pixels, or say what is wrong."""
    pixels = _pixels_of(file, read, note)
    if isinstance(pixels, str):
        return pixels
    if pixels.shape != image.shape:
        return (
            f"{file.name}: is {pixels.shape[1]} x {pixels.shape[0]} pixels, the first image {image.shape[1]} x "
            f"{image.shape[0]}; give data.read.height and data.read.width to resize them"
        )
    image[:] = pixels
    return ""


def _pixels_of(file: File, read: ReadSpec, note: Note = lambda text: None) -> np.ndarray | str:
    """The pixels, or what is wrong."""
    try:
        return decode(file.read(), read, note)
    except (pa.ArrowException, OSError) as error:
        return f"{file.name}: cannot be read: {one_line(error)}"
    except ValueError as error:
        return f"{file.name}: {error}"
