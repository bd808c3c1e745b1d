import numpy as np
import pytest

import embcheck.table
from embcheck.measures import kernels, products


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(900, 6, shift=0.3, gaps=True)


@pytest.fixture
def small_tiles(monkeypatch):
    """Several blocks, tiles and query chunks."""
    monkeypatch.setattr(embcheck.table, "BLOCK_BYTES", 4 * 6 * 300)
    monkeypatch.setattr(products, "_CELLS", 40 * 256)
    monkeypatch.setattr(products, "_QUERIES", 7)


def test_tiles_hold_every_cosine_once(table, cosines, small_tiles):
    """Put together, the tiles are the rows of the matrix of cosines, with the given value on its diagonal."""
    rows = table.probes(40)
    with kernels.full_precision():
        parts = list(products.tiles(table, rows, own=7.0))
    assert len(parts) > 3
    assert [p.start for p, _ in parts][1:] == [p.stop for p, _ in parts][:-1]
    found = np.concatenate([tile.numpy() for _, tile in parts], axis=1)
    position = np.searchsorted(table.population, rows)
    expected = cosines(table)[position]
    expected[np.arange(40), position] = 7
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("by", ["cosine", "distance"])
def test_nearest_rows_are_those_of_the_whole_matrix(table, cosines, small_tiles, by):
    """The nearest by cosine and by Euclidean distance are the first of the sorted row, itself left out."""
    rows = table.probes(40)
    position = np.searchsorted(table.population, rows)
    vectors = table.vectors.double().numpy()[table.population]
    distance = ((vectors[position][:, None] - vectors) ** 2).sum(2)
    distance[np.arange(40), position] = np.inf
    score = np.nan_to_num(-cosines(table)[position], nan=np.inf) if by == "cosine" else distance
    assert products.nearest(table, rows, 5, by).tolist() == np.argsort(score, axis=1)[:, :5].tolist()


def test_no_row_is_its_own_neighbor(gaussian_table):
    """Among equal rows, too, a row is never in its own list; a list holds at most all others."""
    table = gaussian_table(30, 3)
    same = table.with_vectors(table.vectors[:1].repeat(30, 1))
    lists = products.nearest(same, same.population, 100)
    assert lists.shape == (30, 29)
    assert not (lists == np.arange(30)[:, None]).any()
