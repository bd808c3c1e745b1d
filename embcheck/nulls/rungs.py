r"""Rungs: tables that keep more and more of a real one and nothing else, each drawn anew under its tokens.

================  ============================================================================================
``gaussian``      iid normal numbers with the rows' mean square
``mean``          an isotropic normal cloud about the rows' mean, with their total variance
``covariance``    a normal cloud with their mean and covariance
``marginals``     that cloud with each column's own values, by rank (Iman and Conover 1982)
``lengths``       those rows, each as long as the token's own
``frequency``     the real rows, dealt out anew among tokens of like frequency: 64 neighbors by id
``spelling``      the real rows, dealt out anew among tokens of one first letter, length, case and leading space
================  ============================================================================================

The covariance is that of all rows of the population, shrunk towards a multiple of the identity as sampling error asks
for (OAS, Chen, Wiesel, Eldar and Hero 2010): with few rows a width, a cloud of the sample covariance would be flatter
than the rows it was fitted to.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from embcheck.measures.kernels.spectrum import spectrum_of
from embcheck.table.vocabulary import CONTINUATION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from embcheck.stats import Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["OF_TOKENS", "RUNGS", "Surrogates", "oas"]

RUNGS = ("gaussian", "mean", "covariance", "marginals", "lengths", "frequency", "spelling")
OF_TOKENS = frozenset({"frequency", "spelling"})
"""Rungs that keep the rows and change whose they are: they say nothing of what looks at no token."""
POOL = 64  # neighbors by id that count as equally frequent
ALIKE = 16  # tokens at least that are written alike: a token keeps its own row once in so many times at most
_LONG = 12  # letters from which on lengths count as equal


def oas(covariance: Floats, rows: int) -> Floats:
    r"""The covariance of N rows shrunk towards :math:`\mu I`, :math:`\mu = \mathrm{tr}(S) / d`.

    By :math:`\rho = \frac{(1 - 2/d) \mathrm{tr}(S^2) + \mathrm{tr}^2(S)}{(N + 1 - 2/d)(\mathrm{tr}(S^2) -
    \mathrm{tr}^2(S) / d)}`, at most 1.
    """
    width = len(covariance)
    squares, trace = float((covariance**2).sum()), float(np.trace(covariance))
    spread = squares - trace**2 / width
    shrunk = ((1 - 2 / width) * squares + trace**2) / ((rows + 1 - 2 / width) * spread) if spread > 0 else 1.0
    rho = min(1.0, shrunk)
    return np.asarray((1 - rho) * covariance + rho * trace / width * np.eye(width))


@dataclass(frozen=True, eq=False)
class Surrogates:
    """Draws of every rung for some rows of a table, (n,) ascending rows of its population."""

    whole: EmbeddingTable
    rows: Ints

    @cached_property
    def base(self) -> EmbeddingTable:
        """The real table, of those rows."""
        return self.whole.subset(self.rows)

    def draw(self, rung: str, rng: np.random.Generator) -> EmbeddingTable:
        """A table of the same tokens that keeps what the rung says."""
        if rung in OF_TOKENS:
            dealt = self._deal(self._pools[rung], rng)[np.searchsorted(self.whole.population, self.rows)]
            return self.base.with_vectors(self.whole.stored(dealt).clone())
        normal = rng.standard_normal((len(self.rows), self.whole.width), dtype=np.float32)
        return self.base.with_vectors(torch.from_numpy(self._cloud(rung, normal)).to(self.whole.vectors.device))

    def shuffled(self, among: Ints | None, rng: np.random.Generator) -> EmbeddingTable:
        """Some of the real rows (all if not said), dealt out anew among their tokens."""
        own = np.arange(len(self.rows)) if among is None else among
        order = np.arange(len(self.rows))
        order[own] = own[rng.permutation(len(own))]
        return self.base.with_vectors(self.base.stored(order).clone())

    def _cloud(self, rung: str, normal: NDArray[np.float32]) -> NDArray[np.float32]:
        moments, width = spectrum_of(self.whole), self.whole.width
        mean, variance = moments.mean.astype(np.float32), float(moments.covariance.trace()) / width
        if rung == "gaussian":
            return np.asarray(normal * np.float32(np.sqrt(variance + (moments.mean**2).mean())))
        if rung == "mean":
            return np.asarray(normal * np.float32(np.sqrt(variance)) + mean)
        cloud = normal @ self._root + mean
        if rung == "covariance":
            return np.asarray(cloud)
        for values, column in zip(np.ascontiguousarray(cloud.T), range(width), strict=True):
            cloud[np.argsort(values), column] = self._sorted[column]
        if rung == "marginals":
            return np.asarray(cloud)
        own = self.whole.norms.cpu().numpy()[self.rows]
        lengths = np.linalg.norm(cloud, axis=1)
        return np.asarray(cloud * (own / np.where(lengths > 0, lengths, 1)).astype(np.float32)[:, None])

    @cached_property
    def _sorted(self) -> NDArray[np.float32]:
        """(d, n) values of each column, ascending."""
        return np.sort(np.ascontiguousarray(self.base.gather(np.arange(len(self.rows))).cpu().numpy().T), axis=1)

    @cached_property
    def _root(self) -> NDArray[np.float32]:
        """Symmetric square root of the shrunk covariance, float32."""
        values, axes = np.linalg.eigh(oas(spectrum_of(self.whole).covariance.numpy(), len(self.whole.population)))
        return np.asarray((axes * np.sqrt(np.clip(values, 0, None))) @ axes.T, dtype=np.float32)

    # --- who may get whose row --------------------------------------------------------------------------------------

    @cached_property
    def _pools(self) -> dict[str, list[Ints]]:
        """Positions in the population, by rung, in pools within which rows are dealt out."""
        population = self.whole.population
        by_id = np.array_split(np.arange(len(population)), max(1, len(population) // POOL))
        return {"frequency": by_id, "spelling": self._written_alike([self.whole.token(int(row)) for row in population])}

    def _written_alike(self, tokens: list[str]) -> list[Ints]:
        """Tokens of one first letter, length, case and leading space; where those are few, length and letter go."""
        pools: list[Ints] = []
        rest = list(range(len(tokens)))
        spelt = [_spelling(token) for token in tokens]
        for kept in (4, 3, 2, 0):  # keys by weight, the last ones dropped first
            alike: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
            for position in rest:
                alike[spelt[position][:kept]].append(position)
            few = [positions for positions in alike.values() if len(positions) < ALIKE and kept]
            for positions in alike.values():
                if len(positions) >= ALIKE or not kept:  # the ids of a pool are near, as far as there are so many
                    pools += np.array_split(np.array(positions), max(1, len(positions) // POOL))
            rest = sorted(position for positions in few for position in positions)
        return [pool for pool in pools if len(pool)]

    def _deal(self, pools: list[Ints], rng: np.random.Generator) -> Ints:
        """(N,) rows of the population, permuted within each pool."""
        dealt = self.whole.population.copy()
        for pool in pools:
            dealt[pool] = self.whole.population[pool[rng.permutation(len(pool))]]
        return dealt


def _spelling(token: str) -> tuple[object, ...]:
    """Leading space or mark of continuation, case, first letter, length: in the order of their weight."""
    core = token.strip().removeprefix(CONTINUATION) or token
    begins = token[:1] == " ", token.startswith(CONTINUATION)
    case = core.islower(), core.isupper(), core.isalpha()
    return begins, case, core[0].casefold() if core else "", min(len(core), _LONG)
