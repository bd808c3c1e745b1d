"""The embedding table: vectors, their tokens, which rows count, and where it all came from."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import torch

from embcheck import files
from embcheck.errors import NotMeasurable, UsageError
from embcheck.settings import current
from embcheck.table.layers import GivenLayers, SomeRows, read
from embcheck.table.nearby import Nearby
from embcheck.table.parts import Parts, as_tensor
from embcheck.table.provenance import Provenance, dtype_name, weights_sha256
from embcheck.table.vocabulary import (
    Coverage,
    NamedRows,
    RowNumbers,
    RowStatus,
    SubsetVocabulary,
    TokenKind,
    WordVectors,
    WordVocabulary,
    exact_token,
    refuse_text,
    repeated,
    script_of,
    tokens_sha256,
    word_key,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table.layers import Layers
    from embcheck.table.vocabulary import Vocabulary

__all__ = [
    "Coverage", "EmbeddingTable", "Provenance", "WordVectors", "dtype_name", "row_index", "row_norms", "weights_sha256",
]  # fmt: skip

_State = TypeVar("_State")
BLOCK_BYTES = 16 * 2**20  # of float32 rows handled at once: small beside any table, large enough for full speed
_CPU_BLOCK_BYTES = 4 * 2**20  # there: copies of them stay in memory that glibc hands out again, and near the cache
_SHOWN_ENTRIES = 100
_TEXTS = 2**16  # row numbers held at once as objects of Python's
_NORM_CELLS = 2**17  # numbers that each thread widens at once: 1 MB, inside the cache of a CPU core


@dataclass(frozen=True, eq=False)
class EmbeddingTable(Nearby):
    """An embedding matrix with its tokens.

    Attributes
    ----------
    vectors
        (V, d) tensor on its device, in the dtype it was stored in.
    vocabulary
        Surface forms and classes of the rows, and how words resolve to them.
    provenance
        Where it came from.
    kind
        Which rows are in the population: ``known`` leaves out padding, special, unused and unreachable ones;
        ``all`` takes every row that has a direction (zero and non-finite rows have none, and are always left out).
    """

    vectors: Tensor
    vocabulary: Vocabulary
    provenance: Provenance
    kind: Literal["known", "all"] = "known"
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What was worked out once for this table, such as probe order and surface forms."""
    only: NDArray[np.int64] | None = None
    """Where it is set, the population has none but these rows."""
    layers: Layers | None = field(default=None, repr=False)
    """The other weights of the model that the table belongs to; none where it belongs to none."""
    first: int | None = None
    """Where it is a part of a table: the number of its first row there."""

    def __repr__(self) -> str:
        """One line: what it is, or how to make it again where it is small and of no source."""
        rows, width = self.vectors.shape
        if self.provenance.source == "memory" and rows * width <= _SHOWN_ENTRIES:
            return f"EmbeddingTable.from_arrays({self.vectors.tolist()}, {list(self.tokens)})"
        return f"<EmbeddingTable {self.provenance.spec!r}: {rows} x {width} {dtype_name(self.vectors)}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's protocol, and hypothesis'
        printer.text("..." if cycle else repr(self))

    @classmethod
    def from_arrays(cls, vectors: Any, tokens: Sequence[str], *, device: str = "cpu") -> EmbeddingTable:
        """A table from a matrix in memory and one word a row.

        Parameters
        ----------
        vectors
            (V, d) tensor or array. A floating-point tensor keeps its dtype and, on its device, is not copied.
        tokens
            V words.

        Raises
        ------
        UsageError
            The matrix is not two-dimensional, or has another number of rows than there are tokens.
        """
        matrix = vectors.detach() if isinstance(vectors, torch.Tensor) else torch.as_tensor(np.asarray(vectors))
        refuse_text(tokens, "tokens")
        if matrix.ndim != 2 or matrix.shape[1] < 1:
            raise UsageError(f"vectors must have shape (rows, width), got {tuple(matrix.shape)}")
        if len(tokens) != matrix.shape[0]:
            raise UsageError(
                f"the matrix has {matrix.shape[0]} rows but there are {len(tokens)} tokens; give one token a row"
            )
        if not matrix.is_floating_point():
            matrix = matrix.float()
        matrix = matrix.to(device) if device != "cpu" or not isinstance(vectors, torch.Tensor) else matrix
        words = WordVocabulary(tokens, may_repeat=True)
        origin = Provenance(
            "memory", "memory", (matrix.shape[0], matrix.shape[1]), dtype_name(matrix), matrix, notes=words.notes
        )
        return cls(matrix, words, origin)

    # --- rows ---------------------------------------------------------------------------------------------------

    @property
    def tokens(self) -> Sequence[str]:
        """Surface forms by row; rows past them are padding."""
        return self.vocabulary.tokens

    @property
    def width(self) -> int:
        """d, the number of columns."""
        return int(self.vectors.shape[1])

    @property
    def parts(self) -> Parts | None:
        """What the vectors are, where they lie in parts and in no one place."""
        vectors: object = self.vectors
        return vectors if isinstance(vectors, Parts) else None

    @cached_property
    def accumulator(self) -> torch.dtype:
        """The widest float the device has: sums run in it."""
        return torch.float32 if self.vectors.device.type == "mps" else torch.float64

    @cached_property
    def norms(self) -> Tensor:
        """(V,) Euclidean length of every row, in the accumulator's dtype."""
        return self.parts.norms if self.parts is not None else row_norms(self.vectors, self.accumulator)

    def over(self, work: Callable[..., _State], *given: Any) -> list[_State]:
        """What ``work`` makes of each part of the table that has rows of the population, in order.

        In memory a table is one part: itself. Where it lies in parts, ``work`` is called with a part and what is given
        where that part is read, maybe by another process: it is a function of a module, and arguments and results are
        numbers, arrays, tensors and tuples of them.
        """
        return [work(self, *given)] if self.parts is None else self.parts.over(self.population, work, given)

    @cached_property
    def status(self) -> NDArray[np.uint8]:
        """``RowStatus`` of every row."""
        rows = len(self.vectors)
        status = np.full(rows, RowStatus.PADDING, dtype=np.uint8)
        named = min(rows, len(self.tokens))
        status[:named] = self.vocabulary.status[:named]
        norms = self.norms.cpu().numpy()
        in_tokenizer = np.arange(rows) < named
        status[in_tokenizer & (norms == 0)] = RowStatus.ZERO
        status[in_tokenizer & ~_representable(norms)] = RowStatus.NON_FINITE
        return status

    @cached_property
    def ordinary(self) -> NDArray[np.int64]:
        """Rows of tokens that text can reach, ascending: the known ones, and those of them that are broken."""
        named = min(len(self.vectors), len(self.tokens))
        return np.flatnonzero(self.vocabulary.status[:named] == RowStatus.KNOWN)

    @cached_property
    def population(self) -> NDArray[np.int64]:
        """Rows that claims are about, ascending.

        Raises
        ------
        NotMeasurable
            Fewer than two rows are left.
        """
        rows: NDArray[np.int64] = np.flatnonzero(self._usable)
        if len(rows) < 2 and self.first is None:
            raise NotMeasurable(f"the population has {len(rows)} of {len(self.vectors)} rows; {self.excluded()}")
        return rows

    @cached_property
    def in_population(self) -> NDArray[np.bool_]:
        """(V,) whether each row is in the population."""
        mask = np.zeros(len(self.vectors), dtype=np.bool_)
        mask[self.population] = True
        return mask

    @cached_property
    def _usable(self) -> NDArray[np.bool_]:
        norms = self.norms.cpu().numpy()
        directed: NDArray[np.bool_] = _representable(norms) & (norms > 0)
        if self.only is not None:
            directed &= np.isin(np.arange(len(norms)), self.only)
        return directed & (self.status == RowStatus.KNOWN) if self.kind == "known" else directed

    def excluded(self) -> dict[str, int]:
        """How many rows stand outside the population, by the reason."""
        counts = Counter(RowStatus(int(s)) for s in self.status[~self._usable])
        return {kind.name.lower(): counts[kind] for kind in RowStatus if counts[kind]}

    def of_kind(self, kind: TokenKind) -> NDArray[np.int64]:
        """Population rows of one token class."""
        population = self.population
        kinds = np.full(len(self.vectors), TokenKind.SPECIAL, dtype=np.uint8)
        named = min(len(kinds), len(self.tokens))
        kinds[:named] = self.vocabulary.kinds[:named]
        chosen: NDArray[np.int64] = population[kinds[population] == kind]
        return chosen

    def token(self, row: int) -> str:
        """Surface form of a row; padding rows have none."""
        return self.tokens[row] if row < len(self.tokens) else f"<padding {row}>"

    def texts(self, rows: NDArray[np.int64]) -> Iterator[str]:
        """Surface forms of many rows, one after the other."""
        tokens, named = self.tokens, len(self.tokens)
        for start in range(0, len(rows), _TEXTS):
            for row in rows[start : start + _TEXTS].tolist():
                yield tokens[row] if row < named else f"<padding {row}>"

    # --- blocks -------------------------------------------------------------------------------------------------

    def slices(self, length: int) -> Iterator[slice]:
        """Cut ``length`` rows into blocks of some megabytes of float32."""
        room = min(BLOCK_BYTES, _CPU_BLOCK_BYTES) if self.vectors.device.type == "cpu" else BLOCK_BYTES
        step = max(256, room // (4 * self.width) // 64 * 64)
        for start in range(0, length, step):
            files.refuse_changed()
            yield slice(start, min(start + step, length))

    def stored(self, rows: NDArray[np.int64] | Sequence[int] | slice) -> Tensor:
        """(n, d) rows as they are stored. Consecutive ones are a view of the matrix."""
        files.refuse_changed()
        return self.vectors[row_index(rows, self.vectors.device)]

    def gather(self, rows: NDArray[np.int64] | Sequence[int] | slice) -> Tensor:
        """(n, d) float32 rows on the table's device. Consecutive ones that are stored so are a view of the matrix."""
        return self.stored(rows).float()

    def units(self, rows: NDArray[np.int64] | Sequence[int]) -> Tensor:
        """(n, d) float32 rows scaled to length 1."""
        return self.gather(rows) / self.norms[row_index(rows, self.vectors.device)].float()[:, None]

    # --- words --------------------------------------------------------------------------------------------------

    def rows(self, words: Sequence[str]) -> list[int | None]:
        """Row of each word that is one token of the population, ``None`` for the others.

        Of ``" word"`` and ``"word"`` the one in fewer tokens is meant, of equals the first. A text in double quotes of
        its own, such as ``'"word"'``, names the one token that is written exactly so.
        """
        mask = self.in_population
        return [
            ids[0] if len(ids) == 1 and ids[0] < len(mask) and mask[ids[0]] else None for ids in self._encode(words)
        ]

    def written(self, surface: str) -> list[int]:
        """Rows whose token is written exactly so, those of the population first."""
        if "written" not in self.memo:
            by_surface: dict[str, list[int]] = {}
            for row in range(min(len(self.tokens), len(self.vectors))):
                by_surface.setdefault(self.tokens[row], []).append(row)
            self.memo["written"] = by_surface
        rows: list[int] = self.memo["written"].get(surface, [])
        return sorted(rows, key=lambda row: (not self.in_population[row], row))

    def _encode(self, words: Sequence[str]) -> list[tuple[int, ...]]:
        """Rows of each word, as its vocabulary finds them or as quotes name them."""
        refuse_text(words, "words")
        surfaces = [exact_token(word) for word in words]
        encoded = self.vocabulary.encode(words)
        for at, surface in enumerate(surfaces):
            if surface is not None:
                encoded[at] = tuple(self.written(surface)[:1])
        return encoded

    @cached_property
    def _marks_spaces(self) -> bool:
        """Whether tokens that begin a word are written with a leading space."""
        return any(token[:1] == " " and token.strip() for token in self.tokens)

    def embed(self, words: Sequence[str], pooling: Literal["single", "mean"] = "single") -> WordVectors:
        """Vectors of words.

        Parameters
        ----------
        words
            Distinct words; in double quotes of their own, tokens written exactly so.
        pooling
            ``single`` takes words of one token only; ``mean`` averages the tokens of the others.
        """
        encoded = dict(zip(words, self._encode(words), strict=True))
        mask = self.in_population
        usable = {w: ids for w, ids in encoded.items() if ids and all(i < len(mask) and mask[i] for i in ids)}
        single = [word for word, ids in usable.items() if len(ids) == 1]
        bare = [w for w in single if exact_token(w) is None and self.tokens[usable[w][0]][:1] != " "]
        missing = tuple(word for word in encoded if word not in usable)
        coverage = Coverage(
            len(single), len(usable) - len(single), missing, tuple(bare) if bare and self._marks_spaces else ()
        )
        chosen = {w: ids for w, ids in usable.items() if pooling == "mean" or len(ids) == 1}
        vectors = self.gather(np.array([ids[0] for ids in chosen.values()], dtype=np.int64)).to(self.accumulator)
        for i, ids in enumerate(chosen.values()):
            if len(ids) > 1:
                vectors[i] = self.gather(np.array(ids)).to(self.accumulator).mean(0)
        return WordVectors(tuple(chosen), tuple(chosen.values()), vectors, coverage)

    def directions(self, words: Sequence[str]) -> Tensor:
        """(n, d) vectors of length 1, one a word, in the order given.

        Raises
        ------
        NotMeasurable
            A word is not a single token of the population, or the rows have no words at all.
        """
        rows = self.rows(words)
        missing = [word for word, row in zip(words, rows, strict=True) if row is None]
        if missing:
            why = f"not a single token of this vocabulary: {', '.join(missing)}"
            raise NotMeasurable(why if self.vocabulary.has_words else "its rows have no words")
        return self.units(np.array(rows, dtype=np.int64))

    @cached_property
    def word_keys(self) -> list[str]:
        """For each population row, the form under which its case and space variants are counted once."""
        return list(map(word_key, self.texts(self.population)))

    @cached_property
    def scripts(self) -> dict[str, NDArray[np.int64]]:
        """Population rows by the writing system of all their letters, ascending; the system with most rows first."""
        population = self.population
        numbers: dict[str | None, int] = {None: 0}
        written = (numbers.setdefault(script_of(text), len(numbers)) for text in self.texts(population))
        script = np.fromiter(written, dtype=np.int32, count=len(population))
        rows = {name: population[script == number] for name, number in numbers.items() if name is not None}
        return dict(sorted(rows.items(), key=lambda item: (-len(item[1]), item[0])))

    # --- the model around it ------------------------------------------------------------------------------------

    def tensor(self, role: str, layer: int = 0) -> Tensor:
        """Weights of one layer of the table's model: (n, d), every row in the space of the table's rows.

        Only that tensor is read, from where the table was read. Numbers are as stored, on the table's device.

        Parameters
        ----------
        role
            ``mlp_in``, ``mlp_gate``, ``mlp_out``, ``value`` or ``attention_out``, as ``layers`` tells them, or
            ``output``: the model's output matrix, where that is a tensor of its own, with a row a row of the table.
        layer
            Number of the layer, the first being 0; negative numbers count from the end. Of no matter for ``output``.

        Raises
        ------
        UsageError
            There is no such role, or the layer is no whole number.
        NotMeasurable
            The table belongs to no model, or the model has no such layer or weights in a form that can be read.
        SourceError
            A file is damaged, or can't be had.
        """
        weights = read(self.layers, role, layer, width=self.width, source=self.provenance.source)
        return weights.to(self.vectors.device)

    @property
    def bytes_read(self) -> int:
        """Bytes of the table itself and of the layers' tensors that were read so far."""
        return self.provenance.bytes_read + (0 if self.layers is None else self.layers.bytes_read)

    # --- sampling -----------------------------------------------------------------------------------------------

    def probes(self, count: int | None = None, *, among: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Rows drawn without replacement, in an order set by a hash of (seed, token).

        A smaller sample is a prefix of a larger one, and two tables with the same tokens draw the same ones.

        Parameters
        ----------
        count
            How many; by default what the settings say.
        among
            Rows to draw from; by default the population. Of a store with `States`, the first of them alone are drawn.
        """
        settings = current()
        rows = self.population if among is None else among
        if self.parts is not None and self.parts.states is not None:
            rows = rows[rows < self.parts.states.rows]
        count = settings.probe_count(len(rows)) if count is None else min(count, len(rows))
        order = self._hashes(settings.seed)[rows]
        if count < len(order):  # sort no more than those
            early = np.flatnonzero(order <= np.partition(order, count)[count])
            rows, order = rows[early], order[early]
        return rows[np.argsort(order, kind="stable")[:count]]

    def _hashes(self, seed: int) -> NDArray[np.uint64]:
        memo = ("hashes", seed)
        if memo not in self.memo:
            if isinstance(self.tokens, RowNumbers) and len(self.tokens) == len(self.vectors):
                self.memo[memo] = self.tokens.hashes(seed)
                return self._hashes(seed)
            keyed = hashlib.blake2b(digest_size=8, key=seed.to_bytes(8, "little"))
            texts = list(self.texts(np.arange(len(self.vectors))))
            again, copies, raw = frozenset(repeated(texts).tolist()), Counter[str](), bytearray()
            for row, text in enumerate(texts):
                if row in again:
                    copies[text] += 1
                    text = f"{text}\0{copies[text]}"  # noqa: PLW2901 - rows of one text have hashes of their own
                digest = keyed.copy()
                digest.update(text.encode("utf-8", "surrogatepass"))
                raw += digest.digest()
            self.memo[memo] = np.frombuffer(bytes(raw), dtype="<u8")
        hashes: NDArray[np.uint64] = self.memo[memo]
        return hashes

    # --- other tables made from this one ------------------------------------------------------------------------

    def with_population(self, kind: Literal["known", "all"]) -> EmbeddingTable:
        """The same rows with another population."""
        return replace(self, kind=kind, memo={})

    def among(self, rows: NDArray[np.int64]) -> EmbeddingTable:
        """The same table, neither copied nor measured again, with no other rows in its population."""
        other = replace(self, only=rows, memo={})
        other.__dict__["norms"] = self.norms
        return other

    def with_vectors(self, vectors: Tensor) -> EmbeddingTable:
        """Other vectors under the same tokens, as whole-table nulls need."""
        return replace(self, vectors=vectors, memo={})

    def with_tensors(self, tensors: Mapping[tuple[str, int], Tensor]) -> EmbeddingTable:
        """The same rows with other weights of layers: (n, d) by role and layer; those not given stay as they are."""
        return replace(self, layers=GivenLayers.of(tensors, self.layers), memo={})

    def subset(self, rows: NDArray[np.int64]) -> EmbeddingTable:
        """Some rows only, renumbered in the order given. The first ones of a table in parts stay in parts."""
        if (
            self.parts is not None
            and isinstance(self.tokens, RowNumbers)
            and np.array_equal(rows, np.arange(len(rows)))
        ):
            origin = replace(self.provenance, shape=(len(rows), self.width))
            named = NamedRows(RowNumbers(len(rows)))
            return EmbeddingTable(as_tensor(self.parts.first(len(rows))), named, origin, self.kind)
        vectors = self.vectors[torch.from_numpy(np.ascontiguousarray(rows)).to(self.vectors.device)]
        origin = replace(
            self.provenance, shape=(len(rows), self.width), notes=(*self.provenance.notes, "subset of rows")
        )
        only = None if self.only is None else np.flatnonzero(np.isin(rows, self.only))
        words = SubsetVocabulary(self.vocabulary, rows[rows < len(self.tokens)])
        layers = None if self.layers is None else SomeRows(self.layers, rows)
        return EmbeddingTable(vectors, words, origin, self.kind, only=only, layers=layers)

    @cached_property
    def tokens_sha256(self) -> str:
        """Hash over the surface forms of the rows of ordinary tokens in row order, whatever their numbers are."""
        return self.sha256_of(self.ordinary)

    def sha256_of(self, rows: NDArray[np.int64]) -> str:
        """The same over the surface forms of some rows."""
        if isinstance(self.tokens, RowNumbers):
            return hashlib.sha256(rows.tobytes()).hexdigest()
        return tokens_sha256(self.texts(rows))


def row_norms(vectors: Tensor, dtype: torch.dtype) -> Tensor:
    """(V,) Euclidean length of every row of a matrix, worked out in a wide float."""
    (size, width), device = vectors.shape, vectors.device
    cells = _NORM_CELLS * torch.get_num_threads() if device.type == "cpu" else BLOCK_BYTES
    step = max(16, cells // width)
    norms = torch.empty(size, dtype=dtype, device=device)
    wide = norms.new_empty((step, width))
    for start in range(0, size, step):  # in the same memory: freed and asked for again, it leaves holes
        files.refuse_changed()
        rows = vectors[start : start + step]
        norms[start : start + step] = torch.linalg.vector_norm(wide[: len(rows)].copy_(rows), dim=1)
    return norms


def row_index(rows: NDArray[np.int64] | Sequence[int] | slice, device: torch.device) -> Tensor | slice:
    """Rows as an index on a device; consecutive ones as a slice, which copies nothing."""
    if isinstance(rows, slice):
        return rows
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all()):
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.int64)).to(device)


def _representable(norms: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether lengths are finite as float32, which products are computed in."""
    return np.asarray(norms <= np.finfo(np.float32).max)
