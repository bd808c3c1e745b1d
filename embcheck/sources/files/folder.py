"""The files of a model, wherever they lie: in a directory on disk, or in a repository of the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from embcheck.errors import SourceError
from embcheck.sources.files.access import LocalBytes
from embcheck.sources.files.looking import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from embcheck.sources.files.access import RandomAccess

__all__ = ["Folder", "LocalFolder"]


class Folder(Protocol):
    """Files that belong together."""

    @property
    def origin(self) -> str:
        """What the folder is called in error messages."""
        ...

    def names(self) -> tuple[str, ...]:
        """Its files, sorted; those in folders inside it as ``folder/file``."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file, ``None`` where nobody says."""
        ...

    def open(self, name: str) -> RandomAccess:
        """A large file, of which only parts are read."""
        ...

    def fetch(self, name: str) -> Path:
        """A small file, on disk."""
        ...

    def fetch_tokenizer(self) -> Path:
        """A directory with the files of the tokenizer."""
        ...


class LocalFolder:
    """A directory on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.origin = str(path)

    def names(self) -> tuple[str, ...]:
        """Its files, and the weights one level down."""
        try:
            own = [p.name for p in self._path.iterdir() if p.is_file()]
            nested = [f"{p.parent.name}/{p.name}" for p in self._path.glob("*/*.safetensors")]
        except OSError as error:
            raise SourceError(f"cannot read directory {self._path}: {one_line(error)}") from None
        return tuple(sorted(own + nested))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return self.fetch(name).stat().st_size

    def open(self, name: str) -> LocalBytes:
        """A file, memory-mapped."""
        return LocalBytes(self.fetch(name))

    def fetch(self, name: str) -> Path:
        """The file itself."""
        return self._path / name

    def fetch_tokenizer(self) -> Path:
        """The directory itself."""
        return self._path
