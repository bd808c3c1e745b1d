import importlib

import numpy as np
import pytest
import torch
from scipy import stats

from embcheck import measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.geometry import participation_share
from embcheck.measures.kernels import spectrum
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable


def find(table):
    return measures.participation_share(table, rng=np.random.default_rng(0))


def verdict(table):
    function = importlib.import_module("embcheck.properties.effective_dimension").effective_dimension
    return evaluate(Check(function), table, Settings()).verdict


def eigenvalues(rows, center):
    """From the definition, in float64."""
    x = rows - (rows.mean(0) if center else 0)
    return np.sort(np.linalg.eigvalsh(x.T @ x / len(x)))[::-1]


def ratio(values):
    return values.sum() ** 2 / (values**2).sum()


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(700, 12, shift=0.4, gaps=True)


def test_eigenvalues_are_those_of_the_covariance(monkeypatch, table):
    """Summed over several blocks, both spectra, the mean and the leading axis are NumPy's in float64."""
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 4 * 12 * 256)
    rows = table.vectors.double().numpy()[table.population]
    found = spectrum.spectrum_of(table)
    assert len(list(table.slices(len(rows)))) > 2
    assert found.centred == pytest.approx(eigenvalues(rows, center=True), rel=1e-5)
    assert found.raw == pytest.approx(eigenvalues(rows, center=False), rel=1e-5)
    assert found.mean == pytest.approx(rows.mean(0), abs=1e-7)
    assert np.var(rows @ found.leading.numpy()) == pytest.approx(found.centred[0], rel=1e-5)


def test_a_far_mean_costs_no_precision(gaussian_table):
    """Rows 1,000 standard deviations from zero have the covariance of the same rows about zero."""
    far = gaussian_table(700, 12, shift=1000.0)
    rows = far.vectors.double().numpy()
    assert spectrum.spectrum_of(far).centred == pytest.approx(eigenvalues(rows, center=True), rel=1e-3)


def test_the_value_is_the_share(table):
    """The value is PR/d of the centred rows, exact; details have both spectra, from the definitions."""
    rows = table.vectors.double().numpy()[table.population]
    found = find(table)
    values = eigenvalues(rows, center=True)
    assert (found.value, found.is_exact) == (pytest.approx(ratio(values) / 12, rel=1e-5), True)
    raw, p = eigenvalues(rows, center=False), values / values.sum()
    assert found.details["raw"]["participation_ratio"] == pytest.approx(ratio(raw), rel=1e-5)
    assert found.details["raw"]["top_share"] == pytest.approx(raw[0] / raw.sum(), rel=1e-5)
    assert found.details["centred"]["entropy_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
    assert found.details["centred"]["components_90"] == 1 + int((np.cumsum(p) < 0.9).sum())


def test_rank_one_and_isotropic_tables_have_closed_forms(words):
    """Along one line PR is 1; on +-e_i it is d, the entropy rank is d, and 9 of 10 components make 90%."""
    line = EmbeddingTable.from_arrays(np.outer(np.arange(40) - 3.0, np.arange(1, 6)), words(40))
    assert find(line).value == pytest.approx(1 / 5)
    assert find(line).details["centred"]["components_90"] == 1
    cross = EmbeddingTable.from_arrays(np.concatenate([np.eye(10), -np.eye(10)]), words(20))
    found = find(cross)
    assert found.value == pytest.approx(1)
    assert found.details["centred"]["entropy_rank"] == pytest.approx(10)
    assert found.details["centred"]["components_90"] == 9


LENGTHS = {
    "equal": lambda rows, rng: np.ones(rows),
    "Gaussian": lambda rows, rng: np.sqrt(rng.chisquare(20, rows)),
    "lognormal": lambda rows, rng: np.exp(0.35 * rng.standard_normal(rows)),
    "30 times a few": lambda rows, rng: np.where(np.arange(rows) < max(3, rows // 30), 20.0, 1.0),
}


@pytest.mark.parametrize(("rows", "width"), [(60, 5), (40, 60), (900, 30), (300, 2)])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_the_null_in_closed_form_is_that_of_random_directions(lengths, rows, width):
    """Given their lengths, p-values of rows in uniform directions are uniform, also with fewer rows than columns."""
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(200):
        noise = rng.standard_normal((rows, width))
        noise *= (lengths(rows, rng) / np.linalg.norm(noise, axis=1))[:, None]
        apart = np.linalg.norm(noise - noise.mean(0), axis=1)
        drawn = participation_share.isotropic_participation(apart, width, 199, rng)
        p_values.append((1 + (drawn <= ratio(eigenvalues(noise, center=True))).sum()) / 200)
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1


def test_for_gaussian_rows_the_null_has_wisharts_mean():
    """1/PR = trace(S^2) / trace(S)^2 is independent of trace(S), so that its mean is a ratio of Wishart moments."""
    rng, rows, width = np.random.default_rng(4), 900, 30
    means = [
        (1 / participation_share.isotropic_participation(np.sqrt(rng.chisquare(width, rows)), width, 500, rng)).mean()
        for _ in range(200)
    ]
    n = rows - 1
    assert np.mean(means) == pytest.approx((n + width + 1) / (n * width + 2), rel=3e-4)


def test_the_null_function_is_what_the_measure_draws(gaussian_table):
    """Tables made by nulls.random_directions keep each distance from the mean, and have the drawn ratios."""
    table = gaussian_table(300, 8, shift=2.0, gaps=True)
    stretch = np.exp(0.5 * np.random.default_rng(2).standard_normal((len(table.vectors), 1)))
    table = table.with_vectors(table.vectors * torch.from_numpy(stretch).float())
    found, rng, simulated = find(table), np.random.default_rng(3), []
    before = table.vectors.double().numpy()[table.population]
    for _ in range(200):
        after = nulls.random_directions(table, {}, rng)[0].vectors.double().numpy()[table.population]
        simulated.append(ratio(eigenvalues(after, center=True)) / 8)
    for rows in (before, after):
        apart = np.linalg.norm(rows - before.mean(0), axis=1)
        assert apart == pytest.approx(np.linalg.norm(before - before.mean(0), axis=1), rel=1e-4)
    assert stats.ks_2samp(simulated, found.draws["random_directions"]).pvalue > 0.001


@pytest.mark.parametrize("lengths", ["lognormal", "30 times a few"])
def test_lengths_alone_do_not_hold(lengths, words):
    """Isotropic directions do not hold, whatever their lengths: 3,000 rows, lognormal(0.35) or 100 of them 20 times."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((3_000, 24))
    noise *= (LENGTHS[lengths](3_000, rng) / np.linalg.norm(noise, axis=1))[:, None]
    assert verdict(EmbeddingTable.from_arrays(noise, words(3_000))) is Verdict.REFUTED


def test_columns_that_hardly_differ_do_not_hold(words):
    """Columns scaled by 0.98 to 1.02 beat the null and use as many dimensions as there are: too small an effect."""
    noise = np.random.default_rng(1).standard_normal((20_000, 24)) * np.linspace(0.98, 1.02, 24)
    table = EmbeddingTable.from_arrays(noise, words(20_000))
    found = find(table)
    assert (found.draws["random_directions"] <= found.value).mean() < 0.01
    assert verdict(table) is Verdict.REFUTED


@pytest.mark.parametrize(("rows", "width"), [(2000, 200), (300, 300), (150, 400)])
def test_marchenko_and_pastur_predict_the_spectrum_of_noise(rows, width):
    """Its eigenvalues, their participation ratio d/(1 + d/N) and their count for 90% are those of Gaussian rows."""
    predicted = spectrum.marchenko_pastur(rows, width)
    simulated = eigenvalues(np.random.default_rng(4).standard_normal((rows, width)), center=False)
    assert predicted == pytest.approx(simulated, abs=0.05 * predicted[0])
    assert predicted.sum() == pytest.approx(width, rel=1e-3)
    assert ratio(predicted) == pytest.approx(width / (1 + width / rows), rel=1e-3)
    assert spectrum.needed_for(predicted, 0.9) == pytest.approx(spectrum.needed_for(simulated, 0.9), abs=2)


def test_few_directions_hold_and_noise_does_not(gaussian_table):
    """Variance in 5 of 30 directions holds; noise does not; nor does a far mean without anything else."""
    noise = gaussian_table(500, 30)
    vectors = noise.vectors.clone()
    vectors[:, :5] *= 3
    assert verdict(noise.with_vectors(vectors)) is Verdict.HOLDS
    assert verdict(noise) is not Verdict.HOLDS
    assert verdict(noise.with_vectors(noise.vectors + 5)) is not Verdict.HOLDS


def test_counterexamples_raise_the_participation_ratio(table):
    """The first token named raises log PR by what is stated: leaving its row out lowers it by as much."""
    rows = table.vectors.double().numpy()[table.population]
    named = find(table).counterexamples
    place = int(np.searchsorted(table.population, named[0]["id"]))
    drop = np.log(ratio(eigenvalues(rows, center=True)))
    drop -= np.log(ratio(eigenvalues(np.delete(rows, place, axis=0), center=True)))
    assert named[0]["raises_log_ratio_by"] == pytest.approx(drop, rel=0.1)
    weights = [c["raises_log_ratio_by"] for c in named]
    assert weights == sorted(weights, reverse=True)
    assert weights[0] > 0


def test_poles_are_the_ends_of_the_leading_axis(gaussian_table):
    """Tokens planted at both ends of a long axis are the poles of the top component."""
    noise = gaussian_table(200, 8)
    vectors = noise.vectors.clone()
    vectors[:5, 2] += 50
    vectors[5:10, 2] -= 50
    poles = find(noise.with_vectors(vectors)).details["top_component"]
    assert {p["id"] for p in poles["high"][:5]} == set(range(5))
    assert {p["id"] for p in poles["low"][:5]} == set(range(5, 10))


def test_no_spread_and_one_column_are_not_measured(words):
    """Equal rows have no directions to spread in, and one column has one."""
    with pytest.raises(NotMeasurable, match="spread in no direction"):
        find(EmbeddingTable.from_arrays(np.tile([1.0, 2.0, 3.0], (30, 1)), words(30)))
    with pytest.raises(NotMeasurable, match="one column"):
        find(EmbeddingTable.from_arrays(np.arange(1.0, 31.0).reshape(30, 1), words(30)))


@pytest.mark.parametrize(("unit", "message"), [(1e-22, "so short"), (1e-25, "so short"), (1e19, "so long")])
def test_what_float32_cannot_square_is_not_measured(gaussian_table, unit, message):
    """Rows whose squares have no float32, or one of few digits, are refused for that, not measured without them."""
    table = gaussian_table(200, 12)
    with pytest.raises(NotMeasurable, match=message):
        find(table.with_vectors(table.vectors * unit))
