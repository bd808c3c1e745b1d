"""Figures from the literature, and which model specs name a model that they are about."""

from __future__ import annotations

import functools
import importlib.resources
import os
import tomllib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcheck.spec import ModelSpec

__all__ = ["Entry", "Figure", "entries", "lists", "model_of", "of"]

_CACHED = "models--"  # how the hub's cache names a model's folder: models--org--name/snapshots/REVISION
_WEIGHTS = frozenset({".safetensors", ".bin", ".pt", ".pth", ".ckpt"})


@dataclass(frozen=True, slots=True)
class Figure:
    """One number as it was printed."""

    name: str
    value: float
    digits: int
    """How many digits are printed behind the point."""

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit: how far rounding moved it at most."""
        return 0.5 * 10.0**-self.digits

    def __str__(self) -> str:
        """The number with all its digits."""
        return f"{self.value:.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Entry:
    """What one document states of one model, about what one property measures."""

    model: str | None
    """Its name on the hub, where the document tells."""
    property: str
    source: str
    """Title of the document."""
    figures: tuple[Figure, ...]
    how: str | None = None
    """How the figures are to be reproduced; none where they are only listed."""
    unchecked: str | None = None
    """Why they are only listed."""
    rows: int | None = None
    """Of the matrix."""
    words: tuple[str, ...] = ()


@functools.cache
def _document() -> dict[str, Any]:
    text = importlib.resources.files(__package__).joinpath("figures.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def entries() -> tuple[Entry, ...]:
    """Every entry, in the order of the file."""
    document = _document()
    return tuple(_read_entry(document, row) for row in document["entry"])


def of(spec: ModelSpec) -> tuple[Entry, ...]:
    """The entries that can be compared with the model that a spec names."""
    model = model_of(spec)
    return tuple(entry for entry in entries() if entry.how is not None and entry.model == model)


def lists(spec: ModelSpec) -> bool:
    """Whether there are figures to compare the model of a spec with."""
    return bool(of(spec))


def model_of(spec: ModelSpec) -> str | None:
    """The listed model that a spec names: by its name on the hub, or by a folder ``.../org/name``, or the hub's cache.

    A short name is free to choose, and a configuration's ``_name_or_path`` stays in models that were trained on, so
    neither tells. Quantized files, output matrices and tensors chosen by name are not what the figures are about.
    """
    if spec.option("tensor") or spec.option("matrix") not in {None, "input"} or spec.target.endswith(".gguf"):
        return None
    if spec.scheme == "hf":
        name = "/".join(spec.target.split("/")[:2])
    elif spec.scheme == "directory":
        name = _folder_name(spec.target)
    else:
        return None
    return _names().get(name.casefold())


def _folder_name(target: str) -> str:
    """The last two parts of a folder's path, or the model whose revision it is in the hub's cache."""
    path = PurePath(os.path.abspath(os.path.expanduser(target)))  # noqa: PTH100, PTH111 - these never raise
    folder = path.parent if path.suffix in _WEIGHTS else path
    if folder.parent.name == "snapshots" and (cached := folder.parts[-3]).startswith(_CACHED):
        return cached.removeprefix(_CACHED).replace("--", "/", 1)
    return "/".join(folder.parts[-2:])


@functools.cache
def _names() -> dict[str, str]:
    """The model of every folded name."""
    others = _document()["names"]
    return {
        name.casefold(): entry.model
        for entry in entries()
        if entry.model is not None
        for name in (entry.model, *others.get(entry.model, ()))
    }


def _read_entry(document: dict[str, Any], row: dict[str, Any]) -> Entry:
    digits = row["digits"] if "digits" in row else document["digits"][row["how"]]
    figures = tuple(
        Figure(name, float(value), digits if isinstance(digits, int) else digits[name])
        for name, value in row["figures"].items()
    )
    return Entry(
        row.get("model"),
        row["property"],
        document["documents"][row["source"]],
        figures,
        row.get("how"),
        row.get("unchecked"),
        row.get("rows"),
        tuple(row.get("words", ())),
    )
