"""Files that are written whole or not at all: a temporary file beside the old one takes its place."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from embcheck.errors import EmbcheckError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["replace", "sweep", "write"]


def replace(path: Path, text: str, *, encoding: str = "ascii") -> None:
    """Write text to a file. Whatever happens meanwhile, the path holds all of the old text or all of the new."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("x", encoding=encoding, newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write text as UTF-8 to a file that the user named, as ``replace`` does."""
    try:
        replace(path.resolve(), text, encoding="utf-8")
    except OSError as error:
        raise EmbcheckError(f"can't write {str(path)!r}: {error.strerror or error}") from error


def sweep(path: Path) -> None:
    """Remove temporary files that a killed process left beside the file. Only for who holds the file's lock."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        left.unlink(missing_ok=True)
