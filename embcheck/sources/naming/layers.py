"""The layers of a model beside its embedding: one tensor at a time, found by name, its rows as wide as the table's."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from embcheck.errors import NotMeasurable
from embcheck.sources.files.looking import printable
from embcheck.sources.naming.config_facts import interleaves, intermediate_size, query_heads, value_heads
from embcheck.sources.naming.layer_names import FUSED, READS, Place, find_stack, places

if TYPE_CHECKING:
    from collections.abc import Collection

    from torch import Tensor

    from embcheck.sources.naming.layer_names import Stack

__all__ = ["NamedLayers", "Tensors"]


class Tensors(Protocol):
    """Tensors by name, of which only shapes are known until one is read."""

    @property
    def origin(self) -> str:
        """What the model is called in error messages."""
        ...

    @property
    def names(self) -> Collection[str]:
        """All of them."""
        ...

    @property
    def bytes_read(self) -> int:
        """Bytes of those that were read so far."""
        ...

    def shape(self, name: str) -> tuple[int, ...]:
        """Rows first."""
        ...

    def refusal(self, name: str) -> str | None:
        """Why a tensor's numbers can't be read as floats, ``None`` where they can."""
        ...

    def read(self, name: str) -> Tensor:
        """A matrix whose numbers can be read; `SourceError` where the file is damaged."""
        ...


class NamedLayers:
    """The layers of a model whose tensors have names that are known; ``last``: the table is its output matrix."""

    def __init__(self, tensors: Tensors, config: dict[str, Any], *, embedding: str, last: bool = False) -> None:
        self._tensors = tensors
        self._config = config
        self._embedding = embedding
        self._last = last

    @property
    def bytes_read(self) -> int:
        """Bytes of the tensors that were read so far."""
        return self._tensors.bytes_read

    @property
    def kv_heads(self) -> int | None:
        """Heads that have values of their own, by the config."""
        return value_heads(self._config)

    def read(self, role: str, layer: int, width: int) -> Tensor:
        """The (n, width) weights of one layer, in the dtype they are stored in."""
        number = self._number(layer)
        place = self._place(role, number)
        name = self._stack.tensor(number, place)
        shape = self._tensors.shape(name)
        where = f"{self._tensors.origin}: {printable(name)} {list(shape)}"
        if (why := self._tensors.refusal(name)) is not None:
            raise NotMeasurable(why)
        if len(shape) != 2 or width not in shape:
            raise NotMeasurable(f"{where} is no matrix with a side of the table's width, {width}")
        rows = self._lies_in_rows(where, shape, width, linear=self._is_linear(place, number, width), role=role)
        first, last, group = self._part(where, place.part, shape[0] if rows else shape[1], width)
        found = self._tensors.read(name)
        found = found if rows else found.T
        if group is None:
            return found[first:last]
        return found.reshape(-1, group, width)[:, first:last].reshape(-1, width)

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

    def _place(self, role: str, number: int) -> Place:
        known, names = places(role), self._tensors.names
        for place in known:
            if self._stack.tensor(number, place) in names:
                return place
        for place in known:  # packed under other names
            module = self._stack.tensor(number, place).removesuffix("weight")
            if packed := sorted(n for n in names if n.startswith(module) and not n.endswith((".bias", ".weight"))):
                why = self._tensors.refusal(packed[0])
                raise NotMeasurable(why or f"{self._tensors.origin}: {printable(packed[0])} holds packed numbers")
        looked = ", ".join(place.name for place in known)
        inside = f"{printable(self._stack.name)}.{number}"
        raise NotMeasurable(f"{self._tensors.origin}: {inside} has no weights for {role}; looked for {looked}")

    def _is_linear(self, place: Place, number: int, width: int) -> bool | None:
        """Whether a tensor lies as (out, in): by its name, or as the fused attention of its layer does."""
        fused = self._stack.tensor(number, Place(FUSED))
        if place.linear is not None or fused not in self._tensors.names:
            return place.linear
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
        return linear == (role in READS)

    def _part(self, where: str, part: str, rows: int, width: int) -> tuple[int, int, int | None]:
        """First and last row of what is meant, of all rows or of each group of so many."""
        if part.endswith("if gated"):
            size = intermediate_size(self._config)
            gated = size is not None and rows == 2 * size
            if not gated and part.startswith("first"):
                raise NotMeasurable(f"{where} is one matrix, so the MLP has no gate")
            part = part.removesuffix(" if gated") if gated else "all"
        if part in {"first half", "second half"} and rows % 2 == 0:
            return (0, rows // 2, None) if part == "first half" else (rows // 2, rows, None)
        if part == "all":
            return 0, rows, None
        if part == "stacked" and interleaves(self._config):
            part = "grouped"
        if part in {"stacked", "grouped"} and (size := self._head_size(rows, width, part)) is not None:
            groups = self.kv_heads or 1
            if part == "grouped":
                return rows // groups - size, rows // groups, rows // groups
            return rows - groups * size, rows, None
        raise NotMeasurable(f"{where}: config.json does not tell which of its {rows} rows are meant")

    def _head_size(self, rows: int, width: int, part: str) -> int | None:
        """Rows of one head's values among those of queries, keys and values together."""
        heads, groups = query_heads(self._config), self.kv_heads
        if heads is None or groups is None:
            return width if part == "stacked" and rows == 3 * width else None
        whole = heads + 2 * groups
        return None if rows % whole or heads % groups else rows // whole
