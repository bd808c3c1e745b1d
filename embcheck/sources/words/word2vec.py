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
_LONGEST_TAIL = 256
_TINY, _HUGE = 1e-15, 1e15


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors as float32. Whether word2vec's are binary or text is told by the bytes after the first word."""
    path, header, is_text = _open(spec)
    return to_table(spec, path, read_with_header(path, header) if is_text else _read_binary(path, header))


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


def _read_binary(path: Path, header: text.Header) -> text.Vectors:
    require_room(path, header, item_bytes=_ITEM_BYTES)
    matrix = np.empty((header.rows, header.width), dtype=np.float32)
    words: list[bytes] = []
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
    _check_framing(path, words, matrix)
    decoded, garbled = text.decode_words([word.lstrip(b"\r\n") for word in words])
    return text.Vectors(decoded, matrix, text.garbled_note(garbled))


def _check_framing(path: Path, words: list[bytes], matrix: NDArray[np.float32]) -> None:
    """Refuse a file whose records were cut elsewhere than they were written: nothing but a space ends a word.

    A word that holds one ends too early, its vector begins with the rest of it, and the next word with the vector's
    last bytes. Line ends after every vector, where a file has them, would then be missed. Files without them are told
    by such words, and by numbers far from any vector's that turn sane where the rest of the word is left out.
    """
    ends = [word[:1] in {b"\n", b"\r"} for word in words[1:]]
    has_ends = sum(ends) > len(ends) / 2
    for row, word in enumerate(words):
        core = word.lstrip(b"\r\n")
        is_framed = b"\n" not in core and (ends[row - 1] if has_ends and row else _CONTROL.isdisjoint(core))
        if not is_framed:
            raise _misframed_error(path, words, row)
    if has_ends:
        return
    for row in map(int, np.flatnonzero(_is_odd(matrix).any(axis=1))):
        following = words[row + 1] if row + 1 < len(words) else b""
        if _begins_with_text(matrix[row].astype("<f4").tobytes(), following):
            raise _misframed_error(path, words, row + 1)


def _begins_with_text(vector: bytes, following: bytes) -> bool:
    """Whether an odd vector is one of sane numbers behind the end of a word, which reach into the word that follows."""
    parts = vector[:_LONGEST_TAIL].split(b" ")
    for count in range(1, len(parts)):
        tail = b" ".join(parts[:count]) + b" "
        if not _CONTROL.isdisjoint(tail) or text.decode_words([tail])[1]:
            return False
        shifted = (vector + following)[len(tail) :][: len(vector)].ljust(len(vector), b"\0")
        if not _is_odd(np.frombuffer(shifted, dtype="<f4")).any():
            return True
    return False


def _is_odd(numbers: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Numbers that no training leaves in a vector, but that text or halves of two numbers make."""
    size = np.abs(numbers)
    return np.asarray(~(size < _HUGE) | ((size < _TINY) & (size > 0)))


def _misframed_error(path: Path, words: list[bytes], row: int) -> SourceError:
    shown = words[max(0, row - 1)].strip()[:40].decode("utf-8", "replace")
    return SourceError(
        f"{path}: vectors {max(1, row)} and {row + 1} are not where they should be, as where the word {shown!r} has a "
        "space inside; write the words with _ for spaces, or save the vectors as text"
    )


def _next_block(file: BinaryIO, path: Path, header: text.Header, rows: int) -> bytes:
    """More bytes, at least a vector's worth unless the file ends."""
    block = file.read(max(_BLOCK, header.width * _ITEM_BYTES))
    if not block:
        raise SourceError(
            f"{path} is truncated: the header promises {header.rows} vectors of {header.width} numbers "
            f"but only {rows} are there; get it again"
        )
    return block


def _cut(
    path: Path, buffer: bytes, header: text.Header, *, start: int
) -> tuple[list[bytes], NDArray[np.float32], bytes]:
    """Whole records at the start of a buffer, and what is left of it."""
    size = header.width * _ITEM_BYTES
    words: list[bytes] = []
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
        words.append(buffer[at:space])
        vectors.append(buffer[space + 1 : end])
        at = end
    numbers = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(words), header.width)
    return words, numbers, buffer[at:]
