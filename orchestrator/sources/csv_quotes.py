"""Whether the quotes of a CSV file all enclose values; where they do not, Arrow's parser joins rows without a word."""

import io
from typing import Any

import numpy as np


class Irregular(ValueError):
    """Something in the bytes that only `csv_records` reads rightly, or names."""


class Watched(io.RawIOBase):
    """The bytes of a stream as they are. Raises Irregular where a quote stands inside a value, or is never closed."""

    def __init__(self, stream: Any, quote: str, separator: str) -> None:
        self._stream, self._quote = stream, ord(quote)
        self._outside = np.zeros(256, bool)  # what may stand before an opening quote, and after a closing one
        self._outside[[ord(separator), ord("\r"), ord("\n"), ord(quote)]] = True
        self._count = 0
        """Quotes that were seen: an opening one follows an even number."""
        self._carry = b""
        """The byte before the first that was not yet looked at, and that one."""

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._stream.close()
        super().close()

    def read(self, size: int = -1) -> bytes:
        data = bytes(self._stream.read(size) if size >= 0 else self._stream.read())
        if not self._carry:
            self._look(b"\n" + data.removeprefix(b"\xef\xbb\xbf"))
        else:
            self._look(self._carry + (data or b"\n"))
        if not data and self._count % 2:
            raise Irregular("a quote is opened that is never closed")
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _look(self, text: bytes) -> None:
        """Look at all bytes of a text but the first and the last."""
        self._carry = text[-2:]
        values = np.frombuffer(text, np.uint8)
        places = np.flatnonzero(values[1:-1] == self._quote) + 1
        if not len(places):
            return
        closing = (np.arange(len(places)) + self._count) % 2 == 1
        self._count += len(places)
        beside = values[np.where(closing, places + 1, places - 1)]
        if not self._outside[beside].all():
            raise Irregular("a quote stands inside a value")
