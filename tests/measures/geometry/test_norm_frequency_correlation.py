import importlib
import json
import sys
import types

import numpy as np
import pytest
from scipy import stats

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures.geometry import norm_frequency_correlation
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import TokenKind


@pytest.fixture
def table(gaussian_table):
    return gaussian_table(150, 10, shift=0.2, gaps=True)


def verdict(table):
    function = importlib.import_module("embcheck.properties.frequency_norm").frequency_norm
    return evaluate(Check(function, {"frequency": "id"}), table, Settings()).verdict


def with_lengths(words, lengths):
    rows = np.random.default_rng(1).standard_normal((len(lengths), 6))
    rows *= np.asarray(lengths)[:, None] / np.linalg.norm(rows, axis=1, keepdims=True)
    return EmbeddingTable.from_arrays(rows, words(len(lengths)))


@pytest.mark.parametrize("ties", [False, True])
def test_replicates_leave_one_word_out(rng, ties):
    """The value is scipy's Spearman correlation, each replicate nearly scipy's without a word, with ties too."""
    x, y = rng.standard_normal((2, 200))
    y = y + x
    if ties:
        x, y = np.round(x), np.round(y)
    value, replicates = norm_frequency_correlation.spearman_jackknife(x, y)
    assert value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    expected = [stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(200)]
    assert replicates == pytest.approx(expected, abs=1e-4)
    assert replicates.std() == pytest.approx(np.std(expected), rel=0.02)


def test_the_row_id_is_a_stated_stand_in(table):
    """By default frequency falls with the row id, and the result says that this is a proxy."""
    found = measures.norm_frequency_correlation(table)
    rows = table.population
    norms = np.linalg.norm(table.vectors.double().numpy()[rows], axis=1)
    assert found.value == pytest.approx(-stats.spearmanr(norms, rows).statistic, abs=1e-12)
    assert found.n == len(rows)
    assert "proxy" in found.name
    assert "proxy" in found.details["summary"]


def test_all_words_count_whatever_the_seed_and_the_probes(gaussian_table):
    """With any seed, value and interval are those of all words, and scipy's jackknife-t; what is kept is exact."""
    table = gaussian_table(1500, 5)
    found = []
    for seed in (0, 1):
        with using(Settings(seed=seed, probes=50)):
            found.append(measures.norm_frequency_correlation(table))
    x, y = np.linalg.norm(table.vectors.double().numpy(), axis=1), -np.arange(1500.0)
    expected = np.array([stats.spearmanr(np.delete(x, i), np.delete(y, i)).statistic for i in range(1500)])
    half = stats.t.ppf(0.975, 1499) * 1499 * expected.std(ddof=1) / np.sqrt(1500)
    value = stats.spearmanr(x, y).statistic
    for one in found:
        assert (one.n, one.unit) == (1500, "words")
        assert (one.low, one.value, one.high) == pytest.approx((value - half, value, value + half), rel=0.01)
        assert one.snapshot().is_exact


@pytest.mark.parametrize("suffix", [".json", ".tsv"])
def test_counts_come_from_a_file(tmp_path, table, suffix):
    """Counts by token decide, in either format; words without one are left out and counted."""
    known = [table.token(int(row)) for row in table.population[::2]]
    counts = {token: 5 + 7 * i % 101 for i, token in enumerate(known)}
    path = tmp_path / f"counts{suffix}"
    path.write_text(json.dumps(counts) if suffix == ".json" else "".join(f"{t}\t{c}\n" for t, c in counts.items()))
    found = measures.norm_frequency_correlation(table, frequency=str(path))
    norms = np.linalg.norm(table.vectors.double().numpy()[table.population[::2]], axis=1)
    assert found.value == pytest.approx(stats.spearmanr(norms, list(counts.values())).statistic, abs=1e-12)
    assert (found.n, found.details["asked"]) == (len(known), len(table.population))
    assert f"counts{suffix}" in found.name


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1, 2]", "expected one token and one count"),
        ("a.json", '{"the": "many"}', "expected one token and one count"),
        ("a.tsv", "the 12\n", "expected one token and one count"),
        ("a.tsv", "the\t-1\n", "the count of 'the' is -1.0"),
        ("a.txt", "", "must be 'id', 'wordfreq' or a .json or .tsv file"),
    ],
)
def test_bad_counts_are_refused(tmp_path, table, name, text, message):
    """A file of another format, or with a negative count, is an error that names it."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        measures.norm_frequency_correlation(table, frequency=str(path))


def test_a_missing_file_is_refused(table):
    """A path that does not exist is an error, not a skipped check."""
    with pytest.raises(UsageError, match=r"nowhere\.json"):
        measures.norm_frequency_correlation(table, frequency="nowhere.json")


def test_wordfreq_is_optional(monkeypatch, table):
    """Without the package the check can't be made; with it, its frequencies count."""
    monkeypatch.setitem(sys.modules, "wordfreq", None)
    with pytest.raises(NotMeasurable, match="pip install wordfreq"):
        measures.norm_frequency_correlation(table, frequency="wordfreq")
    package = types.ModuleType("wordfreq")
    package.word_frequency = lambda word, lang: {"en": ord(word[0]) - 96}[lang]
    monkeypatch.setitem(sys.modules, "wordfreq", package)
    found = measures.norm_frequency_correlation(table, frequency="wordfreq")
    first = [ord(table.token(int(row))[0]) for row in table.population]
    norms = np.linalg.norm(table.vectors.double().numpy()[table.population], axis=1)
    assert found.value == pytest.approx(stats.spearmanr(norms, first).statistic, abs=1e-12)


def test_long_common_words_hold_and_noise_does_not(words, gaussian_table):
    """Lengths that fall with the id hold, rising ones are refuted, and noise does not hold."""
    noise = np.random.default_rng(3).uniform(0.8, 1.2, 300)
    assert verdict(with_lengths(words, noise * np.linspace(2, 1, 300))) is Verdict.HOLDS
    assert verdict(with_lengths(words, noise * np.linspace(1, 2, 300))) is Verdict.REFUTED
    assert verdict(gaussian_table(300, 20, seed=1)) is not Verdict.HOLDS


def test_counterexamples_are_common_and_short_or_rare_and_long(words):
    """A long row at the end and a short one at the start are the words named against the claim."""
    lengths = np.linspace(2, 1, 100)
    lengths[[3, 97]] = 0.5, 3.0
    found = measures.norm_frequency_correlation(with_lengths(words, lengths))
    assert {c["id"] for c in found.counterexamples[:2]} == {3, 97}


def test_what_can_not_be_ranked_is_not_measured(words, gaussian_table, tmp_path):
    """Unit rows, fewer than 20 words, and counts that are all or all but one equal have no correlation."""
    unit = with_lengths(words, np.ones(100))
    rounded = with_lengths(words, 1 + np.linspace(3e-3, 0, 100))  # as large as rounding to eight bits makes them
    for table in (unit, unit.with_vectors(unit.vectors.float().half()), rounded):
        with pytest.raises(NotMeasurable, match="same length"):
            measures.norm_frequency_correlation(table)
    with pytest.raises(NotMeasurable, match="19 words"):
        measures.norm_frequency_correlation(gaussian_table(19, 5))
    table, path = gaussian_table(100, 5), tmp_path / "flat.json"
    path.write_text(json.dumps(dict.fromkeys(words(100), 3)))
    with pytest.raises(NotMeasurable, match="same frequency"):
        measures.norm_frequency_correlation(table, frequency=str(path))
    path.write_text(json.dumps({**dict.fromkeys(words(100), 3), words(1)[0]: 4}))
    with pytest.raises(NotMeasurable, match="all words but one"):
        measures.norm_frequency_correlation(table, frequency=str(path))


@pytest.mark.parametrize(("sign", "said"), [(1, "early words are longer"), (-1, "early words are shorter")])
def test_ids_of_a_table_with_bytes_are_no_frequencies(words, monkeypatch, sign, said):
    """Where a token is a byte the remark says that ids are the order of merges, and which way lengths go along it."""
    table = with_lengths(words, np.exp(-sign * np.arange(60) / 30))
    for measure in (measures.norm_frequency_correlation, measures.frequency_r2):
        assert measure(table).details["remark"] == "row ids stand in for frequency"
    table.vocabulary.kinds[0] = TokenKind.BYTE
    found = measures.norm_frequency_correlation(table)
    assert (found.n, sign * found.value) == (59, pytest.approx(1))
    assert found.details["remark"] == f"row ids are merge order, not frequency: {said}"
    assert measures.frequency_r2(table).details["remark"] == "row ids are merge order, not frequency"
    assert "1 tokens are bytes, so ids are the order in which pieces were merged" in found.details["summary"]


def test_measured_frequency_needs_no_remark(tmp_path, table):
    """Counts of a file are frequencies, and nothing stands in for them."""
    (tmp_path / "counts.json").write_text(
        json.dumps({table.token(int(r)): i + 1 for i, r in enumerate(table.population)})
    )
    assert "remark" not in measures.norm_frequency_correlation(table, frequency=str(tmp_path / "counts.json")).details
