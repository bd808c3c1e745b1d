"""A Hugging Face directory on disk: the embedding tensor of its safetensors weights, and its tokenizer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError, SpecError
from embcheck.sources import _safetensors
from embcheck.sources._assemble import assemble
from embcheck.sources._choose import FLOATS, choose
from embcheck.sources._files import local_path, read_json, refuse_unknown_options
from embcheck.sources._load_tokenizer import load_vocabulary

if TYPE_CHECKING:
    from pathlib import Path

    from embcheck.sources._safetensors import Stored
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe", "read"]

_TOKENIZER_FILES = re.compile(r"tokenizer.*\.json|vocab\.(txt|json)|merges\.txt|spiece\.model|.*\.spm|tokenizer\.model")
_OTHER_SCHEMES = {
    ".npy": "npy:{0},vocab=FILE",
    ".bin": "word2vec:{0}",
    ".txt": "glove:{0}",
    ".vec": "fasttext:{0}",
}


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding and the tokenizer of a model directory; nothing else of it is read.

    The option ``tensor=NAME`` names the tensor where names and shapes don't tell.

    Raises
    ------
    SourceError
        The directory lacks weights or a tokenizer, a file is malformed or unsafe, or which tensor it is can't be told.
    SpecError
        An option that directories don't have, or a revision, which they don't have either.
    """
    folder = _folder(spec)
    stored, _, notes = _find(folder, spec)
    matrix = _safetensors.load(stored)
    vocabulary = load_vocabulary(folder, rows=stored.shape[0])
    return assemble(
        spec,
        matrix,
        vocabulary,
        bytes_read=matrix.nbytes,
        tensor=stored.name,
        notes=(*notes, *vocabulary.notes),
    )


def describe(spec: ModelSpec) -> dict[str, object]:
    """What `read` would read, from the headers of the files alone.

    Raises
    ------
    SourceError, SpecError
        As `read`, as far as headers tell.
    """
    folder = _folder(spec)
    stored, weights, _ = _find(folder, spec)
    dtype = FLOATS[stored.dtype]
    texts = sorted(p.name for p in folder.iterdir() if p.name == "config.json" or _TOKENIZER_FILES.fullmatch(p.name))
    return {
        "tensor": stored.name,
        "shape": stored.shape,
        "dtype": dtype,
        "bytes": stored.shape[0] * stored.shape[1] * _itemsize(dtype),
        "bytes_total": sum(file.stat().st_size for file in weights.files),
        "files": [stored.file.name, *texts],
    }


def _find(folder: Path, spec: ModelSpec) -> tuple[Stored, _safetensors.Weights, tuple[str, ...]]:
    weights = _safetensors.open_weights(folder)
    stored, notes = choose(weights, _config(folder), name=spec.option("tensor"))
    return stored, weights, notes


def _folder(spec: ModelSpec) -> Path:
    refuse_unknown_options(spec, "tensor")
    folder = local_path(spec, spec.target)
    if not folder.is_dir():
        hint = _OTHER_SCHEMES.get(folder.suffix.lower())
        way_out = f"write {hint.format(spec.target)}" if hint else "give the directory that the model was saved to"
        raise SourceError(f"spec {spec.text!r}: {spec.target} is a file, not a model directory; {way_out}")
    if spec.revision is not None:
        raise SpecError(
            f"spec {spec.text!r}: {spec.target} is a directory on disk, which has no revisions; leave out '@'"
        )
    return folder


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        return {}
    document = read_json(path)
    if not isinstance(document, dict):
        raise SourceError(f"{path} is not a JSON object; download the model again")
    return document


def _itemsize(dtype: str) -> int:
    return {"float64": 8, "float32": 4}.get(dtype, 2)
