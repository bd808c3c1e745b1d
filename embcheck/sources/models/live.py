"""A table of a model in memory: its input embedding as the model uses it now, not copied, and its tokenizer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer
from torch import nn

from embcheck.errors import SourceError, UsageError
from embcheck.sources.naming.layers import NamedLayers
from embcheck.sources.tokenizers.vocabulary import RustErrors, TokenizerVocabulary
from embcheck.table import EmbeddingTable, Provenance
from embcheck.table.table import dtype_name
from embcheck.table.vocabulary import WordVocabulary

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from embcheck.sources.files import JsonObject
    from embcheck.table.vocabulary import Vocabulary

_INSIDE = ("_orig_mod", "_fsdp_wrapped_module")  # torch.compile, FullyShardedDataParallel


def from_module(
    model: nn.Module, tokenizer: Any, *, vocabularies: dict[int, Vocabulary] | None = None, hashed: bool = True
) -> EmbeddingTable:
    """Make a table of a live model. The vectors share the model's memory, so they change as it is trained.

    The tokenizer, which is not changed, may be a list of words, one a row. ``vocabularies`` holds what was read of it
    before, by the number of rows, and takes what is read now. Hashing (``hashed``) reads all weights to the host.
    """
    tokens = _take_tokenizer(tokenizer)
    weight, notes = weight_of(model, len(tokens) if isinstance(tokens, list) else tokens.get_vocab_size())
    known = {} if vocabularies is None else vocabularies
    vocabulary = known.get(len(weight)) or _read_vocabulary(tokens, rows=len(weight))
    known[len(weight)] = vocabulary
    origin = Provenance(
        spec="memory",
        source="module",
        shape=(weight.shape[0], weight.shape[1]),
        dtype=dtype_name(weight),
        weights=weight if hashed else None,
        notes=(*notes, *getattr(vocabulary, "notes", ())),
    )
    inside = unwrap(model)
    layers = NamedLayers(_Parameters(inside), embedding=_name_of(inside, weight))
    return EmbeddingTable(weight, vocabulary, origin, layers=layers)


def output_of_module(table: EmbeddingTable, model: nn.Module) -> EmbeddingTable:
    """The table of a live model's output matrix, from that of its input; the same matrix, noted, where they are tied.

    Raises `NotMeasurable` where the model has no output matrix of the table's width, or in a form that can be read.
    """
    rows = len(table.vectors)
    weight = table.tensor("output")
    if len(weight) < rows:
        raise UsageError(f"the output matrix has {len(weight)} rows, fewer than the embedding's {rows}")
    is_tied = weight.data_ptr() == table.vectors.data_ptr()
    weight, inside = weight[:rows], unwrap(model)
    origin = replace(
        table.provenance,
        dtype=dtype_name(weight),
        weights=None if table.provenance.weights is None else weight,
        notes=(*table.provenance.notes, *(["the output matrix is tied to the input embedding"] if is_tied else [])),
    )
    layers = NamedLayers(_Parameters(inside), embedding=_name_of(inside, weight), last=True)
    return replace(table, vectors=weight, provenance=origin, layers=layers, memo={})


class _Parameters:
    """Those of a model in memory, as they are when they are asked for: a `TensorStore`."""

    bytes_read = 0
    may_drop_copies = False

    def __init__(self, model: nn.Module) -> None:
        self.origin = type(model).__name__
        self.config = _config_of(model)
        self._model = model

    @property
    def names(self) -> Collection[str]:
        """All of them."""
        return self._all().keys()

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows first."""
        return tuple(self._all()[name].shape)

    def refusal(self, name: str) -> str | None:
        """That it is quantized or not in memory, if it is so."""
        parameter = self._all()[name]
        if parameter.is_meta:
            return f"{self.origin}: {name} is on the meta device; load it first"
        if hasattr(parameter, "full_tensor"):
            return f"{self.origin}: {name} is sharded, and only the embedding is gathered; check a saved checkpoint"
        if not parameter.is_floating_point() or parameter.element_size() < 2:
            return f"{self.origin}: {name} is quantized ({dtype_name(parameter)}); give the model in floats"
        return None

    def read(self, name: str) -> Tensor:
        """Not copied."""
        return self._all()[name].detach()

    def _all(self) -> dict[str, nn.Parameter]:
        return dict(self._model.named_parameters(remove_duplicate=False))


def _config_of(model: nn.Module) -> JsonObject:
    """What the model's config says, empty where it has none."""
    config: Any = getattr(model, "config", None)
    settings = config.to_dict() if hasattr(config, "to_dict") else config
    return settings if isinstance(settings, dict) else {}


def _name_of(model: nn.Module, weight: Tensor) -> str:
    named = model.named_parameters(remove_duplicate=False)
    whole = ((name, own) for name, own in named if not hasattr(own, "full_tensor"))
    return next((name for name, own in whole if own.data_ptr() == weight.data_ptr()), "")


def _take_tokenizer(tokenizer: Any) -> list[str] | Tokenizer:
    if isinstance(tokenizer, list | tuple) and all(isinstance(word, str) for word in tokenizer):
        return list(tokenizer)
    backend = tokenizer if isinstance(tokenizer, Tokenizer) else getattr(tokenizer, "backend_tokenizer", None)
    if isinstance(backend, Tokenizer):
        return backend
    raise UsageError(
        f"tokenizer is a {type(tokenizer).__name__}; give a tokenizers.Tokenizer, a fast tokenizer of transformers "
        "or a list of words"
    )


def _read_vocabulary(tokens: list[str] | Tokenizer, *, rows: int) -> WordVocabulary | TokenizerVocabulary:
    if isinstance(tokens, list):
        if len(tokens) > rows:
            raise UsageError(
                f"there are {len(tokens)} words but the embedding has only {rows} rows; give one word a row"
            )
        return WordVocabulary(tokens, may_repeat=True)
    try:
        with RustErrors("the tokenizer"):  # a copy, since padding is switched off in it
            return TokenizerVocabulary(Tokenizer.from_str(tokens.to_str()), rows=rows)
    except SourceError as error:
        raise UsageError(str(error)) from None


def weight_of(model: nn.Module, size: int) -> tuple[Tensor, tuple[str, ...]]:
    """The (V, d) weights of the input embedding, without gradient, and what a reader should know of them.

    They share the model's memory, but for three cases. Where processes hold a part each (FSDP of either kind, tensor
    parallelism), this matrix alone is gathered, and every process must call this. Where an adapter (PEFT) adds to
    the embedding, the sum is made; where ``max_norm`` bounds lengths, longer rows are scaled. ``size`` is how many
    tokens the tokenizer has.
    """
    embedding = _find_embedding(unwrap(model), size)
    unit = _find_sharded_unit(model, embedding)
    with torch.no_grad():
        if unit is None:
            return _check(model, *_effective_weight(embedding))
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(unit, recurse=False, writeback=False):
            weight, notes = _check(model, *_effective_weight(embedding))
            return weight.clone(), notes  # the whole one is gone when this ends


def unwrap(model: nn.Module) -> nn.Module:
    """The module inside wrappers that hide it."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
            continue
        inner = [m for name in _INSIDE if isinstance(m := getattr(model, name, None), nn.Module)]
        if not inner:
            return model
        model = inner[0]


def _find_sharded_unit(model: nn.Module, embedding: Any) -> nn.Module | None:
    """The innermost ``FullyShardedDataParallel`` around the embedding, if any."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    from torch.distributed.fsdp import FullyShardedDataParallel

    units = [unit for unit in model.modules() if isinstance(unit, FullyShardedDataParallel)]
    around = [unit for unit in units if any(module is embedding for module in unit.modules())]
    return around[-1] if around else None


def _effective_weight(embedding: Any) -> tuple[Any, tuple[str, ...]]:
    """The weights that the model looks up, with what adapters add."""
    if not hasattr(embedding, "get_base_layer"):  # PEFT's wrappers of whole modules and of single tokens pass it on
        return _bounded_weight(embedding)
    base, bounded = _bounded_weight(embedding.get_base_layer())
    if embedding.disable_adapters or embedding.merged:
        return base, bounded
    active = [name for name in embedding.active_adapters if name in getattr(embedding, "lora_embedding_A", ())]
    if not active or bounded or any(embedding.use_dora.get(name) for name in active):
        raise UsageError(
            f"the input embedding has an adapter of the kind {type(embedding).__module__}, which can't be added to it "
            "here; merge it first (merge_adapter), and unmerge it afterwards"
        )
    weight = base.clone()
    for name in active:
        weight += _gather(embedding.get_delta_weight(name)).to(weight.dtype)
    return weight, (f"with the adapter {', '.join(active)} added to the embedding",)


def _bounded_weight(embedding: Any) -> tuple[Any, tuple[str, ...]]:
    """The weights of a module, rows scaled to its ``max_norm`` as it does when it looks them up."""
    weight, longest = _gather(getattr(embedding, "weight", None)), getattr(embedding, "max_norm", None)
    if longest is None or not isinstance(embedding, nn.Embedding):
        return weight, ()
    bounded = torch.renorm(weight, embedding.norm_type, 0, longest)
    return bounded, (f"rows scaled to a length of at most {longest:g}, as the model looks them up",)


def _gather(weight: Any) -> Any:
    """A tensor of which each process holds a part, gathered; any other as it is."""
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


def _check(model: nn.Module, weight: Any, notes: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    name = type(unwrap(model)).__name__
    if hasattr(weight, "ds_id") and not weight.numel():
        raise UsageError(
            f"the weights of {name} are partitioned by DeepSpeed; check it inside deepspeed.zero.GatheredParameters"
        )
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise UsageError(f"the input embedding of {name} has no matrix of floats as its weight")
    if weight.is_meta:
        raise UsageError(f"the weights of {name} are on the meta device; load them first")
    return weight.detach(), notes


def _find_embedding(model: nn.Module, size: int) -> Any:
    if isinstance(model, nn.Embedding):
        return model
    if (getter := getattr(model, "get_input_embeddings", None)) is not None:
        try:
            return getter()
        except NotImplementedError:  # transformers models that don't say which it is
            pass
    held = {name: m for name, m in model.named_modules() if isinstance(m, nn.Embedding)}
    for fits in ({n: m for n, m in held.items() if m.num_embeddings == size}, held):
        large = {n: m for n, m in fits.items() if m.num_embeddings >= size}
        if len(large) == 1:
            return next(iter(large.values()))
        if large:
            break
    listed = ", ".join(f"{name} {m.num_embeddings} x {m.embedding_dim}" for name, m in held.items()) or "none"
    raise UsageError(
        f"{type(model).__name__} has no one nn.Embedding as large as the tokenizer ({size} tokens; it holds {listed}); "
        "give the nn.Embedding itself"
    )
