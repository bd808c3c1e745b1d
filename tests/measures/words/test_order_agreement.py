import importlib
import itertools
import math

import numpy as np
import pytest
from scipy import stats

from embcheck import lexicons, measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict, beats
from embcheck.errors import NotMeasurable
from embcheck.measures.words import order_agreement
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

(NUMBERS,) = lexicons.sequences("numbers")
(WEEKDAYS,) = lexicons.sequences("weekdays")


def check(**parameters):
    return Check(importlib.import_module("embcheck.properties.number_order").number_order, parameters)


def line(sequence, *, noise=0.2, width=8, seed=0, cyclic=None):
    """Words along an arc or, where their order is cyclic unless ``cyclic`` says otherwise, round a circle."""
    n, cyclic = len(sequence.words), sequence.cyclic if cyclic is None else cyclic
    angle = np.arange(n) * (2 * math.pi / n if cyclic else 1.5 / n)
    vectors = np.random.default_rng(seed).standard_normal((n, width)) * noise
    vectors[:, 0] += np.cos(angle)
    vectors[:, 1] += np.sin(angle)
    return EmbeddingTable.from_arrays(vectors.astype(np.float32), list(sequence.words))


def cells(table, sequence):
    """Cosines and distances |i - j| of every two words, one by one."""
    rows = dict(zip(table.tokens, table.vectors.double().numpy(), strict=True))
    found = []
    for i, j in itertools.combinations(range(len(sequence.words)), 2):
        x, y = rows[sequence.words[i]], rows[sequence.words[j]]
        found.append((i, j, np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y))))
    return found


def closeness(sequence, i, j):
    """Closeness of two words of a sequence, counted in steps, the shorter way round where it is cyclic."""
    steps = abs(i - j)
    return -min(steps, len(sequence.words) - steps) if sequence.cyclic else -steps


def mantel(table, sequence, orders):
    """Reference Mantel test: Spearman's correlation of cosine with closeness, and under every order given."""
    n = len(sequence.words)
    similar = np.zeros((n, n))
    for i, j, cosine in cells(table, sequence):
        similar[i, j] = similar[j, i] = cosine
    upper = np.triu_indices(n, 1)
    close = [closeness(sequence, i, j) for i, j in zip(*upper, strict=True)]
    own = stats.spearmanr(similar[upper], close).statistic
    return own, [stats.spearmanr(similar[np.ix_(o, o)][upper], close).statistic for o in orders]


@pytest.mark.parametrize("sequence", lexicons.sequences(), ids=str)
def test_the_value_is_scipys_spearman(sequence, rng):
    """The value is scipy's rank correlation of cosine and -|i - j|, of a circle the shorter way round, and is exact."""
    table = line(sequence)
    found = measures.order_agreement(table, sequence, rng=rng)
    similar = [c for _, _, c in cells(table, sequence)]
    close = [closeness(sequence, i, j) for i, j, _ in cells(table, sequence)]
    assert found.value == pytest.approx(stats.spearmanr(similar, close).statistic, abs=1e-12)
    assert found.details["shape"] == ("circle" if sequence.name in {"months", "weekdays"} else "line")
    assert (found.is_exact, found.low, found.n) == (True, found.value, len(sequence.words))


@pytest.mark.parametrize("words", [6, 7])
def test_up_to_eight_words_the_mantel_test_is_exact(words, rng):
    """The draws are the correlations of all orders but the true one; p is the share of all orders that reach it."""
    sequence = lexicons.OrderedWords("made up", "", NUMBERS.words[:words])
    table = line(sequence, noise=0.4, seed=3)
    found = measures.order_agreement(table, sequence, rng=rng)
    everything = list(itertools.permutations(range(words)))
    own, others = mantel(table, sequence, everything)
    np.testing.assert_allclose(np.sort(found.draws["shuffled_order"]), np.sort(others[1:]), atol=1e-12)
    assert found.details["mantel"] == {"orders": math.factorial(words), "exact": True}
    exact = np.mean(np.array(others) >= own - 1e-12)
    assert 2 / math.factorial(words) < exact < 0.5
    assert beats(nulls.shuffled_order).p_value(found) == pytest.approx(exact)


def test_the_reverse_order_ties_with_the_true_one(rng):
    """Reversed, the distances are the same: the best that seven words can reach is p = 2 / 7!, on a circle 14 / 7!."""
    seven = lexicons.OrderedWords("seven", "", WEEKDAYS.words)
    for sequence, alike in ((seven, 2), (WEEKDAYS, 14)):
        found = measures.order_agreement(line(sequence, noise=0), sequence, rng=rng)
        assert found.value > 0.94
        assert beats(nulls.shuffled_order).p_value(found) == alike / math.factorial(7)


def test_six_words_of_a_circle_are_too_few(rng):
    """A whole circle of six looks the same from 12 of 720 orders, which no order can beat; six of seven do not."""
    six = lexicons.OrderedWords("six", "", NUMBERS.words[:6], cyclic=True)
    with pytest.raises(NotMeasurable, match="6 of 6 six are single tokens here; at least 7 are needed"):
        measures.order_agreement(line(six), six, rng=rng)
    whole = line(WEEKDAYS, noise=0)
    part = EmbeddingTable.from_arrays(whole.vectors[:6], list(WEEKDAYS.words[:6]))
    found = measures.order_agreement(part, WEEKDAYS, rng=rng)
    assert beats(nulls.shuffled_order).p_value(found) == 2 / math.factorial(6)


def test_beyond_eight_words_orders_are_drawn(rng):
    """With ten words the draws are the correlations of 9,999 random orders."""
    table = line(NUMBERS, noise=0.4)
    found = measures.order_agreement(table, NUMBERS, rng=np.random.default_rng(9))
    orders = np.random.default_rng(9).permuted(np.broadcast_to(np.arange(10), (9_999, 10)), axis=1)
    _, expected = mantel(table, NUMBERS, orders[:50])
    np.testing.assert_allclose(found.draws["shuffled_order"][:50], expected, atol=1e-12)
    assert len(found.draws["shuffled_order"]) == 9_999


def test_the_null_function_draws_what_the_measure_draws():
    """Measured on sequences reordered by nulls.shuffled_order, the value has the distribution of the own draws."""
    table, r = line(NUMBERS, noise=0.4), np.random.default_rng(5)
    slow = []
    for _ in range(200):
        _, made = nulls.shuffled_order(table, {"sequence": NUMBERS}, r)
        assert sorted(made["sequence"].words) == sorted(NUMBERS.words)
        slow.append(mantel(table, made["sequence"], [])[0])
    fast = measures.order_agreement(table, NUMBERS, rng=r).draws["shuffled_order"]
    assert stats.ks_2samp(slow, fast).pvalue > 0.001


def test_missing_words_leave_the_others_in_their_places(rng):
    """Where words are no single tokens the others keep their places; fewer than six are not measured."""
    whole = line(NUMBERS, noise=0.4)
    kept = [0, 2, 3, 4, 7, 9]
    part = EmbeddingTable.from_arrays(whole.vectors[kept], [NUMBERS.words[i] for i in kept])
    found = measures.order_agreement(part, NUMBERS, rng=rng)
    inside = [(i, j, c) for i, j, c in cells(whole, NUMBERS) if i in kept and j in kept]
    expected = stats.spearmanr([c for *_, c in inside], [-abs(i - j) for i, j, _ in inside]).statistic
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.details["coverage"]["missing"] == 4
    few = EmbeddingTable.from_arrays(whole.vectors[:5], list(NUMBERS.words[:5]))
    with pytest.raises(NotMeasurable, match="5 of 10 numbers are single tokens here; at least 6 are needed"):
        measures.order_agreement(few, NUMBERS, rng=rng)


def test_equal_vectors_have_no_order(rng):
    """Where all cosines are equal there is nothing to correlate, and the check is skipped."""
    table = EmbeddingTable.from_arrays(np.eye(10, dtype=np.float32), list(NUMBERS.words))
    with pytest.raises(NotMeasurable, match="all 45 cosines between numbers are equal"):
        measures.order_agreement(table, NUMBERS, rng=rng)


def test_other_closeness_is_reported(rng):
    """Details correlate with the closeness of logarithms, and around the circle for cyclic sequences only."""
    table = line(WEEKDAYS, noise=0.3, seed=2)
    found = measures.order_agreement(table, WEEKDAYS, rng=rng)
    seen = cells(table, WEEKDAYS)
    similar = [c for *_, c in seen]
    wanted = {
        "linear": [-abs(i - j) for i, j, _ in seen],
        "log": [-abs(math.log(i + 1) - math.log(j + 1)) for i, j, _ in seen],
        "cyclic": [-min(abs(i - j), 7 - abs(i - j)) for i, j, _ in seen],
    }
    for name, closeness in wanted.items():
        rho = stats.spearmanr(similar, closeness).statistic
        assert found.details["closeness"][name]["rho"] == pytest.approx(rho, abs=1e-12)
    assert found.details["closeness"]["cyclic"]["p_value"] == beats(nulls.shuffled_order).p_value(found)
    assert found.details["closeness"]["cyclic"]["rho"] == found.value
    numbers = measures.order_agreement(line(NUMBERS), NUMBERS, rng=rng)
    assert set(numbers.details["closeness"]) == {"linear", "log"}


def test_a_circle_and_a_line_are_told_apart(rng):
    """Round a circle the value is near 1 and the line's beside it is not; along an arc it is the other way about."""
    circle, arc = (
        measures.order_agreement(line(WEEKDAYS, noise=0.02, cyclic=cyclic), WEEKDAYS, rng=rng)
        for cyclic in (True, False)
    )
    assert (circle.value > 0.9, circle.details["closeness"]["linear"]["rho"] < 0.6) == (True, True)
    assert (arc.value < 0.8, arc.details["closeness"]["linear"]["rho"] > 0.9) == (True, True)


def test_neighbours_round_a_circle_are_the_last_and_the_first_too(rng):
    """Neighbours minus distant words: seven pairs one step apart, the last and the first among them, and the others."""
    table = line(WEEKDAYS, noise=0.3)
    steps = [(-closeness(WEEKDAYS, i, j), c) for i, j, c in cells(table, WEEKDAYS)]
    near, far = ([c for step, c in steps if step in chosen] for chosen in ({1}, {2, 3}))
    assert len(near) == 7
    found = measures.order_agreement(table, WEEKDAYS, rng=rng)
    assert found.effect["value"] == pytest.approx(np.mean(near) - np.mean(far), abs=1e-9)


def test_groupings_are_differences_of_means(rng):
    """Neighbours against distant words, parity and magnitude are differences of mean cosines over pairs."""
    table = line(NUMBERS, noise=0.4)
    found = measures.order_agreement(table, NUMBERS, rng=rng)
    seen = cells(table, NUMBERS)

    def difference(inside, outside):
        chosen = [[c for i, j, c in seen if where(i, j)] for where in (inside, outside)]
        return np.mean(chosen[0]) - np.mean(chosen[1])

    expected = {
        "neighbours_minus_distant": difference(lambda i, j: j - i == 1, lambda i, j: j - i >= 4.5),
        "parity": difference(lambda i, j: (j - i) % 2 == 0, lambda i, j: (j - i) % 2 == 1),
        "magnitude": difference(lambda i, j: (i < 5) == (j < 5), lambda i, j: (i < 5) != (j < 5)),
    }
    differences = found.details["differences"]
    assert {name: d["difference"] for name, d in differences.items()} == pytest.approx(expected, abs=1e-9)
    assert found.effect["value"] == pytest.approx(expected["neighbours_minus_distant"], abs=1e-9)
    assert differences["magnitude"]["p_value"] < 0.05 < differences["parity"]["p_value"]


def test_parity_is_found_where_it_is_planted(rng):
    """Odd and even numbers on two sides give a small p-value for parity."""
    vectors = np.random.default_rng(0).standard_normal((10, 8)) * 0.3
    vectors[::2, 0] += 1
    vectors[1::2, 0] -= 1
    table = EmbeddingTable.from_arrays(vectors, list(NUMBERS.words))
    assert measures.order_agreement(table, NUMBERS, rng=rng).details["differences"]["parity"]["p_value"] < 0.01


def test_worst_pairs_are_those_with_the_largest_gap_of_ranks(rng):
    """Counterexamples are pairs in order of how far their rank by cosine is from their rank by closeness."""
    table = line(NUMBERS, noise=0.4)
    seen = cells(table, NUMBERS)
    gaps = stats.rankdata([c for *_, c in seen]) - stats.rankdata([-(j - i) for i, j, _ in seen])
    worst = np.argsort(-np.abs(gaps), kind="stable")[:10]
    found = measures.order_agreement(table, NUMBERS, rng=rng).counterexamples
    assert [c["ids"] for c in found] == [[seen[k][0], seen[k][1]] for k in worst]
    assert [c["rank_gap"] for c in found] == gaps[worst].tolist()


def test_rotation_scale_lengths_and_row_order_change_nothing():
    """Only directions count: an orthogonal map, a factor for each row and another order of rows change no value."""
    table, r = line(NUMBERS, noise=0.4), np.random.default_rng(1)
    vectors, permuted = table.vectors.numpy(), r.permutation(10)
    turn = np.linalg.qr(r.standard_normal((8, 8)))[0]

    def run(vectors, tokens=NUMBERS.words):
        found = measures.order_agreement(
            EmbeddingTable.from_arrays(vectors, list(tokens)), NUMBERS, rng=np.random.default_rng(0)
        )
        return found.value, beats(nulls.shuffled_order).p_value(found)

    assert run(vectors @ turn) == run(vectors)
    assert run(vectors * 1e-12) == run(vectors)
    assert run(vectors * r.uniform(0.1, 10, (10, 1)).astype(np.float32)) == run(vectors)
    assert run(vectors[permuted], [NUMBERS.words[i] for i in permuted]) == run(vectors)


@pytest.mark.parametrize("sequence", lexicons.sequences(), ids=str)
def test_planted_order_holds_and_noise_does_not(sequence):
    """Words along an arc hold, with p below 0.01; the same table without the arc does not."""
    verdicts = [
        evaluate(check(sequence=sequence), table, Settings()).verdict
        for table in (
            line(sequence),
            EmbeddingTable.from_arrays(
                np.random.default_rng(4).standard_normal((len(sequence.words), 8)), list(sequence.words)
            ),
        )
    ]
    assert verdicts[0] is Verdict.HOLDS
    assert verdicts[1] is not Verdict.HOLDS


def test_every_order_is_looked_at_up_to_eight_words(rng):
    """Eight words have 40,320 orders, the true one left out of the draws; nine are drawn."""
    assert order_agreement.compared_orders(8, rng).shape == (40_319, 8)
    assert len(np.unique(order_agreement.compared_orders(8, rng), axis=0)) == 40_319
    assert order_agreement.compared_orders(9, rng).shape == (9_999, 9)
