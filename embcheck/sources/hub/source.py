"""A model on the Hugging Face hub: of its weights only the embedding tensor is moved, and its tokenizer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embcheck.sources.gguf import source
from embcheck.sources.hub.names import hub_name
from embcheck.sources.hub.repo import resolve
from embcheck.sources.models.model import describe_model, read_model

if TYPE_CHECKING:
    from embcheck.sources.hub.repo import HubFolder
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe", "read"]

_GGUF = ".gguf"


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the input embedding and the tokenizer of a model on the hub, at the commit that its revision is now.

    The parts of weights that are read are kept (in ``EMBCHECK_CACHE``, by default ``HF_HOME/embcheck``), whole files
    and the tokenizer's are shared with other programs in the ordinary hub cache. ``HF_TOKEN``, ``HF_ENDPOINT``,
    ``HF_HUB_OFFLINE`` and ``HF_HOME`` mean what they mean everywhere.
    """
    folder, file, spec = _find(spec)
    if file is not None and file.endswith(_GGUF):
        table = source.read_from(spec, folder.open(file))
    else:
        table = read_model(spec, folder, file)
    origin = replace(table.provenance, notes=(*table.provenance.notes, *folder.notes))
    return replace(table, provenance=origin)


def describe(spec: ModelSpec) -> dict[str, object]:
    """What `read` would read; only headers are moved."""
    folder, file, spec = _find(spec)
    if file is not None and file.endswith(_GGUF):
        return {**source.describe_from(spec, folder.open(file)), "revision": folder.commit}
    return {**describe_model(spec, folder, file), "revision": folder.commit}


def _find(spec: ModelSpec) -> tuple[HubFolder, str | None, ModelSpec]:
    """The repository at a commit, the one file of weights that is meant if any, and the spec at that commit."""
    name = hub_name(spec)
    folder = resolve(name.repo, spec.revision)
    file = name.file
    if file is None:
        weights = [n for n in folder.names() if n.endswith((_GGUF, ".safetensors", ".bin", ".pt", ".pth"))]
        file = weights[0] if len(weights) == 1 and weights[0].endswith(_GGUF) else None
    return folder, file, replace(spec, revision=folder.commit)
