"""The graph of an ONNX model: its initializers by their headers, and which of them token ids choose rows of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embcheck.errors import SourceError
from embcheck.sources.exports.protobuf import BYTES, Field, ProtobufFile
from embcheck.sources.files import printable
from embcheck.sources.naming.choose import is_table
from embcheck.sources.weights.stored import BITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from embcheck.sources.files import RandomAccess

_TYPES = {
    1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 12: "U32",
    13: "U64", 16: "BF16", 17: "F8_E4M3", 19: "F8_E5M2",
}  # fmt: skip
_IDS = ("input_ids", "decoder_input_ids", "token_ids", "input_tokens", "tokens")  # inputs, the first that is there
_KEEPS_IDS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
_KEEPS_ROWS = frozenset({"Cast", "Identity", "DequantizeLinear"})
_CHOOSES_ROWS = {"Gather": (0, 1), "EmbedLayerNormalization": (2, 0)}  # which inputs are the table and the ids
_IN_BLOCKS = "GatherBlockQuantized"
_NESTS = frozenset({"If", "Loop", "Scan"})
_KEPT = _KEEPS_IDS | _KEEPS_ROWS | _CHOOSES_ROWS.keys() | {_IN_BLOCKS}
_LISTS = (3, 4, 5, 6, 7, 10, 11)  # fields of numbers of one type each, and (3) a part of a tensor
_DEEPEST, _LISTED, _MOST_SIDES, _MOST_PARTS = 8, 8, 16, 2**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Initializer:
    """A tensor of the graph by its header: where its numbers lie, in this file or in another."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    raw: Field | None
    listed: tuple[Field, ...]
    """Fields in which its numbers are written one after the other, as small ones are."""
    external: dict[str, str] | None
    """File, offset and length, where its numbers lie in another file."""

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * BITS.get(self.dtype, 8) // 8

    def __str__(self) -> str:
        """Name, shape and dtype, as error messages list candidates."""
        return f"{printable(self.name)} {list(self.shape)} {self.dtype}"


@dataclass(frozen=True, slots=True)
class Node:
    """An operation of the graph, and the names of what it takes and gives."""

    kind: str
    inputs: list[str]
    outputs: list[str]


class Graph:
    """The graph, with those inside its nodes, as names are shared with these."""

    def __init__(self, access: RandomAccess) -> None:
        self._file = ProtobufFile(access, "ONNX model")
        self.access = access
        self.inputs: set[str] = set()
        self.initializers: dict[str, Initializer] = {}
        self.nodes: list[Node] = []
        graphs = [f for f in self._file.fields(0, access.size) if f.number == 7]
        if len(graphs) != 1 or graphs[0].kind != BYTES:
            raise self._file.damaged_error("it has no graph")
        self._read(graphs[0], 0)

    def table(self, name: str | None) -> Initializer:
        """The initializer of that name; else the only one that token ids choose rows of, else the largest named so."""
        if name is not None:
            if (named := self.initializers.get(name)) is None:
                raise self._choice_error(f"has no initializer {name!r}", self._matrices())
            return named
        gathered = self._gathered()
        tables = [i for i in gathered if is_table(i.name)] if len(gathered) > 1 else gathered
        if not gathered:
            largest = [i for i in self._matrices() if is_table(i.name)]
            tables = [i for i in largest if i.shape[0] == largest[0].shape[0]]
        if len(tables) != 1:
            blocks = " (its embedding may be quantized in blocks)" if _IN_BLOCKS in {n.kind for n in self.nodes} else ""
            why = f"has {len(tables) or 'no'} initializers that could be the input embedding{blocks}"
            raise self._choice_error(why, tables or gathered or self._matrices())
        return tables[0]

    def scale_of(self, table: Initializer) -> tuple[Initializer, Initializer | None] | None:
        """The scale and the zero point by which its rows are made floats, before they are chosen or after."""
        rows = {table.name}
        for node in self.nodes:
            if node.kind in {"Gather", "Identity"} and node.inputs[:1] and node.inputs[0] in rows:
                rows.update(node.outputs)
            if node.kind == "DequantizeLinear" and node.inputs[:1] and node.inputs[0] in rows:
                scale, zero = (self.initializers.get(name) for name in (*node.inputs[1:3], "", "")[:2])
                if scale is not None and (zero is not None or not any(node.inputs[2:3])):
                    return scale, zero
        return None

    def whole_number(self, tensor: Initializer) -> int | None:
        """The first of a tensor's whole numbers, where they are written one after the other."""
        numbers = self._file.whole_numbers(tensor.listed[0]) if tensor.listed else []
        return (numbers[0] ^ 2**63) - 2**63 if numbers else None

    def _gathered(self) -> list[Initializer]:
        """Matrices of which token ids choose rows."""
        ids = {name for name in _IDS if name in self.inputs}
        ids = {next(name for name in _IDS if name in ids)} if ids else ids
        source: dict[str, str] = {}
        found: dict[str, Initializer] = {}
        for node in self.nodes:
            first = node.inputs[0] if node.inputs else ""
            if node.kind in _KEEPS_IDS and first in ids:
                ids.update(node.outputs)
            if node.kind in _KEEPS_ROWS:
                source.update(dict.fromkeys(node.outputs, first))
            at, at_ids = _CHOOSES_ROWS.get(node.kind, (0, 0))
            if at != at_ids and len(node.inputs) > max(at, at_ids) and node.inputs[at_ids] in ids:
                name, steps = node.inputs[at], len(source)
                while name not in self.initializers and name in source and steps:
                    name, steps = source[name], steps - 1
                if (table := self.initializers.get(name)) is not None and len(table.shape) == 2:
                    found[name] = table
        return list(found.values())

    def _matrices(self) -> list[Initializer]:
        """Those of two sides, the one with the most rows first."""
        matrices = [i for i in self.initializers.values() if len(i.shape) == 2]
        return sorted(matrices, key=lambda i: (-i.shape[0], i.name))

    def _choice_error(self, why: str, candidates: Collection[Initializer]) -> SourceError:
        listed = "; ".join(map(str, list(candidates)[:_LISTED])) or "it holds no matrix at all"
        more = f" and {len(candidates) - _LISTED} more" if len(candidates) > _LISTED else ""
        return SourceError(f"{self.access.name} {why}; choose one with tensor=NAME; candidates: {listed}{more}")

    def _read(self, graph: Field, depth: int) -> None:
        """Take what a graph holds, the nodes in their order."""
        if depth > _DEEPEST:
            raise self._file.damaged_error("its graphs lie in each other too deep")
        for part in self._file.fields(graph.start, graph.stop):
            if part.kind != BYTES:
                continue
            if part.number == 1:
                self._read_node(part, depth)
            elif part.number == 5:
                self._read_initializer(part)
            elif part.number == 11 and not depth:
                self.inputs |= {self._file.text(f) for f in self._file.fields(part.start, part.stop) if f.number == 1}

    def _read_node(self, node: Field, depth: int) -> None:
        names: dict[int, list[str]] = {1: [], 2: [], 4: [""]}
        attributes = []
        for part in self._file.fields(node.start, node.stop):
            if part.number in names:
                names[part.number].append(self._file.text(part))
            elif part.number == 5 and part.kind == BYTES:
                attributes.append(part)
        kind = names[4][-1]
        if kind in _KEPT:
            self.nodes.append(Node(kind, names[1], names[2]))
        for attribute in attributes if kind in _NESTS else ():
            for part in self._file.fields(attribute.start, attribute.stop):
                if part.number in {6, 11} and part.kind == BYTES:
                    self._read(part, depth + 1)

    def _read_initializer(self, tensor: Field) -> None:
        parts: dict[int, list[Field]] = {}
        for count, part in enumerate(self._file.fields(tensor.start, tensor.stop)):
            if count >= _MOST_PARTS:
                raise self._file.damaged_error("an initializer has too many parts")
            parts.setdefault(part.number, []).append(part)
        name = self._file.text(parts[8][-1]) if 8 in parts else ""
        sides = [side for part in parts.get(1, ()) for side in self._file.whole_numbers(part)]
        if len(sides) > _MOST_SIDES or any(side >= 2**63 for side in sides):
            raise self._file.damaged_error(f"initializer {printable(name)} has {len(sides)} sides")
        if name in self.initializers:
            raise self._file.damaged_error(f"two initializers are called {printable(name)}")
        kind, is_external = (parts[number][-1].value if number in parts else 0 for number in (2, 14))
        entries = [
            {f.number: self._file.text(f) for f in self._file.fields(part.start, part.stop)}
            for part in parts.get(13, ())
        ]
        self.initializers[name] = Initializer(
            name=name,
            shape=tuple(sides),
            dtype=_TYPES.get(kind, f"type {kind}"),
            raw=next((part for part in reversed(parts.get(9, [])) if part.kind == BYTES), None),
            listed=tuple(part for number in _LISTS for part in parts.get(number, ())),
            external={entry.get(1, ""): entry.get(2, "") for entry in entries} if is_external else None,
        )


def is_scalar(tensors: Iterable[Initializer | None]) -> bool:
    """Whether each of them is one number."""
    return all(tensor is None or math.prod(tensor.shape) == 1 for tensor in tensors)
