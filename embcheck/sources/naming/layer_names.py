"""Which tensor of a checkpoint holds which weights of a layer: names as data, and a rule to find the layers by them.

The names are those under which transformers and llama.cpp keep models.
"""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from embcheck.errors import NotMeasurable
from embcheck.sources.files.looking import printable
from embcheck.sources.naming.choose import OTHER_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FUSED", "READS", "Place", "Stack", "find_stack", "places"]

READS = frozenset({"mlp_in", "mlp_gate", "value"})
"""Roles whose weights are multiplied by the residual stream; the others add to it."""
FUSED = "attn.c_attn.weight"
"""The tensor of GPT-2's kind of layer that tells by its shape which way the others lie."""
_INDEX = re.compile(r"[0-9]{1,6}")


class Place(NamedTuple):
    """A name inside a layer.

    ``linear`` is whether it lies as ``nn.Linear`` has it, (out, in); ``None`` where models differ. ``part`` is what of
    it is meant: all of it, a half of two stacked, or the values among queries and keys, stacked or grouped by head.
    """

    name: str
    linear: bool | None = True
    part: str = "all"


_PLACES: Mapping[str, tuple[Place, ...]] = {
    "mlp_in": (
        Place("mlp.up_proj.weight"),  # Llama, Mistral, Qwen, Gemma, OLMo
        Place("mlp.gate_up_proj.weight", part="second half"),  # Phi-3, GLM-4
        Place("intermediate.dense.weight"),  # BERT, RoBERTa, ELECTRA
        Place("mlp.c_fc.weight", None),  # GPT-2; GPT-Neo and StarCoder, who have it the other way
        Place("mlp.dense_h_to_4h.weight"),  # GPT-NeoX, Falcon, BLOOM
        Place("mlp.fc1.weight"),  # Phi
        Place("fc1.weight"),  # OPT, BART
        Place("mlp.fc_in.weight"),  # GPT-J
        Place("mlp.Wi.weight", part="second half"),  # ModernBERT
        Place("ffn.lin1.weight"),  # DistilBERT
        Place("ffn.up_proj.weight"),  # MPT
        *(Place(f"layer.{i}.DenseReluDense.{wi}.weight") for i in (1, 2) for wi in ("wi", "wi_1")),  # T5
        Place("ffn_up.weight", part="second half if gated"),  # GGUF
    ),
    "mlp_gate": (
        Place("mlp.gate_proj.weight"),
        Place("mlp.gate_up_proj.weight", part="first half"),
        Place("mlp.Wi.weight", part="first half"),
        *(Place(f"layer.{i}.DenseReluDense.wi_0.weight") for i in (1, 2)),
        Place("ffn_gate.weight"),
        Place("ffn_up.weight", part="first half if gated"),
    ),
    "mlp_out": (
        Place("mlp.down_proj.weight"),
        Place("output.dense.weight"),
        Place("mlp.c_proj.weight", None),
        Place("mlp.dense_4h_to_h.weight"),
        Place("mlp.fc2.weight"),
        Place("fc2.weight"),
        Place("mlp.fc_out.weight"),
        Place("mlp.Wo.weight"),
        Place("ffn.lin2.weight"),
        Place("ffn.down_proj.weight"),
        *(Place(f"layer.{i}.DenseReluDense.wo.weight") for i in (1, 2)),
        Place("ffn_down.weight"),
    ),
    "value": (
        Place("self_attn.v_proj.weight"),  # Llama, Mistral, Qwen, Gemma, OLMo, Phi, OPT, BART
        Place("self_attn.qkv_proj.weight", part="stacked"),  # Phi-3
        Place("attention.self.value.weight"),
        Place(FUSED, None, part="stacked"),
        Place("attn.attention.v_proj.weight"),  # GPT-Neo
        Place("attention.query_key_value.weight", part="grouped"),  # GPT-NeoX
        Place("self_attention.query_key_value.weight", part="grouped"),  # Falcon, BLOOM
        Place("attn.v_proj.weight"),  # GPT-J
        Place("attn.Wqkv.weight", part="stacked"),  # MPT, ModernBERT
        Place("attention.v_lin.weight"),
        Place("layer.0.SelfAttention.v.weight"),
        Place("attn_v.weight"),
        Place("attn_qkv.weight", part="stacked"),
    ),
    "attention_out": (
        Place("self_attn.o_proj.weight"),
        Place("self_attn.dense.weight"),  # Phi
        Place("self_attn.out_proj.weight"),  # OPT, BART
        Place("attention.output.dense.weight"),
        Place("attn.c_proj.weight", None),
        Place("attn.attention.out_proj.weight"),
        Place("attention.dense.weight"),
        Place("self_attention.dense.weight"),
        Place("attn.out_proj.weight"),  # GPT-J, MPT
        Place("attn.Wo.weight"),
        Place("attention.out_lin.weight"),
        Place("layer.0.SelfAttention.o.weight"),
        Place("attn_output.weight"),
    ),
}


class Stack(NamedTuple):
    """Layers one after the other: what stands before their number in names, and how many there are."""

    name: str
    layers: int

    def tensor(self, layer: int, place: Place) -> str:
        """The full name of a tensor."""
        return f"{self.name}.{layer}.{place.name}" if self.name else f"{layer}.{place.name}"


def places(role: str) -> tuple[Place, ...]:
    """Where the weights of a role may be, in the order in which they are looked for."""
    return _PLACES[role]


def find_stack(names: Iterable[str], embedding: str, *, last: bool) -> Stack:
    """The layers that a table belongs to: of several stacks the one that shares most of the embedding's path.

    Of equals it is a decoder where ``last`` says that the table is an output matrix, else an encoder.
    """
    numbers = _numbers(names)
    if not numbers:
        looked = ", ".join(f"N.{place.name}" for place in (*_PLACES["mlp_in"], *_PLACES["value"]))
        raise NotMeasurable(f"there are no layers whose names are known; looked for {looked}")
    path = embedding.split(".")

    def rank(stack: str) -> tuple[int, bool]:
        parts = stack.split(".")
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(parts, path, strict=False)))
        return -shared, last != bool({"decoder", "dec"}.intersection(parts))

    ranked = sorted(numbers, key=rank)
    meant = [stack for stack in ranked if rank(stack) == rank(ranked[0])]
    if len(meant) > 1:
        raise NotMeasurable(f"several stacks of layers could be meant: {', '.join(map(printable, meant[:8]))}")
    return Stack(meant[0], max(numbers[meant[0]]) + 1)


def _numbers(names: Iterable[str]) -> dict[str, set[int]]:
    """The numbers of layers by what stands before them, but for those of images, sound and the like."""
    ends = {f".{place.name.removesuffix('weight')}" for known in _PLACES.values() for place in known}
    found: dict[str, set[int]] = defaultdict(set)
    for name in names:
        for head in _heads(name, ends):
            stack, _, number = head.rpartition(".")
            if _INDEX.fullmatch(number) and not OTHER_TABLES.search(stack):
                found[stack].add(int(number))
    return found


def _heads(name: str, ends: set[str]) -> Iterable[str]:
    """What stands before each known name that occurs in a tensor's name, whatever it ends with."""
    module = f".{name.rpartition('.')[0]}."
    return (module[1 : -len(end)] for end in ends if module.endswith(end))
