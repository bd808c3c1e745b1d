"""What the text formats share beyond parsing: opening, the check of a header against the file, the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from embcheck.errors import SourceError
from embcheck.sources.assemble import assemble
from embcheck.sources.files.looking import local_file, read_head, refuse_disguise, refuse_unknown_options
from embcheck.sources.words import text
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

HEAD_BYTES = 2**16
_FASTTEXT_MODEL = b"\xba\x16\x4f\x2f"
_ITEM_BYTES = 4


def open_file(spec: ModelSpec) -> tuple[Path, bytes]:
    """The file of a spec and its first bytes."""
    refuse_unknown_options(spec)
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    head = read_head(path, HEAD_BYTES)
    if head.startswith(_FASTTEXT_MODEL):
        raise SourceError(
            f"{path} is a fastText model, whose words share n-gram vectors; "
            f"write gensim:{path} to compose them, or give its .vec file as fasttext:FILE"
        )
    return path, head


def read_with_header(path: Path, header: text.Header) -> tuple[list[str], NDArray[np.float32]]:
    """Parse text vectors whose first line says how many there are."""
    require_room(path, header, item_bytes=2)
    return text.parse(path, width=header.width, rows=header.rows, skip=header.size)


def require_room(path: Path, header: text.Header, *, item_bytes: int) -> None:
    """Refuse a header that promises more than the file can hold, before anything is allocated."""
    size = path.stat().st_size
    least = header.size + header.rows * (header.width * item_bytes)
    if least - 1 > size:
        raise SourceError(
            f"{path}: the header promises {header.rows} x {header.width} vectors, at least {least} bytes, "
            f"but the file has {size}; it is truncated or its header is wrong; get it again"
        )


def to_table(spec: ModelSpec, path: Path, words: list[str], matrix: NDArray[np.float32]) -> EmbeddingTable:
    """The table of words and vectors that were read from a file."""
    return assemble(spec, torch.from_numpy(matrix), WordVocabulary(words), bytes_read=path.stat().st_size)


def described(path: Path, rows: int | None, width: int) -> dict[str, object]:
    """What `describe` of these formats returns; ``rows`` is ``None`` where only reading it all would tell."""
    size = path.stat().st_size
    return {
        "tensor": None,
        "shape": (rows, width),
        "dtype": "float32",
        "bytes": None if rows is None else rows * width * _ITEM_BYTES,
        "bytes_total": size,
        "files": [path.name],
    }
