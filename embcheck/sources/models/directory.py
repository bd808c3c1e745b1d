"""A model as transformers saves it, in a directory or on the hub: one tensor, and its tokenizer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embcheck.errors import SourceError, SpecError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalFolder, local_path, read_head, refuse_unknown_options
from embcheck.sources.models.adapter import describe_adapted, is_adapter, read_adapted
from embcheck.sources.naming.choose import choose, compare_tied, wanted_matrix
from embcheck.sources.naming.config_facts import embedding_scale
from embcheck.sources.naming.layers import NamedLayers
from embcheck.sources.tokenizers.load import tokenizer_files, vocabulary_of
from embcheck.sources.weights.checkpoint import CONFIG, PICKLED, SAFETENSORS, open_checkpoint
from embcheck.sources.weights.stored import FLOATS
from embcheck.sources.weights.torch_file import is_torch

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from embcheck.sources.files import Folder
    from embcheck.sources.weights.checkpoint import Checkpoint
    from embcheck.sources.weights.stored import Stored
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

_ONNX = ("model.onnx", "onnx/model.onnx")
_OTHER_SCHEMES = {
    ".npy": "npy:{0},vocab=FILE",
    ".bin": "word2vec:{0}",
    ".txt": "glove:{0}",
    ".vec": "fasttext:{0}",
    ".gguf": "gguf:{0}",
    ".parquet": "parquet:{0}",
    ".arrow": "arrow:{0}",
    ".feather": "arrow:{0}",
    ".jsonl": "jsonl:{0}",
    ".npz": "npz:{0}",
    ".onnx": "onnx:{0}",
    ".faiss": "faiss:{0}",
    ".index": "faiss:{0}",
}


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding and the tokenizer of a model directory; nothing else of it is read.

    A file of weights stands for its directory, of whose weights it is then the one that is read.
    The option ``tensor=NAME`` names the tensor where names and shapes don't tell, ``tokenizer=DIR`` a tokenizer that
    lies elsewhere.
    """
    return read_model(spec, *_locate(spec))


def describe(spec: ModelSpec) -> Description:
    """What `read` would read, from the headers of the files alone."""
    return describe_model(spec, *_locate(spec))


def read_model(spec: ModelSpec, folder: Folder, file: str | None = None) -> EmbeddingTable:
    """Read the input embedding and the tokenizer of a model; nothing else of it is read before somebody asks for it."""
    if is_adapter(folder, file):
        return read_adapted(spec, folder)
    checkpoint, stored, notes = _choose_tensor(spec, folder, file)
    output = wanted_matrix(spec) == "output"
    vocabulary = vocabulary_of(spec, folder, rows=stored.shape[0])  # first, for it is small
    matrix = checkpoint.load(stored)
    table = assemble(
        spec,
        matrix,
        vocabulary,
        bytes_read=checkpoint.nbytes(stored),
        tensor=stored.name,
        scale=None if output else embedding_scale(checkpoint.config),
        notes=(*notes, *compare_tied(checkpoint, stored), *vocabulary.notes),
    )
    return replace(table, layers=NamedLayers(checkpoint, embedding=stored.name, last=output))


def describe_model(spec: ModelSpec, folder: Folder, file: str | None = None) -> Description:
    """What `read_model` would read, from the headers of the files alone."""
    if is_adapter(folder, file):
        return describe_adapted(spec, folder)
    checkpoint, stored, _ = _choose_tensor(spec, folder, file)
    sizes = [folder.size(name) for name in (*checkpoint.files, *checkpoint.beside) if name not in checkpoint.missing]
    names = folder.names()
    return Description(
        tensor=stored.name,
        shape=stored.shape,
        dtype=FLOATS[stored.dtype],
        bytes=checkpoint.nbytes(stored),
        bytes_total=None if None in sizes else sum(size for size in sizes if size),
        files=(stored.file, *checkpoint.beside, *sorted({*tokenizer_files(names), CONFIG} & set(names))),
    )


def open_model(spec: ModelSpec) -> tuple[Folder, Checkpoint]:
    """The files and the weights of a model that another spec names."""
    folder, file = _locate(spec)
    return folder, open_checkpoint(folder, file)


def _choose_tensor(spec: ModelSpec, folder: Folder, file: str | None) -> tuple[Checkpoint, Stored, tuple[str, ...]]:
    refuse_unknown_options(spec, "tensor", "matrix", "tokenizer")
    checkpoint = open_checkpoint(folder, file)
    if "embeddings" in checkpoint.names and (
        not {"mapping", "weights"}.isdisjoint(checkpoint.names) or checkpoint.stored(["embeddings"])[0].dtype == "I8"
    ):
        raise SourceError(f"{folder.origin} is a model2vec model, which makes its rows; write model2vec:{spec.target}")
    stored, notes = choose(checkpoint, name=spec.option("tensor"), matrix=wanted_matrix(spec))
    return checkpoint, stored, (*checkpoint.notes, *notes, *checkpoint.how_stored(stored))


def _locate(spec: ModelSpec) -> tuple[LocalFolder, str | None]:
    """The directory, and the file of it that the user named, if any."""
    path = local_path(spec, spec.target)
    if spec.revision is not None:
        raise SpecError(
            f"spec {spec.text!r}: {spec.target} is a directory on disk, which has no revisions; "
            f"leave out '@', or write hf:{spec.target}@{spec.revision} for the hub's"
        )
    if path.is_dir():
        if (scheme := _other_scheme(path)) is not None:
            raise SourceError(
                f"spec {spec.text!r}: {spec.target} is no Hugging Face model; write {scheme}:{spec.target}"
            )
        return LocalFolder(path), None
    if _holds_weights(path):
        return LocalFolder(path.parent), path.name
    hint = _OTHER_SCHEMES.get(path.suffix.lower())
    way_out = f"write {hint.format(spec.target)}" if hint else "give the directory that the model was saved to"
    raise SourceError(f"spec {spec.text!r}: {spec.target} is a file, not a model directory; {way_out}")


def _other_scheme(path: Path) -> str | None:
    """The scheme of a folder that another program wrote, and that holds no weights as Hugging Face has them."""
    if any((path / vocab / "key2row").is_file() for vocab in (".", "vocab")):
        return "spacy"
    scheme = export_scheme((*LocalFolder(path).names(), *(name for name in _ONNX if (path / name).is_file())))
    return None if scheme == "ctranslate2" and is_torch(read_head(path / "model.bin")) else scheme


def export_scheme(names: Collection[str]) -> str | None:
    """The scheme of a folder of these files, if it is an export and holds no weights as Hugging Face has them."""
    other = {name for name in names if name != "model.bin"}
    if any(name.endswith((SAFETENSORS, ".gguf", *PICKLED)) for name in other):
        return None
    if "model.bin" in names:
        return "ctranslate2" if any("vocabulary." in name for name in names) else None
    return None if other.isdisjoint(_ONNX) else "onnx"


def _holds_weights(path: Path) -> bool:
    suffix = path.suffix.lower()
    return path.is_file() and (suffix == SAFETENSORS or (suffix in PICKLED and is_torch(read_head(path))))
