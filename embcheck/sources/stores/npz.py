"""Vectors in an archive of NumPy: ``npz:FILE,vectors=NAME,words=NAME``. Headers are looked at before all else."""

from __future__ import annotations

import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy

from embcheck.errors import SourceError
from embcheck.sources.files import local_file, one_line, read_head
from embcheck.sources.stores.columns import Place, describe_parts, read_parts
from embcheck.sources.words.npy import BAD_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from embcheck.sources.assemble import Description
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_WHAT = "archive that numpy.savez wrote"
_BAD_FILES = (*BAD_HEADERS, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, LookupError)
_MAGIC, _SUFFIX = b"PK\x03\x04", ".npy"
_MOST_ARRAYS = 10_000


def read(spec: ModelSpec) -> EmbeddingTable:
    """Unpack one array of vectors into a matrix, and one of words, texts or ids."""
    return read_parts(spec, [_NpzPart(local_file(spec, spec.target))], _WHAT)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the arrays' headers."""
    return describe_parts(spec, [_NpzPart(local_file(spec, spec.target))], _WHAT)


@dataclass(frozen=True, slots=True)
class _Array:
    """An array of the archive, by its header, of so many bytes; the numbers follow it."""

    info: zipfile.ZipInfo
    header: int
    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype[Any]

    @property
    def type(self) -> pa.DataType:
        """As what its entries are read; one that can't be is a type that only says what it is."""
        if len(self.shape) == 2 and self.dtype.name in {"float16", "float32", "float64", "int8"} and self.shape[1]:
            return pa.list_(pa.from_numpy_dtype(self.dtype.newbyteorder("=")), self.shape[1])
        if len(self.shape) == 1 and self.dtype.kind in "US":
            return pa.string()
        if len(self.shape) == 1 and self.dtype.kind in "iu":
            return pa.from_numpy_dtype(self.dtype.newbyteorder("="))
        what = "pickled Python objects" if self.dtype.hasobject else str(self.dtype)
        return pa.struct([(f"{what} of shape {self.shape}", pa.null())])


class _NpzPart:
    """The archive, whose arrays are columns."""

    def __init__(self, path: Path) -> None:
        if not read_head(path).startswith(_MAGIC):
            raise SourceError(f"{path} is no {_WHAT}; a single array is npy:{path},vocab=FILE")
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                infos = [info for info in archive.infolist() if info.filename.endswith(_SUFFIX)]
                if len(infos) > _MOST_ARRAYS:
                    raise SourceError(f"{path} holds {len(infos)} arrays; at most {_MOST_ARRAYS} are looked at")
                arrays = [_look_at(archive, info) for info in infos]
        except _BAD_FILES as error:
            raise self._damaged(error) from None
        self.schema = pa.schema([(array.info.filename.removesuffix(_SUFFIX), array.type) for array in arrays])
        self._arrays = dict(zip(self.schema.names, arrays, strict=True))

    def count(self, column: str) -> int | None:
        """The first side of its shape."""
        return int(self._arrays[column].shape[0])

    def width(self, column: str) -> int | None:
        """The second side of its shape."""
        return int(self._arrays[column].shape[1])

    def stored_bytes(self, column: str) -> int | None:
        """How many bytes it takes in the archive."""
        return int(self._arrays[column].info.compress_size)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[tuple[Place, pa.RecordBatch]]:
        """So many rows of each array at a time."""
        arrays = [self._arrays[name] for name in columns]
        self._require_whole(columns, arrays)
        total = arrays[0].shape[0]
        try:
            with ExitStack() as stack:
                archive = stack.enter_context(zipfile.ZipFile(self.path))
                streams = [stack.enter_context(archive.open(array.info)) for array in arrays]
                for stream, array in zip(streams, arrays, strict=True):
                    stream.read(array.header)
                for start in range(0, total, rows):
                    parts = [
                        _as_arrow(stream.read(min(rows, total - start) * _row_bytes(array)), array)
                        for stream, array in zip(streams, arrays, strict=True)
                    ]
                    yield Place(self.path, start), pa.RecordBatch.from_arrays(parts, names=list(columns))
                for stream in streams:
                    stream.read(1)  # past the end, where the checksum is compared
        except _BAD_FILES as error:
            raise self._damaged(error) from None

    def _require_whole(self, columns: Sequence[str], arrays: Sequence[_Array]) -> None:
        """Refuse arrays of different lengths, those of other sizes than their headers say, and those by columns."""
        for name, array in zip(columns, arrays, strict=True):
            if array.shape[0] != arrays[0].shape[0]:
                raise SourceError(
                    f"{self.path}: {columns[0]!r} has {arrays[0].shape[0]} rows but {name!r} {array.shape[0]}; "
                    "give one a row"
                )
            size = array.header + array.shape[0] * _row_bytes(array)
            if array.info.file_size != size:
                raise SourceError(
                    f"{self.path}: {name!r} must have {size} bytes, not {array.info.file_size}; get it again"
                )
            if array.by_columns:
                raise SourceError(f"{self.path}: {name!r} is stored by columns; save numpy.ascontiguousarray(it)")

    def _damaged(self, error: Exception) -> SourceError:
        return SourceError(f"{self.path} is damaged, or no {_WHAT} ({one_line(error)}); write or get it again")


def _look_at(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Array:
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read_header(stream)
        return _Array(info, stream.tell(), shape, by_columns and min(shape, default=0) > 1 < len(shape), dtype)


def _row_bytes(array: _Array) -> int:
    return array.dtype.itemsize * (array.shape[1] if len(array.shape) == 2 else 1)


def _as_arrow(content: bytes, array: _Array) -> pa.Array:
    """Rows of an array as Arrow's, numbers without a copy."""
    values = np.frombuffer(content, array.dtype)
    if array.dtype.kind == "S":
        return pa.array([text.decode("utf-8", "replace") for text in values.tolist()], pa.string())
    if array.dtype.kind == "U":
        return pa.array([text.encode("utf-8", "replace").decode() for text in values.tolist()], pa.string())
    numbers = pa.array(values.astype(array.dtype.newbyteorder("="), copy=False))
    return numbers if len(array.shape) == 1 else pa.FixedSizeListArray.from_arrays(numbers, array.shape[1])
