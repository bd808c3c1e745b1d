"""Words whose vectors fastText composes: the mean of a word's own vector and those of the pieces it is spelled with.

Pieces (n-grams) share a table of buckets by a hash. The formulas are fastText's: ``Dictionary::computeSubwords`` and
``Dictionary::hash`` in https://github.com/facebookresearch/fastText/blob/main/src/dictionary.cc.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.files import LocalBytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_VERSION = 12
_HEADER = struct.Struct("<2i12id3i2q")
_COUNT_AND_KIND = struct.Struct("<qb")
_MATRIX = struct.Struct("<?2q")
_LONGEST_WORD = 2**16
LONGEST_GRAM = 32
_END = "</s>"
_OFFSET, _PRIME, _MASK = 2166136261, 16777619, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Grams:
    """Which pieces of words have vectors: lengths in characters, and the number of buckets."""

    shortest: int
    longest: int
    buckets: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a fastText model says of itself before its words."""

    width: int
    grams: Grams
    entries: int
    words: int
    size: int


def read_header(path: Path, access: LocalBytes) -> Header:
    """Read the header of a fastText model."""
    fields = _HEADER.unpack(access.read(0, _HEADER.size))
    version, width, buckets, shortest, longest = fields[1], fields[2], fields[10], fields[11], fields[12]
    entries, words, _, _, pruned = fields[15:]
    if version != _VERSION:
        raise SourceError(f"{path} is a fastText model of version {version}; only {_VERSION} is read; save it again")
    if pruned > 0:
        raise SourceError(f"{path} is a quantized fastText model; give the one that was not quantized")
    if path.suffix == ".ftz":
        raise SourceError(f"{path} is a quantized fastText model (.ftz); give the one that was not quantized (.bin)")
    sane = width > 0 and 0 < words <= entries and buckets >= 0 and 0 <= shortest <= LONGEST_GRAM
    if not sane or longest > LONGEST_GRAM or (words + buckets) * width * 4 > access.size:
        raise SourceError(
            f"{path}: its header promises {words} words and {buckets} buckets of {width} numbers, but the file has "
            f"{access.size} bytes; it is truncated or malformed; get it again"
        )
    grams = Grams(max(1, shortest), longest, buckets if longest > 0 else 0)
    return Header(width, grams, entries, words, _HEADER.size)


def read_fasttext(path: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Read the words of a fastText model and compose their vectors."""
    access = LocalBytes(path)
    header = read_header(path, access)
    words, at = _read_words(path, access, header)
    quantized, rows, width = _MATRIX.unpack(access.read(at, _MATRIX.size))
    if quantized:
        raise SourceError(f"{path} is a quantized fastText model; give the one that was not quantized")
    if width != header.width or not header.words + header.grams.buckets <= rows <= access.size:
        raise SourceError(f"{path}: its matrix is {rows} x {width}, which does not fit its header; get it again")
    raw = access.read(at + _MATRIX.size, rows * width * 4)
    matrix = np.frombuffer(raw, dtype="<f4").reshape(rows, width)
    return words, compose(words, matrix[: header.words], matrix[header.words :], header.grams)


def compose(words: Sequence[str], own: NDArray[Any], pieces: NDArray[Any], grams: Grams) -> NDArray[np.float32]:
    """(V, d) means over each word's own vector and those of its n-grams, which are (buckets, d)."""
    composed = np.array(own, dtype=np.float32)
    if not grams.buckets:
        return composed
    for row, word in enumerate(words):
        if word != _END:
            buckets = [hashed % grams.buckets for hashed in _hashes(word, grams)]
            composed[row] += pieces[buckets].sum(axis=0, dtype=np.float32)
            composed[row] /= len(buckets) + 1
    return composed


def _hashes(word: str, grams: Grams) -> Iterator[int]:
    """32-bit FNV-1a hash of each n-gram of ``<word>``, bytes taken as signed as fastText does."""
    letters = [letter.encode("utf-8", "surrogatepass") for letter in f"<{word}>"]
    for start in range(len(letters)):
        hashed = _OFFSET
        for length, letter in enumerate(letters[start : start + grams.longest], start=1):
            for octet in letter:
                hashed = ((hashed ^ (octet if octet < 128 else octet | 0xFFFFFF00)) * _PRIME) & _MASK
            lone_edge = length == 1 and start in {0, len(letters) - 1}
            if length >= grams.shortest and not lone_edge:
                yield hashed


def _read_words(path: Path, access: LocalBytes, header: Header) -> tuple[list[str], int]:
    """The words, and where the matrix begins. Labels, which follow them, are passed over."""
    words: list[str] = []
    at = header.size
    for entry in range(header.entries):
        chunk, end = _until_zero(access, at)
        if end < 0:
            raise SourceError(f"{path}: word {entry + 1} does not end; the file is garbled, get it again")
        _, kind = _COUNT_AND_KIND.unpack(access.read(at + end + 1, _COUNT_AND_KIND.size))
        if kind == 0:
            words.append(chunk[:end].decode("utf-8", "replace"))
        at += end + 1 + _COUNT_AND_KIND.size
    if len(words) != header.words:
        raise SourceError(f"{path}: the header promises {header.words} words but {len(words)} are there; get it again")
    return words, at


def _until_zero(access: LocalBytes, at: int) -> tuple[bytes, int]:
    """Some bytes of the file, and where the first zero among them is: at -1 if there is none within a word's length."""
    for length in (256, _LONGEST_WORD):
        chunk = bytes(access.read(at, min(length, access.size - at)))
        if (end := chunk.find(b"\0")) >= 0:
            return chunk, end
    return b"", -1
