import itertools

import numpy as np
import pytest
import torch

import embcheck.table
from embcheck.measures import all_pairs, kernels, signs
from embcheck.table import EmbeddingTable

PATHS = [
    (torch.float32, False),
    (torch.float16, False),
    (torch.bfloat16, False),
    (torch.bfloat16, True),
]


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
    monkeypatch.setattr(all_pairs, "bfloat16_pays", lambda: native)
    monkeypatch.setattr(all_pairs, "TILE", tile)
    table = nearly_orthogonal.with_vectors(nearly_orthogonal.vectors.to(dtype))
    expected = exact_counts(table.vectors)
    assert all_pairs.all_pairs_counts(table).tolist() == expected
    assert kernels.probe_statistics(table, table.population).non_negative.tolist() == expected
    negative = kernels.row_counts(table, table.population)
    assert (len(table.population) - 1 - negative).tolist() == expected


@pytest.mark.parametrize(
    "vectors", [torch.eye(30), torch.eye(30).repeat(2, 1) - 0.5 * torch.eye(30).repeat(2, 1).roll(1, 0)]
)
def test_sparse_rows_tie_at_zero(words, vectors):
    """Products that are exactly zero count as zero, in tables where nearly all of them are."""
    table = EmbeddingTable.from_arrays(vectors, words(len(vectors)))
    assert all_pairs.all_pairs_counts(table).tolist() == exact_counts(vectors)
    assert kernels.probe_statistics(table, table.population).non_negative.tolist() == exact_counts(vectors)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("dtype", "native"), PATHS, ids=str)
def test_counts_do_not_depend_on_blocks_threads_and_types_of_products(
    monkeypatch, gaussian_table, dtype, native, threads
):
    """Blocks of several sizes, one thread or two, products in the stored type or wider ones: the same counts."""
    table = gaussian_table(700, 33, shift=0.2, gaps=True, dtype=dtype)
    probes = table.probes(90)
    monkeypatch.setattr(all_pairs, "bfloat16_pays", lambda: False)
    expected = all_pairs.all_pairs_counts(table)[np.searchsorted(table.population, probes)].tolist()
    monkeypatch.setattr(all_pairs, "bfloat16_pays", lambda: native)
    torch.set_num_threads(threads)
    try:
        for block, product in ((1, 2**20), (4 * 33 * 600, 4 * 90 * 300), (2**24, 2**12)):
            monkeypatch.setattr(embcheck.table, "BLOCK_BYTES", block)
            monkeypatch.setattr(kernels, "PRODUCT_BYTES", product)
            monkeypatch.setattr(all_pairs, "TILE", 100 + product % 77)
            assert kernels.probe_statistics(table, probes).non_negative.tolist() == expected
            everyone = all_pairs.all_pairs_counts(table)
            assert everyone[np.searchsorted(table.population, probes)].tolist() == expected
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("shift", [0.0, 1.0])
@pytest.mark.parametrize(("dtype", "width"), [(torch.float32, 640), (torch.bfloat16, 1024)])
def test_fast_products_are_closer_than_their_tolerance(rng, dtype, width, shift):
    """Rounding errors of fast products stay below a third of the tolerance, for rows with a common part too."""
    rows = torch.from_numpy(rng.standard_normal((600, width)).astype(np.float32) + np.float32(shift)).to(dtype)
    wide = rows.double()
    truth, lengths = wide @ wide.T, wide.norm(dim=1)
    near = (
        truth.abs() < 0.01 * torch.outer(lengths, lengths) if shift == 0 else torch.ones_like(truth, dtype=torch.bool)
    )
    found = (rows.float() @ rows.float().T).double()  # what bfloat16 products are before they are rounded to store them
    errors = ((found - truth).abs() / torch.outer(lengths, lengths))[near]
    assert errors.max() < signs.tolerance(width, torch.device("cpu")) / 3


@pytest.mark.parametrize("split", [signs._split, signs._split_there])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_cells_near_zero_are_found_in_every_type(dtype, split):
    """Every cell below the limit is found, and none far above it: signed zeros are among the first."""
    values = torch.tensor([[0.0, -0.0, 1e-3, -1e-3], [2e-2, -2e-2, 1.0, -1.0]]).to(dtype)
    above, near = split(values, torch.tensor(2e-3).to(dtype))
    assert near.tolist() == [0, 1, 2, 3]
    assert above.tolist() == [[False] * 4, [True, False] * 2]
    assert split(values, torch.tensor(0.5).to(dtype))[1].tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_only_cells_that_their_own_limits_leave_in_doubt_are_asked_for(dtype):
    """The limit of a cell is its row's times its column's: others keep the sign that the product has."""
    product, factors = torch.ones(2, 200, dtype=dtype), torch.ones(200)
    product[:, :2] = torch.tensor([1e-3, -1e-3])
    limits = torch.tensor([1e-2, 1e-4])
    rows = torch.tensor([[-1.0], [1.0]]), torch.ones(200, 1)
    mask = signs.non_negative(product, limits, factors, lambda: rows)
    assert mask[:, :2].tolist() == [[False, False], [True, False]]
    assert mask[:, 2:].all()
    assert not signs.non_negative(product, limits, factors / 20, lambda: 1 / 0)[:, 1].any()


def test_totals_are_sums(rng):
    """Totals of rows and columns equal sums, for shapes that fill no whole bytes or words, and more than 255 rows."""
    for shape in ((1, 1), (3, 9), (700, 130), (513, 64)):
        mask = rng.random(shape) < 0.7
        assert signs.row_totals(mask).tolist() == mask.sum(1).tolist()
        assert signs.column_totals(mask).tolist() == mask.sum(0).tolist()
        tensor = torch.from_numpy(mask)
        assert signs.row_totals(tensor).tolist() == mask.sum(1).tolist()
        assert signs.column_totals(tensor).tolist() == mask.sum(0).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_devices_count_alike(monkeypatch, nearly_orthogonal, dtype):
    """The path of other devices, with its masks in PyTorch, gives the same signs as the CPU's."""
    rows = nearly_orthogonal.vectors.to(dtype)
    product, limits = rows @ rows.T, signs.tolerance(16, rows.device) * rows.float().norm(dim=1) * 10
    here = signs.non_negative(product, limits, limits / limits.max(), lambda: (rows, rows))
    monkeypatch.setattr(signs, "_split", lambda product, limit, _out: signs._split_there(product, limit))
    there = signs.non_negative(product, limits, limits / limits.max(), lambda: (rows, rows))
    assert isinstance(here, np.ndarray)
    assert isinstance(there, torch.Tensor)
    assert there.tolist() == here.tolist()
