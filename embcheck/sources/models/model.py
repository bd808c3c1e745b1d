"""A model as transformers saves it: the embedding tensor of its weights, and its tokenizer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError
from embcheck.sources.assemble import assemble
from embcheck.sources.files.looking import read_json, refuse_unknown_options
from embcheck.sources.models.tensors import CheckpointTensors
from embcheck.sources.naming.choose import choose, wanted_matrix
from embcheck.sources.naming.config_facts import embedding_scale
from embcheck.sources.naming.layers import NamedLayers
from embcheck.sources.tokenizers.load import load_vocabulary, tokenizer_files
from embcheck.sources.weights.checkpoint import Checkpoint, open_checkpoint
from embcheck.sources.weights.stored import FLOATS

if TYPE_CHECKING:
    from embcheck.sources.files.folder import Folder
    from embcheck.sources.weights.stored import Stored
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe_model", "read_model"]

_CONFIG = "config.json"
_LARGEST_CONFIG = 16 * 2**20


def read_model(spec: ModelSpec, folder: Folder, file: str | None = None) -> EmbeddingTable:
    """Read the input embedding and the tokenizer of a model; nothing else of it is read before somebody asks for it."""
    checkpoint, stored, notes, config = _find(spec, folder, file)
    output = wanted_matrix(spec) == "output"
    vocabulary = load_vocabulary(folder.fetch_tokenizer(), rows=stored.shape[0])  # first, for it is small
    matrix = checkpoint.load(stored)
    layers = NamedLayers(CheckpointTensors(checkpoint, config), config, embedding=stored.name, last=output)
    table = assemble(
        spec,
        matrix,
        vocabulary,
        bytes_read=matrix.nbytes,
        tensor=stored.name,
        scale=None if output else embedding_scale(config),
        notes=(*notes, *vocabulary.notes),
    )
    return replace(table, layers=layers)


def describe_model(spec: ModelSpec, folder: Folder, file: str | None = None) -> dict[str, object]:
    """What `read_model` would read, from the headers of the files alone."""
    checkpoint, stored, _, _ = _find(spec, folder, file)
    sizes = [folder.size(name) for name in checkpoint.files]
    names = folder.names()
    return {
        "tensor": stored.name,
        "shape": stored.shape,
        "dtype": FLOATS[stored.dtype],
        "bytes": stored.nbytes,
        "bytes_total": None if None in sizes else sum(size for size in sizes if size),
        "files": [stored.file, *sorted({*tokenizer_files(names), _CONFIG} & set(names))],
    }


def _find(
    spec: ModelSpec, folder: Folder, file: str | None
) -> tuple[Checkpoint, Stored, tuple[str, ...], dict[str, Any]]:
    refuse_unknown_options(spec, "tensor", "matrix")
    checkpoint = open_checkpoint(folder) if file is None else Checkpoint.of_file(folder, file)
    if "embeddings" in checkpoint.file_of and not {"mapping", "weights"}.isdisjoint(checkpoint.file_of):
        raise SourceError(f"{folder.origin} is a model2vec model, which weighs its rows; write model2vec:{spec.target}")
    config = _config(folder)
    stored, notes = choose(checkpoint, config, name=spec.option("tensor"), matrix=wanted_matrix(spec))
    return checkpoint, stored, notes, config


def _config(folder: Folder) -> dict[str, Any]:
    if _CONFIG not in folder.names():
        return {}
    if (folder.size(_CONFIG) or 0) > _LARGEST_CONFIG:
        raise SourceError(f"{folder.origin}/{_CONFIG} is larger than any model's; download the model again")
    document = read_json(folder.fetch(_CONFIG))
    if not isinstance(document, dict):
        raise SourceError(f"{folder.origin}/{_CONFIG} is not a JSON object; download the model again")
    return document
