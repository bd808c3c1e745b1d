"""fastText vectors as text (``.vec``): a line with their number and width, then a word and its numbers a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.words import text
from embcheck.sources.words.shared import described, open_file, read_with_header, to_table

if TYPE_CHECKING:
    from pathlib import Path

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe", "read"]


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors of a ``.vec`` file as float32."""
    path, header = _open(spec)
    return to_table(spec, path, *read_with_header(path, header))


def describe(spec: ModelSpec) -> dict[str, object]:
    """What `read` would read, from the first line."""
    path, header = _open(spec)
    return described(path, header.rows, header.width)


def _open(spec: ModelSpec) -> tuple[Path, text.Header]:
    path, head = open_file(spec)
    header = text.read_header(path, head)
    if header is None:
        raise SourceError(f"{path}: line 1 does not say how many vectors follow; read it as glove:{spec.target}")
    return path, header
