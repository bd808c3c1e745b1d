"""Files that are written whole or not at all: a temporary file beside the old one takes its place."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from embcheck.errors import EmbcheckError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["replace", "sweep", "write", "writing"]


@contextmanager
def writing(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the path's place when the block ends: the path holds all of the old or all of the new.

    Where the block raises, or with `OSError` if it can't be written, the old file is as it was. Without ``sync`` a
    machine that loses its power may lose the new file, but no other.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace(path: Path, text: str, *, encoding: str = "ascii") -> None:
    """Write text to a file as `writing` does; `OSError` where it can't be."""
    with writing(path) as file:
        file.write(text.encode(encoding))


def write(path: Path, text: str) -> None:
    """Write text as UTF-8 to a file that the user named, as `replace` does; into a pipe or device as it comes."""
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, say: nothing to replace
            path.write_text(text, encoding="utf-8")
        else:
            replace(path.resolve(), text, encoding="utf-8")
    except OSError as error:
        raise EmbcheckError(f"can't write {str(path)!r}: {error.strerror or error}") from error


def sweep(path: Path, *, older_than: float = 0.0) -> None:
    """Remove temporary files that a killed process left beside the file.

    Only for who holds the file's lock, or with a number of seconds that no process takes to write it.
    """
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(FileNotFoundError):  # another process does the same
            if not older_than or left.stat().st_mtime < time.time() - older_than:
                left.unlink()
