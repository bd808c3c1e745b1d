"""The header of a GGUF file that nobody vouches for: what it says of the model, its tokens, and where its tensors lie.

The layout is that of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.files import printable
from embcheck.sources.gguf.tensors import TYPES, NumberType, TensorInfo, check_matrix, load, refuse_undequantizable
from embcheck.sources.naming.config_facts import embedding_scale

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import DTypeLike, NDArray
    from torch import Tensor

    from embcheck.sources.files import JsonObject, RandomAccess

_LARGEST_HEADER = 64 * 2**20
_KEPT_BYTES = 32 * 2**20  # text that is kept: ten times what any known model has
_FIRST_WINDOW = 256 * 2**10
_LARGEST_WINDOW = 4 * 2**20
_LENGTH = struct.Struct("<Q")
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


class Cursor:
    """A position in a file that only moves forward, with the bytes around it in memory."""

    def __init__(self, access: RandomAccess) -> None:
        self.at = 0
        self._access = access
        self._limit = min(access.size, _LARGEST_HEADER)
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
        text = self.decode(self.count(f"bytes of {what}", each=1, most=longest))
        if "\ufffd" in text:  # what a garbled name stands for, such as the alignment, would be missed
            raise self.malformed(f"{what} is not UTF-8")
        return text

    def decode(self, length: int) -> str:
        """Bytes whose number was read before, as text."""
        at = self._need(length)
        self._keep(length)
        self.at += length
        return self._window[at : at + length].decode("utf-8", "replace")

    def texts(self, count: int, *, longest: int) -> list[str]:
        """Several strings, one after the other."""
        texts: list[str] = []
        for window, cuts in self._cut(count, longest):
            self._keep(sum(stop - start for start, stop in cuts))
            texts += [window[start:stop].decode("utf-8", "replace") for start, stop in cuts]
        return texts

    def skip_texts(self, count: int) -> None:
        """Pass over several strings."""
        for _ in self._cut(count, _LARGEST_HEADER):
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
            raise self.malformed(f"its header would be larger than {_LARGEST_HEADER} bytes")
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


@dataclass(eq=False)
class GgufFile:
    """What a GGUF file says before its tensors' bytes, and the tensors, dequantized: a `TensorStore`."""

    access: RandomAccess
    values: dict[str, int | float | bool | str | None] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    tensors: dict[str, TensorInfo] = field(default_factory=dict)
    bytes_read: int = 0
    missing: tuple[str, ...] = ()
    """Other parts of the model that are not there: what they hold can't be known."""
    others: list[RandomAccess] = field(default_factory=list)
    """The files of the other parts that are there."""
    _holders: dict[str, RandomAccess] = field(default_factory=dict)
    """The file of each tensor that lies in another part."""
    _matrices: dict[str, Tensor] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """What the file is called in error messages."""
        return self.access.name

    def holder(self, name: str) -> RandomAccess:
        """The file that a tensor lies in."""
        return self._holders.get(name, self.access)

    def join(self, part: GgufFile) -> None:
        """Take in another part of the same model: its tensors, and what it says where this one says nothing."""
        self.others.append(part.access)
        for name, tensor in part.tensors.items():
            if name in self.tensors:
                raise SourceError(f"{self.origin} and {part.origin} both hold {printable(name)}; get the parts again")
            self.tensors[name], self._holders[name] = tensor, part.access
        self.values = part.values | self.values
        self.texts = part.texts | self.texts
        self.numbers = part.numbers | self.numbers

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

    @property
    def config(self) -> JsonObject:
        """What it says of heads and neurons, under the names that a config.json has for it."""
        kind = self.string("general.architecture")
        keys = {
            "num_attention_heads": f"{kind}.attention.head_count",
            "num_key_value_heads": f"{kind}.attention.head_count_kv",
            "intermediate_size": f"{kind}.feed_forward_length",
        }
        return {name: number for name, key in keys.items() if (number := self.number(key)) is not None}

    @property
    def may_drop_copies(self) -> bool:
        """As llama.cpp does."""
        return not self.missing

    @property
    def scale(self) -> float | None:
        """As `embedding_scale`."""
        kind = self.string("general.architecture")
        return embedding_scale(
            {
                "model_type": kind,
                "embedding_scale": self.number(f"{kind}.embedding_scale"),
                "hidden_size": self.number(f"{kind}.embedding_length"),
            }
        )

    @property
    def names(self) -> Collection[str]:
        """All tensors."""
        return self.tensors.keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows first."""
        return self.tensors[name].shape

    def refusal(self, name: str) -> str | None:
        """That it can't be dequantized here, if it can't."""
        try:
            refuse_undequantizable(self.holder(name), self.tensors[name])
        except SourceError as error:
            return str(error)
        return None

    def read(self, name: str) -> Tensor:
        """Floats as they are stored, quantized numbers as float32; once, and counted."""
        if name not in self._matrices:
            tensor = self.tensors[name]
            check_matrix(self.holder(name), tensor)
            self._matrices[name] = load(self.holder(name), tensor)
            self.bytes_read += tensor.nbytes
        return self._matrices[name]


def read_header(access: RandomAccess) -> GgufFile:
    """Read the header."""
    cursor = Cursor(access)
    _check_version(access, cursor)
    tensors = cursor.count("tensors", each=24, most=_MOST_TENSORS)
    keys = cursor.count("keys", each=13, most=_MOST_KEYS)
    header = GgufFile(access)
    for _ in range(keys):
        _read_value(cursor, header)
    entries = [_read_tensor(cursor) for _ in range(tensors)]
    alignment = header.values.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= _LARGEST_ALIGNMENT or alignment & (alignment - 1):
        raise cursor.malformed(f"its alignment {alignment!r} is no power of two")
    start = -(-cursor.at // alignment) * alignment
    for name, shape, code, offset in entries:
        if name in header.tensors:
            raise cursor.malformed(f"it has tensor {printable(name)} twice")
        kind = TYPES.get(code) or NumberType(f"type {code}", 1, 0)
        if (shape[-1] if shape else 1) % kind.block:
            raise cursor.malformed(f"tensor {printable(name)} can't be {kind.name}, which stores {kind.block} at once")
        nbytes = math.prod(shape) // kind.block * kind.size
        if offset % alignment:
            raise cursor.malformed(f"tensor {printable(name)} does not begin at a multiple of {alignment} bytes")
        header.tensors[name] = TensorInfo(name, shape, kind, start + offset, nbytes)
    ordered = sorted(header.tensors.values(), key=lambda tensor: (tensor.start, tensor.nbytes))
    for before, after in itertools.pairwise(ordered):
        if before.start + before.nbytes > after.start:
            raise cursor.malformed(f"its tensors {printable(before.name)} and {printable(after.name)} overlap")
    needed = max((tensor.start + tensor.nbytes for tensor in ordered), default=0)
    if needed > access.size:  # bytes that are lost before a tensor move it, and any other's numbers take its place
        raise SourceError(f"{access.name} is truncated: it has {access.size} bytes, {needed} are needed; get it again")
    return header


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


def _read_value(cursor: Cursor, header: GgufFile) -> None:
    key = cursor.text("a key")
    if key in header.values or key in header.texts or key in header.numbers:
        raise cursor.malformed(f"it has key {printable(key)} twice")
    kind = int(cursor.number("I"))
    if kind == _ARRAY:
        _read_array(cursor, header, key)
    elif kind == _TEXT:
        header.values[key] = _short_text(cursor)
    elif kind in _NUMBERS:
        header.values[key] = cursor.number(_NUMBERS[kind])
    else:
        raise cursor.malformed(f"key {printable(key)} is of unknown type {kind}")


def _short_text(cursor: Cursor) -> str | None:
    length = cursor.count("bytes of text", each=1, most=_LARGEST_HEADER)
    if length <= _LONGEST_VALUE:
        return cursor.decode(length)
    cursor.skip(length)
    return None


def _read_array(cursor: Cursor, header: GgufFile, key: str) -> None:
    kind = int(cursor.number("I"))
    if kind == _TEXT and key in _TEXTS_KEPT:
        count = cursor.count(f"strings of {printable(key)}", each=8, most=_MOST_TOKENS)
        header.texts[key] = cursor.texts(count, longest=_TEXTS_KEPT[key])
    elif kind in _NUMBERS and key in _NUMBERS_KEPT:
        form = "<" + _NUMBERS[kind]
        count = cursor.count(f"numbers of {printable(key)}", each=np.dtype(form).itemsize, most=_MOST_TOKENS)
        header.numbers[key] = cursor.numbers(count, form)
    else:
        _skip_array(cursor, kind)


def _skip_array(cursor: Cursor, kind: int) -> None:
    if kind == _TEXT:
        cursor.skip_texts(cursor.count("strings", each=8, most=_LARGEST_HEADER))
    elif kind in _NUMBERS:
        size = np.dtype(_NUMBERS[kind]).itemsize
        cursor.skip(size * cursor.count("numbers", each=size, most=_LARGEST_HEADER))
    else:  # arrays of arrays are unknown to llama.cpp too
        raise cursor.malformed(f"an array holds things of unknown type {kind}")


def _read_tensor(cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = cursor.text("a tensor's name", longest=2**10)
    dimensions = cursor.count("dimensions", each=8, most=_MOST_DIMENSIONS, kind="I")
    shape = tuple(int(cursor.number("Q")) for _ in range(dimensions))[::-1]
    return name, shape, int(cursor.number("I")), int(cursor.number("Q"))
