"""How many heads a model's attention has, and how many neurons its MLP, as far as its config says."""

from __future__ import annotations

from typing import Any

from embcheck.sources._scale import text_part

__all__ = ["interleaves", "intermediate_size", "query_heads", "value_heads"]

_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads")
_NEURONS = ("intermediate_size", "ffn_dim", "n_inner")
_ONE_BY_DEFAULT = frozenset({"falcon", "gpt_bigcode"})  # share one head of keys and values unless they say otherwise


def query_heads(config: dict[str, Any]) -> int | None:
    """Heads of queries; ``None`` where the config does not say."""
    return _first(text_part(config), _HEADS)


def value_heads(config: dict[str, Any]) -> int | None:
    """Heads that have keys and values of their own; ``None`` where the config does not say."""
    part = text_part(config)
    shared = part.get("multi_query", part.get("model_type") in _ONE_BY_DEFAULT)
    if shared and not part.get("new_decoder_architecture"):
        return 1
    return _first(part, _KV_HEADS) or _first(part, _HEADS)


def interleaves(config: dict[str, Any]) -> bool:
    """Whether a model that names its fused attention as GPT-2 does keeps it head by head, as StarCoder does."""
    return text_part(config).get("model_type") == "gpt_bigcode"


def intermediate_size(config: dict[str, Any]) -> int | None:
    """Neurons of an MLP; ``None`` where the config does not say."""
    return _first(text_part(config), _NEURONS)


def _first(config: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    values = (config.get(key) for key in keys)
    return next((value for value in values if type(value) is int and value > 0), None)
