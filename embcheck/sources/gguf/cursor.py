"""Walking through the header of a GGUF file that nobody vouches for: every length is checked before it is believed."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

    from embcheck.sources.files.access import RandomAccess

LARGEST_HEADER = 64 * 2**20
_KEPT_BYTES = 32 * 2**20  # text that is kept: ten times what any known model has
_FIRST_WINDOW = 256 * 2**10
_LARGEST_WINDOW = 4 * 2**20
_LENGTH = struct.Struct("<Q")


class Cursor:
    """A position in a file that only moves forward, with the bytes around it in memory."""

    def __init__(self, access: RandomAccess) -> None:
        self.at = 0
        self._access = access
        self._limit = min(access.size, LARGEST_HEADER)
        self._start, self._window, self._next = 0, b"", _FIRST_WINDOW
        self._left_to_keep = _KEPT_BYTES

    def number(self, kind: str) -> int | float | bool:
        """A number of one of the formats of `struct`."""
        form = struct.Struct("<" + kind)
        at = self._need(form.size)
        self.at += form.size
        value: int | float | bool = form.unpack_from(self._window, at)[0]
        return value

    def count(self, what: str, *, each: int, most: int, kind: str = "Q") -> int:
        """A number of things that follow, each of at least so many bytes."""
        number = int(self.number(kind))
        if number > most:
            raise self.malformed(f"{number} {what} are too many (at most {most})")
        self._within(number * each)
        return number

    def text(self, what: str, *, longest: int = 2**16) -> str:
        """One string."""
        return self.decode(self.count(f"bytes of {what}", each=1, most=longest))

    def decode(self, length: int) -> str:
        """Bytes whose number was read before, as text."""
        at = self._need(length)
        self._keep(length)
        self.at += length
        return self._window[at : at + length].decode("utf-8", "replace")

    def texts(self, count: int, *, longest: int) -> list[str]:
        """Several strings, one after the other."""
        found: list[str] = []
        for window, cuts in self._cut(count, longest):
            self._keep(sum(stop - start for start, stop in cuts))
            found += [window[start:stop].decode("utf-8", "replace") for start, stop in cuts]
        return found

    def skip_texts(self, count: int) -> None:
        """Pass over several strings."""
        for _ in self._cut(count, LARGEST_HEADER):
            pass

    def numbers(self, count: int, kind: DTypeLike) -> NDArray[np.generic]:
        """Several numbers of one type, whose bytes were counted before."""
        size = count * np.dtype(kind).itemsize
        at = self._need(size)
        self.at += size
        return np.frombuffer(self._window, kind, count, at).copy()

    def skip(self, length: int) -> None:
        """Pass over bytes."""
        self._within(length)
        self.at += length

    def malformed(self, why: str) -> SourceError:
        """The error that this file deserves."""
        return SourceError(f"{self._access.name} is a malformed GGUF file: {why}; get it again")

    def _cut(self, count: int, longest: int) -> Iterator[tuple[bytes, list[tuple[int, int]]]]:
        """Windows, and where strings start and stop in them."""
        while count:
            at = self._need(_LENGTH.size)
            length = _LENGTH.unpack_from(self._window, at)[0]
            if length > longest:
                raise self.malformed(f"a string of {length} bytes is too long (at most {longest})")
            at = self._need(_LENGTH.size + length)
            cuts, stop = _strings(self._window, at, count)
            yield self._window, cuts
            count -= len(cuts)
            self.at += stop - at

    def _need(self, length: int) -> int:
        """Have the next bytes in the window; where they are in it."""
        self._within(length)
        at = self.at - self._start
        if at + length > len(self._window):
            size = min(max(length, self._next), self._limit - self.at)
            self._next = min(2 * self._next, _LARGEST_WINDOW)
            self._start, self._window, at = self.at, bytes(self._access.read(self.at, size)), 0
        return at

    def _within(self, length: int) -> None:
        if length <= self._limit - self.at:
            return
        if self._limit < self._access.size:
            raise self.malformed(f"its header would be larger than {LARGEST_HEADER} bytes")
        raise SourceError(
            f"{self._access.name} is truncated, or its header is wrong: it has {self._access.size} bytes and "
            f"{self.at + length} are needed; get it again"
        )

    def _keep(self, length: int) -> None:
        self._left_to_keep -= length
        if self._left_to_keep < 0:
            raise self.malformed(f"its strings are longer than {_KEPT_BYTES} bytes together")


def _strings(window: bytes, at: int, count: int) -> tuple[list[tuple[int, int]], int]:
    """Where the next strings start and stop, as far as the window goes, and where the last one ends."""
    cuts = []
    last = len(window) - _LENGTH.size
    unpack = _LENGTH.unpack_from
    while count and at <= last:
        start = at + _LENGTH.size
        stop = start + unpack(window, at)[0]
        if stop > len(window):
            break
        cuts.append((start, stop))
        at = stop
        count -= 1
    return cuts, at
