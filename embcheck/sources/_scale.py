"""By how much a model multiplies its embeddings before it uses them, as far as its config says."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embcheck.sources._gguf import Header

__all__ = ["embedding_scale", "gguf_scale", "text_part"]

_FACTORS = (  # of Granite and Falcon-H1; MiniCPM; HRM; Grok; Phi-3 small
    "embedding_multiplier", "scale_emb", "embedding_scale", "embedding_multiplier_scale", "mup_embedding_multiplier",
)  # fmt: skip
_SWITCHES = ("scale_embedding", "rescale_embeddings", "embeddings_scale_by_sqrt_dim", "mup_enabled")
_WIDTHS = ("d_model", "hidden_size", "n_embd", "dim", "embed_dim")
_ALWAYS = re.compile(r".*gemma.*|ctrl")  # their code multiplies by sqrt(width), and no config says so
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config", "vlm_config", "encoder", "decoder")
_DEEPEST = 3


def embedding_scale(config: dict[str, Any]) -> float | None:
    """The factor between a model's table and what its first layer gets, ``None`` where it is 1 or not known.

    Parameters
    ----------
    config
        A config.json. Of a model of several parts the text part counts.
    """
    config = text_part(config)
    for key in _FACTORS:
        if (factor := _positive(config.get(key))) is not None:
            return factor if factor != 1 else None
    always = _ALWAYS.fullmatch(str(config.get("model_type", ""))) and config.get("embeddings_scale_by_sqrt_dim", True)
    if always or any(config.get(key) is True for key in _SWITCHES):
        width = next((w for key in _WIDTHS if (w := _positive(config.get(key))) is not None), None)
        return None if width is None else math.sqrt(width)
    return None


def text_part(config: dict[str, Any], depth: int = _DEEPEST) -> dict[str, Any]:
    """What a config says of the model of text, which may stand a few levels down in it."""
    for part in (config.get(key) for key in _TEXT_PARTS):
        if isinstance(part, dict) and depth:
            return text_part(part, depth - 1)
    return config


def gguf_scale(header: Header) -> float | None:
    """As `embedding_scale`, by the header of a GGUF file."""
    kind = header.string("general.architecture")
    config = {
        "model_type": kind,
        "embedding_scale": header.number(f"{kind}.embedding_scale"),
        "hidden_size": header.number(f"{kind}.embedding_length"),
    }
    return embedding_scale(config)


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < math.inf else None
