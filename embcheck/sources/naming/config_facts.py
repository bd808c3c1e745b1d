"""What a config.json says of a model: by how much it multiplies its embeddings, its heads, its neurons."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embcheck.sources.files import JsonObject

_FACTORS = (  # of Granite and Falcon-H1; MiniCPM; HRM; Grok; Phi-3 small
    "embedding_multiplier", "scale_emb", "embedding_scale", "embedding_multiplier_scale", "mup_embedding_multiplier",
)  # fmt: skip
_SWITCHES = ("scale_embedding", "rescale_embeddings", "embeddings_scale_by_sqrt_dim", "mup_enabled")
_TIES = ("tie_word_embeddings", "tied_embeddings", "weight_tying", "share_decoder_input_output_embed")
_OWN_WIDTHS = re.compile(r"(?!.*(head|position|max)).*(embed|emb_|dim|d_model|width|hidden).*")
_WIDTHS = ("d_model", "hidden_size", "n_embd", "dim", "embed_dim")
_ALWAYS = re.compile(r".*gemma.*|ctrl")  # their code multiplies by sqrt(width), and no config says so
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "vlm_config", "encoder", "decoder")
_DEEPEST = 3
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_kv_heads")
_NEURONS = ("intermediate_size", "ffn_dim", "n_inner")
_ONE_BY_DEFAULT = frozenset({"falcon", "gpt_bigcode"})  # share one head of keys and values unless they say otherwise


def embedding_scale(config: JsonObject) -> float | None:
    """The factor between a model's table and what its first layer gets, ``None`` where it is 1 or not known."""
    config = text_part(config)
    for key in _FACTORS:
        if (factor := _positive(config.get(key))) is not None:
            return factor if factor != 1 else None
    always = _ALWAYS.fullmatch(str(config.get("model_type", ""))) and config.get("embeddings_scale_by_sqrt_dim", True)
    if always or any(config.get(key) is True for key in _SWITCHES):
        width = next((w for key in _WIDTHS if (w := _positive(config.get(key))) is not None), None)
        return None if width is None else math.sqrt(width)
    return None


def says_tied(config: JsonObject, depth: int = _DEEPEST) -> bool | None:
    """Whether the output matrix is the input embedding; ``None`` where the config does not say.

    What a config says itself counts before what its parts say, and of these one denial.
    """
    own = {config[key] for key in _TIES if isinstance(config.get(key), bool)}
    parts = [config[key] for key in _TEXT_PARTS if isinstance(config.get(key), dict)] if depth else []
    said = own or {says_tied(part, depth - 1) for part in parts}
    return None if said <= {None} else False not in said


def share_of_width(config: JsonObject, width: int) -> int | None:
    """The model's width, where a matrix has but a whole fraction of it and no other setting tells of so many columns.

    Tables may be narrower than their model (ALBERT's, ELECTRA's), and then the config says how wide they are.
    """
    part = text_part(config)
    known = {value for key, value in part.items() if _OWN_WIDTHS.fullmatch(key) and type(value) is int}
    whole = _first(part, _WIDTHS)
    return whole if whole is not None and width not in known and width < whole and whole % width == 0 else None


def text_part(config: JsonObject, depth: int = _DEEPEST) -> JsonObject:
    """What a config says of the model of text, which may stand a few levels down in it."""
    for part in (config.get(key) for key in _TEXT_PARTS):
        if isinstance(part, dict) and depth:
            return text_part(part, depth - 1)
    return config


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < math.inf else None


def query_heads(config: JsonObject) -> int | None:
    """Heads of queries; ``None`` where the config does not say."""
    return _first(text_part(config), _HEADS)


def value_heads(config: JsonObject) -> int | None:
    """Heads that have keys and values of their own; ``None`` where the config does not say."""
    part = text_part(config)
    shared = part.get("multi_query", part.get("model_type") in _ONE_BY_DEFAULT)
    if shared and not part.get("new_decoder_architecture"):
        return 1
    return _first(part, _KV_HEADS) or _first(part, _HEADS)


def interleaves(config: JsonObject) -> bool:
    """Whether a model that names its fused attention as GPT-2 does keeps it head by head, as StarCoder does."""
    return text_part(config).get("model_type") == "gpt_bigcode"


def intermediate_size(config: JsonObject) -> int | None:
    """Neurons of an MLP; ``None`` where the config does not say."""
    return _first(text_part(config), _NEURONS)


def _first(config: JsonObject, keys: tuple[str, ...]) -> int | None:
    values = (config.get(key) for key in keys)
    return next((value for value in values if type(value) is int and value > 0), None)
