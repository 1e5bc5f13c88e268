"""TFRecord files of `tf.train.Example` -> columns, without TensorFlow."""

import io
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from configs.errors import DataError, one_line
from orchestrator.sources.blocks import BLOCK_BYTES, Block, Kind, Reading, from_values
from orchestrator.sources.crc32c import crc32c, crc32c_of_few, unmasked
from orchestrator.sources.places import File

ARRAYS = frozenset({"array", "image"})

HEAD = struct.Struct("<QI")
LENGTHS = 2**31
"""A record is shorter than this: the largest message of Protocol Buffers."""


def blocks(files: Sequence[File], reading: Reading) -> Iterator[Block]:
    """Give the examples as rows, a column per feature; what an example lacks is missing.

    One value per example gives a column of values, several give an array per row. Bytes are text (UTF-8) or, for a
    feature used as an array, the bytes of an image file. Raises DataError naming the file and the record.
    """
    for file in files:
        names: list[str] | None = None
        for first, examples in _examples(file, reading):
            if names is None:
                found = dict.fromkeys(name for example in examples for name in sorted(example.features.feature))
                names = reading.choose(found, file.name)
            columns = {name: _column(file, first, name, examples, reading.kinds.get(name)) for name in names}
            yield Block(columns, file.name, first)


def _examples(file: File, reading: Reading) -> Iterator[tuple[int, list[Any]]]:
    """(number of the first record, examples) for about BLOCK_BYTES at a time."""
    parse = _example_class().FromString
    for first, records in _records(file, reading):
        examples = []
        for number, record in enumerate(records, first):
            try:
                examples.append(parse(record))
            except DecodeError as error:
                reading.bad.add(f"{file.name}, record {number}: is no tf.train.Example: {one_line(error)}")
        if examples:
            yield first, examples


def _records(file: File, reading: Reading) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first record, records), their checksums verified."""
    first = 1
    with io.BufferedReader(_attempt(file, file.stream), BLOCK_BYTES // 16) as stream:
        while True:
            records: list[bytes] = []
            stored: list[int] = []
            size = 0
            while size < BLOCK_BYTES:
                record = _record(file, first + len(records), stream)
                if record is None:
                    break
                records.append(record[0])
                stored.append(record[1])
                size += len(record[0])
            if not records:
                return
            yield first, _sound(file, first, records, stored, reading)
            first += len(records)


def _record(file: File, number: int, stream: Any) -> tuple[bytes, int] | None:
    """The next record and its stored checksum, None at the end."""
    head = _attempt(file, stream.read, HEAD.size)
    if not head:
        return None
    if len(head) == HEAD.size:
        length, checksum = HEAD.unpack(head)
        if length >= LENGTHS or crc32c_of_few(head[:8]) != unmasked(checksum):
            raise DataError(
                f"{file.name}, record {number}: its length does not have its checksum; the file is damaged, "
                "compressed without a suffix such as .gz, or no TFRecord file"
            )
        body = _attempt(file, stream.read, length + 4)
        if len(body) == length + 4:
            return body[:-4], unmasked(int.from_bytes(body[-4:], "little"))
    raise DataError(f"{file.name}, record {number}: is cut off; fetch or write the file again")


def _sound(file: File, first: int, records: list[bytes], stored: list[int], reading: Reading) -> list[bytes]:
    good = crc32c(records) == np.array(stored, np.uint32)
    for place in np.flatnonzero(~good):
        reading.bad.add(f"{file.name}, record {first + place}: does not have its checksum; the file is damaged")
    return [record for record, sound in zip(records, good, strict=True) if sound]


def _attempt(file: File, call: Any, *arguments: int) -> Any:
    try:
        return call(*arguments)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file.name}: cannot be read as TFRecord: {one_line(error)}") from error


def _column(file: File, first: int, name: str, examples: list[Any], kind: Kind | None) -> np.ndarray:
    values: list[Any] = []
    for number, example in enumerate(examples, first):
        feature = example.features.feature
        found = _values(feature[name]) if name in feature else []
        if kind not in ARRAYS and found and isinstance(found[0], bytes):
            found = _texts(file, number, name, found)
        values.append(found)
    lengths = {len(found) for found in values}
    if lengths <= {0, 1} and not (kind in ARRAYS and _numeric(values)):
        return from_values([found[0] if found else None for found in values], kind)
    if lengths <= {0, 1} or kind in ARRAYS or _numeric(values):
        return from_values(values, "array")
    return from_values(values, "text")


def _numeric(values: list[Any]) -> bool:
    return any(found and isinstance(found[0], int | float) for found in values)


def _values(feature: Any) -> list[Any]:
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def _texts(file: File, number: int, name: str, values: list[bytes]) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file.name}, record {number}: feature {name!r} is not UTF-8 text; use it as kind image, or leave it out"
        ) from error


@cache
def _example_class() -> Any:
    """`tf.train.Example` by its wire format, in a pool of its own: TensorFlow may have filled the common one."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="ringmaster", syntax="proto3")
    types = descriptor_pb2.FieldDescriptorProto
    repeated, single = types.LABEL_REPEATED, types.LABEL_OPTIONAL
    lists = {"BytesList": types.TYPE_BYTES, "FloatList": types.TYPE_FLOAT, "Int64List": types.TYPE_INT64}
    for name, kind in lists.items():
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=repeated)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(lists, 1):
        field = feature.field.add(name=name.lower(), number=number, type=types.TYPE_MESSAGE, label=single)
        field.type_name, field.oneof_index = f".ringmaster.{name}", 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=types.TYPE_STRING, label=single)
    value = entry.field.add(name="value", number=2, type=types.TYPE_MESSAGE, label=single)
    value.type_name = ".ringmaster.Feature"
    field = features.field.add(name="feature", number=1, type=types.TYPE_MESSAGE, label=repeated)
    field.type_name = ".ringmaster.Features.FeatureEntry"
    field = file.message_type.add(name="Example").field.add(
        name="features", number=1, type=types.TYPE_MESSAGE, label=single
    )
    field.type_name = ".ringmaster.Features"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("ringmaster.Example"))
