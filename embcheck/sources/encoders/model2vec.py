"""A model2vec directory: a static vector for every token, kept as safetensors beside a tokenizer.json.

A token's row is ``embeddings[mapping[token]] * weights[token]``, as far as the file has ``mapping`` and ``weights``.
sentence-transformers keeps its StaticEmbedding modules the same way, as ``embedding.weight``, maybe in a folder inside.
Of int8 model2vec keeps no scale: it computes with the whole numbers themselves, and so they are read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalFolder, local_path, one_line, refuse_unknown_options
from embcheck.sources.tokenizers.load import load_vocabulary
from embcheck.sources.weights.checkpoint import open_checkpoint
from embcheck.sources.weights.stored import FLOATS

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from embcheck.sources.weights.checkpoint import Checkpoint
    from embcheck.sources.weights.stored import Stored
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_NESTED = "0_StaticEmbedding"
_INT8 = "int8 as model2vec computes with it: the scale isn't kept, so lengths are known but for one factor"
_TABLES = ("embeddings", "embedding.weight")
_INTEGERS = frozenset({"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"})
_LARGEST_BYTES = 8 * 2**30
_MOST_ROWS = 2**22


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the vector of every token."""
    path, checkpoint, parts = _find(spec)
    rows = _shape(path, parts)[0]
    vocabulary = load_vocabulary(path, rows=rows)  # first, for it is small
    table = parts["table"]
    is_int8 = table.dtype == "I8"
    matrix = _read_integers(path, table) if is_int8 else checkpoint.load(table)
    notes: tuple[str, ...] = (_INT8,) if is_int8 else ()
    if "mapping" in parts:
        matrix = matrix[_read_mapping(path, parts["mapping"], table.shape[0])]
        notes += (f"{table.shape[0]} vectors shared by {rows} tokens",)
    if is_int8 or "weights" in parts:
        matrix = matrix.float()
    if "weights" in parts:
        matrix = matrix * checkpoint.load(parts["weights"]).float()[:, None]
        notes += ("rows scaled by the tokens' weights",)
    size = sum(part.nbytes for part in parts.values())
    return assemble(
        spec,
        matrix.contiguous(),
        vocabulary,
        bytes_read=size,
        tensor=table.name,
        notes=(*notes, *vocabulary.notes),
    )


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the file's header."""
    path, checkpoint, parts = _find(spec)
    rows, width, dtype = _shape(path, parts)
    return Description(
        tensor=parts["table"].name,
        shape=(rows, width),
        dtype=dtype,
        bytes=sum(part.nbytes for part in parts.values()),
        bytes_total=sum((path / file).stat().st_size for file in checkpoint.files),
        files=(*checkpoint.files, "tokenizer.json"),
    )


def _find(spec: ModelSpec) -> tuple[Path, Checkpoint, dict[str, Stored]]:
    """The directory, its weights, and the tensors that rows are made of."""
    refuse_unknown_options(spec)
    path = local_path(spec, spec.target)
    if not path.is_dir():
        raise SourceError(f"spec {spec.text!r}: {spec.target} is a file; give the model's directory")
    if not (path / "model.safetensors").is_file() and (path / _NESTED / "model.safetensors").is_file():
        path /= _NESTED
    checkpoint = open_checkpoint(LocalFolder(path))
    names = dict.fromkeys(_TABLES, "table") | {"mapping": "mapping", "weights": "weights"}
    parts = {names[s.name]: s for s in checkpoint.stored(n for n in checkpoint.file_of if n in names)}
    if "table" not in parts:
        raise SourceError(f"{path} holds neither {' nor '.join(_TABLES)}; read it as {spec.target}, without a scheme")
    return path, checkpoint, parts


def _shape(path: Path, parts: dict[str, Stored]) -> tuple[int, int, str]:
    """Rows, width and dtype of the table that is made; refuses parts that don't fit together."""
    table, mapping, weights = parts["table"], parts.get("mapping"), parts.get("weights")
    if len(table.shape) != 2 or min(table.shape) < 1 or table.dtype not in {*FLOATS, "I8"}:
        raise SourceError(f"{path}: {table} is no matrix of floats or int8; save the model without quantization")
    if mapping is not None and (len(mapping.shape) != 1 or mapping.dtype not in _INTEGERS):
        raise SourceError(f"{path}: {mapping} is no list of rows; save the model again")
    rows = table.shape[0] if mapping is None else mapping.shape[0]
    if weights is not None and (weights.shape != (rows,) or weights.dtype not in FLOATS):
        raise SourceError(f"{path}: {weights} is not one weight for each of {rows} tokens; save the model again")
    is_made_anew = mapping is not None or weights is not None or table.dtype == "I8"
    if is_made_anew and (rows > _MOST_ROWS or rows * table.shape[1] * 4 > _LARGEST_BYTES):
        raise SourceError(f"{path}: {rows} rows of {table.shape[1]} numbers are more than any model has")
    return rows, table.shape[1], "float32" if weights is not None else FLOATS.get(table.dtype, "int8")


def _read_mapping(path: Path, stored: Stored, rows: int) -> Tensor:
    """Row of each token."""
    mapping = _read_integers(path, stored).long()
    if len(mapping) and (int(mapping.min()) < 0 or int(mapping.max()) >= rows):
        raise SourceError(f"{path}: {stored} points past the {rows} vectors; save the model again")
    return mapping


def _read_integers(path: Path, stored: Stored) -> Tensor:
    """Whole numbers as they are. The header of the file has been checked before."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path / stored.file, framework="pt") as file:
            integers: Tensor = file.get_tensor(stored.name)
    except (OSError, SafetensorError) as error:
        raise SourceError(f"cannot read {path / stored.file}: {one_line(error)}") from None
    return integers
