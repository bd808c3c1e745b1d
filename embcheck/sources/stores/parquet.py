"""Vectors in Parquet: ``parquet:FILE_OR_FOLDER,vectors=COLUMN,words=COLUMN``.

Of a folder all ``.parquet`` files are read, those in folders inside it (hive partitions) too, in the order of their
paths.
"""

from __future__ import annotations

from copy import copy
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from pyarrow import parquet

from embcheck import files
from embcheck.errors import SourceError
from embcheck.sources.files import refuse_disguise
from embcheck.sources.stores.columns import (
    Columns,
    Names,
    Place,
    Request,
    blocks_of,
    choose,
    describe_parts,
    kind_of,
    list_files,
    read_parts,
    readable,
    table_of,
)
from embcheck.sources.words.lists import is_text
from embcheck.table.parts import PART_BYTES, Parts, as_tensor
from embcheck.table.tasks import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from embcheck.sources.assemble import Description
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_WHAT = "Parquet file"
_ENDINGS = (".parquet", ".pq")
_BUFFER = 2**20  # bytes of a column read at once
_NAMED = 2**16  # rows whose names are read at once


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vectors into one matrix, a part of a row group at a time, and what names the rows."""
    return read_parts(spec, _open(spec), _WHAT)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the files' footers."""
    return describe_parts(spec, _open(spec), _WHAT)


def lay_out(spec: ModelSpec) -> EmbeddingTable:
    """The same table in parts, one a row group; a file that can't be read is among its damaged parts."""
    opened, damaged = [], {}
    for path in list_files(spec, *_ENDINGS):
        try:
            opened.append(_ParquetPart(path))
        except SourceError as error:
            damaged[str(path)] = str(error)
    if not opened:
        raise SourceError(next(iter(damaged.values())))
    columns = choose(Request.of(spec), opened)
    names, parts, width = Names(columns), [], None
    for file in opened:
        with readable(file.path, _WHAT):
            width = width or file.width(columns.vectors)
            for number, rows in enumerate(file.groups):
                read = partial(_read_group, file.path, number, columns, file.version)
                step = max(1, PART_BYTES // ((width or 1) * columns.dtype.itemsize))
                for start in range(0, rows, step):
                    shape = min(step, rows - start), width or 1
                    parts.append(Part(f"{file.path}, row group {number}", shape, file.version, read, start))
            for place, batch in file.batches([columns.names], _NAMED) if columns.names is not None else ():
                names.add(batch, place)
    if width is None:
        raise SourceError(f"spec {spec.text!r}: no file says how wide its vectors are; give one that has rows")
    return table_of(spec, opened, columns, as_tensor(Parts(parts, columns.dtype.name, damaged)), names)


def _read_group(path: Path, number: int, columns: Columns, version: str) -> Iterator[Tensor]:
    file = _ParquetPart(path)
    if file.version != version:
        raise SourceError(files.CHANGED.format(path))
    yield from map(torch.from_numpy, blocks_of(file.only(number), columns, _WHAT))


def _open(spec: ModelSpec) -> list[_ParquetPart]:
    return [_ParquetPart(path) for path in list_files(spec, *_ENDINGS)]


class _ParquetPart:
    """One Parquet file."""

    def __init__(self, path: Path) -> None:
        refuse_disguise(path)
        self.path = path
        with readable(path, _WHAT):
            self._before = path.stat()
            self._about = parquet.read_metadata(path)
            self.schema = self._about.schema.to_arrow_schema()
            self._rows = int(self._about.num_rows)
            groups = [self._about.row_group(number) for number in range(self._about.num_row_groups)]
        if min((group.num_rows for group in groups), default=0) < 0 or sum(g.num_rows for g in groups) != self._rows:
            raise SourceError(f"{path}: its row groups have other rows than the {self._rows} it promises; get it again")
        self._groups = groups
        self._numbers = range(len(groups))

    @property
    def groups(self) -> list[int]:
        """How many rows each row group has."""
        return [int(group.num_rows) for group in self._groups]

    @property
    def version(self) -> str:
        """Another one, once the file was written to."""
        return f"{self.path.resolve()} {self._before.st_size} {self._before.st_mtime_ns}"

    def only(self, number: int) -> _ParquetPart:
        """One of its row groups."""
        part = copy(self)
        part.__dict__ |= {"_groups": [self._groups[number]], "_numbers": [number], "_rows": self.groups[number]}
        return part

    def count(self, column: str) -> int | None:  # noqa: ARG002 - a part's
        """As many rows as the footer promises."""
        return self._rows

    def width(self, column: str) -> int | None:
        """How many numbers there are for each row, as the footer says."""
        kind = self.schema.field(column).type
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        count = int(sum(group.column(self._leaf(column)).num_values for group in self._groups))
        return count // self._rows if self._rows and count % self._rows == 0 and count > 0 else None

    def stored_bytes(self, column: str) -> int | None:
        """How many bytes the column takes in the file."""
        return int(sum(group.column(self._leaf(column)).total_compressed_size for group in self._groups))

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[tuple[Place, pa.RecordBatch]]:
        """Rows of one row group after the other."""
        texts = [name for name in columns if not kind_of(self.schema.field(name).type)]
        texts = [name for name in texts if is_text(self.schema.field(name).type)]
        # as dictionaries, for a short file may repeat a long text
        with parquet.ParquetFile(
            self.path, read_dictionary=texts, buffer_size=_BUFFER, page_checksum_verification=True
        ) as file:
            for number in self._numbers:
                start = 0
                for batch in file.iter_batches(batch_size=rows, row_groups=[number], columns=list(columns)):
                    yield Place(self.path, start, number), batch
                    start += len(batch)
        if files.is_other(self.path.stat(), self._before):
            raise SourceError(files.CHANGED.format(self.path))

    def _leaf(self, column: str) -> int:
        """The number of the column of numbers that the lists are made of."""
        paths = [self._about.schema.column(number).path for number in range(self._about.num_columns)]
        return next(number for number, path in enumerate(paths) if path == column or path.startswith(f"{column}."))
