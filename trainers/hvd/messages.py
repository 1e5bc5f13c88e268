"""Plain values that cross ranks as JSON: nothing that arrives can run code, and both sides can be read.

Numbers, texts, lists, dicts with text keys, None, and numpy arrays, which keep every bit; a tuple arrives as a list.
"""

import base64
import json
from typing import Any

import numpy as np

from trainers.hvd.collectives import allgather, broadcast, rank

_ARRAY = "array of"


def allgather_json(value: Any, *, name: str) -> list[Any]:
    """Return every rank's value, in rank order, on every rank; a collective."""
    mine = _bytes_of(value)
    lengths = allgather(np.array([len(mine)], np.int64), name=f"{name}_lengths").numpy()
    whole = allgather(mine, name=name).numpy()
    return [_value_of(part) for part in np.split(whole, np.cumsum(lengths)[:-1])]


def broadcast_json(value: Any, root_rank: int = 0, *, name: str = "message") -> Any:
    """Return the root's value on every rank; what the others give is not looked at; a collective."""
    mine = _bytes_of(value if rank() == root_rank else None)
    length = int(broadcast(np.array([len(mine)], np.int64), root_rank, name=f"{name}_length").numpy()[0])
    sent = mine if rank() == root_rank else np.zeros(length, np.uint8)
    return _value_of(broadcast(sent, root_rank, name=name).numpy())


def _bytes_of(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value, default=_plain).encode(), np.uint8)


def _value_of(data: np.ndarray) -> Any:
    return json.loads(data.tobytes().decode(), object_hook=_array)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise TypeError(f"a {type(value).__name__} cannot cross ranks as JSON")
    text = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
    return {_ARRAY: array.dtype.str, "shape": array.shape, "base64": text}


def _array(found: dict[str, Any]) -> Any:
    if _ARRAY not in found:
        return found
    return np.frombuffer(base64.b64decode(found["base64"]), found[_ARRAY]).reshape(found["shape"]).copy()
