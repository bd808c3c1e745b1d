"""Random access to a file's bytes, on disk or behind HTTP: what the readers of file formats are written against."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Protocol

from embcheck.errors import SourceError
from embcheck.sources.files.looking import one_line

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LocalBytes", "RandomAccess"]


class RandomAccess(Protocol):
    """Bytes of known number, any part of which can be read."""

    @property
    def name(self) -> str:
        """What the file is called in error messages."""
        ...

    @property
    def size(self) -> int:
        """Number of bytes."""
        ...

    def read(self, start: int, length: int) -> memoryview:
        """Exactly ``length`` bytes from ``start``; `SourceError` where they lie past the end or can't be had."""
        ...


class LocalBytes:
    """A file on disk, memory-mapped copy-on-write: only the parts that are read are loaded."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            with path.open("rb") as file:
                self.size = path.stat().st_size
                self._view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if self.size else b"")
        except OSError as error:
            raise SourceError(f"cannot read {path}: {one_line(error)}") from None

    def read(self, start: int, length: int) -> memoryview:
        """Exactly ``length`` bytes from ``start``, without a copy."""
        if start < 0 or length < 0 or start + length > self.size:
            raise SourceError(
                f"{self.name} is truncated: it has {self.size} bytes, {start + length} are needed; get it again"
            )
        return self._view[start : start + length]
