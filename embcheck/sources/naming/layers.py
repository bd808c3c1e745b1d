"""The weights of a model beside its embedding: one tensor at a time, found by name, its rows as wide as the table's.

The names are those under which transformers and llama.cpp keep models.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cached_property
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

from embcheck.errors import NotMeasurable
from embcheck.sources.files import printable
from embcheck.sources.naming.choose import OTHER_TABLES, is_head, tied_output
from embcheck.sources.naming.config_facts import interleaves, intermediate_size, query_heads, value_heads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from embcheck.sources.weights.stored import TensorStore

_READS = frozenset({"mlp_in", "mlp_gate", "value"})
"""Roles whose weights are multiplied by the residual stream; the others add to it."""
_FUSED = "attn.c_attn.weight"
"""The tensor of GPT-2's kind of layer that tells by its shape which way the others lie."""
_INDEX = re.compile(r"[0-9]{1,6}")
_NUMBERED = re.compile(r"(^|[._])[0-9]{1,6}[._]")


class LayerTensor(NamedTuple):
    """A name inside a layer.

    ``linear`` is whether it lies as ``nn.Linear`` has it, (out, in); ``None`` where models differ. ``part`` is what of
    it is meant: all of it, a half of two stacked, or the values among queries and keys, stacked or grouped by head.
    """

    name: str
    linear: bool | None = True
    part: str = "all"


_TENSORS: Mapping[str, tuple[LayerTensor, ...]] = {
    "mlp_in": (
        LayerTensor("mlp.up_proj.weight"),  # Llama, Mistral, Qwen, Gemma, OLMo
        LayerTensor("mlp.gate_up_proj.weight", part="second half"),  # Phi-3, GLM-4
        LayerTensor("intermediate.dense.weight"),  # BERT, RoBERTa, ELECTRA
        LayerTensor("mlp.c_fc.weight", None),  # GPT-2; GPT-Neo and StarCoder, who have it the other way
        LayerTensor("mlp.dense_h_to_4h.weight"),  # GPT-NeoX, Falcon, BLOOM
        LayerTensor("mlp.fc1.weight"),  # Phi
        LayerTensor("fc1.weight"),  # OPT, BART
        LayerTensor("mlp.fc_in.weight"),  # GPT-J
        LayerTensor("mlp.Wi.weight", part="second half"),  # ModernBERT
        LayerTensor("ffn.lin1.weight"),  # DistilBERT
        LayerTensor("ffn.up_proj.weight"),  # MPT
        *(LayerTensor(f"layer.{i}.DenseReluDense.{wi}.weight") for i in (1, 2) for wi in ("wi", "wi_1")),  # T5
        LayerTensor("ffn_up.weight", part="second half if gated"),  # GGUF
    ),
    "mlp_gate": (
        LayerTensor("mlp.gate_proj.weight"),
        LayerTensor("mlp.gate_up_proj.weight", part="first half"),
        LayerTensor("mlp.Wi.weight", part="first half"),
        *(LayerTensor(f"layer.{i}.DenseReluDense.wi_0.weight") for i in (1, 2)),
        LayerTensor("ffn_gate.weight"),
        LayerTensor("ffn_up.weight", part="first half if gated"),
    ),
    "mlp_out": (
        LayerTensor("mlp.down_proj.weight"),
        LayerTensor("output.dense.weight"),
        LayerTensor("mlp.c_proj.weight", None),
        LayerTensor("mlp.dense_4h_to_h.weight"),
        LayerTensor("mlp.fc2.weight"),
        LayerTensor("fc2.weight"),
        LayerTensor("mlp.fc_out.weight"),
        LayerTensor("mlp.Wo.weight"),
        LayerTensor("ffn.lin2.weight"),
        LayerTensor("ffn.down_proj.weight"),
        *(LayerTensor(f"layer.{i}.DenseReluDense.wo.weight") for i in (1, 2)),
        LayerTensor("ffn_down.weight"),
    ),
    "value": (
        LayerTensor("self_attn.v_proj.weight"),  # Llama, Mistral, Qwen, Gemma, OLMo, Phi, OPT, BART
        LayerTensor("self_attn.qkv_proj.weight", part="stacked"),  # Phi-3
        LayerTensor("attention.self.value.weight"),
        LayerTensor(_FUSED, None, part="stacked"),
        LayerTensor("attn.attention.v_proj.weight"),  # GPT-Neo
        LayerTensor("attention.query_key_value.weight", part="grouped"),  # GPT-NeoX
        LayerTensor("self_attention.query_key_value.weight", part="grouped"),  # Falcon, BLOOM
        LayerTensor("attn.v_proj.weight"),  # GPT-J
        LayerTensor("attn.Wqkv.weight", part="stacked"),  # MPT, ModernBERT
        LayerTensor("attention.v_lin.weight"),
        LayerTensor("layer.0.SelfAttention.v.weight"),
        LayerTensor("attn_v.weight"),
        LayerTensor("attn_qkv.weight", part="stacked"),
    ),
    "attention_out": (
        LayerTensor("self_attn.o_proj.weight"),
        LayerTensor("self_attn.dense.weight"),  # Phi
        LayerTensor("self_attn.out_proj.weight"),  # OPT, BART
        LayerTensor("attention.output.dense.weight"),
        LayerTensor("attn.c_proj.weight", None),
        LayerTensor("attn.attention.out_proj.weight"),
        LayerTensor("attention.dense.weight"),
        LayerTensor("self_attention.dense.weight"),
        LayerTensor("attn.out_proj.weight"),  # GPT-J, MPT
        LayerTensor("attn.Wo.weight"),
        LayerTensor("attention.out_lin.weight"),
        LayerTensor("layer.0.SelfAttention.o.weight"),
        LayerTensor("attn_output.weight"),
    ),
}


class Stack(NamedTuple):
    """Layers one after the other: what stands before their number in names, and how many there are."""

    name: str
    layers: int

    def tensor(self, layer: int, known: LayerTensor) -> str:
        """The full name of a tensor."""
        return f"{self.name}.{layer}.{known.name}" if self.name else f"{layer}.{known.name}"


def find_stack(names: Iterable[str], embedding: str, *, last: bool) -> Stack:
    """The layers that a table belongs to: of several stacks the one that shares most of the embedding's path.

    Of equals it is a decoder where ``last`` says that the table is an output matrix, else an encoder.
    """
    numbers = _number_layers(names)
    if not numbers:
        looked = ", ".join(f"N.{known.name}" for known in (*_TENSORS["mlp_in"], *_TENSORS["value"]))
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


def _number_layers(names: Iterable[str]) -> dict[str, set[int]]:
    """The numbers of layers by what stands before them, but for those of images, sound and the like."""
    ends = {f".{known.name.removesuffix('weight')}" for role in _TENSORS.values() for known in role}
    numbers: dict[str, set[int]] = defaultdict(set)
    for name in names:
        for head in _heads(name, ends):
            stack, _, number = head.rpartition(".")
            if _INDEX.fullmatch(number) and not OTHER_TABLES.search(stack):
                numbers[stack].add(int(number))
    return numbers


def _heads(name: str, ends: set[str]) -> Iterable[str]:
    """What stands before each known name that occurs in a tensor's name, whatever it ends with."""
    module = f".{name.rpartition('.')[0]}."
    return (module[1 : -len(end)] for end in ends if module.endswith(end))


class NamedLayers:
    """The layers of a model whose tensors have names that are known; ``last``: the table is its output matrix."""

    def __init__(self, tensors: TensorStore, *, embedding: str, last: bool = False) -> None:
        self._tensors = tensors
        self._embedding = embedding
        self._last = last

    @property
    def bytes_read(self) -> int:
        """Bytes of the tensors that were read so far."""
        return self._tensors.bytes_read

    @property
    def kv_heads(self) -> int | None:
        """Heads that have values of their own, by the config."""
        return value_heads(self._tensors.config)

    @property
    def is_any(self) -> bool:
        """Whether a matrix has a number in its path, as those of layers have."""
        return any(_NUMBERED.search(n) and len(self._tensors.shape(n)) == 2 for n in self._tensors.names)

    @property
    def has_tied_output(self) -> bool:
        """Whether the table is the input embedding of a model that says its output matrix is the same."""
        return self._tied_output is not None

    def tied_output(self) -> Tensor | None:
        """The output matrix as it is stored; ``None`` where the files hold no other than the table."""
        name = self._tied_output
        if name is None or name == self._embedding:
            return None
        if (why := self._tensors.refusal(name)) is not None:
            raise NotMeasurable(why)
        return self._tensors.read(name)

    @cached_property
    def _tied_output(self) -> str | None:
        return None if self._last else tied_output(self._tensors, self._embedding)

    def read(self, role: str, layer: int, width: int) -> Tensor:
        """The (n, width) weights of one layer, or the output matrix, in the dtype they are stored in."""
        if role == "output":
            return self._read_output(width)
        number = self._number(layer)
        known = self._find(role, number)
        name = self._stack.tensor(number, known)
        shape = self._tensors.shape(name)
        where = f"{self._tensors.origin}: {printable(name)} {list(shape)}"
        if (why := self._tensors.refusal(name)) is not None:
            raise NotMeasurable(why)
        if len(shape) != 2 or width not in shape:
            raise NotMeasurable(f"{where} is no matrix with a side of the table's width, {width}")
        rows = self._lies_in_rows(where, shape, width, linear=self._is_linear(known, number, width), role=role)
        first, last, group = self._cut(where, known.part, shape[0] if rows else shape[1], width)
        matrix = self._tensors.read(name)
        matrix = matrix if rows else matrix.T
        if group is None:
            return matrix[first:last]
        return matrix.reshape(-1, group, width)[:, first:last].reshape(-1, width)

    def _read_output(self, width: int) -> Tensor:
        """The one matrix that bears the name of an output matrix, is of this width and is not the table itself."""
        origin, heads = self._tensors.origin, [name for name in self._tensors.names if is_head(name)]
        matrices = [name for name in heads if len(shape := self._tensors.shape(name)) == 2 and shape[1] == width]
        if self._embedding in heads:
            raise NotMeasurable(f"{origin}: the table is {printable(self._embedding)}, the output matrix itself")
        if len(matrices) != 1:
            listed = ", ".join(map(printable, sorted(matrices or heads))) or "none"
            raise NotMeasurable(f"{origin} has no one output matrix of its own of width {width}; there is {listed}")
        if (why := self._tensors.refusal(matrices[0])) is not None:
            raise NotMeasurable(why)
        return self._tensors.read(matrices[0])

    @cached_property
    def _stack(self) -> Stack:
        try:
            return find_stack(self._tensors.names, self._embedding, last=self._last)
        except NotMeasurable as why:
            raise NotMeasurable(f"{self._tensors.origin}: {why}") from None

    def _number(self, layer: int) -> int:
        name, count = self._stack
        if -count <= layer < count:
            return layer % count
        raise NotMeasurable(
            f"{self._tensors.origin} has no layer {layer}: it has {count}, {printable(name)}.0 to "
            f"{printable(name)}.{count - 1}; give 0 to {count - 1}, or -1 for the last"
        )

    def _find(self, role: str, number: int) -> LayerTensor:
        candidates, names = _TENSORS[role], self._tensors.names
        for known in candidates:
            if self._stack.tensor(number, known) in names:
                return known
        for known in candidates:  # packed under other names
            module = self._stack.tensor(number, known).removesuffix("weight")
            if packed := sorted(n for n in names if n.startswith(module) and not n.endswith((".bias", ".weight"))):
                why = self._tensors.refusal(packed[0])
                raise NotMeasurable(why or f"{self._tensors.origin}: {printable(packed[0])} holds packed numbers")
        looked = ", ".join(known.name for known in candidates)
        inside = f"{printable(self._stack.name)}.{number}"
        raise NotMeasurable(f"{self._tensors.origin}: {inside} has no weights for {role}; looked for {looked}")

    def _is_linear(self, known: LayerTensor, number: int, width: int) -> bool | None:
        """Whether a tensor lies as (out, in): by its name, or as the fused attention of its layer does."""
        fused = self._stack.tensor(number, LayerTensor(_FUSED))
        if known.linear is not None or fused not in self._tensors.names:
            return known.linear
        shape = self._tensors.shape(fused)
        if len(shape) != 2 or (shape[0] == width) == (shape[1] == width):
            return None
        return shape[1] == width

    @staticmethod
    def _lies_in_rows(where: str, shape: tuple[int, ...], width: int, *, linear: bool | None, role: str) -> bool:
        """Whether the rows have the table's width, rather than the columns."""
        if shape[0] != shape[1]:
            return shape[1] == width
        if linear is None:
            raise NotMeasurable(f"{where} is square, and neither its name nor its layer tells which way it lies")
        return linear == (role in _READS)

    def _cut(self, where: str, part: str, rows: int, width: int) -> tuple[int, int, int | None]:
        """First and last row of what is meant, of all rows or of each group of so many."""
        if part.endswith("if gated"):
            size = intermediate_size(self._tensors.config)
            gated = size is not None and rows == 2 * size
            if not gated and part.startswith("first"):
                raise NotMeasurable(f"{where} is one matrix, so the MLP has no gate")
            part = part.removesuffix(" if gated") if gated else "all"
        if part in {"first half", "second half"} and rows % 2 == 0:
            return (0, rows // 2, None) if part == "first half" else (rows // 2, rows, None)
        if part == "all":
            return 0, rows, None
        if part == "stacked" and interleaves(self._tensors.config):
            part = "grouped"
        if part in {"stacked", "grouped"} and (size := self._head_size(rows, width, part)) is not None:
            groups = self.kv_heads or 1
            if part == "grouped":
                return rows // groups - size, rows // groups, rows // groups
            return rows - groups * size, rows, None
        raise NotMeasurable(f"{where}: config.json does not tell which of its {rows} rows are meant")

    def _head_size(self, rows: int, width: int, part: str) -> int | None:
        """Rows of one head's values among those of queries, keys and values together."""
        heads, groups = query_heads(self._tensors.config), self.kv_heads
        if heads is None or groups is None:
            return width if part == "stacked" and rows == 3 * width else None
        whole = heads + 2 * groups
        return None if rows % whole or heads % groups else rows // whole
