"""Weights of a model beside its embedding: what may be asked for, and of whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from embcheck.errors import NotMeasurable, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table.table import EmbeddingTable

__all__ = ["ROLES", "GivenLayers", "Layers", "SomeRows", "output_of", "read"]

ROLES = {
    "mlp_in": "what its MLP reads (of a gated one, the up projection): a row a neuron",
    "mlp_gate": "what the gate of its MLP reads: a row a neuron",
    "mlp_out": "what its MLP writes: a row a neuron",
    "value": "what the values of its attention read: a row a coordinate of a head",
    "attention_out": "what its attention writes: a row a coordinate of a head",
    "output": "the model's output matrix (unembedding), of no layer: a row a token, as in the embedding",
}


class Layers(Protocol):
    """The layers of one model. Nothing is read before it is asked for."""

    @property
    def bytes_read(self) -> int:
        """Bytes of the tensors that were read so far."""
        ...

    @property
    def kv_heads(self) -> int | None:
        """Heads that the rows of ``value`` belong to, in equal parts; ``None`` where the model does not say."""
        ...

    @property
    def is_any(self) -> bool:
        """Whether there are layers at all, whatever their weights are called."""
        ...

    @property
    def has_tied_output(self) -> bool:
        """Whether the model says that its output matrix is the table, its input embedding."""
        ...

    def tied_output(self) -> Tensor | None:
        """That output matrix as it is stored; ``None`` where it is stored as the table alone."""
        ...

    def read(self, role: str, layer: int, width: int) -> Tensor:
        """The (n, width) weights of one layer, as stored; `NotMeasurable` where there are none of that width."""
        ...


@dataclass(frozen=True, slots=True)
class SomeRows:
    """Layers behind a table of some rows only: the output matrix has a row a token, and keeps the same ones."""

    behind: Layers
    rows: NDArray[np.int64]

    @property
    def bytes_read(self) -> int:
        """As the layers behind say."""
        return self.behind.bytes_read

    @property
    def kv_heads(self) -> int | None:
        """As the layers behind say."""
        return self.behind.kv_heads

    @property
    def is_any(self) -> bool:
        """As the layers behind say."""
        return self.behind.is_any

    @property
    def has_tied_output(self) -> bool:
        """As the layers behind say."""
        return self.behind.has_tied_output

    def tied_output(self) -> Tensor | None:
        """The whole of it, as the layers behind have it: it is held against the whole input embedding."""
        return self.behind.tied_output()

    def read(self, role: str, layer: int, width: int) -> Tensor:
        """The weights of the layers behind; of the output matrix, these rows."""
        weights = self.behind.read(role, layer, width)
        if role != "output":
            return weights
        if self.rows.max(initial=-1) >= len(weights):
            raise NotMeasurable(f"the output matrix has {len(weights)} rows, fewer than the embedding")
        return weights[self.rows.tolist()]


@dataclass(frozen=True, slots=True)
class GivenLayers:
    """Weights in memory, by role and layer; what is not among them is asked of the layers behind, if any."""

    tensors: Mapping[tuple[str, int], Tensor]
    behind: Layers | None = None

    @classmethod
    def of(cls, tensors: Mapping[tuple[str, int], Tensor], behind: Layers | None) -> GivenLayers:
        """Weights by roles that there are, and layers that are numbers; `UsageError` for others."""
        for role, layer in tensors:
            _check_asked(role, layer)
        return cls(dict(tensors), behind)

    @property
    def bytes_read(self) -> int:
        """What the layers behind have read."""
        return 0 if self.behind is None else self.behind.bytes_read

    @property
    def kv_heads(self) -> int | None:
        """As the layers behind say."""
        return None if self.behind is None else self.behind.kv_heads

    @property
    def is_any(self) -> bool:
        """Whether any were given, or the layers behind say so."""
        return bool(self.tensors) or (self.behind is not None and self.behind.is_any)

    @property
    def has_tied_output(self) -> bool:
        """As the layers behind say."""
        return self.behind is not None and self.behind.has_tied_output

    def tied_output(self) -> Tensor | None:
        """As the layers behind have it."""
        return None if self.behind is None else self.behind.tied_output()

    def read(self, role: str, layer: int, width: int) -> Tensor:
        """The weights that were given."""
        weights = self.tensors.get((role, layer))
        if weights is None and self.behind is not None:
            return self.behind.read(role, layer, width)
        if weights is None:
            given = ", ".join(f"{name} of layer {number}" for name, number in self.tensors) or "none"
            raise NotMeasurable(f"{role} of layer {layer} is not among the weights that were given ({given})")
        if weights.ndim != 2 or weights.shape[1] != width:
            raise NotMeasurable(f"{role} of layer {layer} has shape {tuple(weights.shape)}, not (rows, {width})")
        return weights


def read(layers: Layers | None, role: str, layer: int, *, width: int, source: str) -> Tensor:
    """The (n, width) weights of one layer, as stored, of a table from this source."""
    _check_asked(role, layer)
    if layers is None:
        raise NotMeasurable(
            f"{role} of layer {layer}: a table of source {source!r} has no layers; "
            "a model directory, a model on the hub, a GGUF file or a model in memory has"
        )
    return layers.read(role, layer, width)


def output_of(table: EmbeddingTable) -> EmbeddingTable:
    """The table of the model's output matrix, under the same tokens; found once a table.

    Raises
    ------
    NotMeasurable
        The model has none of its own: none at all, one tied to the input embedding, or the table is it itself.
    """
    if "output" not in table.memo:
        weights, rows = table.tensor("output"), len(table.vectors)
        if len(weights) < rows:
            raise NotMeasurable(f"the output matrix has {len(weights)} rows, fewer than the embedding's {rows}")
        if weights[:rows].to(table.vectors.dtype).equal(table.vectors):
            raise NotMeasurable("the output matrix is tied to the input embedding")
        table.memo["output"] = table.with_vectors(weights[:rows])
    return cast("EmbeddingTable", table.memo["output"])


def _check_asked(role: str, layer: object) -> None:
    if role not in ROLES:
        raise UsageError(f"unknown role {role!r} of a layer's weights; choose one of {', '.join(ROLES)}")
    if type(layer) is not int:
        raise UsageError(f"layer must be a whole number, got {layer!r}; 0 is the first, -1 the last")
