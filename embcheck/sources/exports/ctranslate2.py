"""The embedding of a CTranslate2 model: ``model.bin``, read strictly, and its vocabulary; ctranslate2 isn't needed.

Source of the layout: CTranslate2's ModelSpec (binary versions 4 to 6). Every variable's header is looked at, and the
numbers of one are read; int8 and int16 are divided by the scale that lies beside them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.exports.vocabulary import OPTIONS, find_vocabulary
from embcheck.sources.files import (
    LocalBytes,
    local_file,
    local_path,
    printable,
    refuse_disguise,
    refuse_unknown_options,
)
from embcheck.sources.weights.stored import BITS, FLOATS, Stored, as_tensor

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_FILE = "model.bin"
_VERSIONS = range(4, 7)
_DTYPES = ("F32", "I8", "I16", "I32", "F16", "BF16")
_INTEGERS: dict[str, np.dtype[Any]] = {"I8": np.dtype("int8"), "I16": np.dtype("<i2")}
_EMBEDDING = re.compile(r"(.+/)?embeddings(_\d+)?/weight")
_USUAL = ("encoder/embeddings_0/weight", "encoder/embeddings/weight", "decoder/embeddings/weight")  # inputs, in order
_MOST_VARIABLES = 2**18
_LISTED = 8
_BLOCK = 2**22  # numbers divided at once


@dataclass(frozen=True, slots=True)
class _Model:
    """The variables of a model by their headers, with where their numbers begin, and other names of some."""

    access: LocalBytes
    variables: dict[str, tuple[Stored, int]]
    aliases: dict[str, str]

    def look_up(self, name: str) -> Stored | None:
        """The variable of a name, or the one that the name is an alias of."""
        variable = self.variables.get(self.aliases.get(name, name))
        return None if variable is None else variable[0]

    def bytes_of(self, stored: Stored) -> memoryview:
        """The bytes of a variable's numbers."""
        return self.access.read(self.variables[stored.name][1], stored.nbytes)

    def numbers(self, name: str) -> Tensor | None:
        """A small variable as float32, ``None`` where it is absent."""
        stored = self.look_up(name)
        if stored is None:
            return None
        if stored.dtype in _INTEGERS:
            return torch.from_numpy(np.frombuffer(self.bytes_of(stored), _INTEGERS[stored.dtype]).astype(np.float32))
        return as_tensor(self.bytes_of(stored), stored).flatten().float() if stored.dtype in FLOATS else None


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding, an encoder's where there is one (``tensor=NAME``: any other matrix), and its tokens."""
    folder, model, name, table = _open(spec)
    side = "target" if name.startswith("decoder/") else "source"
    stems = (f"{side}_vocabulary", f"{side}_vocabulary_1", "shared_vocabulary", "vocabulary")
    lists = [f"{stem}.{kind}" for stem in stems for kind in ("json", "txt")]
    vocabulary = find_vocabulary(spec, [folder], table.shape[0], lists)  # first, for it is small
    notes: tuple[str, ...] = ()
    if table.dtype in FLOATS:
        matrix = as_tensor(model.bytes_of(table), table)
    else:
        matrix = _dequantize(model, table)
        notes = (f"stored as {_INTEGERS[table.dtype].name} with a scale, dequantized to float32",)
    return assemble(
        spec,
        matrix,
        vocabulary,
        bytes_read=table.nbytes,
        tensor=table.name,
        scale=_embedding_scale(model, name, table.shape[1]),
        notes=(*notes, *vocabulary.notes),
    )


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the variables' headers."""
    _, model, _, table = _open(spec)
    return Description(
        tensor=table.name,
        shape=table.shape,
        dtype=FLOATS.get(table.dtype) or _INTEGERS[table.dtype].name,
        bytes=table.nbytes,
        bytes_total=model.access.size,
        files=(_FILE,),
    )


def _open(spec: ModelSpec) -> tuple[Path, _Model, str, Stored]:
    """The folder, its model, the name by which the matrix was found, and the matrix."""
    refuse_unknown_options(spec, *OPTIONS)
    path = local_path(spec, spec.target)
    if path.is_dir() and not (path / _FILE).is_file():
        raise SourceError(f"spec {spec.text!r}: {path} holds no {_FILE}; give the folder that a converter of it wrote")
    path = path / _FILE if path.is_dir() else local_file(spec, spec.target)
    refuse_disguise(path)
    model = _read_headers(LocalBytes(path))
    name = spec.option("tensor") or _choose(model)
    table = model.look_up(name)
    if table is None:
        raise SourceError(f"{path} has no variable {name!r}; {_list(model)}")
    if len(table.shape) != 2 or min(table.shape) < 1 or (table.dtype not in FLOATS and table.dtype not in _INTEGERS):
        raise SourceError(f"{path}: variable {table} is no matrix that can be read; {_list(model)}")
    if table.dtype in _INTEGERS:
        scale = model.look_up(f"{table.name}_scale")
        if scale is None or scale.dtype not in FLOATS or math.prod(scale.shape) not in {1, table.shape[0]}:
            raise SourceError(
                f"{path}: variable {table} is quantized, and beside it is no scale of it or of its rows; convert the "
                "model again, with --quantization float16"
            )
    return path.parent, model, name, table


def _choose(model: _Model) -> str:
    """The input embedding: that of an encoder, else the only one."""
    names = [name for name in (*model.variables, *model.aliases) if _EMBEDDING.fullmatch(name)]
    name = next((name for name in _USUAL if name in names), names[0] if len(names) == 1 else None)
    if name is None:
        raise SourceError(f"{model.access.name} has {len(names) or 'no'} variables called embeddings; {_list(model)}")
    return name


def _list(model: _Model) -> str:
    matrices = sorted((s for s, _ in model.variables.values() if len(s.shape) == 2), key=lambda s: -s.shape[0])
    more = f" and {len(matrices) - _LISTED} more" if len(matrices) > _LISTED else ""
    listed = "; ".join(map(str, matrices[:_LISTED])) or "it holds no matrix at all"
    return f"choose one with tensor=NAME; candidates: {listed}{more}"


def _dequantize(model: _Model, table: Stored) -> Tensor:
    """Each row divided by its scale, or all by one."""
    scale = model.numbers(f"{table.name}_scale")
    if scale is None:
        raise SourceError(f"{model.access.name} has no scale of {table}")
    stored = np.frombuffer(model.bytes_of(table), _INTEGERS[table.dtype]).reshape(table.shape)
    matrix = np.empty(table.shape, np.float32)
    divisors = np.broadcast_to(scale.numpy()[:, None], (table.shape[0], 1))
    step = max(1, _BLOCK // table.shape[1])
    with np.errstate(all="ignore"):  # of a damaged scale, which the rows then show
        for start in range(0, len(matrix), step):
            rows = slice(start, start + step)
            np.divide(stored[rows], divisors[rows], out=matrix[rows], dtype=np.float32)
    return torch.from_numpy(matrix)


def _embedding_scale(model: _Model, name: str, width: int) -> float | None:
    """What the model multiplies its embeddings by: a flag stands for the root of the width, a float for itself."""
    if not _EMBEDDING.fullmatch(name):
        return None
    for setting in (f"{name.partition('/')[0]}/scale_embeddings", f"{name.rpartition('/')[0]}/multiply_by_sqrt_depth"):
        stored, value = model.look_up(setting), model.numbers(setting)
        if stored is not None and value is not None and len(value) == 1:
            factor = math.sqrt(width) if stored.dtype in _INTEGERS and value[0] else float(value[0])
            if math.isfinite(factor) and factor not in {0.0, 1.0}:
                return factor
    return None


def _read_headers(access: LocalBytes) -> _Model:
    """Every variable's name, shape and place; the file must end where the aliases do."""
    cursor = _Cursor(access)
    version = cursor.number(4)
    if version not in _VERSIONS:
        raise SourceError(
            f"{access.name} is no model.bin of CTranslate2's binary versions {_VERSIONS[0]} to {_VERSIONS[-1]} "
            f"(it begins with {version}); convert the model with a recent ctranslate2"
        )
    cursor.text()
    cursor.number(4)
    variables: dict[str, tuple[Stored, int]] = {}
    for _ in range(cursor.count()):
        name = cursor.text()
        shape = tuple(cursor.number(4) for _ in range(cursor.number(1)))
        kind, size = cursor.number(1), cursor.number(4)
        dtype = _DTYPES[kind] if kind < len(_DTYPES) else f"type {kind}"
        if name in variables or math.prod(shape) * BITS.get(dtype, 0) // 8 != size:
            raise cursor.damaged_error(
                f"{printable(name)} {list(shape)} {dtype} can't take {size} bytes, or is there twice"
            )
        variables[name] = Stored(name, access.name, shape, dtype), cursor.at
        cursor.skip(size)
    aliases = {cursor.text(): cursor.text() for _ in range(cursor.count())}
    if cursor.at != access.size:
        raise cursor.damaged_error(f"it ends at byte {cursor.at}")
    return _Model(access, variables, aliases)


class _Cursor:
    """Where the next header begins."""

    def __init__(self, access: LocalBytes) -> None:
        self.at, self._access = 0, access

    def number(self, size: int) -> int:
        """A whole number of so many bytes."""
        self.skip(size)
        return int.from_bytes(self._access.read(self.at - size, size), "little")

    def count(self) -> int:
        """How many of something follow."""
        if (count := self.number(4)) > _MOST_VARIABLES:
            raise self.damaged_error(f"it promises {count} variables")
        return count

    def text(self) -> str:
        """A name, which ends in a byte 0."""
        length = self.number(2)
        self.skip(length)
        return bytes(self._access.read(self.at - length, length)).removesuffix(b"\0").decode("utf-8", "replace")

    def skip(self, length: int) -> None:
        """Pass over so many bytes."""
        self.at += length
        if self.at > self._access.size:
            raise self.damaged_error("it is cut short")

    def damaged_error(self, why: str) -> SourceError:
        """The error that a file deserves which is no such model."""
        return SourceError(f"{self._access.name} is damaged, or no model of CTranslate2 ({why}); convert it again")
