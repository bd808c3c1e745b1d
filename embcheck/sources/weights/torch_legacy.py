"""What ``torch.save`` wrote before torch 1.6: five pickles, then the storages one after the other."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.files.looking import printable
from embcheck.sources.weights.pickles import PickledTensor, PickleEndsError, Storage, unpickle
from embcheck.sources.weights.stored import BITS

if TYPE_CHECKING:
    from embcheck.sources.files.access import RandomAccess

__all__ = ["LegacyContainer", "is_legacy"]

_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."  # the first of the five: a number
_FIRST_WINDOW = 128 * 2**10
_LARGEST_WINDOW = 16 * 2**20
_COUNT_BYTES = 8


class LegacyContainer:
    """A file of pickles and storages."""

    def __init__(self, access: RandomAccess) -> None:
        self._access = access
        self.content, self._keys, self._start = self._read_pickles()
        self._storages = _storages(self.content)

    def locate(self, storage: Storage) -> int:
        """Where the bytes of a storage begin."""
        at = self._start
        for key in self._keys:
            held = self._storages.get(key)
            bits = BITS.get((held.dtype or "U8") if held else "", 0)
            if held is None or not bits:
                raise SourceError(f"{self._access.name}: storage {printable(key)} is of no known type; save it again")
            if key == storage.key:
                break
            at += _COUNT_BYTES + held.count * bits // 8
        else:
            raise SourceError(f"{self._access.name} lacks storage {printable(storage.key)}; download it again")
        if (count := int.from_bytes(self._access.read(at, _COUNT_BYTES), "little")) != storage.count:
            raise SourceError(
                f"{self._access.name}: storage {printable(storage.key)} has {count} numbers, not {storage.count}; "
                "download it again"
            )
        return at + _COUNT_BYTES

    def _read_pickles(self) -> tuple[Any, list[str], int]:
        """What was saved, the order of the storages, and where they begin; more is read until all of it is there."""
        window = _FIRST_WINDOW
        while True:
            head = self._access.read(0, min(window, self._access.size))
            stream = io.BytesIO(head)
            try:
                _, _, _, content, keys = [unpickle(stream, self._access.name) for _ in range(5)]
            except PickleEndsError:
                if window >= min(_LARGEST_WINDOW, self._access.size):
                    raise
                window *= 8
                continue
            if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
                raise SourceError(f"{self._access.name} does not list its storages; download it again")
            return content, keys, stream.tell()


def is_legacy(head: bytes) -> bool:
    """Whether a file begins as this format does."""
    return head.startswith(b"\x80") and _MAGIC in head[:32]


def _storages(content: Any) -> dict[str, Storage]:
    """Every storage that is referred to, by key."""
    found: dict[str, Storage] = {}
    waiting, seen = [content], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, PickledTensor):
            found[value.storage.key] = value.storage
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, dict) else value)
    return found
