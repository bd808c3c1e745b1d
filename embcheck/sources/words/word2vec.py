"""word2vec vectors, binary or text, and fastText's as text: a line with their number and width, then each word's."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from embcheck.errors import SourceError
from embcheck.sources.files import one_line
from embcheck.sources.words import text
from embcheck.sources.words.text import describe_file, open_vectors, read_with_header, require_room, to_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from embcheck.sources.assemble import Description
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_BLOCK = 16 * 2**20
_LONGEST_WORD = 2**16
_ITEM_BYTES = 4
_TEXT_BYTES = frozenset(b"0123456789+-.eE \r\n")
_MOSTLY = 0.9
_CONTROL = frozenset({*range(0x20), 0x7F}) - frozenset(b"\t\r\n")


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors as float32. Whether word2vec's are binary or text is told by the bytes after the first word."""
    path, header, is_text = _open(spec)
    words, matrix = read_with_header(path, header) if is_text else _read_binary(path, header)
    return to_table(spec, path, words, matrix)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the first line."""
    path, header, _ = _open(spec)
    return describe_file(path, header.rows, header.width)


def _open(spec: ModelSpec) -> tuple[Path, text.Header, bool]:
    path, head = open_vectors(spec)
    header = text.read_header(path, head)
    is_text = spec.scheme == "fasttext"
    if header is None:
        way_out = "" if is_text else "if it is text without a header, "
        raise SourceError(
            f"{path}: line 1 does not say how many vectors follow; {way_out}read it as glove:{spec.target}"
        )
    return path, header, is_text or _looks_like_text(head[header.size :])


def _looks_like_text(sample: bytes) -> bool:
    """Whether numbers are written out: the first line holds nothing else, or almost all the sample looks like it."""
    if not _CONTROL.isdisjoint(sample):
        return False
    first = sample.partition(b"\n")[0].split()[1:]
    numbers = sample.partition(b" ")[2]
    digits = sum(octet in _TEXT_BYTES for octet in numbers)
    return (bool(first) and all(map(text.is_number, first))) or digits >= _MOSTLY * len(numbers)


def _read_binary(path: Path, header: text.Header) -> tuple[list[str], NDArray[np.float32]]:
    require_room(path, header, item_bytes=_ITEM_BYTES)
    matrix = np.empty((header.rows, header.width), dtype=np.float32)
    words: list[str] = []
    rest = b""
    try:
        with path.open("rb") as file:
            file.seek(header.size)
            while len(words) < header.rows:
                buffer = rest + _next_block(file, path, header, len(words))
                more, vectors, rest = _cut(path, buffer, header, start=len(words))
                matrix[len(words) : len(words) + len(more)] = vectors
                words += more
            left = len(rest.strip(b"\r\n")) + len(file.read(1))
    except OSError as error:
        raise SourceError(f"cannot read {path}: {one_line(error)}") from None
    if left:
        raise SourceError(
            f"{path}: the header promises {header.rows} vectors but more bytes follow; get the file again"
        )
    return words, matrix


def _next_block(file: BinaryIO, path: Path, header: text.Header, rows: int) -> bytes:
    """More bytes, at least a vector's worth unless the file ends."""
    block = file.read(max(_BLOCK, header.width * _ITEM_BYTES))
    if not block:
        raise SourceError(
            f"{path} is truncated: the header promises {header.rows} vectors of {header.width} numbers "
            f"but only {rows} are there; get it again"
        )
    return block


def _cut(path: Path, buffer: bytes, header: text.Header, *, start: int) -> tuple[list[str], NDArray[np.float32], bytes]:
    """Whole records at the start of a buffer, and what is left of it."""
    size = header.width * _ITEM_BYTES
    words: list[str] = []
    vectors: list[bytes] = []
    at = 0
    while start + len(words) < header.rows:
        space = buffer.find(b" ", at, at + _LONGEST_WORD)
        if space < 0 and len(buffer) - at >= _LONGEST_WORD:
            number = start + len(words) + 1
            raise SourceError(f"{path}, vector {number}: no word is there; the file is garbled, get it again")
        end = space + 1 + size
        if space < 0 or end > len(buffer):
            break
        words.append(buffer[at:space].lstrip(b"\r\n").decode("utf-8", "replace"))
        vectors.append(buffer[space + 1 : end])
        at = end
    numbers = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(words), header.width)
    return words, numbers, buffer[at:]
