"""A Hugging Face directory on disk: the embedding tensor of its weights, and its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embcheck.errors import SourceError, SpecError
from embcheck.sources.files.folder import LocalFolder
from embcheck.sources.files.looking import local_path, read_head
from embcheck.sources.models.model import describe_model, read_model
from embcheck.sources.weights.checkpoint import PICKLED, SAFETENSORS
from embcheck.sources.weights.torch_file import is_torch

if TYPE_CHECKING:
    from pathlib import Path

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe", "read"]

_OTHER_SCHEMES = {
    ".npy": "npy:{0},vocab=FILE",
    ".bin": "word2vec:{0}",
    ".txt": "glove:{0}",
    ".vec": "fasttext:{0}",
    ".gguf": "gguf:{0}",
}


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding and the tokenizer of a model directory; nothing else of it is read.

    A file of weights stands for its directory, of whose weights it is then the one that is read.
    The option ``tensor=NAME`` names the tensor where names and shapes don't tell.
    """
    return read_model(spec, *_find(spec))


def describe(spec: ModelSpec) -> dict[str, object]:
    """What `read` would read, from the headers of the files alone."""
    return describe_model(spec, *_find(spec))


def _find(spec: ModelSpec) -> tuple[LocalFolder, str | None]:
    """The directory, and the file of it that the user named, if any."""
    path = local_path(spec, spec.target)
    if spec.revision is not None:
        raise SpecError(
            f"spec {spec.text!r}: {spec.target} is a directory on disk, which has no revisions; "
            f"leave out '@', or write hf:{spec.target}@{spec.revision} for the hub's"
        )
    if path.is_dir():
        return LocalFolder(path), None
    if _holds_weights(path):
        return LocalFolder(path.parent), path.name
    hint = _OTHER_SCHEMES.get(path.suffix.lower())
    way_out = f"write {hint.format(spec.target)}" if hint else "give the directory that the model was saved to"
    raise SourceError(f"spec {spec.text!r}: {spec.target} is a file, not a model directory; {way_out}")


def _holds_weights(path: Path) -> bool:
    suffix = path.suffix.lower()
    return path.is_file() and (suffix == SAFETENSORS or (suffix in PICKLED and is_torch(read_head(path))))
