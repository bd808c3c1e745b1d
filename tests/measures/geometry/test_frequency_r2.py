import importlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import measures, nulls
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.geometry import frequency_r2
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable

PENALTIES = [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100]
few = settings(max_examples=10, deadline=None)


def naive_ridge(x, y, penalty):
    """Weights and intercept by the normal equations."""
    centred = x - x.mean(0)
    gram = centred.T @ centred
    weights = np.linalg.solve(gram + penalty * np.trace(gram) / x.shape[1] * np.eye(x.shape[1]), centred.T @ y)
    return weights, y.mean() - x.mean(0) @ weights


def naive_choice(x, y):
    """The penalty by fits without each word in turn, at the penalty that all words give."""
    gram = (x - x.mean(0)).T @ (x - x.mean(0))
    sums = []
    for penalty in PENALTIES:
        errors = []
        for i in range(len(y)):
            rest = np.delete(np.arange(len(y)), i)
            centred = x[rest] - x[rest].mean(0)
            ridge = penalty * np.trace(gram) / x.shape[1] * np.eye(x.shape[1])
            weights = np.linalg.solve(centred.T @ centred + ridge, centred.T @ (y[rest] - y[rest].mean()))
            errors.append(y[i] - y[rest].mean() - (x[i] - x[rest].mean(0)) @ weights)
        sums.append(np.sum(np.square(errors)))
    return PENALTIES[int(np.argmin(sums))]


def reference(table, logarithm):
    """R^2 of the two halves of the hash order, each predicted from the other."""
    with using(Settings(seed=0)):
        rows = table.probes(len(table.population), among=table.population)
    x, y = table.vectors.double().numpy()[rows], logarithm[rows]
    left = total = 0.0
    for half in (0, 1):
        held, fitted = np.arange(len(rows)) % 2 == half, np.arange(len(rows)) % 2 != half
        weights, intercept = naive_ridge(x[fitted], y[fitted], naive_choice(x[fitted], y[fitted]))
        left += ((y[held] - x[held] @ weights - intercept) ** 2).sum()
        total += ((y[held] - y[fitted].mean()) ** 2).sum()
    return 1 - left / total


def planted(words, rows, width, strength, seed=0):
    """Rows along a direction by log rank, and noise."""
    r = np.random.default_rng(seed)
    place = -np.log(np.arange(1, rows + 1))
    vectors = r.standard_normal((rows, width)) + strength * np.outer(place, r.standard_normal(width))
    return EmbeddingTable.from_arrays(vectors.astype(np.float32), words(rows)), place


@pytest.mark.parametrize(("rows", "width"), [(80, 5), (60, 40)])
@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_the_value_is_that_of_normal_equations_and_refits(words, rows, width, strength):
    """In float64, by solving for each half and each word left out, also where the width exceeds the words."""
    table, place = planted(words, rows, width, strength)
    assert measures.frequency_r2(table).value == pytest.approx(reference(table, place), abs=1e-6)


def test_a_linear_relation_is_found_whole_and_length_alone_is_told(words):
    """Where log rank is a coordinate R^2 is 1, by length as far as that tells; where nothing is, about 0."""
    table, place = planted(words, 300, 6, 0.0)
    exact = table.vectors.double().numpy().copy()
    exact[:, 2] = 3 * place
    whole = measures.frequency_r2(EmbeddingTable.from_arrays(exact, table.tokens))
    assert whole.value == pytest.approx(1, abs=1e-6)
    assert whole.is_exact
    assert abs(measures.frequency_r2(table).value) < 0.1
    long = np.exp(place)[:, None] * np.array([[1.0, 0, 0, 0]])
    assert measures.frequency_r2(EmbeddingTable.from_arrays(long, words(300))).effect["value"] == pytest.approx(1)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-6, 1e6))
@few
def test_rotation_scale_shift_and_seed_change_nothing(words, seed, factor):
    """An orthogonal map, one factor and one vector added to all rows keep R^2; the halves are the same at any seed."""
    table, _ = planted(words, 120, 7, 0.3, seed)
    before = measures.frequency_r2(table).value
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((7, 7)))[0]
    moved = (table.vectors.double().numpy() @ turn + 3) * factor
    with using(Settings(seed=seed)):
        after = measures.frequency_r2(EmbeddingTable.from_arrays(moved, table.tokens)).value
    assert after == pytest.approx(before, abs=1e-6)


def test_counts_stand_in_where_they_are_given(words, tmp_path):
    """Log counts of a file are predicted, whatever the row ids are; words without a count take no part."""
    table, place = planted(words, 200, 6, 1.0)
    order = np.random.default_rng(2).permutation(200)
    shuffled = EmbeddingTable.from_arrays(table.vectors[order], [table.tokens[i] for i in order])
    path = tmp_path / "counts.json"
    path.write_text(json.dumps({table.tokens[i]: float(np.exp(place[i]) * 1e6) for i in range(150)}))
    counted = measures.frequency_r2(shuffled, frequency=str(path))
    assert counted.n == 150
    assert counted.value > 0.8
    assert measures.frequency_r2(shuffled).value < 0.1


def test_case_variants_predict_nothing_of_each_other(words):
    """Two rows of one word in two cases count once."""
    names = words(60)
    r = np.random.default_rng(0)
    vectors = np.repeat(r.standard_normal((60, 4)), 2, axis=0)
    tokens = [form for name in names for form in (name, name.upper())]
    estimate = measures.frequency_r2(EmbeddingTable.from_arrays(vectors, tokens))
    assert (estimate.n, estimate.value < 0.3) == (60, True)


def test_it_holds_where_planted_and_not_after_what_breaks_it(words):
    """Along log rank it holds; on noise and after nulls that move rows, columns or all it does not; rotated it does."""
    (check,) = checks_of([importlib.import_module("embcheck.properties.frequency_direction").frequency_direction])
    table, _ = planted(words, 600, 24, 0.5)
    verdicts = {"": evaluate(check, table, Settings()).verdict}
    for name in ("gaussian", "row_shuffled", "gaussian_like", "rotated"):
        changed, _ = getattr(nulls, name)(table, {}, np.random.default_rng(1))
        verdicts[name] = evaluate(check, changed, Settings()).verdict
    assert {name for name, verdict in verdicts.items() if verdict is Verdict.HOLDS} == {"", "rotated"}


def test_what_cannot_be_predicted_is_not_measured(words, tmp_path):
    """Too few words and equal counts are refused; rows that are all equal predict the mean alone."""
    with pytest.raises(NotMeasurable, match="39 words"):
        measures.frequency_r2(planted(words, 39, 4, 1.0)[0])
    table, _ = planted(words, 100, 4, 1.0)
    path = tmp_path / "counts.json"
    path.write_text(json.dumps(dict.fromkeys(table.tokens, 7)))
    with pytest.raises(NotMeasurable, match="same frequency"):
        measures.frequency_r2(table, frequency=str(path))
    equal = EmbeddingTable.from_arrays(np.ones((100, 4)), table.tokens)
    assert measures.frequency_r2(equal).value == pytest.approx(0, abs=1e-12)
    assert frequency_r2.ridge(np.ones((5, 2)), np.arange(5.0))[1] == 2.0


def test_the_points_to_draw_are_held_out_predictions(words):
    """The points are words with their log frequency and what the other half's regression predicts of them."""
    table, place = planted(words, 120, 4, 3.0)
    points = measures.frequency_r2(table).details["points"]
    with using(Settings(seed=0)):
        rows = table.probes(len(table.population), among=table.population)
    assert points["tokens"] == [table.token(int(row)) for row in rows]
    x, y = table.vectors.double().numpy()[rows], place[rows]
    fitted = np.arange(len(rows)) % 2 == 1
    weights, intercept = naive_ridge(x[fitted], y[fitted], naive_choice(x[fitted], y[fitted]))
    assert points["log_frequency"] == pytest.approx(y, abs=1e-3)
    assert points["predicted"][::2] == pytest.approx((x @ weights + intercept)[::2], abs=1e-3)
