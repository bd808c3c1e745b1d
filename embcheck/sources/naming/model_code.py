"""What a model's own code calls its input embedding: the model is built without memory for its weights, and asked.

Only code that is part of the installed transformers runs; a model that brings its own is not asked.
"""

from __future__ import annotations

import copy
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from embcheck.sources import bounded
from embcheck.sources.files import drop_code
from embcheck.sources.tokenizers.load import library_errors, offline

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from embcheck.sources.files import JsonObject

_LAYERS = frozenset(
    {
        "decoder_layers", "depth", "encoder_layers", "n_layer", "n_layers", "n_routed_experts", "num_decoder_layers",
        "num_encoder_layers", "num_experts", "num_hidden_layers", "num_layers", "num_local_experts",
    }
)  # fmt: skip
_SIZES = re.compile(
    r".*_(size|dim|length|embeddings|ids?|heads|theta|positions|window)|d_model|d_ff|d_kv|n_embd|n_ctx|n_inner|n_head"
)
_FEW, _MANY, _MANY_KEYS = 2, 64, 2**12
_DEEPEST = 4


def held_as_input(config: JsonObject, names: Sequence[str]) -> list[str]:
    """Those of a checkpoint's tensors that ``get_input_embeddings()`` holds once the model is loaded.

    None where transformers does not know the model, or can't build it from this config.
    """
    held: list[str] | None = _call(ask, config, list(names))
    return held or []


def output_by_code(config: JsonObject) -> str | None:
    """What output matrix the class that a config names has: ``none``, one of its ``own``, or one that is ``tied``.

    ``None`` where transformers does not know the class, or can't build it. What a config leaves out has the default of
    its type: transformers leaves defaults out when it saves.
    """
    said: str | None = _call(ask_output, config)
    return said


def _call(function: Callable[..., Any], config: JsonObject, *more: Any) -> Any:
    """Call a function that builds a model of a config.

    One that asks for much of anything, such as groups of layers or labels, is built in a process that may take a minute
    and 4 GB.
    """
    if _is_modest(config):
        return function(config, *more)
    return bounded.call(__name__, function.__name__, config, *more)


def _is_modest(value: Any, key: str = "") -> bool:
    """Whether nothing but sizes and layers, of which few are built, is said to be many."""
    if isinstance(value, dict):
        return len(value) <= _MANY_KEYS and all(_is_modest(each, name) for name, each in value.items())
    if isinstance(value, list):
        return len(value) <= _MANY_KEYS and all(_is_modest(each, key) for each in value)
    return not isinstance(value, int | float) or abs(value) <= _MANY or key in _LAYERS or bool(_SIZES.fullmatch(key))


def ask(config: JsonObject, names: Sequence[str]) -> list[str]:
    """As `held_as_input`, in this process."""
    from torch import nn

    try:
        with offline():
            model = _build(config)
            table = model.get_input_embeddings()
            if not isinstance(table, nn.Embedding):  # models of images begin with a projection of patches
                return []
            parameters = model.named_parameters(remove_duplicate=False)
            held = {name for name, parameter in parameters if parameter is table.weight}
            rename = _renaming(model)
            return [name for name in names if rename(name) in held]
    except library_errors():
        return []


def ask_output(config: JsonObject) -> str | None:
    """As `output_by_code`, in this process."""
    import transformers

    try:
        with offline():
            if not hasattr(transformers, str(config["architectures"][0])):
                return None
            model = _build(config)
            head = model.get_output_embeddings()
            if head is None:
                return "none"
            weight = getattr(head, "weight", None)
            return "tied" if weight is not None and weight is model.get_input_embeddings().weight else "own"
    except library_errors():
        return None


def _build(config: JsonObject) -> Any:
    import torch
    import transformers

    small = drop_code(_with_few_layers(config, _DEEPEST))
    kind = str(small.pop("model_type"))
    parsed = transformers.CONFIG_MAPPING[kind].from_dict(small)
    wanted = config.get("architectures")
    named = getattr(transformers, str(wanted[0]), None) if isinstance(wanted, list) and wanted else None
    known = isinstance(named, type) and issubclass(named, transformers.PreTrainedModel)
    make: Any = named if known else partial(transformers.AutoModel.from_config, trust_remote_code=False)
    with torch.device("meta"):
        return make(parsed)


def _with_few_layers(config: JsonObject, depth: int) -> JsonObject:
    """The same model with less of what there are many of; lists with an entry for each layer are cut too."""
    small = copy.copy(config)
    counts = {value for key, value in config.items() if key in _LAYERS and type(value) is int}
    for key, value in config.items():
        if key in _LAYERS and type(value) is int:
            small[key] = min(value, _FEW)
        elif isinstance(value, list) and len(value) in counts:
            small[key] = value[:_FEW]
        elif isinstance(value, dict):
            small[key] = _with_few_layers(value, depth - 1) if depth else {}
    return small


def _renaming(model: Any) -> Callable[[str], str]:
    """From a checkpoint's names to the model's, as transformers maps them when it loads one."""
    try:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming, rename_source_key
    except ImportError:  # transformers 4
        return lambda name: name
    mapping = get_model_conversion_mapping(model)
    renamings = [step for step in mapping if isinstance(step, WeightRenaming)]
    state = model.state_dict()
    return lambda name: str(rename_source_key(name, renamings, [], model.base_model_prefix, state)[0])
