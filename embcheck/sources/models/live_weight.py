"""The input embedding of a live model as the model uses it now, whatever it is wrapped in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from embcheck.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["bare", "weight_of"]

_INSIDE = ("_orig_mod", "_fsdp_wrapped_module")  # torch.compile, FullyShardedDataParallel


def weight_of(model: nn.Module, size: int) -> tuple[Tensor, tuple[str, ...]]:
    """The (V, d) weights of the input embedding, without gradient, and what a reader should know of them.

    They share the model's memory, but for two cases. Where processes hold a part each (FSDP of either kind, tensor
    parallelism), this matrix alone is gathered, and every process must call this. Where an adapter (PEFT) adds to
    the embedding, the sum is made. ``size`` is how many tokens the tokenizer has.
    """
    embedding = _embedding(bare(model), size)
    unit = _sharded_unit(model, embedding)
    with torch.no_grad():
        if unit is None:
            return _checked(model, *_effective(embedding))
        from torch.distributed.fsdp import FullyShardedDataParallel

        with FullyShardedDataParallel.summon_full_params(unit, recurse=False, writeback=False):
            weight, notes = _checked(model, *_effective(embedding))
            return weight.clone(), notes  # the whole one is gone when this ends


def bare(model: nn.Module) -> nn.Module:
    """The module inside wrappers that hide it."""
    while True:
        if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
            continue
        inner = [m for name in _INSIDE if isinstance(m := getattr(model, name, None), nn.Module)]
        if not inner:
            return model
        model = inner[0]


def _sharded_unit(model: nn.Module, embedding: Any) -> nn.Module | None:
    """The innermost ``FullyShardedDataParallel`` around the embedding, if any."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return None
    from torch.distributed.fsdp import FullyShardedDataParallel

    units = [unit for unit in model.modules() if isinstance(unit, FullyShardedDataParallel)]
    around = [unit for unit in units if any(module is embedding for module in unit.modules())]
    return around[-1] if around else None


def _effective(embedding: Any) -> tuple[Any, tuple[str, ...]]:
    """The weights that the model looks up, with what adapters add."""
    if not hasattr(embedding, "get_base_layer"):  # PEFT's wrappers of whole modules and of single tokens pass it on
        return _whole(getattr(embedding, "weight", None)), ()
    base = _whole(embedding.get_base_layer().weight)
    if embedding.disable_adapters or embedding.merged:
        return base, ()
    active = [name for name in embedding.active_adapters if name in getattr(embedding, "lora_embedding_A", ())]
    if not active or any(embedding.use_dora.get(name) for name in active):
        raise UsageError(
            f"the input embedding has an adapter of the kind {type(embedding).__module__}, which can't be added to it "
            "here; merge it first (merge_adapter), and unmerge it afterwards"
        )
    weight = base.clone()
    for name in active:
        weight += _whole(embedding.get_delta_weight(name)).to(weight.dtype)
    return weight, (f"with the adapter {', '.join(active)} added to the embedding",)


def _whole(weight: Any) -> Any:
    """A tensor of which each process holds a part, gathered; any other as it is."""
    return weight.full_tensor() if hasattr(weight, "full_tensor") else weight


def _checked(model: nn.Module, weight: Any, notes: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    name = type(bare(model)).__name__
    if hasattr(weight, "ds_id") and not weight.numel():
        raise UsageError(
            f"the weights of {name} are partitioned by DeepSpeed; check it inside deepspeed.zero.GatheredParameters"
        )
    if not isinstance(weight, torch.Tensor) or weight.ndim != 2 or not weight.is_floating_point():
        raise UsageError(f"the input embedding of {name} has no matrix of floats as its weight")
    if weight.is_meta:
        raise UsageError(f"the weights of {name} are on the meta device; load them first")
    return weight.detach(), notes


def _embedding(model: nn.Module, size: int) -> Any:
    if isinstance(model, nn.Embedding):
        return model
    if (getter := getattr(model, "get_input_embeddings", None)) is not None:
        try:
            return getter()
        except NotImplementedError:  # transformers models that don't say which it is
            pass
    found = {name: m for name, m in model.named_modules() if isinstance(m, nn.Embedding)}
    for fits in ({n: m for n, m in found.items() if m.num_embeddings == size}, found):
        large = {n: m for n, m in fits.items() if m.num_embeddings >= size}
        if len(large) == 1:
            return next(iter(large.values()))
        if large:
            break
    listed = ", ".join(f"{name} {m.num_embeddings} x {m.embedding_dim}" for name, m in found.items()) or "none"
    raise UsageError(
        f"{type(model).__name__} has no one nn.Embedding as large as the tokenizer ({size} tokens; it holds {listed}); "
        "give the nn.Embedding itself"
    )
