"""GloVe vectors as text: no header, a word and its numbers a line; words may hold spaces."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.words import text
from embcheck.sources.words.text import HEAD_BYTES, describe_file, open_vectors, to_table

if TYPE_CHECKING:
    from pathlib import Path

    from embcheck.sources.assemble import Description
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors as float32. How many numbers a line has is what most of the first lines say."""
    path, width, skip = _open(spec)
    return to_table(spec, path, text.parse(path, width=width, rows=text.count_lines(path), skip=skip, spaces=True))


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the first lines; only reading it all would tell how many there are."""
    path, width, _ = _open(spec)
    return describe_file(path, None, width)


def _open(spec: ModelSpec) -> tuple[Path, int, int]:
    """The file, how many numbers a line has, and where the first line begins."""
    path, head = open_vectors(spec)
    skip = len(text.BOM) if head.startswith(text.BOM) else 0
    lines = head.split(b"\n")
    if len(head) == HEAD_BYTES and len(lines) > 1:
        lines.pop()  # cut off by the end of what was read
    widths = Counter(_count_numbers(line) for line in lines if line.strip())
    width = min(widths, key=lambda w: (-widths[w], w), default=0)
    if width < 1:
        raise SourceError(f"{path}: its lines do not end in numbers; give a file with a word and its numbers a line")
    if width > 1 and text.read_header(path, head) is not None:
        raise SourceError(
            f"{path}: line 1 says how many vectors follow, as GloVe's does not; read it as word2vec:{spec.target}"
        )
    return path, width, skip


def _count_numbers(line: bytes) -> int:
    """How many numbers a line ends in, not counting its first field, which is a word whatever it looks like."""
    fields = line.split()[1:]
    return next((n for n, field in enumerate(reversed(fields)) if not text.is_number(field)), len(fields))
