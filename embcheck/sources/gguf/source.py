"""A GGUF file: its embedding matrix, dequantized, and the tokens that the file itself carries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.assemble import assemble
from embcheck.sources.files.access import LocalBytes
from embcheck.sources.files.looking import local_file, refuse_disguise, refuse_unknown_options
from embcheck.sources.gguf.header import Header, check_matrix, read_header
from embcheck.sources.gguf.tensors import GgufTensors, gguf_config, gguf_scale
from embcheck.sources.gguf.types import TensorInfo, dtype_of, load
from embcheck.sources.gguf.vocabulary import vocabulary
from embcheck.sources.naming.choose import wanted_matrix
from embcheck.sources.naming.layers import NamedLayers

if TYPE_CHECKING:
    from embcheck.sources.files.access import RandomAccess
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe", "describe_from", "read", "read_from"]

_INPUT, _OUTPUT = "token_embd.weight", "output.weight"
_LISTED = 8


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the embedding matrix (``matrix=output``: the output layer; ``tensor=NAME``: any other) and the tokens.

    Numbers stored as F32, F16, BF16 or F64 keep their dtype; quantized ones become float32.
    """
    return read_from(spec, _open(spec))


def describe(spec: ModelSpec) -> dict[str, object]:
    """What `read` would read, from the header alone."""
    return describe_from(spec, _open(spec))


def read_from(spec: ModelSpec, access: RandomAccess) -> EmbeddingTable:
    """As `read`, from any place that bytes can be had from."""
    header = read_header(access)
    tensor, notes = _choose(spec, access, header)
    words, more = vocabulary(header, rows=tensor.shape[0])
    stored = dtype_of(tensor.kind)
    if tensor.kind.name not in {"F32", "F16", "BF16", "F64"}:
        notes = (*notes, f"stored as {tensor.kind.name}, dequantized to {stored}")
    matrix = load(access, tensor)
    scale = gguf_scale(header) if wanted_matrix(spec) == "input" and tensor.name == _INPUT else None
    last = wanted_matrix(spec) == "output"
    layers = NamedLayers(GgufTensors(access, header), gguf_config(header), embedding=tensor.name, last=last)
    notes = (*notes, *more)
    table = assemble(spec, matrix, words, bytes_read=tensor.nbytes, tensor=tensor.name, scale=scale, notes=notes)
    return replace(table, layers=layers)


def describe_from(spec: ModelSpec, access: RandomAccess) -> dict[str, object]:
    """As `describe`, from any place that bytes can be had from."""
    tensor, _ = _choose(spec, access, read_header(access))
    return {
        "tensor": tensor.name,
        "shape": tensor.shape,
        "dtype": tensor.kind.name,
        "bytes": tensor.nbytes,
        "bytes_total": access.size,
        "files": [access.name.rsplit("/", 1)[-1]],
    }


def _open(spec: ModelSpec) -> LocalBytes:
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    return LocalBytes(path)


def _choose(spec: ModelSpec, access: RandomAccess, header: Header) -> tuple[TensorInfo, tuple[str, ...]]:
    refuse_unknown_options(spec, "tensor", "matrix")
    name = spec.option("tensor")
    notes: tuple[str, ...] = ()
    if name is None:
        name = _OUTPUT if wanted_matrix(spec) == "output" else _INPUT
        if name == _OUTPUT and _OUTPUT not in header.tensors and _INPUT in header.tensors:
            name, notes = _INPUT, ("the output matrix is tied to the input embedding",)
    tensor = header.tensors.get(name) or header.tensors.get(f"{name}.weight")
    if tensor is None:
        raise SourceError(f"{access.name} has no tensor {name!r}; {_elsewhere(header)}")
    check_matrix(access, tensor)
    return tensor, notes


def _elsewhere(header: Header) -> str:
    if (parts := header.number("split.count") or 0) > 1:
        part = int(header.number("split.no") or 0) + 1
        return f"it is part {part} of {parts}, and the embedding is mostly in the first: give that"
    matrices = sorted((t for t in header.tensors.values() if len(t.shape) == 2), key=lambda t: (-t.shape[0], t.name))
    listed = "; ".join(map(str, matrices[:_LISTED])) or "it holds no matrix at all"
    more = f" and {len(matrices) - _LISTED} more" if len(matrices) > _LISTED else ""
    return f"choose one with tensor=NAME; candidates: {listed}{more}"
