"""Nulls that replace the whole table: same tokens, and only a part of the structure in the vectors, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from embcheck.table import EmbeddingTable

    Parameters = Mapping[str, Any]
    Null = tuple[EmbeddingTable, Parameters]

__all__ = [
    "column_shuffled", "control_subset", "gaussian", "gaussian_like", "rotated", "rotated_neurons", "row_shuffled",
]  # fmt: skip


def gaussian(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Iid standard normal vectors under the table's tokens: directions uniform on the sphere, float32.

    Generated on the host, so that every device sees the same numbers.
    """
    import numpy as np
    import torch

    noise = torch.from_numpy(rng.standard_normal(tuple(table.vectors.shape), dtype=np.float32))
    return table.with_vectors(noise.to(table.vectors.device)), parameters


def gaussian_like(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Normal vectors with the mean and the covariance of the population, iid, under the table's tokens; float32.

    What a property finds here is explained by mean and covariance alone.
    """
    import numpy as np
    import torch

    from embcheck.measures.kernels.spectrum import spectrum_of

    moments = spectrum_of(table)
    values, axes = np.linalg.eigh(moments.covariance.numpy())
    root = ((axes * np.sqrt(np.clip(values, 0, None))) @ axes.T).astype(np.float32)
    noise = rng.standard_normal(tuple(table.vectors.shape), dtype=np.float32) @ root + moments.mean.astype(np.float32)
    return table.with_vectors(torch.from_numpy(noise).to(table.vectors.device)), parameters


def row_shuffled(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """The population's rows, permuted among its tokens: what looks at no token stays as it is."""
    import torch

    population = table.population
    source, target = (
        torch.from_numpy(rows).to(table.vectors.device)
        for rows in (population[rng.permutation(len(population))], population)
    )
    return table.with_vectors(table.vectors.clone().index_copy_(0, target, table.vectors[source])), parameters


def column_shuffled(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """Each column permuted on its own among the population's rows: every column keeps its values, no row its own."""
    import torch

    population = table.population
    vectors = table.vectors.clone()
    target = torch.from_numpy(population).to(vectors.device)
    for column in range(table.width):
        source = torch.from_numpy(population[rng.permutation(len(population))]).to(vectors.device)
        vectors[target, column] = table.vectors[source, column]
    return table.with_vectors(vectors), parameters


def rotated(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """All rows under one random orthogonal map, uniform (Haar); float32. It changes no length and no cosine."""
    import torch

    from embcheck.measures.kernels.spectrum import haar

    turn = torch.from_numpy(haar(table.width, table.width, rng)).to(table.accumulator).to(table.vectors.device)
    parts: list[Tensor] = [
        (table.vectors[rows].to(table.accumulator) @ turn).float() for rows in table.slices(len(table.vectors))
    ]
    return table.with_vectors(torch.cat(parts)), parameters


def rotated_neurons(table: EmbeddingTable, parameters: Parameters, rng: np.random.Generator) -> Null:
    """The basis of the neurons of ``parameters["weights"]`` and ``["layer"]`` turned by a uniform orthogonal map Q.

    W becomes QW, which is equal in law to U R for W = Q_0 R and a uniform frame U. Every cosine, dot product and
    distance of two words' profiles stays; what single neurons have to do with them does not.
    """
    import numpy as np
    import torch

    from embcheck.measures.kernels.spectrum import haar

    role, layer = parameters["weights"], parameters["layer"]
    weights = table.tensor(role, layer).cpu().double().numpy()
    small = np.linalg.qr(weights, mode="r")
    turned = haar(len(weights), len(small), rng) @ small
    return table.with_tensors({(role, layer): torch.from_numpy(turned).to(table.accumulator)}), parameters


def control_subset(
    table: EmbeddingTable, limit: int, parameters: Parameters, also: NDArray[np.int64] | None = None
) -> EmbeddingTable:
    """At most ``limit`` rows of the population: all that a check's words and classes need, ``also``, then probes."""
    import numpy as np

    from embcheck import lexicons
    from embcheck.table.vocabulary import TokenKind

    words = [*lexicons.words(), *(w for value in parameters.values() for w in getattr(value, "words", ()))]
    rows = [row for row in table.rows(list(dict.fromkeys(words))) if row is not None]
    classes = [table.of_kind(kind) for kind in (TokenKind.ASCII_CHARACTER, TokenKind.BYTE)]
    more = [] if also is None else [also]
    ordered = np.concatenate([np.array(rows, dtype=np.int64), *classes, *more, table.probes(limit)])
    _, first = np.unique(ordered, return_index=True)
    chosen = ordered[np.sort(first)][:limit]
    return table.subset(np.sort(chosen))
