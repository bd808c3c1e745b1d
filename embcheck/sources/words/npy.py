"""A NumPy matrix and its words: ``npy:FILE,vocab=FILE``, or ``vocab=none`` where its rows are no words."""

from __future__ import annotations

import tokenize
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck import files
from embcheck.errors import SourceError, SpecError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalBytes, local_file, one_line, refuse_disguise, refuse_unknown_options
from embcheck.sources.words.lists import read_words, vocabulary_of
from embcheck.spec import NO_VOCABULARY
from embcheck.table.parts import PART_BYTES, Parts, as_tensor
from embcheck.table.tasks import Part
from embcheck.table.vocabulary import NamedRows, RowNumbers, WordVocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.sources.tokenizers.lookup import LookupVocabulary
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

BAD_HEADERS = (
    OSError, ValueError, EOFError, OverflowError, TypeError, SyntaxError, MemoryError, RecursionError,
    tokenize.TokenError,
)  # fmt: skip


def read(spec: ModelSpec) -> EmbeddingTable:
    """Map a matrix into memory and read its words (txt, json or parquet; ``column=NAME`` for parquet)."""
    path, vocab = _paths(spec)
    matrix = open_matrix(path)
    vocabulary = NamedRows(RowNumbers(len(matrix))) if vocab is None else _words(spec, path, vocab, len(matrix))
    tensor = torch.from_numpy(np.require(matrix, dtype=matrix.dtype.newbyteorder("="), requirements="C"))
    return assemble(spec, tensor, vocabulary, bytes_read=tensor.nbytes, notes=vocabulary.notes)


def lay_out(spec: ModelSpec) -> EmbeddingTable:
    """The same table in parts of some megabytes."""
    path, vocab = _paths(spec)
    matrix, about = open_matrix(path), path.stat()
    (size, width), kind = matrix.shape, matrix.dtype.newbyteorder("=").name
    vocabulary = NamedRows(RowNumbers(size)) if vocab is None else _words(spec, path, vocab, size)
    version, step = f"{path.resolve()} {about.st_size} {about.st_mtime_ns}", max(1, PART_BYTES // matrix[:1].nbytes)
    parts = []
    for start in range(0, size, step):
        stop = min(start + step, size)
        read = partial(_read_rows, path, start, stop, version)
        parts.append(Part(f"{path}, rows {start} to {stop - 1}", (stop - start, width), version, read))
    return assemble(spec, as_tensor(Parts(parts, kind)), vocabulary, bytes_read=matrix.nbytes, notes=vocabulary.notes)


def _read_rows(path: Path, start: int, stop: int, version: str) -> list[Tensor]:
    about = path.stat()
    if f"{path.resolve()} {about.st_size} {about.st_mtime_ns}" != version:
        raise SourceError(files.CHANGED.format(path))
    matrix = open_matrix(path)[start:stop]
    return [torch.from_numpy(np.require(matrix, dtype=matrix.dtype.newbyteorder("="), requirements="C"))]


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the matrix's header."""
    path, vocab = _paths(spec)
    matrix = map_matrix(path)
    return Description(
        shape=matrix.shape,
        dtype=matrix.dtype.name,
        bytes=matrix.nbytes,
        bytes_total=path.stat().st_size,
        files=(path.name,) if vocab is None else (path.name, vocab.name),
    )


def _words(spec: ModelSpec, path: Path, vocab: Path, rows: int) -> WordVocabulary | LookupVocabulary:
    words = read_words(vocab, column=spec.option("column"))
    if len(words) != rows:
        raise SourceError(f"{path} has {rows} rows but {vocab} has {len(words)} words; give one word a row")
    return vocabulary_of(words)


def _paths(spec: ModelSpec) -> tuple[Path, Path | None]:
    refuse_unknown_options(spec, "vocab", "column")
    vocab = spec.option("vocab")
    if vocab is None:
        raise SpecError(
            f"spec {spec.text!r}: a matrix needs its words; write npy:{spec.target},vocab=FILE (txt, json or parquet), "
            "or vocab=none where its rows are no words"
        )
    return local_file(spec, spec.target), None if ("vocab", vocab) == NO_VOCABULARY else local_file(spec, vocab)


def open_matrix(path: Path) -> NDArray[Any]:
    """The matrix, mapped or read as `LocalBytes` does."""
    matrix = map_matrix(path)
    stored = np.frombuffer(LocalBytes(path).read(matrix.offset, matrix.nbytes), matrix.dtype)
    return stored.reshape(matrix.shape, order="C" if matrix.flags.c_contiguous else "F")


def map_matrix(path: Path) -> np.memmap[Any, Any]:
    """The matrix as NumPy finds it by its header; none of its numbers is read."""
    refuse_disguise(path)
    try:
        with warnings.catch_warnings():  # of headers in the style of old versions, which may be read all the same
            warnings.simplefilter("ignore")
            matrix: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except BAD_HEADERS as error:
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise SourceError(
                f"{path} holds Python objects, which are not read; save its numbers: "
                "numpy.save(FILE, numpy.stack(list(array)).astype('float32'))"
            ) from None
        raise SourceError(
            f"{path} is truncated or not a .npy file ({one_line(error)}); save it with numpy.save"
        ) from None
    if matrix.ndim != 2 or min(matrix.shape) < 1:
        raise SourceError(f"{path} has shape {matrix.shape}; a matrix of rows x width is needed")
    if matrix.dtype.kind != "f" or matrix.dtype.itemsize not in {2, 4, 8}:
        way_out = "save it as float16, float32 or float64"
        if matrix.dtype.kind in "iu":
            way_out = (
                "without their scale whole numbers are another matrix: take off the zero point, if there is one, "
                "multiply by the scale (by one a row: codes * scale[:, None]), and save that as float32"
            )
        raise SourceError(f"{path} holds {matrix.dtype.name}; {way_out}")
    return matrix
