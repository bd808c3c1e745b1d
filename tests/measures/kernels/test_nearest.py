import numpy as np
import pytest
import torch

from embcheck.measures.kernels import nearest as module
from embcheck.measures.kernels.nearest import nearest, top_k
from embcheck.table import EmbeddingTable


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(900, 6, shift=0.3, gaps=True)


@pytest.fixture
def small_tiles(monkeypatch):
    """Several blocks, tiles and query chunks."""
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 4 * 6 * 300)
    monkeypatch.setattr(module, "_CELLS", 7 * 256)
    monkeypatch.setattr(module, "QUERIES", 7)


@pytest.mark.parametrize("by", ["cosine", "distance"])
def test_nearest_rows_are_those_of_the_whole_matrix(table, cosines, small_tiles, by):
    """The nearest by cosine and by Euclidean distance are the first of the sorted row, itself left out."""
    rows = table.probes(40)
    position = np.searchsorted(table.population, rows)
    vectors = table.vectors.double().numpy()[table.population]
    distance = ((vectors[position][:, None] - vectors) ** 2).sum(2)
    distance[np.arange(40), position] = np.inf
    score = np.nan_to_num(-cosines(table)[position], nan=np.inf) if by == "cosine" else distance
    assert nearest(table, rows, 5, by).tolist() == np.argsort(score, axis=1)[:, :5].tolist()


def test_no_row_is_its_own_neighbor(gaussian_table):
    """Among equal rows, too, a row is never in its own list; a list holds at most all others."""
    table = gaussian_table(30, 3)
    same = table.with_vectors(table.vectors[:1].repeat(30, 1))
    lists = nearest(same, same.population, 100)
    assert lists.shape == (30, 29)
    assert not (lists == np.arange(30)[:, None]).any()


def test_rows_that_tie_come_in_the_order_of_their_ids(gaussian_table, small_tiles):
    """Copies of a row, at whatever length, are equally near: the first ids are taken, whatever the tiles."""
    table = gaussian_table(900, 6)
    vectors = table.vectors.clone()
    vectors[100:110] = vectors[0] * torch.linspace(0.5, 3, 10)[:, None]
    tied = table.with_vectors(vectors)
    assert nearest(tied, np.array([0]), 6).tolist() == [list(range(100, 106))]
    assert top_k(tied, tied.vectors[:1], 4)[0].tolist() == [[0, 100, 101, 102]]


def test_of_many_equal_cosines_those_of_the_first_ids_are_taken(rng):
    """Rows of signs in few columns tie by the hundred: the lists are those of sorting all by (cosine, id)."""
    signs = rng.choice([-1, 1], (3_000, 8)).astype(np.int8)
    table = EmbeddingTable.from_arrays(torch.zeros(3_000, 8), [f"w{i}" for i in range(3_000)])
    table = table.with_vectors(torch.from_numpy(signs))
    rows = np.arange(0, 3_000, 100)
    products = signs[rows].astype(int) @ signs.T.astype(int)
    products[np.arange(len(rows)), rows] = -9
    expected = np.argsort(-products, axis=1, kind="stable")[:, :10]
    assert nearest(table, rows, 10).tolist() == expected.tolist()


@pytest.mark.parametrize("by", ["cosine", "distance"])
@pytest.mark.parametrize("threads", [1, 2])
def test_lists_do_not_depend_on_tiles_and_threads(monkeypatch, gaussian_table, by, threads):
    """Among rows of few distinct values, where ties and near ties abound, all tilings give the same lists."""
    table = gaussian_table(1200, 5, gaps=True)
    table = table.with_vectors((table.vectors * 2).round())
    rows = table.probes(60)
    whole = nearest(table, rows, 10, by)
    torch.set_num_threads(threads)
    try:
        for blocks, cells, queries in ((1, 7 * 300, 7), (4 * 5 * 700, 13 * 256, 13)):
            monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", blocks)
            monkeypatch.setattr(module, "_CELLS", cells)
            monkeypatch.setattr(module, "QUERIES", queries)
            assert nearest(table, rows, 10, by).tolist() == whole.tolist()
    finally:
        torch.set_num_threads(1)


def test_hits_are_merged_as_sorting_everything_would(rng):
    """The running best of several tiles, few or many cells of which are hits, is the top of them all together."""
    scores = torch.from_numpy(rng.standard_normal((5, 4000)).astype(np.float32))
    scores[:, 3000:3100] += 10  # a tile with many hits
    best = module._Best(5, 30, torch.device("cpu"))
    for start in range(0, 4000, 500):
        best.add(scores[:, start : start + 500].contiguous(), start)
    expected = scores.topk(30, dim=1).indices
    assert np.sort(best.found()[0], axis=1).tolist() == expected.sort(1).values.tolist()


def test_what_float32_cannot_tell_apart_is_ranked_in_float64(rng):
    """Rows whose cosines differ in the eighth digit, at the edge of the k and beyond it, come in their true order."""
    near = rng.standard_normal(48) + 1e-7 * rng.standard_normal((20, 48))
    rows = np.concatenate([near, rng.standard_normal((300, 48))]).astype(np.float32)
    table = EmbeddingTable.from_arrays(rows, [f"w{i}" for i in range(len(rows))])
    query = near.mean(0) + rng.standard_normal(48)
    ids, _ = top_k(table, torch.from_numpy(query)[None], 7)
    exact = rows.astype(np.float64) @ query / np.linalg.norm(rows.astype(np.float64), axis=1)
    assert ids[0].tolist() == np.argsort(-np.round(exact / np.linalg.norm(query), 12), kind="stable")[:7].tolist()


def test_top_k_is_a_full_sort(monkeypatch, gaussian_table):
    """The k nearest rows and their cosines are those of sorting all of them, across blocks."""
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 1)
    table = gaussian_table(700, 6, gaps=True)
    queries = torch.from_numpy(np.random.default_rng(1).standard_normal((3, 6))) * 1000
    ids, values = top_k(table, queries, 12)
    rows = table.vectors.double().numpy()[table.population]
    cosine = (queries.numpy() @ rows.T) / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(rows, axis=1))
    order = np.argsort(-cosine, axis=1)[:, :12]
    assert ids.tolist() == table.population[order].tolist()
    np.testing.assert_allclose(values, np.take_along_axis(cosine, order, 1), atol=1e-6)


def test_top_k_stops_at_the_population(gaussian_table):
    """Asking for more rows than there are gives all of them once."""
    table = gaussian_table(20, 4, gaps=True)
    ids, _ = top_k(table, torch.ones(1, 4), 50)
    assert sorted(ids[0].tolist()) == table.population.tolist()
