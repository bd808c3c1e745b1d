import itertools

import numpy as np
import pytest
import torch

from embcheck.measures.kernels import all_pairs, probe_cosines, signs
from embcheck.table import EmbeddingTable

PATHS = list(itertools.product((torch.float32, torch.float16, torch.bfloat16), (False, True)))
"""Types that rows are stored in, and whether bfloat16 is multiplied: rows stored so as they are, others in parts."""


def exact_counts(vectors):
    """How many others each row has a product of zero or more with, in whole numbers and so without rounding."""
    scaled = [[int(x * 2**40) for x in row] for row in vectors.double().tolist()]
    assert [[x / 2**40 for x in row] for row in scaled] == vectors.double().tolist()
    counts = np.zeros(len(scaled), dtype=np.int64)
    for i, j in itertools.combinations(range(len(scaled)), 2):
        if sum(a * b for a, b in zip(scaled[i], scaled[j], strict=True)) >= 0:
            counts[[i, j]] += 1
    return counts.tolist()


@pytest.fixture(scope="module")
def nearly_orthogonal(words):
    """Rows in pairs whose products are zero, or off by one step of the type: float32 sums can't tell them apart."""
    rng = np.random.default_rng(5)
    first = rng.standard_normal((40, 16)).astype(np.float32)
    first = torch.from_numpy(first).bfloat16().float()
    swapped = first.view(40, 8, 2).flip(2) * torch.tensor([1.0, -1.0])
    second = swapped.reshape(40, 16).clone()
    second[::3, 0] *= 1 + 2.0**-7
    second[1::3, 1] *= 1 - 2.0**-7
    vectors = torch.cat([first, second.bfloat16().float(), second[:, torch.randperm(16)].bfloat16().float()])
    return EmbeddingTable.from_arrays(vectors, words(len(vectors)))


@pytest.mark.parametrize(("dtype", "native"), PATHS, ids=str)
@pytest.mark.parametrize("tile", [16, 1024])
def test_counts_are_those_of_exact_arithmetic(monkeypatch, nearly_orthogonal, dtype, native, tile):
    """Counts equal those of whole numbers on every path: float32, bfloat16 multiplied as it is, probes, all pairs."""
    monkeypatch.setattr(all_pairs, "bfloat16_pays", lambda _terms=1: native)
    monkeypatch.setattr(all_pairs, "TILE", tile)
    table = nearly_orthogonal.with_vectors(nearly_orthogonal.vectors.to(dtype))
    expected = exact_counts(table.vectors)
    assert all_pairs.all_pairs_counts(table).tolist() == expected
    assert probe_cosines.probe_statistics(table, table.population).non_negative.tolist() == expected
    negative = probe_cosines.row_counts(table, table.population)
    assert (len(table.population) - 1 - negative).tolist() == expected


@pytest.mark.parametrize(
    "vectors", [torch.eye(30), torch.eye(30).repeat(2, 1) - 0.5 * torch.eye(30).repeat(2, 1).roll(1, 0)]
)
def test_sparse_rows_tie_at_zero(words, vectors):
    """Products that are exactly zero count as zero, in tables where nearly all of them are."""
    table = EmbeddingTable.from_arrays(vectors, words(len(vectors)))
    assert all_pairs.all_pairs_counts(table).tolist() == exact_counts(vectors)
    assert probe_cosines.probe_statistics(table, table.population).non_negative.tolist() == exact_counts(vectors)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("dtype", "native"), PATHS, ids=str)
def test_counts_do_not_depend_on_blocks_threads_and_types_of_products(
    monkeypatch, gaussian_table, dtype, native, threads
):
    """Blocks of several sizes, one thread or two, products in the stored type or wider ones: the same counts."""
    table = gaussian_table(700, 33, shift=0.2, gaps=True, dtype=dtype)
    probes = table.probes(90)
    monkeypatch.setattr(all_pairs, "bfloat16_pays", lambda _terms=1: False)
    expected = all_pairs.all_pairs_counts(table)[np.searchsorted(table.population, probes)].tolist()
    monkeypatch.setattr(all_pairs, "bfloat16_pays", lambda _terms=1: native)
    torch.set_num_threads(threads)
    try:
        for block, product in ((1, 2**20), (4 * 33 * 600, 4 * 90 * 300), (2**24, 2**12)):
            monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", block)
            monkeypatch.setattr(probe_cosines, "PRODUCT_BYTES", product)
            monkeypatch.setattr(all_pairs, "TILE", 100 + product % 77)
            assert probe_cosines.probe_statistics(table, probes).non_negative.tolist() == expected
            everyone = all_pairs.all_pairs_counts(table)
            assert everyone[np.searchsorted(table.population, probes)].tolist() == expected
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 640), (torch.bfloat16, 1024)])
def test_fast_products_are_closer_than_their_tolerance(rng, dtype, width, shift):
    """Rounding errors of fast products stay below half of the tolerance, for rows with a common part too."""
    rows = torch.from_numpy(rng.standard_normal((600, width)).astype(np.float32) + np.float32(shift)).to(dtype)
    wide = rows.double()
    truth, lengths = wide @ wide.T, wide.norm(dim=1)
    near = (
        truth.abs() < 0.01 * torch.outer(lengths, lengths) if shift == 0 else torch.ones_like(truth, dtype=torch.bool)
    )
    found = (rows.float() @ rows.float().T).double()  # what bfloat16 products are before they are rounded to store them
    errors = ((found - truth).abs() / torch.outer(lengths, lengths))[near]
    assert errors.max() < signs.tolerance(width, torch.device("cpu")) / 2


@pytest.mark.parametrize("count", [signs._count, signs._count_there])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cells_near_zero_are_found_in_every_type(dtype, count):
    """Every cell below the limit is found, and none far above it: signed zeros are among the first."""
    values = torch.tensor([[0.0, -0.0, 1e-3, -1e-3], [2e-2, -2e-2, 1.0, -torch.inf]]).to(dtype)
    found = count(values, torch.tensor(2e-3).to(dtype))
    assert found.near.tolist() == [0, 1, 2, 3]
    assert (found.rows.tolist(), found.columns.tolist()) == ([0, 2], [1, 0, 1, 0])
    assert count(values, torch.tensor(0.5).to(dtype)).near.tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("shape", [(1, 1), (3, 9), (700, 130), (513, 64), (2, 200_000)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_totals_are_sums(rng, shape, dtype):
    """Totals and places equal those of a plain comparison, for shapes that fill no whole words, and many rows."""
    values = torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(dtype)
    limit = torch.tensor(0.01).to(dtype)
    for count in (signs._count, signs._count_there):
        found = count(values, limit)
        assert found.rows.tolist() == (values >= limit).sum(1).tolist()
        assert found.columns.tolist() == (values >= limit).sum(0).tolist()
        assert found.near.tolist() == np.flatnonzero(values.float().abs() < limit.float()).tolist()


def test_row_totals_are_sums(rng):
    """Totals of rows equal sums, for widths that fill no whole bytes or words."""
    for shape in ((1, 1), (3, 9), (70, 130), (13, 64)):
        mask = rng.random(shape) < 0.7
        assert signs.row_totals(mask).tolist() == mask.sum(1).tolist()
        assert signs.row_totals(torch.from_numpy(mask)).tolist() == mask.sum(1).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_cells_that_their_own_limits_leave_in_doubt_are_asked_for(words, monkeypatch, dtype):
    """A cell has its own bound: one beyond it keeps the sign that the product has, and is not worked out."""
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1e-3]])
    table = EmbeddingTable.from_arrays(rows, words(3))
    product = torch.tensor([[1.0, 1e-3, -1e-3]], dtype=dtype)
    cells = signs.count(product.repeat(1, 30), 2e-3, lambda: (rows[:1], rows.repeat(30, 1))).cells(product, 0, 0)
    assert len(cells[0]) == 0  # so many in doubt that all were worked out
    tally = signs.Tally(None, None, torch.tensor([1, 2]))
    cells = tally.cells(product, 0, 0)
    sides = tuple(signs.Side(table.vectors, table.norms, ids) for ids in (torch.tensor([0]), torch.arange(3)))
    assert [places.tolist() for places in signs.settle(sides, cells, torch.tensor([2e-3, 2e-3]))] == [[0], [1]]
    monkeypatch.setattr(signs, "of_pairs", lambda _sides, first, _second, _center: torch.zeros(len(first)).bool())
    assert [places.tolist() for places in signs.settle(sides, cells, torch.tensor([1e-4, 2e-3]))] == [[0], [1]]
    assert [places.tolist() for places in signs.settle(sides, cells, 2e-3)] == [[], []]


def test_dense_products_leave_out_what_is_left_out():
    """Where most cells are near zero all are worked out, but for those of minus infinity, which count nowhere."""
    rows = torch.eye(40)
    product = rows @ rows.T
    product.fill_diagonal_(-torch.inf)
    found = signs.count(product, 1e-6, lambda: (rows, rows))
    assert (found.rows.tolist(), found.columns.tolist(), len(found.near)) == ([39] * 40, [39] * 40, 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_devices_count_alike(monkeypatch, nearly_orthogonal, dtype):
    """The path of other devices, which counts in PyTorch, gives the counts of exact arithmetic too."""
    monkeypatch.setattr(signs, "_count", signs._count_there)
    table = nearly_orthogonal.with_vectors(nearly_orthogonal.vectors.to(dtype))
    expected = exact_counts(table.vectors)
    assert all_pairs.all_pairs_counts(table).tolist() == expected
    assert probe_cosines.probe_statistics(table, table.population).non_negative.tolist() == expected


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("kind", ["gaussian", "halves", "large coordinates", "few values"])
def test_products_in_parts_are_closer_than_the_error_they_state(words, rng, kind, scale):
    """What products of bfloat16 parts leave out, and how they are rounded, stays below the stated error near zero."""
    rows = rng.standard_normal((500, 96))
    if kind == "halves":  # sums that rise to half of |x| |y|, and fall back
        rows = np.abs(rows)
        rows[::2, 48:] *= -1
    rows[:, [3, 51]] *= 50 if kind == "large coordinates" else 1
    rows = rows.round() if kind == "few values" else rows
    vectors = torch.from_numpy((rows * scale).astype(np.float32))
    table = EmbeddingTable.from_arrays(vectors, words(500))
    factors = all_pairs._split_factors(table, lambda part: table.gather(table.population[part]), table.norms.float())
    everyone = slice(0, 500)
    found = factors.first(everyone).float() @ factors.second(everyone).float().T  # before it is rounded to be stored
    truth, lengths = vectors.double() @ vectors.double().T, torch.outer(table.norms, table.norms)
    near = truth.abs() < 0.01 * lengths
    errors = ((found.double() - truth).abs() / lengths)[near]
    assert near.sum() > 200
    assert errors.max() < factors.error / 2 < 2e-5
    assert errors.max() > 0.02 * factors.error or kind == "few values"


def test_sums_that_cancel_stay_within_the_tolerance(rng):
    """Large terms that cancel: the sum on the way is as large as it can be, half of the lengths' product."""
    width = 1_024
    first = torch.from_numpy(rng.standard_normal((300, width)).astype(np.float32))
    second = first.clone()
    second[:, width // 2 :] *= -1  # rises to half of |x| |y|, and falls back
    second *= torch.from_numpy(rng.uniform(0.9, 1.1, second.shape).astype(np.float32))
    second[:, -1] -= ((first.double() * second.double()).sum(1) / first[:, -1].double()).float()
    keep = second[:, -1].abs() < 1e3
    truth = (first.double() * second.double()).sum(1)[keep]
    found = (first @ second.T).diagonal()[keep].double()
    lengths = (first.double().norm(dim=1) * second.double().norm(dim=1))[keep]
    assert keep.sum() > 200
    assert ((found - truth).abs() / lengths).max() < signs.tolerance(width, torch.device("cpu")) / 2


@pytest.mark.parametrize("native", [False, True])
def test_rows_of_very_different_lengths_are_not_all_in_doubt(monkeypatch, gaussian_table, native):
    """Cells that only the longest rows' bound leaves in doubt are counted as they are, not worked out again."""
    monkeypatch.setattr(all_pairs, "bfloat16_pays", lambda _terms=1: native)
    table = gaussian_table(900, 20)
    expected = all_pairs.all_pairs_counts(table).tolist()
    scaled = table.with_vectors(table.vectors * torch.logspace(-3, 2, 900)[:, None])
    asked = []
    exact = signs.of_pairs
    monkeypatch.setattr(signs, "_dense", lambda *_: pytest.fail("a whole product was worked out again"))
    monkeypatch.setattr(signs, "of_pairs", lambda *given: (asked.append(len(given[1])), exact(*given))[1])
    assert all_pairs.all_pairs_counts(scaled).tolist() == expected
    assert sum(asked) < 900 * 900 / 2 * 5e-4
