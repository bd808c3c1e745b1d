"""An adapter that PEFT saved, with its base: the input embedding that the two make together.

What the adapter keeps of the embedding is an own table (``modules_to_save``), own rows (``trainable_token_indices``) or
a product of low rank, B·A times alpha / r, that is added (LoRA). Other kinds are refused by the name of what they keep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from embcheck.errors import SourceError, SpecError
from embcheck.sources.assemble import Description, assemble
from embcheck.sources.files import LocalFolder, printable, refuse_unknown_options
from embcheck.sources.naming.choose import choose, split_table
from embcheck.sources.naming.config_facts import embedding_scale
from embcheck.sources.tokenizers.load import tokenizer_files, vocabulary_of
from embcheck.sources.weights.checkpoint import ADAPTER, ADAPTER_WEIGHTS, Checkpoint, adapter_error, read_settings
from embcheck.sources.weights.stored import FLOATS
from embcheck.spec import ModelSpec, parse

if TYPE_CHECKING:
    from torch import Tensor

    from embcheck.sources.files import Folder, JsonObject
    from embcheck.sources.weights.stored import Stored
    from embcheck.table import EmbeddingTable

_PREFIX = "base_model.model."
_OWN, _LORA_A, _LORA_B, _BASE, _ROWS = "weight", "lora_embedding_A", "lora_embedding_B", "base_layer.weight", "rows"
_SPELLINGS = {"token_adapter.trainable_tokens_delta": _ROWS, "trainable_tokens_delta": _ROWS}
_KNOWN = ({_OWN}, {_LORA_A, _LORA_B}, {_LORA_A, _LORA_B, _BASE}, {_ROWS}, {_ROWS, _BASE})
_BLOCK = 2**14  # rows that a product is made of at once
_NETWORK_PATHS = ("//", "\\\\")


def is_adapter(folder: Folder, file: str | None) -> bool:
    """Whether a folder, or the file of it that a user named, is an adapter."""
    return ADAPTER in folder.names() and (file is None or ADAPTER_WEIGHTS.fullmatch(file) is not None)


def read_adapted(spec: ModelSpec, folder: Folder) -> EmbeddingTable:
    """Read the base's embedding and what the adapter keeps of it; the base is the option ``base``, or a directory."""
    adapted = _open(spec, folder)
    base, parts = adapted.stored, adapted.parts
    rows = (parts.get(_OWN) or parts.get(_BASE) or base).shape[0]
    has_tokens = spec.option("tokenizer") is not None or bool(tokenizer_files(folder.names()))
    vocabulary = vocabulary_of(spec, folder if has_tokens else adapted.folder, rows=rows)
    matrix, how = _join(adapted)
    own = [] if _OWN in parts or _BASE in parts else [base]
    return assemble(
        spec,
        matrix,
        vocabulary,
        bytes_read=sum(stored.nbytes for stored in (*own, *parts.values())),
        tensor=base.name,
        scale=embedding_scale(adapted.checkpoint.config),
        notes=(f"{how}, on {adapted.checkpoint.origin}", *adapted.notes, *vocabulary.notes),
    )


def describe_adapted(spec: ModelSpec, folder: Folder) -> Description:
    """What `read_adapted` would read, from the headers of the files alone."""
    adapted = _open(spec, folder)
    stored = adapted.parts.get(_OWN) or adapted.parts.get(_BASE) or adapted.stored
    read = {stored.name: stored} | {part.name: part for part in adapted.parts.values()}
    return Description(
        tensor=adapted.stored.name,
        shape=stored.shape,
        dtype=FLOATS[stored.dtype],
        bytes=sum(part.nbytes for part in read.values()),
        bytes_total=None,
        files=tuple(dict.fromkeys(part.file for part in (stored, *adapted.parts.values()))),
    )


@dataclass(frozen=True, slots=True)
class _Adapted:
    """A base with what an adapter keeps of its embedding."""

    folder: Folder
    """The base's."""
    checkpoint: Checkpoint
    stored: Stored
    notes: tuple[str, ...]
    adapter: Checkpoint
    parts: dict[str, Stored]
    settings: JsonObject


def _open(spec: ModelSpec, folder: Folder) -> _Adapted:
    from embcheck.sources import open_model

    refuse_unknown_options(spec, "base", "tokenizer", "tensor", "matrix")
    if spec.option("tensor") is not None or spec.option("matrix") not in {None, "input"}:
        raise SpecError(f"spec {spec.text!r}: of an adapter the input embedding is read; merge it for other tensors")
    file = next((name for name in folder.names() if ADAPTER_WEIGHTS.fullmatch(name)), None)
    if file is None:
        raise SourceError(f"{folder.origin} lacks the adapter's weights (adapter_model.safetensors); download it again")
    settings = read_settings(folder, ADAPTER)
    base_folder, checkpoint = open_model(_base(spec, folder, settings))
    stored, notes = choose(checkpoint, name=None)
    adapter = Checkpoint.of_file(folder, file)
    parts = _parts(adapter, stored)
    notes = (*checkpoint.notes, *notes, *checkpoint.how_stored(stored))
    return _Adapted(base_folder, checkpoint, stored, notes, adapter, parts, settings)


def _base(spec: ModelSpec, folder: Folder, settings: JsonObject) -> ModelSpec:
    """The spec of the base: what the user gave, else the directory that an adapter on disk names."""
    if (given := spec.option("base")) is not None:
        return parse(given)
    named = settings.get("base_model_name_or_path")
    path = named if isinstance(named, str) and named.isprintable() and not named.startswith(_NETWORK_PATHS) else ""
    if isinstance(folder, LocalFolder) and path and Path(path).is_dir():
        return ModelSpec(path, "base", "directory", path)
    raise adapter_error(folder, way_out="give its base too, as ,base=DIR or ,base=org/name, or ")


def _parts(adapter: Checkpoint, base: Stored) -> dict[str, Stored]:
    """What an adapter keeps of the base's embedding, by kind."""
    wanted = base.name.removesuffix(".weight")
    parts: dict[str, Stored] = {}
    others = set()
    for name in adapter.names:
        table, part = split_table(name.removeprefix(_PREFIX))
        if table and (table == wanted or table.endswith(f".{wanted}") or wanted.endswith(f".{table}")):
            parts[_SPELLINGS.get(part, part.removeprefix("token_adapter."))] = adapter.stored([name])[0]
        elif table:
            others.add(table)
    if others and not parts:
        raise SourceError(
            f"{adapter.origin} adapts {', '.join(map(printable, sorted(others)[:5]))}, where its base keeps the "
            f"embedding as {printable(base.name)}; merge the two, and give that"
        )
    if parts and set(parts) not in _KNOWN:
        raise SourceError(
            f"{adapter.origin} keeps {', '.join(map(printable, sorted(parts)[:5]))} of the embedding, which is not "
            "known how to add; merge the two (merge_and_unload), and give that"
        )
    for stored in parts.values():
        if len(stored.shape) != 2 or min(stored.shape) < 1 or stored.dtype not in FLOATS:
            raise SourceError(f"{adapter.origin}: tensor {stored} is no matrix of floats; save the adapter again")
    return parts


def _join(adapted: _Adapted) -> tuple[Tensor, str]:
    """The embedding, and how it was made."""
    parts, adapter = adapted.parts, adapted.adapter
    if _OWN in parts:
        return adapter.load(parts[_OWN]), "the adapter's own embedding"
    base = adapter.load(parts[_BASE]) if _BASE in parts else adapted.checkpoint.load(adapted.stored)
    if _ROWS in parts:
        rows = _token_indices(adapted, base)
        return base.index_copy(0, torch.tensor(rows), adapter.load(parts[_ROWS]).to(base.dtype)), (
            f"rows of the adapter's own: {len(rows)}"
        )
    if _LORA_A in parts:
        first, second = adapter.load(parts[_LORA_A]), adapter.load(parts[_LORA_B])
        scale = _scaling(adapted, rank=len(first))
        if (len(base), base.shape[1], len(first)) != (first.shape[1], len(second), second.shape[1]):
            raise _misfit(adapted, f"B {list(second.shape)} and A {list(first.shape)} make no {list(base.shape)}")
        matrix = base.clone()
        for start in range(0, len(base), _BLOCK):
            delta = (second.float() @ first[:, start : start + _BLOCK].float()).T * scale
            matrix[start : start + _BLOCK] += delta.to(second.dtype).to(base.dtype)
        return matrix, f"with the adapter's B·A of rank {len(first)} times {scale:.6g} added"
    return base, "the adapter leaves the embedding as it is"


def _token_indices(adapted: _Adapted, base: Tensor) -> list[int]:
    """The rows that an adapter has of its own."""
    stored, leaf = adapted.parts[_ROWS], adapted.stored.name.removesuffix(".weight").rpartition(".")[2]
    said = adapted.settings.get("trainable_token_indices") or adapted.settings.get("token_indices")
    named = said.get(leaf) if isinstance(said, dict) else said
    rows: list[int] = named if isinstance(named, list) else []
    fits = all(type(row) is int and 0 <= row < len(base) for row in rows)
    if not fits or stored.shape != (len(set(rows)), base.shape[1]) or len(set(rows)) != len(rows):
        raise _misfit(adapted, f"{stored} does not fit the tokens that it names and {list(base.shape)}")
    return rows


def _scaling(adapted: _Adapted, *, rank: int) -> float:
    """Alpha over the rank, or over its root."""
    settings = adapted.settings
    alpha = settings.get("lora_alpha")
    if settings.get("alpha_pattern"):
        raise _misfit(adapted, "its alpha differs from module to module (alpha_pattern)")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise _misfit(adapted, "lora_alpha is no number")
    return float(alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank)


def _misfit(adapted: _Adapted, why: str) -> SourceError:
    return SourceError(
        f"the adapter in {adapted.adapter.origin} can't be added to {adapted.checkpoint.origin}: {why}; merge the two "
        "(merge_and_unload) and give that, or give the base that it was trained on as ,base=DIR"
    )
