"""One initializer of an ONNX model, from the file or from the data beside it; onnx itself is not needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.exports.graph import Graph, Initializer, is_scalar
from embcheck.sources.exports.protobuf import BYTES
from embcheck.sources.exports.vocabulary import OPTIONS, find_vocabulary
from embcheck.sources.files import (
    LocalBytes,
    local_file,
    local_path,
    printable,
    refuse_disguise,
    refuse_unknown_options,
)
from embcheck.sources.weights.stored import FLOATS, Stored, as_tensor

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_BYTES: dict[str, np.dtype[Any]] = {"I8": np.dtype("int8"), "U8": np.dtype("uint8")}
_AS_RAW = {(4, "F32"), (10, "F64")}  # fields of numbers that lie there as they do in raw bytes
_OFFSET = re.compile("[0-9]{1,18}")
_USUAL = ("model.onnx", "onnx/model.onnx")


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding (``tensor=NAME``: any other initializer) and the tokenizer beside the model.

    Bytes with one scale for the whole matrix become float32.
    """
    path, graph, table = _open(spec)
    folders = [path.parent, path.parent.parent] if path.parent.name == "onnx" else [path.parent]
    vocabulary = find_vocabulary(spec, folders, table.shape[0])  # first, for it is small
    notes: tuple[str, ...] = ()
    if table.dtype in FLOATS:
        matrix = _load(path, graph, table)
    else:
        matrix, notes = _dequantize(path, graph, table)
    return assemble(
        spec,
        matrix,
        vocabulary,
        bytes_read=table.nbytes,
        tensor=table.name,
        notes=(*notes, *vocabulary.notes),
    )


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the graph; of numbers none is read."""
    path, _, table = _open(spec)
    files = [path, *([] if table.external is None else [_beside(path, table.name, table.external)])]
    return Description(
        tensor=table.name,
        shape=table.shape,
        dtype=FLOATS.get(table.dtype, table.dtype),
        bytes=table.nbytes,
        bytes_total=sum(file.stat().st_size for file in files),
        files=tuple(file.name for file in files),
    )


def _open(spec: ModelSpec) -> tuple[Path, Graph, Initializer]:
    """The file, its graph, and the matrix that is asked for."""
    refuse_unknown_options(spec, *OPTIONS)
    path = local_path(spec, spec.target)
    if path.is_dir():
        usual = [name for name in _USUAL if (path / name).is_file()]
        if len(usual) != 1:
            raise SourceError(f"spec {spec.text!r}: {path} holds {len(usual) or 'no'} model.onnx; give the file itself")
        path /= usual[0]
    else:
        path = local_file(spec, spec.target)
    refuse_disguise(path)
    graph = Graph(LocalBytes(path))
    table = graph.table(spec.option("tensor"))
    if len(table.shape) != 2 or min(table.shape) < 1:
        raise SourceError(f"{path}: initializer {table} is not a matrix; choose another with tensor=NAME")
    if table.dtype not in FLOATS and table.dtype not in _BYTES:
        raise SourceError(
            f"{path}: initializer {table} holds no floats, nor bytes with a scale; give the model as it was before it "
            "was quantized"
        )
    return path, graph, table


def _dequantize(path: Path, graph: Graph, table: Initializer) -> tuple[Tensor, tuple[str, ...]]:
    """(byte - zero point) * scale as float32, as ONNX defines DequantizeLinear, with a note that says so."""
    scales = graph.scale_of(table)
    if scales is None or scales[0].dtype != "F32" or not is_scalar(scales):
        raise SourceError(
            f"{path}: initializer {table} is quantized, and no DequantizeLinear of its rows has one float32 scale for "
            "all; give the model as it was before it was quantized"
        )
    scale, zero = scales
    factor = float(np.frombuffer(_raw(path, graph, scale), "<f4")[0])
    middle = 0 if zero is None else _zero_point(path, graph, zero)
    stored = np.frombuffer(_raw(path, graph, table), _BYTES[table.dtype])
    numbers = stored.astype(np.float32)
    numbers -= np.float32(middle)
    numbers *= np.float32(factor)
    note = f"stored as {_BYTES[table.dtype].name}, less {middle}, times {factor:g}"
    return torch.from_numpy(numbers.reshape(table.shape)), (note,)


def _zero_point(path: Path, graph: Graph, zero: Initializer) -> int:
    if (listed := graph.whole_number(zero)) is not None:
        return listed
    if zero.dtype not in _BYTES:
        raise SourceError(f"{path}: zero point {zero} is no byte; get the model again")
    return int(np.frombuffer(_raw(path, graph, zero), _BYTES[zero.dtype])[0])


def _load(path: Path, graph: Graph, table: Initializer) -> Tensor:
    return as_tensor(_raw(path, graph, table), Stored(table.name, path.name, table.shape, table.dtype))


def _raw(path: Path, graph: Graph, tensor: Initializer) -> memoryview:
    """The bytes of a tensor's numbers."""
    size = tensor.nbytes
    if tensor.external is not None:
        start, length = (tensor.external.get(key, usual) for key, usual in (("offset", "0"), ("length", str(size))))
        if length == str(size) and _OFFSET.fullmatch(start):
            return LocalBytes(_beside(path, tensor.name, tensor.external)).read(int(start), size)
        where = None
    elif tensor.listed:
        (where, *more) = tensor.listed
        if more or where.kind != BYTES or (where.number, tensor.dtype) not in _AS_RAW:
            raise SourceError(
                f"{path}: the numbers of {tensor} are written as others; make the tensor anew with "
                "onnx.numpy_helper.from_array"
            )
    else:
        where = tensor.raw
    if where is None or where.stop - where.start != size:
        raise SourceError(f"{path}: the numbers of {tensor} must take {size} bytes, and do not; get it again")
    return graph.access.read(where.start, size)


def _beside(path: Path, name: str, external: dict[str, str]) -> Path:
    """The file that holds the tensor's numbers, which must lie in the model's folder."""
    location = external.get("location", "")
    is_plain = location.isprintable() and not any(c in location for c in "\\:")
    if not is_plain or Path(location).is_absolute() or ".." in Path(location).parts or not Path(location).name:
        raise SourceError(
            f"{path}: the numbers of {printable(name)} lie in {printable(location)!r}, which is no file in the "
            "model's folder"
        )
    beside = path.parent / location
    if not beside.is_file():
        raise SourceError(f"{path} keeps {printable(name)} in {location}, which is not there; get that file too")
    return beside
