"""A sentence encoder on disk (a sentence-transformers directory), in either of its two spaces.

``space=encoded`` (the default)
    Each word of a list goes through the model behind ``prefix=TEXT`` (the model's own default prompt unless given;
    double quotes may stand around it to keep spaces) and is pooled and normalised as the model says. The list is the
    population: ``words=FILE`` (txt, json or parquet), else every word of embcheck's lexicons. Each word is one row.
``space=tokens``
    The encoder's input table, read as from any model directory. It is the default where the encoder is a
    StaticEmbedding that at most scales its rows afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embcheck.errors import SourceError, SpecError
from embcheck.sources import resolve_device
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.encoders import model2vec
from embcheck.sources.encoders.modules import (
    Module,
    default_prompt,
    pooled_width,
    pooling_modes,
    read_config,
    read_modules,
    truncated_width,
)
from embcheck.sources.encoders.run import encode, model_sha256, require_library, weight_files
from embcheck.sources.encoders.texts import prefix_option, read_texts
from embcheck.sources.files import local_path, refuse_unknown_options
from embcheck.sources.models import directory
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from types import ModuleType

    import torch

    from embcheck.spec import ModelSpec
    from embcheck.table import EmbeddingTable


def read(spec: ModelSpec) -> EmbeddingTable:
    """As `read_on`, on the best device there is."""
    return read_on(spec, resolve_device("auto"))


def read_on(spec: ModelSpec, device: torch.device) -> EmbeddingTable:
    """Encode a word list on a device, or read the encoder's input table."""
    modules, space = _open(spec)
    if space == "tokens":
        reader, inner = _tokens(spec, modules)
        table: EmbeddingTable = reader.read(inner)
        cut = truncated_width(local_path(spec, spec.target))
        whole = () if cut is None else (f"truncate_dim {cut} is of encoded texts; the input table is whole",)
        is_scaled = _is_static(modules) and any(module.kind == "Normalize" for module in modules)
        as_stored = ("Normalize is of encoded texts; the input table is as stored",) if is_scaled else ()
        notes = ("space: tokens", *whole, *as_stored, *table.provenance.notes)
        return replace(table, provenance=replace(table.provenance, spec=spec.text, source=spec.scheme, notes=notes))
    require_library()
    words, population = read_texts(spec)
    prefix = _prefix(spec)
    cut = truncated_width(local_path(spec, spec.target))
    matrix = encode(modules, words, prefix=prefix, device=device, width=cut)
    notes = (
        f"space: encoded (prefix {prefix!r}; {_pipeline(modules, cut)}; on {device.type})",
        f"population: {population}",
        f"model weights sha256 {model_sha256(modules)}",
    )
    size = sum(path.stat().st_size for path in weight_files(modules))
    return assemble(spec, matrix, WordVocabulary(words, special=()), bytes_read=size, notes=notes)


def describe(spec: ModelSpec) -> Description:
    """What `read` would read: the table, or the model's weights and how many words would go through it."""
    modules, space = _open(spec)
    if space == "tokens":
        reader, inner = _tokens(spec, modules)
        description: Description = reader.describe(inner)
        return description
    words, population = read_texts(spec)
    files = weight_files(modules)
    size = sum(path.stat().st_size for path in files)  # all of the model is read, though the table is small
    cut, width = truncated_width(local_path(spec, spec.target)), pooled_width(modules)
    return Description(
        shape=(len(words), width if cut is None or width is None else min(cut, width)),
        dtype="float32",
        bytes=size,
        bytes_total=size,
        files=tuple(path.name for path in files),
        space=f"encoded (prefix {_prefix(spec)!r}; {_pipeline(modules, cut)})",
        population=population,
    )


def _open(spec: ModelSpec) -> tuple[tuple[Module, ...], str]:
    """The encoder's modules, and the space that is asked for."""
    path = local_path(spec, spec.target)
    if not path.is_dir():
        raise SourceError(f"spec {spec.text!r}: {spec.target} is a file; give the encoder's directory")
    modules = read_modules(path)
    is_table = _is_static(modules) and all(module.kind in {"Normalize", "Dropout"} for module in modules[1:])
    space = spec.option("space") or ("tokens" if is_table else "encoded")
    if space not in {"tokens", "encoded"}:
        raise SpecError(f"spec {spec.text!r}: unknown space {space!r}; choose tokens or encoded")
    options = ("tensor",) if space == "tokens" else ("prefix", "words", "column")
    refuse_unknown_options(spec, "space", *options)
    return modules, space


def _is_static(modules: tuple[Module, ...]) -> bool:
    return modules[0].kind == "StaticEmbedding"


def _tokens(spec: ModelSpec, modules: tuple[Module, ...]) -> tuple[ModuleType, ModelSpec]:
    """The source that reads the input table, and the spec that it reads."""
    options = tuple((key, value) for key, value in spec.options if key != "space")
    inner = replace(spec, target=str(modules[0].folder), options=options)
    if _is_static(modules):
        return model2vec, replace(inner, scheme="model2vec")
    return directory, replace(inner, scheme="directory")


def _prefix(spec: ModelSpec) -> str:
    given = prefix_option(spec)
    return default_prompt(local_path(spec, spec.target)) if given is None else given


def _pipeline(modules: tuple[Module, ...], cut: int | None) -> str:
    """What is done to the encoder's output, such as ``Pooling mean, Normalize``."""
    said = []
    for module in modules[1:]:
        pooling = module.kind == "Pooling"
        modes = pooling_modes(read_config(module.folder / "config.json")) if pooling else ()
        said.append(" ".join([module.kind, *modes]))
    said += [] if cut is None else [f"first {cut} numbers"]
    return ", ".join(said) or modules[0].kind
