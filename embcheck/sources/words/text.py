"""Word vectors as text: a word and its numbers a line, separated by single spaces. Shared by three formats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch
from pyarrow import csv

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import local_file, one_line, read_head, refuse_disguise, refuse_unknown_options
from embcheck.table.vocabulary import WordVocabulary
from embcheck.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_BLOCK = 4 * 2**20  # bytes of text parsed at once: what caches hold
_LONGEST_LINE = 2**26
_ITEM_BYTES = 4
HEAD_BYTES = 2**16
BOM = b"\xef\xbb\xbf"
FASTTEXT_MODEL = b"\xba\x16\x4f\x2f"
_HEADER = re.compile(rb"([0-9]{1,15})[ \t]([0-9]{1,15})[ \t]*\r?")
_NUMBER = re.compile(rb"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(nan|inf)", re.IGNORECASE)
# Numbers go to Arrow one a line; white space that separates nothing becomes a character that no number has.
_ONE_A_LINE = bytes.maketrans(b" \t\r", b"\n??")
_SINGLE_COLUMN = {
    "read_options": csv.ReadOptions(column_names=["number"], block_size=2**20),
    "parse_options": csv.ParseOptions(delimiter="\t", quote_char=False, double_quote=False),
    "convert_options": csv.ConvertOptions(column_types={"number": pa.float64()}, null_values=[]),
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the first line of a word2vec or fastText file says."""

    rows: int
    width: int
    size: int
    """Bytes up to the first word."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Words and their (rows, width) matrix as they were read, and notes for the provenance."""

    words: list[str]
    matrix: NDArray[np.float32]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the lines of a file are cut."""

    path: Path
    width: int
    spaces: bool
    """Whether a word may hold spaces, as GloVe's do."""
    tabs: bool
    """Whether fields are separated by tabs."""


def read_header(path: Path, head: bytes) -> Header | None:
    """The header of a file, ``None`` where its first line is something else."""
    line, _, _ = head.partition(b"\n")
    match = _HEADER.fullmatch(line.removeprefix(BOM))
    if match is None:
        return None
    header = Header(int(match[1]), int(match[2]), len(line) + 1)
    if header.rows < 1 or header.width < 1:
        raise SourceError(f"{path}: the header promises {header.rows} x {header.width} vectors; get the file again")
    return header


def parse(path: Path, *, width: int, rows: int, skip: int, spaces: bool = False) -> Vectors:
    """Words and vectors, from lines after the first ``skip`` bytes; ``spaces``: words hold some."""
    least = 2 * width  # bytes of a line: a number and a separator each
    size = path.stat().st_size - skip + 1
    if rows * least > size:
        rows_there = count_lines(path, skip=skip)
        if rows_there < rows:
            raise SourceError(
                f"{path}: {rows} vectors are promised but only {rows_there} lines are there; get it again"
            )
    matrix = np.empty((min(rows, size // least), width), dtype=np.float32)
    layout = _Layout(path, width, spaces, is_tabbed(read_head(path, skip + HEAD_BYTES)[skip:], width))
    words: list[str] = []
    garbled = 0
    for line, block in line_blocks(path, skip):
        raw, numbers = _parse_block(layout, line, block)
        more, bad = decode_words(raw)
        garbled += bad
        if len(words) + len(more) > rows:
            extra = line + rows - len(words)
            raise SourceError(f"{path}, line {extra}: only {rows} vectors are promised but more follow; get it again")
        with np.errstate(over="ignore"):  # what float32 can't hold becomes infinite, and is classed as such
            matrix[len(words) : len(words) + len(more)] = numbers
        words += more
    if len(words) < rows:
        raise SourceError(
            f"{path} is truncated: {rows} vectors are promised but only {len(words)} are there; get it again"
        )
    return Vectors(words, matrix, garbled_note(garbled))


def decode_words(raw: list[bytes]) -> tuple[list[str], int]:
    """Words as text, and how many of them are no UTF-8 and have replacement characters instead."""
    try:
        return [word.decode() for word in raw], 0
    except UnicodeDecodeError:
        words = [word.decode("utf-8", "replace") for word in raw]
        return words, sum(text.encode() != word for text, word in zip(words, raw, strict=True))


def garbled_note(count: int) -> tuple[str, ...]:
    """What a reader should know of words that are no UTF-8."""
    return (
        (f"{counted(count, 'words are', 'word is')} not UTF-8, and \ufffd stands for what can't be read of them",)
        if count
        else ()
    )


def is_tabbed(head: bytes, width: int) -> bool:
    """Whether the fields of the first line are separated by tabs."""
    line = head.partition(b"\n")[0].rstrip(b"\r\t ")
    return line.count(b"\t") >= width > line.count(b" ")


def count_lines(path: Path, *, skip: int = 0) -> int:
    """How many lines a file has after its first ``skip`` bytes, counting a last one without a line end."""
    total, last = 0, b"\n"
    with path.open("rb") as file:
        file.seek(skip)
        while block := file.read(_BLOCK):
            total += block.count(b"\n")
            last = block[-1:]
    return total + (last != b"\n")


def is_number(field: bytes) -> bool:
    """Whether a field is a decimal number."""
    return _NUMBER.fullmatch(field) is not None


def line_blocks(path: Path, skip: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines of a file, many at a time, with the number of the first."""
    line = 1 + (skip > 0)
    try:
        with path.open("rb") as file:
            file.seek(skip)
            while block := file.read(_BLOCK):
                rest = b"" if block.endswith(b"\n") else file.readline(_LONGEST_LINE)
                if len(rest) == _LONGEST_LINE:
                    number = line + block.count(b"\n")
                    raise SourceError(f"{path}, line {number} is longer than {_LONGEST_LINE} bytes; not word vectors")
                yield line, block + rest
                line += block.count(b"\n") + rest.count(b"\n")
    except OSError as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None


def _parse_block(layout: _Layout, first: int, block: bytes) -> tuple[list[bytes], NDArray[np.float64]]:
    if layout.tabs:
        block = block.replace(b"\t", b" ")
    lines = (block.replace(b"\r\n", b"\n") if b"\r" in block else block).split(b"\n")
    if not lines[-1]:
        lines.pop()
    words, parts = [], []
    for number, line in enumerate(lines, first):
        cut = line.find(b" ") if line.count(b" ") == layout.width else _cut(layout, number, line)
        words.append(line[:cut])
        parts.append(line[cut:])
    numbers = _to_numbers(b"\n".join(parts))
    if numbers is None or len(numbers) != len(lines) * layout.width:
        raise _garbled_error(layout, first, parts)
    return words, numbers.reshape(-1, layout.width)


def _cut(layout: _Layout, number: int, line: bytes) -> int:
    """Where the word of an unusual line ends: one that ends in a space, or whose word holds spaces."""
    stripped = line.rstrip(b" ")
    fields = stripped.count(b" ")
    if fields == layout.width:
        return stripped.find(b" ")
    if fields > layout.width and layout.spaces:
        word = stripped.rsplit(b" ", layout.width)[0]
        if not any(is_number(field) for field in word.split(b" ")[1:]):
            return len(word)
    raise SourceError(
        f"{layout.path}, line {number}: {layout.width} numbers are expected after the word but {fields} are there; "
        "correct the line or get the file again"
    )


def _to_numbers(lines: bytes) -> NDArray[np.float64] | None:
    """Numbers separated by white space; ``None`` if one of them isn't a number."""
    try:
        column = csv.read_csv(pa.BufferReader(lines.translate(_ONE_A_LINE)), **_SINGLE_COLUMN).column(0)
    except pa.ArrowInvalid:
        return None
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks])  # to_numpy would import pandas


def _garbled_error(layout: _Layout, first: int, parts: list[bytes]) -> SourceError:
    """The error that names the first line of a block with a field that is no number."""
    for number, part in enumerate(parts, first):
        fields = part.rstrip(b" ")[1:].split(b" ")
        bad = [field for field in fields if not is_number(field)]
        if bad:
            shown = bad[0][:40].decode("utf-8", "replace")
            return SourceError(
                f"{layout.path}, line {number}: {layout.width} numbers are expected but only {layout.width - len(bad)} "
                f"are there, and {shown!r} is none; correct the line or get the file again"
            )
    return SourceError(
        f"{layout.path}: lines {first} to {first + len(parts) - 1} hold text that is no number; get it again"
    )


def open_vectors(spec: ModelSpec) -> tuple[Path, bytes]:
    """The file of a spec and its first bytes."""
    refuse_unknown_options(spec)
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    head = read_head(path, HEAD_BYTES)
    if head.startswith(FASTTEXT_MODEL):
        raise SourceError(
            f"{path} is a fastText model, whose words share n-gram vectors; "
            f"write gensim:{path} to compose them, or give its .vec file as fasttext:FILE"
        )
    return path, head


def read_with_header(path: Path, header: Header) -> Vectors:
    """Parse text vectors whose first line says how many there are."""
    require_room(path, header, item_bytes=2)
    return parse(path, width=header.width, rows=header.rows, skip=header.size)


def require_room(path: Path, header: Header, *, item_bytes: int) -> None:
    """Refuse a header that promises more than the file can hold, before anything is allocated."""
    size = path.stat().st_size
    least = header.size + header.rows * (header.width * item_bytes)
    if least - 1 > size:
        raise SourceError(
            f"{path}: the header promises {header.rows} x {header.width} vectors, at least {least} bytes, "
            f"but the file has {size}; it is truncated or its header is wrong; get it again"
        )


def to_table(spec: ModelSpec, path: Path, vectors: Vectors) -> EmbeddingTable:
    """The table of words and vectors that were read from a file."""
    vocabulary = WordVocabulary(vectors.words)
    return assemble(
        spec,
        torch.from_numpy(vectors.matrix),
        vocabulary,
        bytes_read=path.stat().st_size,
        notes=(*vectors.notes, *vocabulary.notes),
    )


def describe_file(path: Path, rows: int | None, width: int) -> Description:
    """What `describe` of these formats returns; ``rows`` is ``None`` where only reading it all would tell."""
    return Description(
        shape=(rows, width),
        dtype="float32",
        bytes=None if rows is None else rows * width * _ITEM_BYTES,
        bytes_total=path.stat().st_size,
        files=(path.name,),
    )
