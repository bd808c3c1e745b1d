import numpy as np
import pytest

from embcheck.measures.kernels import blocks


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(900, 6, shift=0.3, gaps=True)


@pytest.fixture
def small_tiles(monkeypatch):
    """Several blocks and tiles."""
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 4 * 6 * 300)
    monkeypatch.setattr(blocks, "_TILE_CELLS", 40 * 256)


def test_tiles_hold_every_cosine_once(table, cosines, small_tiles):
    """Put together, the tiles are the rows of the matrix of cosines, with the given value on its diagonal."""
    rows = table.probes(40)
    with blocks.full_precision():
        places = np.searchsorted(table.population, rows)
        parts = list(blocks.tiles(table, table.units(rows), places, own=7.0))
    assert len(parts) > 3
    assert [p.start for p, _ in parts][1:] == [p.stop for p, _ in parts][:-1]
    found = np.concatenate([tile.numpy() for _, tile in parts], axis=1)
    position = np.searchsorted(table.population, rows)
    expected = cosines(table)[position]
    expected[np.arange(40), position] = 7
    assert found == pytest.approx(expected, abs=1e-6)
