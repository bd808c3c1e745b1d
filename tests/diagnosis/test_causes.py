"""Every cause on tables that are damaged by code which shares nothing with the fits; by hand: benchmarks.confusion."""

import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

import embcheck
from benchmarks.confusion import diagnosed, table_of
from benchmarks.damage import CAUSES, COMPOSED, UNKNOWN
from embcheck.diagnosis.causes.cast import cast_of
from embcheck.diagnosis.causes.merged import merge_of
from embcheck.diagnosis.causes.quantized import grid_of
from embcheck.diagnosis.causes.rotated import procrustes
from embcheck.diagnosis.diagnose import of_tables
from embcheck.diagnosis.view import moments_of, sampled
from embcheck.reports.diagnosis import ABSTAINED
from embcheck.reports.diagnosis import CAUSES as NAMED

ROWS, WIDTH = 3_000, 64
STRENGTHS = [1, *(pytest.param(k, marks=pytest.mark.slow) for k in (0, 2))]


def _vectors(seed: int = 0) -> np.ndarray:
    """Rows about a mean, with a few long axes, as embeddings have."""
    rng = np.random.default_rng(seed)
    axes = np.exp(-0.03 * np.arange(WIDTH))
    return ((rng.standard_normal((ROWS, WIDTH)) * axes + 0.3 * rng.standard_normal(WIDTH)) * 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    return table_of(_vectors(), [f"word{row}" for row in range(ROWS)])


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", CAUSES)
def test_a_cause_is_named_with_its_parameters(reference, name, strength):
    """What was done to a table is what is said of it, whichever the strength, with the numbers that it was done by."""
    damaged = CAUSES[name](_vectors(), strength, np.random.default_rng([strength, zlib.crc32(name.encode())]))
    if damaged is None:
        pytest.skip("a table of this shape can't have it")
    case = diagnosed(reference, name, damaged, [name.split(":")[0]])
    assert case.is_right, (case.named, case.said)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("factors", "said"), [((2, 2), "by 2"), ((0.5, 3), "by a factor of its own, 0.5 to 3")])
def test_rows_that_were_multiplied_are_named(reference, factors, said, dtype):
    """Where some rows are their old selves times a number, they are named with it, whatever the table is cast to."""
    vectors, rows = _vectors(), np.arange(100, 300, 2)
    vectors[rows] *= np.linspace(*factors, len(rows), dtype=np.float32)[:, None]
    cause, *casts = of_tables(reference, table_of(vectors, reference.tokens, dtype)).causes
    assert (cause.cause, cause.rows, [each.cause for each in casts]) == ("scaled", 100, ["cast"][: dtype.itemsize < 4])
    low, high = cause.parameters["least"], cause.parameters["greatest"]
    assert (low, high) == pytest.approx(factors, rel=2e-3)
    start = "100 of 3000 rows (#100 'word100', #102 'word102', #104 'word104', ...) are each multiplied"
    assert cause.sentence == f"{start} {said}"


def _uneven() -> np.ndarray:
    """As vocabularies are: short rows first that nothing was trained on, and a few with one column far out."""
    vectors = _vectors()
    vectors[:300] *= 0.05
    vectors[400:430, 5] *= 40
    return vectors


def _by_library(kind: str) -> np.ndarray:
    gguf = pytest.importorskip("gguf", reason="the gguf extra is not installed")
    type_ = gguf.GGMLQuantizationType[kind]
    return gguf.quants.dequantize(gguf.quants.quantize(_uneven(), type_), type_)


def _by_step(size: int, levels: int, most: int) -> np.ndarray:
    """Blocks of a row, each in steps of its largest magnitude by ``levels``, cut at ``most`` of them."""
    blocks = _uneven().reshape(ROWS, -1, size)
    step = np.abs(blocks).max(-1, keepdims=True) / levels
    return (np.clip(np.round(blocks / step), -levels, most) * step).reshape(ROWS, WIDTH).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        *((kind, lambda kind=kind: _by_library(kind)) for kind in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0")),
        ("int8 per row", lambda: _by_step(WIDTH, 127, 127)),
        ("int8 per row", lambda: _by_step(WIDTH, 128, 127)),
        ("int4 per row", lambda: _by_step(WIDTH, 7, 7)),
        ("int4 in groups of 32", lambda: _by_step(32, 7, 7)),
    ],
)
def test_quantizing_rows_of_very_different_lengths_is_no_training(kind, made):
    """Long rows, and those with one column far out, are rounded by more than others: that is all that happened."""
    tokens = [f"word{row}" for row in range(ROWS)]
    found = of_tables(table_of(_uneven(), tokens), table_of(made(), tokens))
    assert [(cause.cause, cause.parameters["type"]) for cause in found.causes] == [("quantized", kind)]


def _by_one_scale(levels: int, *, zero: bool) -> tuple[np.ndarray, float, float]:
    """Values in equal steps from the least to the greatest, less a zero point or not; the step and the zero point."""
    vectors = _vectors().astype(np.float64) + 0.05
    step = (vectors.max() - vectors.min()) / levels
    zero_point = np.round(-vectors.min() / step)
    codes = np.clip(np.round(vectors / step) + zero_point, 0, levels)
    return ((codes - zero_point * zero) * step).astype(np.float32), step, zero_point * step


@pytest.mark.parametrize(("levels", "kind"), [(255, "int8 per tensor"), (15, "int4 per tensor")])
def test_one_scale_for_a_whole_table_is_no_grid_of_blocks(levels, kind):
    """Values that lie in equal steps all over a table, with a zero point or not, have one scale of the tensor."""
    tokens, (made, step, _) = [f"word{row}" for row in range(ROWS)], _by_one_scale(levels, zero=True)
    (cause,) = of_tables(table_of(_vectors() + np.float32(0.05), tokens), table_of(made, tokens)).causes
    assert (cause.cause, cause.parameters["type"]) == ("quantized", kind)
    assert cause.parameters["step"] == pytest.approx(step, rel=1e-5)


@pytest.mark.parametrize(("levels", "kind"), [(255, "int8 per tensor"), (15, "int4 per tensor")])
def test_a_zero_point_that_was_not_taken_off_is_the_constant_that_is_added(levels, kind):
    """Integers times their scale, with the zero point still in them: the grid is named, and zero point times scale."""
    tokens, (made, _, constant) = [f"word{row}" for row in range(ROWS)], _by_one_scale(levels, zero=False)
    added, quantized = of_tables(table_of(_vectors() + np.float32(0.05), tokens), table_of(made, tokens)).causes
    assert (added.cause, quantized.cause, quantized.parameters["type"]) == ("mean_added", "quantized", kind)
    assert added.parameters["constant"] == pytest.approx(constant, rel=0.01)
    assert added.parameters["length"] == pytest.approx(constant * WIDTH**0.5, rel=0.01)


def test_a_vector_that_is_added_is_no_constant(reference):
    """A vector of different numbers, however near to one, is said as a vector."""
    vector = 0.5 + 0.01 * np.random.default_rng(0).standard_normal(WIDTH)
    added = (_vectors() + vector).astype(np.float32)
    (cause,) = of_tables(reference, table_of(added, [f"word{row}" for row in range(ROWS)])).causes
    assert (cause.cause, cause.parameters.keys()) == ("mean_added", {"length"})


@pytest.mark.parametrize("kept", [48, 32])
def test_rows_cut_after_they_were_quantized_keep_their_grid(kept):
    """Where a row's largest value is cut away, its steps are read off those that are left."""
    tokens, large_last = [f"word{row}" for row in range(ROWS)], _uneven()[:, ::-1].copy()
    made = _by_step(WIDTH, 127, 127)[:, ::-1][:, :kept].copy()
    sliced, quantized = of_tables(table_of(large_last, tokens), table_of(made, tokens)).causes
    assert (sliced.cause, sliced.parameters["kept"]) == ("columns_sliced", kept)
    assert (quantized.cause, quantized.parameters["type"]) == ("quantized", "int8 per row")
    steps = np.delete(np.abs(_uneven()).max(1) / 127, slice(400, 430))  # of those far out hardly any is looked at
    assert quantized.parameters["step"] == pytest.approx(np.sqrt((steps**2).mean()), rel=0.2)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_in_no_list_is_called_nothing(reference, name, strength):
    """Damage of no known kind gets no name: none would be right."""
    damaged = UNKNOWN[name](_vectors(), strength, np.random.default_rng(strength))
    case = diagnosed(reference, name, damaged, [ABSTAINED])
    assert case.is_right, (case.named, case.said)


@pytest.mark.parametrize(("second", "first"), COMPOSED)
def test_two_causes_are_both_named(reference, second, first):
    """Of two things done one after the other, both are named."""
    rng = np.random.default_rng(1)
    one = CAUSES[first](_vectors(), 1, rng)
    two = CAUSES[second](one.vectors, 1, rng)
    case = diagnosed(reference, first, type(two)(two.vectors, tokens=one.tokens, dtype=two.dtype), [first, second])
    assert case.is_right, (case.named, case.said)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_an_untouched_table_is_never_accused(dtype):
    """The same rows, saved again in the same or a wider float, are identical."""
    vectors = torch.from_numpy(_vectors()).to(dtype)
    words = [f"word{row}" for row in range(ROWS)]
    before = embcheck.EmbeddingTable.from_arrays(vectors, words)
    for after in (
        vectors.clone(),
        vectors.to(torch.float64),
        vectors.float() if dtype is not torch.float64 else vectors,
    ):
        diagnosis = of_tables(before, embcheck.EmbeddingTable.from_arrays(after, words))
        assert diagnosis.cause == "identical"
        assert diagnosis.is_harmless()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("size", [0.002, 0.005, 0.02])
def test_a_change_that_rounding_could_hide_is_no_identity(dtype, size):
    """Noise no larger than what the tables' float rounds off is still a change: the same rows would be equal."""
    vectors = torch.from_numpy(_vectors()).to(dtype)
    words = [f"word{row}" for row in range(ROWS)]
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(vectors.shape)) * size * vectors.double().std()
    changed = (vectors.double() + noise).to(dtype)
    before, after = (embcheck.EmbeddingTable.from_arrays(rows, words) for rows in (vectors, changed))
    assert not of_tables(before, after).is_harmless()
    exact = embcheck.EmbeddingTable.from_arrays(vectors.float(), words)  # and so it is where the candidate is rounded
    half = embcheck.EmbeddingTable.from_arrays((vectors.double() + noise).to(torch.bfloat16), words)
    assert not of_tables(exact, half).is_harmless()


@pytest.mark.slow
@given(seed=st.integers(0, 2**31), order=st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_the_name_does_not_hang_on_which_rows_come_first(seed, order):
    """A table and its damaged copy, both with their rows in another order, are diagnosed alike."""
    vectors = _vectors()
    blocks = np.concatenate([np.array_split(np.arange(ROWS), 6)[block] for block in order])
    factor = 1.5 + seed % 7
    words = [f"word{row}" for row in blocks]
    diagnosis = of_tables(table_of(vectors[blocks], words), table_of(vectors[blocks] * np.float32(factor), words))
    assert diagnosis.cause == "scaled"
    assert diagnosis.causes[0].parameters["factor"] == pytest.approx(factor, rel=1e-5)


def test_every_name_that_can_be_given_is_known():
    """The names that --allow takes are all those of the damages, and of encoders."""
    assert {name.split(":")[0] for name in CAUSES} <= NAMED


@pytest.mark.parametrize(
    ("value", "says"), [(0.0, "1 row (#40 'word40') is zero"), (np.nan, "1 row (#40 'word40') holds NaN or infinity")]
)
def test_one_row_is_said_in_the_singular(value, says):
    """A single row that was overwritten *is* or *holds* something."""
    vectors = _vectors()
    damaged = vectors.copy()
    damaged[40] = value
    words = [f"word{row}" for row in range(len(vectors))]
    assert of_tables(table_of(vectors, words), table_of(damaged, words)).causes[-1].sentence == says


@pytest.mark.parametrize(
    ("to", "source", "said"),
    [
        (slice(500, 900), slice(501, 901), {"by": -1, "from": 500, "to": 899}),
        (slice(501, 901), slice(500, 900), {"by": 1, "from": 501, "to": 900}),
        (slice(500, 900), slice(503, 903), {"by": -3, "from": 500, "to": 899}),
        (slice(0, 400), slice(1, 401), {"by": -1, "from": 0, "to": 399}),
        (slice(500, ROWS - 1), slice(501, ROWS), {"by": -1, "from": 500}),
        (slice(500, 900), slice(1500, 1900), {"kind": "copies", "rows": 400}),
        (slice(500, 503), slice(1500, 1503), {"kind": "copies", "rows": 3}),
    ],
)
def test_rows_copied_within_a_table_are_shifted_where_they_are(reference, to, source, said):
    """A run of rows that stand beside their places ends where it ends; one from far away is copied."""
    damaged = _vectors()
    damaged[to] = _vectors()[source]
    (cause,) = of_tables(reference, table_of(damaged, [f"word{row}" for row in range(ROWS)])).causes
    assert dict(cause.parameters) == said
    assert cause.cause == ("rows_overwritten" if "kind" in said else "rows_shifted")


# --- the parts, against references ------------------------------------------------------------------------------------


def test_procrustes_is_scipys():
    """The orthogonal matrix is that of scipy, and some overwritten rows don't turn it."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((400, 10))
    turn, _ = np.linalg.qr(rng.standard_normal((10, 10)))
    b = a @ turn + 0.01 * rng.standard_normal((400, 10))
    ours = procrustes(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(ours, orthogonal_procrustes(a, b)[0], atol=1e-3)
    b[:40] = rng.standard_normal((40, 10))
    np.testing.assert_allclose(procrustes(torch.from_numpy(a), torch.from_numpy(b)).numpy(), turn, atol=5e-3)


def test_moments_are_numpys():
    """Mean and covariance of all finite rows are those of numpy in float64, however long the mean is."""
    vectors = _vectors() + np.float32(100)
    vectors[5] = np.nan
    moments = moments_of(table_of(vectors, [f"word{row}" for row in range(ROWS)]))
    kept = np.delete(vectors, 5, axis=0).astype(np.float64)
    np.testing.assert_allclose(moments.mean.numpy(), kept.mean(0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance.numpy(), np.cov(kept.T, bias=True), rtol=1e-6, atol=1e-12)
    assert moments.rows == ROWS - 1


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_merges_share_is_found(share):
    """A linear mean and one along the arc are told apart, each with the share that it was made by."""
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.standard_normal((300, 16))) for _ in range(2))
    linear = merge_of(a, b, (1 - share) * a + share * b)
    assert (linear.kind, linear.share) == ("linear", pytest.approx(share, abs=1e-6))
    angle = torch.arccos(torch.nn.functional.cosine_similarity(a, b, dim=1))[:, None]
    arc = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / torch.sin(angle)
    slerp = merge_of(a, b, arc)
    assert (slerp.kind, slerp.share) == ("slerp", pytest.approx(share, abs=1e-4))


@pytest.mark.parametrize("kind", ["Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1"])
def test_a_grid_is_told_from_values_alone(kind):
    """Rows that the reference library quantized are known by their values; rows that it didn't are on no grid."""
    gguf = pytest.importorskip("gguf")
    vectors = _vectors()
    quantization = gguf.GGMLQuantizationType[kind]
    values = gguf.quants.dequantize(gguf.quants.quantize(vectors, quantization), quantization)
    largest = float(np.abs(values).max())
    assert grid_of(torch.from_numpy(values).double(), largest, 2.0**-25).kind == kind
    assert grid_of(torch.from_numpy(vectors).double(), float(np.abs(vectors).max()), 2.0**-25) is None


@pytest.mark.parametrize("dtype", ["float8_e5m2", "bfloat16", "float16", "float32"])
def test_the_smallest_float_is_named(dtype):
    """Values rounded to a float are held by that one and by none that is smaller."""
    values = torch.from_numpy(_vectors()).to(getattr(torch, dtype)).double()
    assert cast_of(values, float(values.abs().max())).dtype == dtype


def test_rows_are_drawn_by_their_ids():
    """Which rows are looked at hangs on their ids: dropping others leaves the drawn ones drawn."""
    ids = np.arange(10_000)
    drawn = sampled(ids, 100)
    assert len(np.unique(drawn)) == 100
    kept = np.setdiff1d(ids, np.setdiff1d(ids, drawn)[::3])
    np.testing.assert_array_equal(sampled(kept, 100), drawn)
    assert abs(drawn.mean() - 5_000) < 1_000
