import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from embcheck import measures, nulls
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures.cosines import negative_share_difference
from embcheck.settings import Settings, using
from embcheck.stats import betting, permutations
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import TokenKind, WordVocabulary

ASCII = [chr(c) for c in range(33, 127)]
GREEK = [chr(c) for c in range(0x3B1, 0x3C9)]
CYRILLIC = [chr(c) for c in range(0x430, 0x450)]


def table_of(tokens, *, width=8, seed=0, shift=0.3, negate=()):
    vectors = np.random.default_rng(seed).standard_normal((len(tokens), width)).astype(np.float32) + np.float32(shift)
    vectors[[i for i, token in enumerate(tokens) if token in negate]] *= -1
    return EmbeddingTable.from_arrays(vectors, tokens)


@pytest.fixture
def table(words):
    """Twenty ASCII characters, comparators of one character and of five."""
    return table_of([*ASCII[:20], *GREEK, *CYRILLIC, *words(40)], negate=ASCII[:10])


@pytest.fixture
def by_length(words):
    """A class given by rows, of tokens of one, two and five characters, and its rows; two characters are rare."""
    tokens = [*GREEK, *CYRILLIC, "ab", "cd", "ef", "gh", *words(60)]
    return table_of(tokens), [0, 1, 2, 56, 57, 58, 60, 61, 62]


def negative_shares(table, cosines):
    return dict(zip(table.population.tolist(), (cosines(table) < 0).sum(1) / (len(table.population) - 1), strict=True))


def samples(table, rows, cosines):
    """Per length: negative shares of the class and of all comparators, from token texts alone."""
    share = negative_shares(table, cosines)
    members = {r: len(table.token(r)) for r in rows}
    rest = {r: len(table.token(r)) for r in share if r not in members and table.token(r) not in ASCII}
    found = []
    for length in sorted(set(members.values())):
        own = [share[r] for r in members if members[r] == length]
        other = [share[r] for r in rest if rest[r] == length]
        if len(other) >= 5:
            found.append((np.array(own), np.array(other)))
    return found


def difference(parts):
    return sum(len(own) * (own.mean() - other.mean()) for own, other in parts) / sum(len(own) for own, _ in parts)


def test_ascii_characters_are_compared_with_other_single_characters(table, cosines, rng):
    """The difference is that of mean negative shares, ASCII characters against other tokens of one character."""
    found = measures.negative_share_difference(table, "ascii", rng=rng)
    parts = samples(table, range(20), cosines)
    assert [len(part) for part in parts[0]] == [20, 56]
    assert found.value == pytest.approx(difference(parts), abs=1e-12)
    assert found.is_exact
    assert found.details["strata"] == [{"length": 1, "class": 20, "others": 56}]


def test_a_class_given_by_rows_is_stratified_by_length(by_length, cosines, rng):
    """Lengths are weighted by the class; a length with fewer than five comparators is left out."""
    table, rows = by_length
    found = measures.negative_share_difference(table, rows, rng=rng)
    parts = samples(table, rows, cosines)
    assert [len(own) for own, _ in parts] == [3, 3]
    assert found.value == pytest.approx(difference(parts), abs=1e-12)
    assert [s["length"] for s in found.details["strata"]] == [1, 5]
    assert (found.details["class_tokens"], found.details["compared"]) == (9, 6)


def test_the_odds_ratio_is_mantel_haenszels(by_length, cosines, rng):
    """The odds ratio pools one two-by-two table a stratum, cells counted one by one."""
    table, rows = by_length
    found = measures.negative_share_difference(table, rows, rng=rng).effect["odds_ratio"]
    others = len(table.population) - 1
    above = below = 0.0
    for own, other in samples(table, rows, cosines):
        a, c = round(own.sum() * others), round(other.sum() * others)
        b, d = len(own) * others - a, len(other) * others - c
        above, below = above + a * d / (a + b + c + d), below + b * c / (a + b + c + d)
    assert found == pytest.approx(above / below, rel=1e-12)


def test_cliffs_delta_counts_wins_and_losses(by_length, cosines, rng):
    """Cliff's delta is the share of pairs won minus the share lost, weighted by the class."""
    table, rows = by_length
    found = measures.negative_share_difference(table, rows, rng=rng).effect["value"]
    deltas = [
        np.mean([np.sign(x - y) for x, y in itertools.product(own, other)])
        for own, other in samples(table, rows, cosines)
    ]
    assert found == pytest.approx((3 * deltas[0] + 3 * deltas[1]) / 6, abs=1e-12)


def test_sampled_comparators_have_the_stratified_interval(by_length, cosines, rng):
    """With comparators sampled, the interval is Cochran's stratified t, Welch-Satterthwaite degrees of freedom."""
    table, rows = by_length
    with using(Settings(probes=12)):
        found = measures.negative_share_difference(table, rows, rng=rng)
    share = negative_shares(table, cosines)
    value, terms = 0.0, []
    for length, members in ((1, rows[:3]), (5, rows[-3:])):
        rest = [r for r in table.population if r not in rows and len(table.token(r)) == length]
        y = np.array([share[r] for r in table.probes(12, among=np.array(rest))])
        value += 0.5 * (np.mean([share[r] for r in members]) - y.mean())
        terms.append((0.25 * (1 - 12 / len(rest)) * y.var(ddof=1) / 12, 11))
    total = sum(v for v, _ in terms)
    df = total**2 / sum(v**2 / d for v, d in terms)
    half = stats.t.ppf(0.975, df) * math.sqrt(total)
    assert not found.is_exact
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((value - half, value + half), abs=1e-12)


def test_very_skewed_comparators_have_the_betting_interval(monkeypatch, by_length, rng):
    """Where a length's shares are very skewed its interval is betting's, and the lengths' are added by MOVER."""
    table, rows = by_length
    shares = np.where(np.random.default_rng(1).random(len(table.vectors)) < 0.9, 0.5, 0.0)
    shares[::3] += 1e-3
    monkeypatch.setattr(negative_share_difference, "_negative_shares", lambda *_: shares)
    monkeypatch.setattr(negative_share_difference, "skewness_of", lambda _: -23.0)
    with using(Settings(probes=12)):
        found = measures.negative_share_difference(table, rows, rng=rng)
    arms = []
    for length in (1, 5):
        rest = [r for r in table.population if r not in rows and len(table.token(r)) == length]
        y = shares[table.probes(12, among=np.array(rest))]
        low, high = betting.betting_interval(y, 0.95, len(rest))
        arms.append((0.5 * (y.mean() - low), 0.5 * (high - y.mean())))
    assert found.method == "betting, without replacement, strata by MOVER"
    assert found.high - found.value == pytest.approx(math.hypot(*(below for below, _ in arms)), abs=1e-12)
    assert found.value - found.low == pytest.approx(math.hypot(*(above for _, above in arms)), abs=1e-12)


def test_all_comparators_are_measured_where_the_population_is(words, rng):
    """With 1,500 other characters the difference is exact, as a share over all rows is; sampled only when asked."""
    table = table_of([*ASCII[:20], *(chr(0x4E00 + i) for i in range(1_500))])
    assert measures.negative_share_difference(table, "ascii", rng=rng).is_exact
    with using(Settings(probes=100)):
        assert not measures.negative_share_difference(table, "ascii", rng=rng).is_exact


def test_labels_are_permuted_uniformly(monkeypatch, cosines):
    """Permutation draws follow the distribution over all 252 ways to label five of ten tokens."""
    monkeypatch.setattr(permutations, "PERMUTATIONS", 5_000)
    table = table_of([*ASCII[:5], *GREEK[:5]], width=4)
    found = measures.negative_share_difference(table, "ascii", rng=np.random.default_rng(3))
    ((own, other),) = samples(table, range(5), cosines)
    pooled = np.concatenate([own, other])
    ways = [pooled[list(chosen)].sum() for chosen in itertools.combinations(range(10), 5)]
    exact = Counter(np.round(np.array(ways) / 5 - (pooled.sum() - np.array(ways)) / 5, 9).tolist())
    drawn = Counter(np.round(found.draws["shuffled_labels"], 9).tolist())
    assert set(drawn) <= set(exact)
    values = sorted(exact)
    expected = np.array([exact[v] for v in values]) * 5_000 / 252
    assert stats.chisquare([drawn[v] for v in values], expected).pvalue > 0.001


def test_labels_are_permuted_within_lengths_only(monkeypatch, by_length, rng):
    """Where all tokens of a length share one value, shuffling labels changes nothing: lengths do not mix."""
    monkeypatch.setattr(permutations, "PERMUTATIONS", 50)
    table, rows = by_length
    length = np.array([len(table.token(r)) for r in range(len(table.vectors))])
    monkeypatch.setattr(negative_share_difference, "_negative_shares", lambda *_: length / 10)
    found = measures.negative_share_difference(table, rows, rng=rng)
    np.testing.assert_allclose(found.draws["shuffled_labels"], 0, atol=1e-12)
    assert found.details["unstratified_difference"] != pytest.approx(0, abs=0.01)


def test_the_null_function_shuffles_the_same_labels(by_length, rng):
    """The null as a function gives a class of the same size, drawn from members and comparators of the same lengths."""
    table, rows = by_length
    _, parameters = nulls.shuffled_labels(table, {"token_class": rows}, rng)
    drawn = parameters["token_class"]
    assert len(set(drawn)) == 6
    assert sorted(len(table.token(r)) for r in drawn) == [1, 1, 1, 5, 5, 5]
    assert set(drawn) != set(rows)


def test_unstratified_difference_and_class_mean(table, cosines, rng):
    """Details carry the class mean, the plain difference that the source looked at, and every token's share."""
    found = measures.negative_share_difference(table, "ascii", rng=rng).details
    share = negative_shares(table, cosines)
    own = [share[r] for r in range(20)]
    assert found["class_mean"] == pytest.approx(np.mean(own))
    assert found["unstratified_difference"] == pytest.approx(np.mean(own) - np.mean([share[r] for r in range(20, 116)]))
    assert [t["negative_share"] for t in found["by_token"]] == pytest.approx(own)
    assert [t["token"] for t in found["by_token"]] == ASCII[:20]


def test_counterexamples_are_the_least_negative_of_the_class(table, cosines, rng):
    """Named against the claim: class tokens with the smallest negative share."""
    found = measures.negative_share_difference(table, "ascii", rng=rng).counterexamples
    share = negative_shares(table, cosines)
    assert [c["value"] for c in found] == pytest.approx(sorted(share[r] for r in range(20))[:10])


def test_a_run_of_negative_ids_is_found(words):
    """A block of consecutive ids that points away from all others is reported as one run, with its ends."""
    tokens = words(300)
    table = table_of(tokens, width=16, shift=1.5, negate=tokens[40:63])
    runs = negative_share_difference.negative_runs(table)
    assert [(run["first"], run["last"]) for run in runs] == [(40, 62)]
    assert runs[0]["tokens"] == tokens[40:52]
    assert runs[0]["mean_negative_share"] > 0.8
    assert runs[0]["anchors"] == len(table.probes(200))


def test_a_run_is_whole_though_a_class_is_smaller_or_an_id_between_is_not_in_it(words):
    """All 60 ids that point away are one run, with two others among them; on noise there is none."""
    tokens = words(400)
    away = [token for i, token in enumerate(tokens[:62]) if i not in {30, 31}]
    runs = negative_share_difference.negative_runs(table_of(tokens, width=16, shift=1.5, negate=away))
    assert [(run["first"], run["last"]) for run in runs] == [(0, 61)]
    assert negative_share_difference.negative_runs(table_of(tokens, width=16, shift=0.0, negate=[])) == []


class Bytes(WordVocabulary):
    """Words, of which some stand for a raw byte or a control character."""

    def __init__(self, words):
        super().__init__(words)
        self.kinds[[i for i, w in enumerate(self.tokens) if w.startswith("<0x")]] = TokenKind.BYTE


def with_bytes(tokens, **options):
    table = table_of(tokens, **options)
    return EmbeddingTable(table.vectors, Bytes(tokens), table.provenance)


def test_bytes_stand_in_one_stratum(words, cosines, rng):
    """Byte tokens have no length as text: they are compared with tokens of every length."""
    tokens = [*(f"<0x{i:02X}>" for i in range(6)), *GREEK[:4], *words(30), "\t", "a", "%"]
    table = with_bytes(tokens)
    found = measures.negative_share_difference(table, "byte", rng=rng)
    share = negative_shares(table, cosines)
    expected = np.mean([share[r] for r in range(6)]) - np.mean([share[r] for r in range(6, 40)])
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.details["strata"] == [{"length": 0, "class": 6, "others": 34}]


def test_comparators_are_neither_ascii_nor_bytes_nor_control(words):
    """What the source names together with ASCII is no comparator for it."""
    table = with_bytes(["<0x00>", "\t", "a", "é", *words(3)])
    assert negative_share_difference.comparable(table, np.array([4])).tolist() == [3, 5, 6]


def test_too_few_class_tokens_are_not_measured(words, rng):
    """A class of four tokens is skipped with its number, not estimated."""
    with pytest.raises(NotMeasurable, match="4 ascii tokens; at least 5"):
        measures.negative_share_difference(table_of([*ASCII[:4], *GREEK, *words(9)]), "ascii", rng=rng)


def test_no_comparators_of_a_length_are_not_measured(words, rng):
    """Without five other tokens of one character there is nothing to compare ASCII characters with."""
    with pytest.raises(NotMeasurable, match="no 5 other tokens"):
        measures.negative_share_difference(table_of([*ASCII, *GREEK[:4], *words(9)]), "ascii", rng=rng)


def test_an_unknown_class_names_the_known_ones(table, rng):
    """A class name that is not known is a usage error that lists those that are."""
    with pytest.raises(UsageError, match=r"'digits'.*ascii, byte"):
        measures.negative_share_difference(table, "digits", rng=rng)


def test_length_counts_a_leading_space_but_no_continuation_mark():
    """A leading space is a character of its token; ``##`` is not where it marks continuations, unless it is all."""
    table = table_of([" a", "##ab", "##", "é"])
    assert negative_share_difference._lengths(table, np.arange(4)).tolist() == [2, 4, 2, 1]
    table.vocabulary.kinds[1] = TokenKind.WORD_INSIDE
    assert negative_share_difference._lengths(table, np.arange(4)).tolist() == [2, 2, 2, 1]
