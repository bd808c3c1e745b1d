"""A GGUF file: its embedding matrix, dequantized, and the tokens that the file itself carries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalBytes, local_file, refuse_disguise, refuse_unknown_options
from embcheck.sources.gguf.header import GgufFile, read_header
from embcheck.sources.gguf.tensors import TensorInfo, check_matrix, dtype_of, load
from embcheck.sources.gguf.vocabulary import read_vocabulary
from embcheck.sources.naming.choose import wanted_matrix
from embcheck.sources.naming.layers import NamedLayers

if TYPE_CHECKING:
    from embcheck.sources.files import RandomAccess
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_INPUT, _OUTPUT = "token_embd.weight", "output.weight"
_LISTED = 8


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the embedding matrix (``matrix=output``: the output layer; ``tensor=NAME``: any other) and the tokens.

    Numbers stored as F32, F16, BF16 or F64 keep their dtype; quantized ones become float32.
    """
    return read_from(spec, _open(spec))


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the header alone."""
    return describe_from(spec, _open(spec))


def read_from(spec: ModelSpec, access: RandomAccess) -> EmbeddingTable:
    """As `read`, from any place that bytes can be had from."""
    file = read_header(access)
    tensor, notes = _choose(spec, file)
    vocabulary, more = read_vocabulary(file, rows=tensor.shape[0])
    dtype = dtype_of(tensor.kind)
    if tensor.kind.name not in {"F32", "F16", "BF16", "F64"}:
        notes = (*notes, f"stored as {tensor.kind.name}, dequantized to {dtype}")
    table = assemble(
        spec,
        load(access, tensor),
        vocabulary,
        bytes_read=tensor.nbytes,
        tensor=tensor.name,
        scale=file.scale if wanted_matrix(spec) == "input" and tensor.name == _INPUT else None,
        notes=(*notes, *more),
    )
    return replace(table, layers=NamedLayers(file, embedding=tensor.name, last=wanted_matrix(spec) == "output"))


def describe_from(spec: ModelSpec, access: RandomAccess) -> Description:
    """As `describe`, from any place that bytes can be had from."""
    tensor, _ = _choose(spec, read_header(access))
    return Description(
        tensor=tensor.name,
        shape=tensor.shape,
        dtype=tensor.kind.name,
        bytes=tensor.nbytes,
        bytes_total=access.size,
        files=(access.name.rsplit("/", 1)[-1],),
    )


def _open(spec: ModelSpec) -> LocalBytes:
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    return LocalBytes(path)


def _choose(spec: ModelSpec, file: GgufFile) -> tuple[TensorInfo, tuple[str, ...]]:
    refuse_unknown_options(spec, "tensor", "matrix")
    name = spec.option("tensor")
    notes: tuple[str, ...] = ()
    if name is None:
        name = _OUTPUT if wanted_matrix(spec) == "output" else _INPUT
        if name == _OUTPUT and _OUTPUT not in file.tensors and _INPUT in file.tensors:
            name, notes = _INPUT, ("the output matrix is tied to the input embedding",)
    tensor = file.tensors.get(name) or file.tensors.get(f"{name}.weight")
    if tensor is None:
        raise SourceError(f"{file.origin} has no tensor {name!r}; {_elsewhere(file)}")
    check_matrix(file.access, tensor)
    return tensor, notes


def _elsewhere(file: GgufFile) -> str:
    if (parts := file.number("split.count") or 0) > 1:
        part = int(file.number("split.no") or 0) + 1
        return f"it is part {part} of {parts}, and the embedding is mostly in the first: give that"
    matrices = sorted((t for t in file.tensors.values() if len(t.shape) == 2), key=lambda t: (-t.shape[0], t.name))
    listed = "; ".join(map(str, matrices[:_LISTED])) or "it holds no matrix at all"
    more = f" and {len(matrices) - _LISTED} more" if len(matrices) > _LISTED else ""
    return f"choose one with tensor=NAME; candidates: {listed}{more}"
