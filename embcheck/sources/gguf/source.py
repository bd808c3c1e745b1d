"""A GGUF file: its embedding matrix, dequantized, and the tokens that the file itself carries."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalBytes, local_file, printable, refuse_disguise, refuse_unknown_options
from embcheck.sources.gguf.header import GgufFile, read_header
from embcheck.sources.gguf.tensors import TensorInfo, check_matrix, dtype_of, load
from embcheck.sources.gguf.vocabulary import read_vocabulary
from embcheck.sources.naming.choose import wanted_matrix
from embcheck.sources.naming.layers import NamedLayers
from embcheck.sources.tokenizers.load import given_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from embcheck.sources.files import RandomAccess
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

    OpenPart: TypeAlias = Callable[[RandomAccess, str], RandomAccess | None]

_PART = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}\.gguf")
_MOST_PARTS = 1024
_HEADLESS = re.compile(r".*bert.*|t5encoder|.*embedding")  # architectures that predict no tokens
_INPUT, _OUTPUT = "token_embd.weight", "output.weight"
_LISTED = 8


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the embedding matrix (``matrix=output``: the output layer; ``tensor=NAME``: any other) and the tokens.

    Numbers stored as F32, F16, BF16 or F64 keep their dtype; quantized ones become float32.
    """
    return read_from(spec, _open(spec), _local_part)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the header alone."""
    return describe_from(spec, _open(spec), _local_part)


def read_from(spec: ModelSpec, access: RandomAccess, part: OpenPart) -> EmbeddingTable:
    """As `read`, from any place that bytes can be had from; ``part`` opens another part of a model that was split."""
    file = _read_parts(access, part)
    tensor, notes = _choose(spec, file)
    given = given_vocabulary(spec, rows=tensor.shape[0])
    vocabulary, more = (given, given.notes) if given else read_vocabulary(file, rows=tensor.shape[0])
    dtype = dtype_of(tensor.kind)
    if tensor.kind.name not in {"F32", "F16", "BF16", "F64"}:
        notes = (*notes, f"stored as {tensor.kind.name}, dequantized to {dtype}")
    table = assemble(
        spec,
        load(file.holder(tensor.name), tensor),
        vocabulary,
        bytes_read=tensor.nbytes,
        tensor=tensor.name,
        scale=file.scale if wanted_matrix(spec) == "input" and tensor.name == _INPUT else None,
        notes=(*notes, *more),
    )
    return replace(table, layers=NamedLayers(file, embedding=tensor.name, last=wanted_matrix(spec) == "output"))


def describe_from(spec: ModelSpec, access: RandomAccess, part: OpenPart) -> Description:
    """As `describe`, from any place that bytes can be had from."""
    file = _read_parts(access, part)
    tensor, _ = _choose(spec, file)
    return Description(
        tensor=tensor.name,
        shape=tensor.shape,
        dtype=tensor.kind.name,
        bytes=tensor.nbytes,
        bytes_total=access.size + sum(other.size for other in file.others),
        files=(file.holder(tensor.name).name.rsplit("/", 1)[-1],),
    )


def _open(spec: ModelSpec) -> LocalBytes:
    path = local_file(spec, spec.target)
    refuse_disguise(path)
    return LocalBytes(path)


def _local_part(access: RandomAccess, name: str) -> RandomAccess | None:
    path = Path(access.name).with_name(name)
    return LocalBytes(path) if path.is_file() else None


def _read_parts(access: RandomAccess, part: OpenPart) -> GgufFile:
    """The header of a file, joined with those of the other parts where a model was split and these are there."""
    file = read_header(access)
    count, own = file.number("split.count"), file.number("split.no")
    if type(count) is not int or type(own) is not int or not 1 < count <= _MOST_PARTS:
        return file
    match = _PART.fullmatch(access.name.rsplit("/", 1)[-1])
    missing = []
    for number in range(count):
        name = f"{match['stem']}-{number + 1:05d}-of-{count:05d}.gguf" if match else f"part {number + 1} of {count}"
        if number != own:
            other = part(access, name) if match else None
            if other is None:
                missing.append(name)
            else:
                file.join(read_header(other))
    file.missing = tuple(missing)
    return file


def _choose(spec: ModelSpec, file: GgufFile) -> tuple[TensorInfo, tuple[str, ...]]:
    refuse_unknown_options(spec, "tensor", "matrix", "tokenizer")
    name = spec.option("tensor")
    notes: tuple[str, ...] = ()
    if name is None:
        name = _OUTPUT if wanted_matrix(spec) == "output" else _INPUT
        if name == _OUTPUT and _OUTPUT not in file.tensors and _INPUT in file.tensors and not file.missing:
            kind = file.string("general.architecture")
            if _HEADLESS.fullmatch(kind):
                raise SourceError(
                    f"{file.origin}: a model of kind {kind} has no output matrix; leave out matrix=output"
                )
            name, notes = _INPUT, ("the output matrix is tied to the input embedding",)
    tensor = file.tensors.get(name) or file.tensors.get(f"{name}.weight")
    if tensor is None:
        raise SourceError(f"{file.origin} has no tensor {name!r}; {_elsewhere(file)}")
    check_matrix(file.holder(tensor.name), tensor)
    return tensor, notes


def _elsewhere(file: GgufFile) -> str:
    if file.missing:
        return f"it may lie in another part of the model: put {', '.join(map(printable, file.missing[:5]))} beside it"
    matrices = sorted((t for t in file.tensors.values() if len(t.shape) == 2), key=lambda t: (-t.shape[0], t.name))
    listed = "; ".join(map(str, matrices[:_LISTED])) or "it holds no matrix at all"
    more = f" and {len(matrices) - _LISTED} more" if len(matrices) > _LISTED else ""
    return f"choose one with tensor=NAME; candidates: {listed}{more}"
