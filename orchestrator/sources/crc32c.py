"""CRC-32C (Castagnoli) of many byte strings at once, by NumPy: the checksum of TFRecord files.

Strings are cut into lanes of LANE bytes, which advance side by side. A lane's checksum is then moved over the bytes
that follow it: a linear map, applied by tables for 1, 2, 4, ... bytes, one per bit of the distance.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

LANE = 64
ALL_ONES = 0xFFFFFFFF


@cache
def _bytewise() -> np.ndarray:
    """(256,) what one byte does to an empty checksum."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


@cache
def _moving(bit: int) -> np.ndarray:
    """(4, 256) tables that move a checksum over 2**bit zero bytes: one per byte of the checksum."""
    if bit:
        half = _moving(bit - 1)
        return np.stack([_moved(half, table) for table in half])
    places = np.arange(4, dtype=np.uint32)[:, None] * 8
    checksums = np.arange(256, dtype=np.uint32)[None, :] << places
    return np.asarray(_bytewise()[checksums & 255] ^ (checksums >> 8))


def _moved(tables: np.ndarray, checksums: np.ndarray) -> np.ndarray:
    parts = [tables[place][(checksums >> (8 * place)) & 255] for place in range(4)]
    return np.asarray(parts[0] ^ parts[1] ^ parts[2] ^ parts[3])


def _moved_by(checksums: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Each checksum after as many zero bytes as its distance says."""
    moved = checksums.copy()
    for bit in range(int(distances.max(initial=0)).bit_length()):
        here = (distances >> bit) & 1 == 1
        moved[here] = _moved(_moving(bit), moved[here])
    return moved


@cache
def _bytewise_list() -> list[int]:
    return list(_bytewise().tolist())


def crc32c_of_few(data: bytes) -> int:
    """The same for one string of a few bytes, for which arrays are slow."""
    table, checksum = _bytewise_list(), ALL_ONES
    for byte in data:
        checksum = table[(checksum ^ byte) & 255] ^ (checksum >> 8)
    return checksum ^ ALL_ONES


def crc32c(strings: Sequence[bytes]) -> np.ndarray:
    """(len(strings),) uint32. Takes memory of some four times the bytes."""
    if not strings:
        return np.zeros(0, np.uint32)
    lengths = np.array([len(string) for string in strings], np.int64)
    lanes = np.maximum(1, -(-lengths // LANE))
    # Zeros in front do not change a checksum that starts empty, so every string ends at the end of a lane.
    padded = b"".join(bytes(LANE * int(count) - len(one)) + one for count, one in zip(lanes, strings, strict=True))
    columns = np.ascontiguousarray(np.frombuffer(padded, np.uint8).reshape(-1, LANE).T)
    checksums = np.zeros(columns.shape[1], np.uint32)
    table = _bytewise()
    for column in columns:
        checksums = table[(checksums ^ column) & 255] ^ (checksums >> 8)
    ends = np.cumsum(lanes)
    following = np.repeat(ends, lanes) - np.arange(1, ends[-1] + 1)
    joined = np.bitwise_xor.reduceat(_moved_by(checksums, following * LANE), ends - lanes)
    start = _moved_by(np.full(len(strings), ALL_ONES, np.uint32), lengths)
    return np.asarray(joined ^ start ^ np.uint32(ALL_ONES))


def unmasked(stored: int) -> int:
    """The checksum of which TFRecord stores this: rotated by 15 bits, plus a constant."""
    rotated = (stored - 0xA282EAD8) & ALL_ONES
    return ((rotated >> 17) | (rotated << 15)) & ALL_ONES
