"""Which tensor of a checkpoint is the input embedding: a rule on names and shapes that needs no model code."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from embcheck.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcheck.sources._safetensors import Stored, Weights

_LEAVES = frozenset(
    {
        "embed_in", "embed_tokens", "embed_tokens_weight", "embedding", "embeddings", "input_embedding", "shared",
        "tok_embeddings", "token_embedding", "token_embeddings", "tokens_embed", "w", "word_embedding",
        "word_embeddings", "wte",
    }
)  # fmt: skip
_OTHER_TABLES = re.compile(
    r"vision|visual|image|pixel|patch|video|audio|speech|acoustic|position|pos_emb|token_type|segment|per_layer|mtp|codec"
)
_TEXT_PARTS = re.compile(r"text|language|llm|thinker|encoder")
_HEADS = frozenset({"lm_head", "embed_out", "output_projection"})
_LISTED = 8
FLOATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def choose(weights: Weights, config: dict[str, Any], *, name: str | None) -> tuple[Stored, tuple[str, ...]]:
    """Find the input embedding.

    Parameters
    ----------
    weights
        The tensors of a model.
    config
        Its config.json, empty where there is none.
    name
        The tensor that the user asked for, if any.

    Returns
    -------
    The tensor, and notes for the provenance.

    Raises
    ------
    SourceError
        None, or several, could be it; it is not two-dimensional, or it is quantized.
    """
    found, notes = _guessed(weights, config) if name is None else (_named(weights, name), ())
    if len(found.shape) != 2 or min(found.shape) < 1:
        raise SourceError(f"{weights.folder}: tensor {found} is not a matrix; choose another with tensor=NAME")
    if found.dtype not in FLOATS:
        raise SourceError(
            f"{weights.folder}: tensor {found} is quantized or no float; "
            f"give a checkpoint whose embeddings are {', '.join(FLOATS.values())}"
        )
    return found, notes


def _named(weights: Weights, name: str) -> Stored:
    for spelling in (name, f"{name}.weight"):
        if spelling in weights.file_of:
            return weights.stored([spelling])[0]
    raise SourceError(f"{weights.folder} has no tensor {name!r}; {_list(_matrices(weights))}")


def _guessed(weights: Weights, config: dict[str, Any]) -> tuple[Stored, tuple[str, ...]]:
    sizes = vocab_sizes(config)
    candidates = [s for s in weights.stored(n for n in weights.file_of if _is_table(n)) if len(s.shape) == 2]
    candidates = _narrow(candidates, sizes)
    if len(candidates) == 1:
        return candidates[0], ()
    if candidates:
        raise SourceError(
            f"{weights.folder}: several tensors could be the input embedding; choose with tensor=NAME; "
            f"{_list(candidates)}"
        )
    outputs = (n for n in weights.file_of if not _HEADS.isdisjoint(n.split(".")))
    heads = _narrow([s for s in weights.stored(outputs) if len(s.shape) == 2], sizes)
    if len(heads) == 1 and config.get("tie_word_embeddings", True):
        return heads[0], (f"input embedding tied to the output layer and stored as {heads[0].name}",)
    matrices = _matrices(weights)
    if len(weights.file_of) == len(matrices) == 1:
        return matrices[0], (f"{matrices[0].name} is the only tensor",)
    raise SourceError(
        f"{weights.folder}: no tensor looks like an input embedding; choose with tensor=NAME; {_list(matrices)}"
    )


def _narrow(candidates: list[Stored], sizes: tuple[int, ...]) -> list[Stored]:
    """Prefer rows equal to the vocabulary's size, then ``shared``, then what is not a decoder's."""
    preferences: list[Callable[[Stored], bool]] = [lambda s, size=size: s.shape[0] == size for size in sizes]  # type: ignore[misc]
    preferences += [lambda s: _leaf(s.name) == "shared", lambda s: _leaf(s.name) != "w"]
    preferences += [lambda s: "decoder" not in s.name.split(".")]
    for prefer in preferences:
        preferred = [s for s in candidates if prefer(s)]
        candidates = preferred or candidates
    return candidates


def vocab_sizes(config: dict[str, Any], depth: int = 3) -> tuple[int, ...]:
    """Sizes of the vocabulary by a config.json: the model's own, else those of its text part, a few levels down."""
    if isinstance(size := config.get("vocab_size"), int):
        return (size,)
    if not depth:
        return ()
    parts = [v for k, v in config.items() if isinstance(v, dict) and _TEXT_PARTS.search(k)]
    return tuple(dict.fromkeys(size for part in parts for size in vocab_sizes(part, depth - 1)))


def _is_table(name: str) -> bool:
    parts = name.split(".")
    return _leaf(name) in _LEAVES and not any(p.isdigit() or _OTHER_TABLES.search(p) for p in parts)


def _leaf(name: str) -> str:
    return name.removesuffix(".weight").rsplit(".", 1)[-1]


def _matrices(weights: Weights) -> list[Stored]:
    """Every matrix, the one with the most rows first."""
    found = [s for s in weights.stored(weights.file_of) if len(s.shape) == 2]
    return sorted(found, key=lambda s: (-s.shape[0], s.name))


def _list(candidates: Sequence[Stored]) -> str:
    if not candidates:
        return "it holds no matrix at all"
    more = f" and {len(candidates) - _LISTED} more" if len(candidates) > _LISTED else ""
    return "candidates: " + "; ".join(map(str, candidates[:_LISTED])) + more
