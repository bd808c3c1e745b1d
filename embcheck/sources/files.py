"""Files and folders that nobody vouches for: bytes of them, what they are instead, errors of one line about them."""

from __future__ import annotations

import errno
import json
import os
import re
import reprlib
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from embcheck import files
from embcheck.errors import SourceError, SpecError
from embcheck.text import inert_line

if TYPE_CHECKING:
    from embcheck.spec import ModelSpec

JsonObject: TypeAlias = dict[str, Any]
"""A JSON object that somebody else wrote: a config.json, a header."""
_CODE = re.compile(r"auto_map|custom_pipelines|kernel_config|_?(attn|experts)_implementation\w*")
_COMPRESSED = (
    (b"\x1f\x8b", "gzip", "gunzip"), (b"BZh", "bzip2", "bunzip2"), (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
)  # fmt: skip
_HEAD_BYTES = 512
_LONGEST_QUOTE = 200
_LARGEST_JSON = 512 * 2**20
_MOST_DIGITS = 300  # no double holds more
_PASSWORD = re.compile(r"//[^/\s]*@")
_SMALL = 4 * 2**20
_NESTED = ("*.safetensors", ".metadata", "*_model_states.pt", "model_rng.pt", "model_optim_rng.pt")
_YOUNG_SECONDS = 3_600
_WINDOW = 2**18  # that small reads are cut out of


def local_path(spec: ModelSpec, text: str) -> Path:
    """Turn a path as the user wrote it into one of an existing file or directory."""
    try:
        path = Path(text).expanduser()
        path.stat()
    except FileNotFoundError:
        raise SourceError(f"spec {spec.text!r}: no such file or directory: {text}") from None
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: the home directory of a user who isn't there
        raise SourceError(f"spec {spec.text!r}: cannot look at {text}: {one_line(error)}") from None
    return path


def local_file(spec: ModelSpec, text: str) -> Path:
    """As `local_path`, for a regular file that is not empty."""
    path = local_path(spec, text)
    if not path.is_file():
        raise SourceError(f"spec {spec.text!r}: {text} is not a regular file; give the file itself")
    if path.stat().st_size == 0:
        raise SourceError(f"{path}: the file is empty; get it again")
    return path


def refuse_unknown_options(spec: ModelSpec, *known: str) -> None:
    """Refuse options that this scheme does not have."""
    for key, _ in spec.options:
        if key not in known:
            have = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SpecError(f"spec {spec.text!r}: {spec.scheme} has no option {key!r}; {have}")


def one_line(error: object) -> str:
    """Text of another library's error, as part of a one-line message of ours."""
    is_plain = isinstance(error, str | BaseException | int | float)
    text = str(error) if is_plain else reprlib.repr(error)  # tuples of tuples of tuples may have no end
    return inert_line(_PASSWORD.sub("//", " ".join(text[: 10 * _LONGEST_QUOTE].split())), _LONGEST_QUOTE + 3)


def printable(name: str) -> str:
    """A name from an untrusted file, safe to print."""
    return name if name.isprintable() and len(name) <= _LONGEST_QUOTE else repr(inert_line(name, _LONGEST_QUOTE))


def disguise(head: bytes) -> str | None:
    """What a file is by its first bytes that should hold weights and doesn't, with the way out; else ``None``."""
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; run 'git lfs pull' there, or download the file"
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page saved in place of the file; download the file itself"
    for magic, program, unpack in _COMPRESSED:
        if head.startswith(magic):
            return f"compressed with {program}; unpack it first ({unpack} FILE)"
    if head.startswith(b"PK\x03\x04"):
        return "a zip archive; unpack it first"
    return None


def refuse_disguise(path: Path) -> None:
    """Refuse a file that is plainly something else than what its name promises."""
    if (it := disguise(read_head(path))) is not None:
        raise SourceError(f"{path} is {it}")


def read_head(path: Path, size: int = _HEAD_BYTES) -> bytes:
    """The first bytes of a file."""
    try:
        _require_regular(path)
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None


def _require_regular(path: Path) -> None:
    """Refuse what waits for a writer or never ends."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        code = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        raise OSError(code, "it is a directory" if code == errno.EISDIR else "it is no regular file", str(path))


def read_json(path: Path) -> Any:
    """A JSON document."""
    refuse_disguise(path)
    try:
        return json.loads(files.read(path, most=_LARGEST_JSON), parse_int=_whole)
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path} is not valid JSON ({one_line(error)}); get the file again") from None


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def drop_code(document: Any) -> Any:
    """The document without keys, at any depth, by which transformers finds code: a model's own, or a kernel's.

    No argument does that: transformers asks a user for parts of a model, which it makes by calls of its own.
    """
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            for key in [key for key in value if _CODE.fullmatch(key)]:
                del value[key]
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return document


def link(path: Path, into: Path, name: str | None = None) -> None:
    """Have a file in another directory, under its own name or another."""
    target = into / (name or path.name)
    if not path.is_file():
        raise SourceError(f"{path} is missing; download the model again")
    try:
        target.symlink_to(path.resolve())
    except OSError:  # a file system or an account that has no links
        shutil.copyfile(path, target)


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
    """A file on disk. Of one that is small, or was written of late, what is asked for is copied; others are mapped.

    Mapping loads only what is used, but where a mapped file is cut short, the system ends the process that reads it.
    That befalls what somebody still writes, so that is copied, and so are not files that are ``final``, as caches are;
    of what is mapped, each block is read only if the file is as it was (`embcheck.files.refuse_changed`).
    """

    def __init__(self, path: Path, *, final: bool = False) -> None:
        self.name = str(path)
        self._path = path
        self._view: memoryview | None = None
        self._window = 0, memoryview(b"")
        try:
            _require_regular(path)
            with path.open("rb") as file:
                self._before = os.fstat(file.fileno())
                self.size = self._before.st_size
                if self.size > _SMALL and (final or time.time() - self._before.st_mtime > _YOUNG_SECONDS):
                    self._view = files.map_to_memory(path, file)
                    self.size = len(self._view)
        except OSError as error:
            raise SourceError(f"cannot read {path}: {one_line(error)}") from None

    def read(self, start: int, length: int) -> memoryview:
        """Exactly ``length`` bytes from ``start``, without a copy where the file is mapped."""
        if start < 0 or length < 0 or start + length > self.size:
            raise SourceError(
                f"{self.name} is truncated: it has {self.size} bytes, {start + length} are needed; get it again"
            )
        if self._view is not None:
            return self._view[start : start + length]
        if length > _WINDOW:
            return self._copy(start, length)
        first, window = self._window
        if not first <= start <= start + length <= first + len(window):
            self._window = first, window = start, self._copy(start, min(_WINDOW, self.size - start))
        return window[start - first :][:length]

    def _copy(self, start: int, length: int) -> memoryview:
        content = bytearray(length)
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                count = file.readinto(content)
                now = os.fstat(file.fileno())
        except OSError as error:
            raise SourceError(f"cannot read {self.name}: {one_line(error)}") from None
        if count < length or files.is_other(now, self._before):
            raise SourceError(files.CHANGED.format(self._path))
        return memoryview(content)


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
            own = [
                p.name for p in self._path.iterdir() if not p.is_dir() or p.suffix == ".json"
            ]  # to be refused by name
            nested = [f"{p.parent.name}/{p.name}" for pattern in _NESTED for p in self._path.glob(f"*/{pattern}")]
        except OSError as error:
            raise SourceError(f"cannot read directory {self._path}: {one_line(error)}") from None
        return tuple(sorted(own + nested))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        try:
            return self.fetch(name).stat().st_size
        except OSError as error:
            raise SourceError(f"cannot read {self.fetch(name)}: {error.strerror or error}") from None

    def open(self, name: str) -> LocalBytes:
        """A file, memory-mapped."""
        return LocalBytes(self.fetch(name))

    def fetch(self, name: str) -> Path:
        """The file itself."""
        return self._path / name

    def fetch_tokenizer(self) -> Path:
        """The directory itself."""
        return self._path
