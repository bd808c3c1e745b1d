import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embcheck.measures.kernels import all_pairs, blocks, probe_cosines
from embcheck.measures.kernels.blocks import on_threads

DTYPES = [torch.float32, torch.float16, torch.bfloat16]


@pytest.fixture(params=DTYPES, ids=str)
def table(request, gaussian_table):
    return gaussian_table(90, 12, shift=0.3, gaps=True, dtype=request.param)


def others(matrix):
    """Rows of cosines without the NaN that stands for a row's cosine with itself."""
    return [row[~np.isnan(row)] for row in matrix]


def test_counts_are_those_of_every_pair(table, cosines):
    """Counts of non-negative cosines equal those of a float64 loop over all pairs, in every dtype."""
    found = probe_cosines.probe_statistics(table, table.population)
    expected = [(row >= 0).sum() for row in others(cosines(table))]
    assert found.non_negative.tolist() == expected
    assert found.others == len(table.population) - 1
    assert found.share.tolist() == [count / found.others for count in expected]


@pytest.mark.parametrize(("name", "statistic"), [("minimum", np.min), ("maximum", np.max), ("mean", np.mean)])
def test_minimum_maximum_and_mean_leave_the_probe_out(table, cosines, name, statistic):
    """Minimum, maximum and mean are over the other rows only: the cosine of 1 with itself is in none of them."""
    found = getattr(probe_cosines.probe_statistics(table, table.population), name)
    np.testing.assert_allclose(found, [statistic(row) for row in others(cosines(table))], atol=2e-6)


def test_probes_may_come_in_any_order_and_number(table, cosines):
    """A statistic belongs to the probe at its place in the request, not to the order of rows."""
    probes = table.population[[40, 3, 17]]
    expected = cosines(table)[[40, 3, 17]]
    found = probe_cosines.probe_statistics(table, probes)
    assert found.non_negative.tolist() == [(row >= 0).sum() for row in others(expected)]
    np.testing.assert_allclose(found.maximum, np.nanmax(expected, axis=1), atol=2e-6)


@pytest.mark.parametrize("errors", [5, 0], ids=["found where they are looked for", "looked for everywhere"])
@pytest.mark.parametrize("sampled", [4_096, 30])
def test_medians_are_right_to_half_a_step(table, cosines, monkeypatch, sampled, errors):
    """Medians lie within half a step of those of the sorted cosines, wherever the sample says that they are."""
    monkeypatch.setattr(probe_cosines, "_SAMPLED", sampled)
    monkeypatch.setattr(probe_cosines, "_ERRORS", errors)
    monkeypatch.setattr(probe_cosines, "_MISSED", 3)
    found = probe_cosines.probe_statistics(table, table.population, median=True)
    expected = [np.quantile(row, 0.5, method="inverted_cdf") for row in others(cosines(table))]
    np.testing.assert_allclose(found.median, expected, atol=1 / 65_534 + 1e-6)


def test_medians_are_looked_for_between_order_statistics_of_a_sample(gaussian_table):
    """Five standard errors of a sample's median to either side, and a step of rounding."""
    table = gaussian_table(40_000, 12, shift=0.3)
    probes = probe_cosines.Probes.of(table, table.population[:20])
    first, count = probe_cosines._around_medians(table, probes, None)
    sample = table.memo["rows around medians"]
    unit = torch.nn.functional.normalize(table.vectors.double()).numpy()
    ranked = np.sort(np.rint(32_767 * unit[probes.rows] @ unit[sample.rows].T), axis=1)
    middle, reach = (len(sample.rows) - 1) // 2, math.ceil(2.5 * math.sqrt(len(sample.rows))) + 1
    low, high = ranked[:, middle - reach] - 1, ranked[:, middle + 1 + reach] + 1
    np.testing.assert_allclose(first, low, atol=1)
    assert count == pytest.approx((high - low).max() + 1, abs=2)


def test_medians_are_not_made_up_where_not_asked_for(table):
    """They are no numbers then."""
    assert np.isnan(probe_cosines.probe_statistics(table, table.population).median).all()


def test_the_histogram_counts_every_cosine_once(table, cosines):
    """Bin by bin that of the float64 cosines, but for those on an edge; no probe's cosine with itself is in it."""
    found = probe_cosines.probe_statistics(table, table.population, histogram=True).histogram
    expected = np.histogram(np.concatenate(others(cosines(table))), probe_cosines.BINS, (-1, 1))[0]
    assert found.sum() == expected.sum()
    assert np.abs(np.cumsum(found) - np.cumsum(expected)).max() <= 0.002 * expected.sum()


def test_center_is_subtracted_before_rows_are_scaled(table, cosines):
    """Centred statistics are those of rows minus the centre."""
    center = blocks.mean_vector(table)
    expected = cosines(table, center.double().numpy())
    found = probe_cosines.probe_statistics(table, table.population, center=center)
    assert found.non_negative.tolist() == [(row >= 0).sum() for row in others(expected)]
    np.testing.assert_allclose(found.mean, np.nanmean(expected, axis=1), atol=2e-6)


def test_mean_vector_and_unit_sum_cover_the_population_only(table):
    """The mean row and the sum of unit rows leave out zero, non-finite and special rows."""
    rows = table.vectors.double().numpy()[table.population]
    np.testing.assert_allclose(blocks.mean_vector(table), rows.mean(0), atol=1e-6)
    units = rows / np.sqrt((rows**2).sum(1, keepdims=True))
    np.testing.assert_allclose(blocks.unit_sum(table), units.sum(0), atol=1e-5)


@pytest.mark.parametrize("budget", [0, all_pairs.COPY_BYTES], ids=["tile by tile", "kept copy"])
@pytest.mark.parametrize("tile", [1, 7, 64, 1024])
def test_all_pairs_counts_do_not_depend_on_tiles(monkeypatch, table, cosines, tile, budget):
    """All-pairs counts equal the float64 loop's, whatever the tile and whether or not unit rows are kept."""
    monkeypatch.setattr(all_pairs, "TILE", tile)
    monkeypatch.setattr(all_pairs, "COPY_BYTES", budget)
    assert all_pairs.all_pairs_counts(table).tolist() == [(row >= 0).sum() for row in others(cosines(table))]


def test_statistics_do_not_depend_on_blocks(monkeypatch, gaussian_table):
    """One block or several, one chunk of probes or many: the same counts, and the same medians."""
    table = gaussian_table(900, 8, gaps=True)
    probes = table.probes(70)
    whole = probe_cosines.probe_statistics(table, probes, median=True)
    negative = probe_cosines.row_counts(table, probes)
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 1)
    monkeypatch.setattr(probe_cosines, "_PROBE_CHUNK", 9)
    assert len(list(table.slices(len(table.population)))) == 4
    cut = probe_cosines.probe_statistics(table, probes, median=True)
    assert cut.non_negative.tolist() == whole.non_negative.tolist()
    np.testing.assert_allclose(cut.median, whole.median, atol=1 / 32_767)
    np.testing.assert_allclose(cut.mean, whole.mean, atol=1e-6)
    np.testing.assert_allclose([cut.minimum, cut.maximum], [whole.minimum, whole.maximum], atol=1e-6)
    assert probe_cosines.row_counts(table, probes).tolist() == negative.tolist()


def test_row_counts_count_negative_cosines_with_the_anchors(table, cosines):
    """Row counts are, for each row, the anchors at a negative cosine; a row is not negative with itself."""
    positions = np.array([2, 9, 30, 31])
    found = probe_cosines.row_counts(table, table.population[positions])
    assert found.tolist() == (cosines(table)[:, positions] < 0).sum(1).tolist()


def test_an_unclaimed_row_changes_nothing(gaussian_table):
    """Rows outside the population are compared with nothing: without them the counts are the same."""
    table = gaussian_table(60, 5, gaps=True)
    alone = table.subset(table.population)
    assert all_pairs.all_pairs_counts(table).tolist() == all_pairs.all_pairs_counts(alone).tolist()


def test_full_precision_puts_the_setting_back():
    """The program's own matmul precision is restored, after an error too."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with blocks.full_precision():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
        with pytest.raises(ZeroDivisionError), blocks.full_precision():
            _ = 1 / 0
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_huge_and_tiny_rows_have_the_cosines_of_their_directions(gaussian_table):
    """Rows of length 1e18 and 1e-18 get the counts of their unit copies: nothing overflows or vanishes."""
    table = gaussian_table(80, 6)
    scale = torch.logspace(-18, 18, 80)[:, None]
    scaled = table.with_vectors(table.vectors * scale)
    assert all_pairs.all_pairs_counts(scaled).tolist() == all_pairs.all_pairs_counts(table).tolist()


@pytest.mark.parametrize("gaps", [False, True], ids=["consecutive", "gaps"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_blocks_are_the_rows_whatever_memory_they_share(monkeypatch, gaussian_table, dtype, gaps):
    """Block by block, unit rows and raw rows are those of the whole population, centred or not."""
    table = gaussian_table(700, 9, gaps=gaps, dtype=dtype)
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 4 * 9 * 300)
    rows = table.vectors[torch.from_numpy(table.population)].float()
    for center in (None, torch.full((9,), 0.5)):
        moved = rows if center is None else rows - center
        unit = torch.nn.functional.normalize(moved, dim=1)
        found = torch.cat([block.clone() for _, block in blocks.blocks(table, center)])
        torch.testing.assert_close(found, unit)
        scaled = torch.cat([raw * scale[:, None] for _, raw, scale in blocks.Raw(table, center).blocks()])
        torch.testing.assert_close(scaled, unit)


def test_threads_give_what_one_gives_and_leave_the_number_as_it_was():
    """In the order of the pieces; an error in one ends the others."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert list(on_threads(lambda n: n * n, range(9), torch.device("cpu"), "")) == [n * n for n in range(9)]
        with pytest.raises(ZeroDivisionError):
            list(on_threads(lambda n: 1 // (n - 3), range(9), torch.device("cpu"), ""))
        assert torch.get_num_threads() == 2
        begun = []
        for read, _ in enumerate(on_threads(begun.append, range(100), torch.device("cpu"), "")):
            time.sleep(0.002)
            assert len(begun) - read <= 8  # four a thread: what a slow reader leaves waiting takes little memory
        assert len(begun) == 100
    finally:
        torch.set_num_threads(before)


@given(st.lists(st.lists(st.integers(0, 6), max_size=30), max_size=10))
def test_numbers_that_come_a_few_at_a_time_are_counted(parts):
    """However many come at once, more than may wait among them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_cosines, "_COUNTED", 5)
        counts = probe_cosines._Counts(7)
        for part in parts:
            counts.add(np.array(part, dtype=np.int64))
    assert counts.counts.tolist() == [sum(part.count(number) for part in parts) for number in range(7)]
