"""The header of a GGUF file: what it says of the model, its vocabulary, and where its tensors lie.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.gguf.cursor import LARGEST_HEADER, Cursor
from embcheck.sources.gguf.types import TYPES, NumberType, TensorInfo

if TYPE_CHECKING:
    from embcheck.sources.files.access import RandomAccess

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9
_TEXTS_KEPT = {"tokenizer.ggml.tokens": 4096, "tokenizer.ggml.merges": 8192}  # and the longest of each
_NUMBERS_KEPT = frozenset({"tokenizer.ggml.token_type", "tokenizer.ggml.scores"})
_VERSIONS = (2, 3)
_MOST_KEYS = 2**16
_MOST_TENSORS = 2**17
_MOST_TOKENS = 2**19
_MOST_DIMENSIONS = 4
_LONGEST_VALUE = 2**12  # longer texts, such as chat templates, say nothing that is needed here
_LARGEST_ALIGNMENT = 2**20


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says before its tensors' bytes."""

    name: str
    values: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    tensors: dict[str, TensorInfo] = field(default_factory=dict)

    @property
    def tokens(self) -> list[str]:
        """The tokens as the file writes them, by id."""
        return self.texts.get("tokenizer.ggml.tokens", [])

    def number(self, key: str) -> int | float | None:
        """A number, ``None`` where there is none of that name."""
        value = self.values.get(key)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    def string(self, key: str) -> str:
        """A string, empty where there is none of that name."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""


def read_header(access: RandomAccess) -> Header:
    """Read the header."""
    cursor = Cursor(access)
    _check_version(access, cursor)
    tensors = cursor.count("tensors", each=24, most=_MOST_TENSORS)
    keys = cursor.count("keys", each=13, most=_MOST_KEYS)
    header = Header(access.name)
    for _ in range(keys):
        _read_value(cursor, header)
    found = [_read_tensor(cursor) for _ in range(tensors)]
    alignment = header.values.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.malformed(f"its alignment {alignment!r} is no power of two")
    start = -(-cursor.at // alignment) * alignment
    for name, shape, code, offset in found:
        if name in header.tensors:
            raise cursor.malformed(f"it has tensor {name!r} twice")
        header.tensors[name] = _located(name, shape, code, start + offset)
    return header


def check_matrix(access: RandomAccess, tensor: TensorInfo) -> None:
    """Refuse a tensor that is no matrix, of unknown numbers, or that lies outside the file."""
    if len(tensor.shape) != 2 or min(tensor.shape) < 1:
        raise SourceError(f"{access.name}: tensor {tensor} is not a matrix; choose another with tensor=NAME")
    if not tensor.kind.size:
        raise SourceError(f"{access.name}: tensor {tensor} is of an unknown type; give a file in another quantization")
    if tensor.shape[1] % tensor.kind.block:
        raise SourceError(f"{access.name}: tensor {tensor} can't be, for that type stores {tensor.kind.block} at once")
    if tensor.start + tensor.nbytes > access.size:
        raise SourceError(
            f"{access.name} is truncated, or its header is wrong: tensor {tensor} ends at byte "
            f"{tensor.start + tensor.nbytes} but the file has {access.size}; get it again"
        )


def _check_version(access: RandomAccess, cursor: Cursor) -> None:
    if access.size < 24 or bytes(access.read(0, 4)) != b"GGUF":
        raise SourceError(f"{access.name} is not a GGUF file; give one, or get it again")
    cursor.skip(4)
    version = int(cursor.number("I"))
    if version in _VERSIONS:
        return
    if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
        raise SourceError(f"{access.name} is a big-endian GGUF file; convert the model for a little-endian machine")
    raise SourceError(f"{access.name} is GGUF of version {version}; versions 2 and 3 are read, so convert it again")


def _read_value(cursor: Cursor, header: Header) -> None:
    key = cursor.text("a key")
    if key in header.values or key in header.texts or key in header.numbers:
        raise cursor.malformed(f"it has key {key!r} twice")
    kind = int(cursor.number("I"))
    if kind == _ARRAY:
        _read_array(cursor, header, key)
    elif kind == _TEXT:
        header.values[key] = _short_text(cursor)
    elif kind in _NUMBERS:
        header.values[key] = cursor.number(_NUMBERS[kind])
    else:
        raise cursor.malformed(f"key {key!r} is of unknown type {kind}")


def _short_text(cursor: Cursor) -> str | None:
    length = cursor.count("bytes of text", each=1, most=LARGEST_HEADER)
    if length <= _LONGEST_VALUE:
        return cursor.decode(length)
    cursor.skip(length)
    return None


def _read_array(cursor: Cursor, header: Header, key: str) -> None:
    kind = int(cursor.number("I"))
    if kind == _TEXT and key in _TEXTS_KEPT:
        count = cursor.count(f"strings of {key!r}", each=8, most=_MOST_TOKENS)
        header.texts[key] = cursor.texts(count, longest=_TEXTS_KEPT[key])
    elif kind in _NUMBERS and key in _NUMBERS_KEPT:
        form = "<" + _NUMBERS[kind]
        count = cursor.count(f"numbers of {key!r}", each=np.dtype(form).itemsize, most=_MOST_TOKENS)
        header.numbers[key] = cursor.numbers(count, form)
    else:
        _skip_array(cursor, kind)


def _skip_array(cursor: Cursor, kind: int) -> None:
    if kind == _TEXT:
        cursor.skip_texts(cursor.count("strings", each=8, most=LARGEST_HEADER))
    elif kind in _NUMBERS:
        size = np.dtype(_NUMBERS[kind]).itemsize
        cursor.skip(size * cursor.count("numbers", each=size, most=LARGEST_HEADER))
    else:  # arrays of arrays are unknown to llama.cpp too
        raise cursor.malformed(f"an array holds things of unknown type {kind}")


def _read_tensor(cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text("a tensor's name", longest=2**10)
    dimensions = cursor.count("dimensions", each=8, most=_MOST_DIMENSIONS, kind="I")
    shape = tuple(int(cursor.number("Q")) for _ in range(dimensions))[::-1]
    return name, shape, int(cursor.number("I")), int(cursor.number("Q"))


def _located(name: str, shape: tuple[int, ...], code: int, start: int) -> TensorInfo:
    kind = TYPES.get(code) or NumberType(f"type {code}", 1, 0)
    return TensorInfo(name, shape, kind, start, math.prod(shape) // kind.block * kind.size)
