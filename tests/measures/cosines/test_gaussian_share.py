import numpy as np
import pytest
from scipy import stats

from embcheck import measures
from embcheck.measures.cosines import gaussian_share
from embcheck.measures.cosines.gaussian_share import share_standard_error
from embcheck.settings import Settings, using


@pytest.mark.parametrize("probes", [6, 25, 40])
def test_the_share_is_that_of_the_matrix_it_generates(gaussian_table, probes):
    """The value is the share of non-negative cosines of the first rows of the seed's matrix with all the others."""
    table = gaussian_table(40, 7)
    with using(Settings(probes=probes)):
        found = measures.gaussian_share(table, rng=np.random.default_rng(5))
    rows = np.random.default_rng(5).standard_normal((40, 7), dtype=np.float32).astype(float)
    cosine = rows @ rows.T
    expected = [(np.delete(cosine[i], i) >= 0).mean() for i in range(probes)]
    np.testing.assert_allclose(found.units, expected, atol=1e-12)
    assert found.value == pytest.approx(np.mean(expected))
    assert found.is_exact == (probes == 40)


def test_the_model_gives_the_shape_only(gaussian_table):
    """Two models of one shape get the same number: nothing of the vectors enters."""
    one = measures.gaussian_share(gaussian_table(300, 9, shift=3), rng=np.random.default_rng(1))
    two = measures.gaussian_share(gaussian_table(300, 9, seed=8), rng=np.random.default_rng(1))
    assert one.value == two.value
    assert one.details == {"rows": 300, "width": 9}


def test_blocks_change_nothing(monkeypatch, gaussian_table):
    """With at most three probes the matrix comes in many blocks, and the counts are those of one matrix."""
    table = gaussian_table(60_000, 80)
    monkeypatch.setattr(gaussian_share, "MAX_PROBES", 3)
    found = measures.gaussian_share(table, rng=np.random.default_rng(2))
    rows = np.random.default_rng(2).standard_normal((60_000, 80), dtype=np.float32).astype(float)
    expected = ((rows[:3] @ rows.T >= 0).sum(1) - 1) / 59_999
    np.testing.assert_allclose(found.units, expected, atol=1e-12)


@pytest.mark.parametrize(("probes", "size", "width"), [(5, 12, 3), (12, 12, 2), (4, 60, 8)])
def test_the_standard_error_is_that_of_simulated_matrices(probes, size, width):
    """The closed form of the mean share's standard error under independence is the simulated one, at any width."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((20_000, size, width))
    signs = (np.einsum("tpd,tnd->tpn", rows[:, :probes], rows) >= 0).sum((1, 2)) - probes
    shares = signs / (probes * (size - 1))
    assert shares.mean() == pytest.approx(0.5, abs=0.003)
    assert shares.std() == pytest.approx(share_standard_error(probes, size), rel=0.02)


def test_all_rows_as_probes_count_each_pair_twice():
    """With every row a probe the variance is that of N(N - 1)/2 independent signs: 1 / (4 pairs)."""
    assert share_standard_error(50, 50) == pytest.approx((0.25 / (50 * 49 / 2)) ** 0.5)


def test_the_share_agrees_with_its_reference(gaussian_table):
    """Standardised by the stated reference, the share is standard normal over seeds."""
    table = gaussian_table(200, 5)
    z = []
    for seed in range(200):
        found = measures.gaussian_share(table, rng=np.random.default_rng(seed))
        reference = found.references["independence"]
        z.append((found.value - reference.mean) / reference.standard_error)
    assert stats.kstest(z, "norm").pvalue > 0.001
