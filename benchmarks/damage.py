"""What can happen to a table, done to it in plain numpy: nothing here knows how any of it is recognised."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Damage = Callable[[Matrix, int, np.random.Generator], "Damaged | None"]


@dataclass(frozen=True)
class Damaged:
    """A table, what was done to it, and within what the parameters are right."""

    vectors: Matrix
    parameters: Mapping[str, object] = field(default_factory=dict)
    """A number (right to one part in fifty), a text, or a range of numbers."""
    tokens: list[int] | None = None
    """Of each row the row of the original whose token it has, where that isn't its own."""
    dtype: torch.dtype = torch.float32
    parents: tuple[Matrix, Matrix] | None = None


def _like(a: Matrix, scale: float, rng: np.random.Generator) -> Matrix:
    return np.asarray(rng.standard_normal(a.shape) * scale, dtype=np.float32)


def _spread(a: Matrix) -> float:
    return float(np.sqrt(a.astype(np.float64).var(0).sum()))


def _orthogonal(d: int, rng: np.random.Generator) -> NDArray[np.float64]:
    q, r = np.linalg.qr(rng.standard_normal((d, d)))
    return np.asarray(q * np.sign(np.diag(r)))


def _principal(a: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    wide = a.astype(np.float64)
    mean = wide.mean(0)
    values, axes = np.linalg.eigh(np.cov((wide - mean).T, bias=True))
    return mean, values[::-1], axes[:, ::-1]


# --- nothing, or harmless -------------------------------------------------------------------------------------------


def identical(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    return Damaged(a.copy())


def cast(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged | None:
    dtype = (torch.float16, torch.bfloat16, torch.float8_e4m3fn)[strength]
    vectors = torch.from_numpy(a)
    name = ("float16", "bfloat16", "float8_e4m3")[strength]
    scale = 448 / float(vectors.nan_to_num().abs().max()) if strength == 2 else 1.0
    small = (vectors * scale).to(dtype)
    if strength == 2 or int(rng.integers(2)):
        return Damaged((small.float() / scale).numpy(), {"dtype": name})
    return Damaged(small.float().numpy(), {"dtype": name}, dtype=dtype)


# --- quantized ------------------------------------------------------------------------------------------------------


def quantized(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged | None:
    """Q8_0, Q5_0 and Q4_0 by the reference library; int8 by tensor, by row and int4 by row where blocks don't fit."""
    import gguf

    if a.shape[1] % 32 == 0:
        kind = ("Q8_0", "Q5_0", "Q4_0")[strength]
        type_ = gguf.GGMLQuantizationType[kind]
        b = gguf.quants.dequantize(gguf.quants.quantize(a, type_), type_)
        return None if np.array_equal(a, b) else Damaged(b, {"type": kind})  # it was so already
    if strength == 0:
        step = np.abs(a).max() / 127
        return Damaged((np.round(a / step) * step).astype(np.float32), {"type": "int8 per tensor"})
    levels = (0, 127, 7)[strength]
    step = np.abs(a).max(1, keepdims=True) / levels
    kind = ("", "int8 per row", "int4 per row")[strength]
    return Damaged((np.round(a / np.maximum(step, 1e-30)) * step).astype(np.float32), {"type": kind})


def grouped(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged | None:
    """As GPTQ and AWQ keep it: four bits with a zero point, groups of 128 or 64 columns; or Q4_1."""
    import gguf

    if strength == 2:
        if a.shape[1] % 32:
            return None
        type_ = gguf.GGMLQuantizationType.Q4_1
        return Damaged(gguf.quants.dequantize(gguf.quants.quantize(a, type_), type_), {"type": "Q4_1"})
    size = (128, 64)[strength]
    if a.shape[1] % size or a.shape[1] == size:
        return None
    blocks = a.reshape(len(a), -1, size)
    low, high = np.minimum(blocks.min(-1, keepdims=True), 0), np.maximum(blocks.max(-1, keepdims=True), 0)
    step = np.maximum((high - low) / 15, 1e-12)
    zero = np.round(-low / step)
    codes = np.clip(np.round(blocks / step) + zero, 0, 15)
    return Damaged(((codes - zero) * step).reshape(a.shape).astype(np.float32), {"type": f"int4 in groups of {size}"})


# --- values ---------------------------------------------------------------------------------------------------------


def scaled(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    factor = (a.shape[1] ** 0.5, 1.1, float(rng.uniform(0.01, 0.5)))[strength]
    return Damaged(a * np.float32(factor), {"factor": factor})


def columns_scaled(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    factors = np.exp(rng.standard_normal(a.shape[1]) * (0.02, 0.2, 1.0)[strength]).astype(np.float32)
    return Damaged(a * factors, {"least": float(factors.min()), "greatest": float(factors.max())})


def normalised(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    length = (1.0, float(a.shape[1] ** 0.5), float(rng.uniform(2, 9)))[strength]
    lengths = np.linalg.norm(a, axis=1, keepdims=True)
    if np.ptp(lengths) < 1e-3 * lengths.mean():
        return None  # they have one length already
    return Damaged((a / np.where(lengths > 0, lengths, 1) * length).astype(np.float32), {"length": length})


def mean_removed(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged | None:
    mean = a.mean(0, dtype=np.float64)
    if np.linalg.norm(mean) < 0.1 * _spread(a):
        return None  # a table without a mean
    return Damaged((a - mean).astype(np.float32), {"length": float(np.linalg.norm(mean))})


def rows_centred(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    """As TransformerLens keeps what writes into a residual stream that is normalised."""
    return Damaged((a - a.mean(1, keepdims=True, dtype=np.float64)).astype(np.float32), {"of": "each row"})


def mean_added(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    vector = rng.standard_normal(a.shape[1])
    vector *= _spread(a) * (0.05, 0.5, 3.0)[strength] / np.linalg.norm(vector)
    return Damaged((a + vector).astype(np.float32), {"length": float(np.linalg.norm(vector))})


def components_removed(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    k = (1, 3, max(2, a.shape[1] // 100))[strength]
    mean, _, axes = _principal(a)
    apart = a - mean
    return Damaged((apart - apart @ axes[:, :k] @ axes[:, :k].T).astype(np.float32), {"components": k})


def whitened(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    mean, values, axes = _principal(a)
    white = (a - mean) @ axes / np.sqrt(values)
    kind = ("ZCA", "PCA", "turned")[strength]
    turn = (axes.T, np.eye(len(values)), _orthogonal(len(values), rng))[strength]
    return Damaged((white @ turn).astype(np.float32), {"kind": kind})


def rotated(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    turn = _orthogonal(a.shape[1], rng)
    if strength == 0:  # some coordinates only
        part = a.shape[1] // 4
        turn = np.eye(a.shape[1])
        turn[:part, :part] = _orthogonal(part, rng)
    if (np.linalg.det(turn) < 0) != (strength == 2):
        turn[:, 0] *= -1
    return Damaged((a @ turn).astype(np.float32), {"kind": "reflected" if strength == 2 else "rotated"})


# --- columns --------------------------------------------------------------------------------------------------------


def columns_permuted(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    order = np.arange(a.shape[1])
    part = (4, a.shape[1] // 3, a.shape[1])[strength]
    chosen = rng.choice(a.shape[1], part, replace=False)
    order[chosen] = np.roll(chosen, 1)
    return Damaged(a[:, order].copy(), {"moved": part})


def columns_sliced(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    kept = a.shape[1] * (7, 4, 2)[strength] // 8
    return Damaged(a[:, :kept].copy(), {"kept": kept})


def columns_padded(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    more = (1, 14, a.shape[1])[strength]
    return Damaged(np.pad(a, ((0, 0), (0, more))), {"to": a.shape[1] + more})


def columns_interleaved(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    ids, shards = np.arange(a.shape[1]), 2
    order = (ids.reshape(shards, -1).T.ravel(), np.roll(ids, len(ids) // 2), ids.reshape(-1, shards).T.ravel())[
        strength
    ]
    return Damaged(a[:, order].copy())


# --- rows -----------------------------------------------------------------------------------------------------------


def rows_shifted(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    start = int(len(a) * (0.9, 0.5, 0.02)[strength])
    if int(rng.integers(2)):  # rows put in
        k = int(rng.integers(1, 4))
        return Damaged(
            np.concatenate([a[:start], 0 * a[:k], a[start:]])[: len(a)], {"by": k, "from": (start - 4, start + 4)}
        )
    k = int(rng.integers(1, 4))  # rows lost, and the end filled up
    lost = np.concatenate([a[:start], a[start + k :], 0 * a[:k]])
    return Damaged(lost, {"by": -k, "from": (start - 4, start + 4)})


def rows_permuted(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    order = np.arange(len(a))
    if strength == 2:  # shards
        quarter = len(a) // 4
        order = np.concatenate([order[2 * quarter :], order[: 2 * quarter]])
        return Damaged(a[order], {"blocks": 2})
    part = int(len(a) * (0.02, 1.0)[strength])
    chosen = rng.choice(len(a), part, replace=False)
    order[chosen] = np.roll(chosen, 1)
    return Damaged(a[order], {"moved": (0.9 * part, 1.01 * part)})


def rows_truncated(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    lost = (1, 64, len(a) // 4)[strength]
    return Damaged(a[:-lost].copy(), {"rows": lost})


def reordered(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    part = (10, len(a) // 10, len(a))[strength]
    order = np.arange(len(a))
    chosen = rng.choice(len(a), part, replace=False)
    order[chosen] = np.roll(chosen, 1)
    return Damaged(a[order], {"moved": part}, tokens=order.tolist())


def other_tokenizer(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    part = (10, len(a) // 10, len(a))[strength]
    order = np.arange(len(a))
    chosen = rng.choice(len(a), part, replace=False)
    order[chosen] = np.roll(chosen, 1)
    return Damaged(a.copy(), {"rows": part}, tokens=order.tolist())


def rows_overwritten(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    part = (8, 100, len(a) // 10)[strength]
    rows = rng.choice(len(a), part, replace=False)
    kind = ("zero", "not_finite", "one_vector", "mean", "mean_plus_noise", "random", "copies")[int(rng.integers(7))]
    b = a.copy()
    mean, std = a.mean(0), float(a.std())
    others = np.setdiff1d(np.arange(len(a)), rows)
    b[rows] = {
        "zero": 0,
        "not_finite": np.nan,
        "one_vector": _like(a[:1], std, rng),
        "mean": mean,
        "mean_plus_noise": mean + _like(a[rows], 0.05 * std, rng),
        "random": _like(a[rows], 0.02 if std < 1 else std, rng),
        "copies": a[rng.choice(others, part, replace=True)],
    }[kind]
    return Damaged(b, {"kind": kind, "rows": (0.97 * part, 1.03 * part)})


def rows_untouched(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    part = (8, 100, 1_000)[strength]
    mean, std = a.mean(0), float(a.std())
    has_mean = np.linalg.norm(mean) > 0.1 * _spread(a)  # else noise about it is what random numbers are
    kind = ("mean", "mean_plus_noise", "random")[int(rng.integers(3)) if has_mean else 0]
    new = {
        "mean": np.tile(mean, (part, 1)),
        "mean_plus_noise": mean + _like(a[:part], 0.05 * std, rng),
        "random": _like(a[:part], 0.02, rng),
    }[kind]
    return Damaged(np.concatenate([a, new]).astype(np.float32), {"kind": kind, "rows": part})


def rows_padded(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    part = (1, 64, 1_000)[strength]
    return Damaged(np.concatenate([a, np.zeros((part, a.shape[1]), np.float32)]), {"rows": part})


# --- something added, or another table ------------------------------------------------------------------------------


def noise(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    std = float(a.std()) * (0.01, 0.1, 0.5)[strength]
    return Damaged(a + _like(a, std, rng), {"std": std})


def fine_tuned(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    size = _spread(a) / a.shape[1] ** 0.5 * (0.02, 0.1, 0.3)[strength]
    if int(rng.integers(2)):
        rows = rng.choice(len(a), (20, 200, len(a) // 5)[strength], replace=False)
        b = a.copy()
        b[rows] += _like(a[rows], size, rng)
        return Damaged(b, {"rows": len(rows)})
    by_rank = (1 + np.arange(len(a))) ** -0.5 * np.exp(0.4 * rng.standard_normal(len(a)))
    by_rank *= size / np.median(by_rank)
    return Damaged((a + _like(a, 1, rng) * np.minimum(by_rank, 3 * size)[:, None]).astype(np.float32))


def merged(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    other = a + _like(a, 0.5 * float(a.std()), rng)
    share = (0.5, 0.3, 0.1)[strength]
    if int(rng.integers(2)):
        return Damaged(a + np.float32(share) * (other - a), {"kind": "linear", "share": share}, parents=(a, other))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(other, axis=1)
    cosine = np.divide((a.astype(np.float64) * other).sum(1), lengths, where=lengths > 0, out=np.zeros(len(a)))
    angle = np.arccos(np.clip(cosine, -1, 1))[:, None]
    b = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * other) / np.maximum(np.sin(angle), 1e-9)
    return Damaged(b.astype(np.float32), {"kind": "slerp", "share": share}, parents=(a, other))


def another_run(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    """The same cosines up to noise, in other coordinates."""
    rough = (a - a.mean(0)) + _like(a, float(a.std()) * (0.4, 0.6, 0.8)[strength], rng)
    return Damaged((rough @ _orthogonal(a.shape[1], rng)).astype(np.float32))


def unrelated(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    if strength == 0:
        return Damaged(_like(a, float(a.std()), rng))
    if strength == 1:  # the same rows under the wrong tokens, in other coordinates
        return Damaged((a[rng.permutation(len(a))] @ _orthogonal(a.shape[1], rng)).astype(np.float32))
    return Damaged(rng.uniform(-1, 1, a.shape).astype(np.float32))


CAUSES: dict[str, Damage] = {
    f.__name__: f
    for f in (
        *(identical, cast, quantized, scaled, columns_scaled, normalised, mean_removed, mean_added, components_removed),
        *(whitened, rotated, columns_permuted, columns_sliced, columns_padded, columns_interleaved, rows_shifted),
        *(rows_permuted, rows_truncated, reordered, other_tokenizer, rows_overwritten, rows_untouched, rows_padded),
        *(noise, fine_tuned, merged, another_run, unrelated),
    )
} | {"quantized: in groups": grouped, "mean_removed: of each row": rows_centred}


# --- what is in no list ---------------------------------------------------------------------------------------------


def bent(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    scale = float(a.std()) * (4.0, 2.0, 1.0)[strength]
    return Damaged((np.tanh(a / scale) * scale).astype(np.float32))


def clipped(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    end = float(a.std()) * (2.0, 1.0, 0.5)[strength]
    return Damaged(np.clip(a, -end, end))


def row_factors(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    factors = np.exp(rng.standard_normal(len(a)) * (0.05, 0.2, 1.0)[strength])
    return Damaged((a * factors[:, None]).astype(np.float32))


def smeared(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    share = (0.05, 0.2, 0.4)[strength]
    return Damaged(((1 - share) * a + share * np.roll(a, 1, axis=0)).astype(np.float32))


def bit_flips(a: Matrix, strength: int, rng: np.random.Generator) -> Damaged:
    b = a.copy().ravel()
    hit = rng.random(b.size) < (0.002, 0.01, 0.05)[strength]
    b.view(np.uint32)[hit] ^= np.uint32(1 << 24)
    return Damaged(b.reshape(a.shape))


UNKNOWN: dict[str, Damage] = {f.__name__: f for f in (bent, clipped, row_factors, smeared, bit_flips)}
COMPOSED = (
    *(
        ("quantized", "rows_shifted"),
        ("cast", "scaled"),
        ("normalised", "mean_removed"),
        ("normalised", "columns_sliced"),
    ),
    *(("cast", "rows_overwritten"), ("quantized", "rows_padded"), ("noise", "columns_permuted"), ("scaled", "rotated")),
    *(("fine_tuned", "rows_untouched"), ("normalised", "components_removed")),
)
"""The second is done first."""
