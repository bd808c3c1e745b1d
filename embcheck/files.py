"""Files that are read only where they end, and written whole or not at all."""

from __future__ import annotations

import errno
import mmap
import os
import secrets
import stat
import sys
import time
import weakref
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck.errors import EmbcheckError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, TextIO

STDOUT = Path("-")
"""Stands for standard output wherever a file is to be written; a file of that name is ``./-`` by its folder."""
CHANGED = "{} changed while it was being read; run again once it is written"

_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx")
_DESCRIPTIONS = ("config.json", "modules.json", "params.json", "tokenizer.json", "tokenizer.model")


def holds_model(folder: Path) -> bool:
    """Whether a model, weights and what describes them, lies in a folder: what else lies there came with it."""
    names = {path.name for path in folder.iterdir()}
    return not names.isdisjoint(_DESCRIPTIONS) and any(name.endswith(_WEIGHTS) for name in names)


def is_in_any(folder: Path, targets: Iterable[str]) -> bool:
    """Whether a folder is one of those that are named, or lies in one; what names no folder counts for nothing."""
    for target in targets:
        with suppress(OSError, RuntimeError, ValueError):  # a user who isn't there, a name that no system has
            named = Path(target).expanduser()
            if target and named.is_dir() and folder.resolve().is_relative_to(named.resolve()):
                return True
    return False


def read(path: Path, *, most: int = 64 * 2**20) -> bytes:
    """The bytes of a regular file of at most so many; `OSError` for any other: pipes wait, devices never end."""
    try:
        about = path.stat()
        if stat.S_ISDIR(about.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        with path.open("rb") as file:
            content = file.read(about.st_size + 1) if about.st_size <= most else b""  # room is made at once
    except ValueError as error:  # a null byte
        raise OSError(errno.EINVAL, f"its name has an {error}", str(path)) from None
    if max(about.st_size, len(content)) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most >> 20} MiB", str(path))
    return content


class _Mapping(mmap.mmap):
    """A mapped file that knows what the file was like; alive as long as any tensor is made of it."""

    path: Path
    before: os.stat_result


_mapped: weakref.WeakSet[_Mapping] = weakref.WeakSet()


def map_to_memory(path: Path, file: BinaryIO) -> memoryview:
    """The bytes of an open file, loaded as they are used; writing to them changes nothing on disk."""
    mapping = _Mapping(file.fileno(), 0, access=mmap.ACCESS_COPY)
    mapping.path, mapping.before = path, os.fstat(file.fileno())
    _mapped.add(mapping)
    return memoryview(mapping)


def refuse_changed() -> None:
    """Refuse to go on where a file was written to while it is mapped: old and new numbers would mix.

    The system ends a process that reads what is no longer there, so this is asked before each block of rows. A file
    that another one has taken the place of is whole: what is mapped is still the old one. Raises `SourceError`.
    """
    for mapping in tuple(_mapped):
        try:
            now = mapping.path.stat()
        except OSError:
            continue
        if now.st_ino == mapping.before.st_ino and is_other(now, mapping.before):
            raise SourceError(CHANGED.format(mapping.path))


def is_other(now: os.stat_result, before: os.stat_result) -> bool:
    """Whether a file is another one, or was written to."""
    return any(getattr(now, key) != getattr(before, key) for key in ("st_ino", "st_size", "st_mtime_ns"))


@contextmanager
def writing(path: Path, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file that takes the path's place when the block ends: the path holds all of the old or all of the new.

    Where the block raises, or with `OSError` if it can't be written, the old file is as it was. Without ``sync`` a
    machine that loses its power may lose the new file, but no other.
    """
    temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            if sync:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace(path: Path, content: str | bytes) -> None:
    """Write bytes, or text as UTF-8, to a file as `writing` does; `OSError` where it can't be."""
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write(path: Path, content: str | bytes) -> None:
    """Write to a file that the user named, as `replace` does; into a pipe, a device or `STDOUT` as it comes."""
    if path == STDOUT:
        with writing_to(sys.stdout):
            _print(content)
        return
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, say: nothing to replace
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            replace(path.resolve(), content)
    except OSError as error:
        raise EmbcheckError(f"can't write {str(path)!r}: {error.strerror or error}") from error


def _print(content: str | bytes) -> None:
    """Write to standard output what a file would hold, whatever a terminal's encoding is."""
    buffer = getattr(sys.stdout, "buffer", None)  # a notebook's has none
    if buffer is None:
        sys.stdout.write(content if isinstance(content, str) else content.decode())
        return
    sys.stdout.flush()
    buffer.write(content.encode() if isinstance(content, str) else content)


def sweep(path: Path, *, older_than: float = 0.0) -> None:
    """Remove temporary files that a killed process left beside the file.

    Only for who holds the file's lock, or with a number of seconds that no process takes to write it.
    """
    for left in path.parent.glob(f".{path.name[:200]}.*.tmp"):
        with suppress(FileNotFoundError):  # another process does the same
            if not older_than or left.stat().st_mtime < time.time() - older_than:
                left.unlink()


@contextmanager
def writing_to(stream: TextIO | None) -> Iterator[None]:
    """Write to standard output or error, and see that it arrives, as far as somebody reads it."""
    try:
        yield
        if stream is not None:  # it may have been closed before the program began
            stream.flush()
    except BrokenPipeError:
        _let_go(stream)
    except OSError as error:
        _let_go(stream)
        raise EmbcheckError(f"can't write to standard output: {error.strerror or error}") from None


def _let_go(stream: TextIO | None) -> None:
    """What the stream still holds goes nowhere, so that the interpreter does not fail at it once more."""
    with suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # type: ignore[union-attr]
