import importlib

import numpy as np
import pytest
import torch

from embcheck import measures
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.measures.geometry import untrained_share
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import RowStatus, TokenKind, WordVocabulary

ROWS, WIDTH, UNUSED = 400, 24, 20


@pytest.fixture
def make(words):
    """``make(change)``: a Gaussian table with 20 reserved rows, after ``change(vectors)``; known rows come first."""

    def build(change=lambda vectors: None, width=WIDTH):
        vectors = np.random.default_rng(8).standard_normal((ROWS + UNUSED, width)).astype(np.float32)
        change(vectors)
        return EmbeddingTable.from_arrays(vectors, [*words(ROWS), *(f"[unused{i}]" for i in range(UNUSED))])

    return build


def fits(table):
    return {name: f["rows"] for name, f in measures.untrained_share(table).details["fingerprints"].items() if f["rows"]}


def verdict(table):
    function = importlib.import_module("embcheck.properties.untrained_tokens").untrained_tokens
    return evaluate(Check(function), table, Settings()).verdict


def test_noise_has_no_untrained_rows(make):
    """On Gaussian rows no fingerprint fits; the mean of reserved rows is not used, and says why."""
    found = measures.untrained_share(make())
    assert (found.value, found.is_exact, found.n) == (0.0, True, ROWS)
    assert "as near" in found.details["fingerprints"]["near_unused"]["not_used"]
    assert verdict(make()) is Verdict.HOLDS


def test_zero_rows_count_among_the_known(make):
    """Zero rows have no direction and are in no population, but they are known tokens: 8 of 400."""

    def change(vectors):
        vectors[:8] = 0

    found = measures.untrained_share(make(change))
    assert (found.value, found.n) == (pytest.approx(8 / ROWS), ROWS)
    assert fits(make(change)) == {"zero": 8}
    assert verdict(make(change)) is Verdict.REFUTED


def test_a_zero_row_reserved_by_name_does_not_count(make):
    """Only rows of known tokens are counted: a reserved row may be zero."""

    def change(vectors):
        vectors[ROWS] = 0

    assert measures.untrained_share(make(change)).value == 0


def test_short_rows_are_found(make):
    """Rows a hundred times shorter than the others are found by their length alone."""

    def change(vectors):
        vectors[10:16] *= 0.01

    found = measures.untrained_share(make(change))
    assert fits(make(change)) == {"short": 6}
    assert {row["id"] for row in found.details["listed"]} == set(range(10, 16))
    assert found.counterexamples[0]["why"] == ["short"]
    assert [c["value"] for c in found.counterexamples] == sorted(c["value"] for c in found.counterexamples)


@pytest.mark.parametrize("spread", [1, 10])
def test_short_is_judged_by_the_median_and_its_deviation(make, spread):
    """The limit is a quarter of the median, or 5 robust standard deviations of the logarithm below it if lower."""

    def change(vectors):
        vectors *= np.linspace(1, spread, len(vectors))[:, None]

    table = make(change)
    scaled = np.log(np.linalg.norm(table.vectors[:ROWS].double().numpy(), axis=1))
    middle = np.median(scaled)
    robust = 5 * 1.4826 * np.median(np.abs(scaled - middle))
    assert (robust > np.log(4)) == (spread > 1)
    about = measures.untrained_share(table).details["fingerprints"]["short"]
    assert about["below"] == pytest.approx(np.exp(middle - max(robust, np.log(4))), rel=1e-6)
    assert about["median_norm"] == pytest.approx(np.exp(middle), rel=1e-6)


def test_rows_like_reserved_ones_are_found(make):
    """Rows of full length near a vector that all reserved rows share are found by their distance to its mean."""

    def change(vectors):
        common = vectors[0] * 1.5
        vectors[ROWS:] = common + 0.3 * vectors[ROWS:]
        vectors[30:37] = common + 0.25 * vectors[30:37]

    assert fits(make(change)) == {"near_unused": 7}
    assert {row["id"] for row in measures.untrained_share(make(change)).details["listed"]} == set(range(30, 37))


def two_kinds(words, *, near=80, known=12, varied=0.05, partly=0):
    """1,000 known rows, of which the first ``known`` are as the first ``near`` of 100 reserved rows, round one vector.

    These lie about 1 from it, the other reserved rows 2.4 and the other known rows 8, give or take a share of
    ``varied``; but ``partly`` known rows lie near the outer edge of the near kind.
    """
    rng = np.random.default_rng(8)
    vectors = rng.standard_normal((1_000 + 100, 64))
    common = rng.standard_normal(64)
    scale = np.ones(1_100)
    scale[:known], scale[1_000 : 1_000 + near], scale[1_000 + near :] = 0.125, 0.125, 0.3
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = common + 8 * units * (scale * rng.uniform(1 - varied, 1 + varied, 1_100))[:, None]
    edge = slice(known, known + partly)
    vectors[edge] = common + units[edge] * (1 + 0.9 * varied)
    return EmbeddingTable.from_arrays(vectors, [*words(1_000), *(f"[unused{i}]" for i in range(100))])


@pytest.mark.parametrize("near", [60, 80, 94])
def test_of_two_kinds_of_reserved_rows_the_nearer_is_the_measure(words, near):
    """Where some reserved rows lie farther out, rows count that are as near as the others: 12, planted, and no more.

    70 known rows lie between the two kinds, where a quantile of all reserved rows would reach.
    """
    table = two_kinds(words, near=near)
    vectors = table.vectors.clone()
    middle = vectors[1_000 : 1_000 + near].mean(0)
    vectors[100:170] = middle + 0.2 * (vectors[100:170] - middle)  # at 1.6, where the near kind ends at 1.05
    about = measures.untrained_share(table.with_vectors(vectors)).details["fingerprints"]["near_unused"]
    assert 10 <= about["rows"] <= 12
    assert (about["reference_rows"], about["other_kind"]) == (near, 100 - near)


def test_one_kind_of_reserved_rows_is_not_split(words):
    """Reserved rows of one kind are all the measure, however their distances vary, one far outlier among them."""
    table = two_kinds(words, near=99)
    about = measures.untrained_share(table).details["fingerprints"]["near_unused"]
    assert (about["reference_rows"], about["other_kind"]) == (100, 0)


def test_cuts_on_both_sides_of_the_bound_decide_nothing(words):
    """With 8 rows well inside and 6 at the edge, 0.8% or 1.4% look untrained as one cuts: inconclusive, and said so."""
    table = two_kinds(words, near=100, known=8, partly=6, varied=0.5)
    found = measures.untrained_share(table)
    shares = {cut["unused_within"]: cut["share"] for cut in found.details["cuts"]}
    assert shares[0.9] < 0.01 < shares[0.995]
    assert sorted(shares.values()) == list(shares.values())
    function = importlib.import_module("embcheck.properties.untrained_tokens").untrained_tokens
    result = evaluate(Check(function), table, Settings())
    assert result.verdict is Verdict.INCONCLUSIVE
    assert f"{shares[0.9]:.2%} to {shares[0.995]:.2%} of the rows look untrained" in result.reason
    assert verdict(two_kinds(words, near=100, known=3, partly=3, varied=0.5)) is Verdict.HOLDS
    assert verdict(two_kinds(words, near=100, known=20, partly=6, varied=0.5)) is Verdict.REFUTED


def test_reserved_rows_that_are_all_equal_are_one_kind(words):
    """Copies of one vector have no spread to be split by; known copies of it are found."""
    table = two_kinds(words, near=100, known=0)
    vectors = table.vectors.clone()
    vectors[1_000:] = vectors[5] = vectors[1_000]
    about = measures.untrained_share(table.with_vectors(vectors)).details["fingerprints"]["near_unused"]
    assert (about["reference_rows"], about["other_kind"], about["rows"]) == (100, 0, 1)


def test_four_reserved_rows_are_too_few(words):
    """With fewer than five reserved rows their mean is not used, and the result says so."""
    vectors = np.random.default_rng(8).standard_normal((100, WIDTH))
    table = EmbeddingTable.from_arrays(vectors, [*words(96), *(f"[unused{i}]" for i in range(4))])
    assert "4 rows are reserved" in measures.untrained_share(table).details["fingerprints"]["near_unused"]["not_used"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_equal_rows_are_found_in_every_dtype(make, dtype):
    """Copies of a row are found bit for bit, however it is stored, with their originals; near ones are not equal."""

    def change(vectors):
        vectors[50:53] = vectors[49]
        vectors[61] = vectors[60]
        vectors[71] = 1.5 * vectors[70]

    table = make(change)
    table = table.with_vectors(table.vectors.to(dtype))
    found = measures.untrained_share(table).details["fingerprints"]["equal"]
    assert found == {"rows": 6, "groups": 2}


def test_rows_near_another_are_found(make):
    """A cluster within a tenth of its length is found around sampled tokens; one three times as wide is not."""

    def change(size):
        def plant(vectors):
            vectors[100:120] = vectors[100] + size * vectors[100:120]

        return plant

    assert fits(make(change(0.03))) == {"near_another": 20}
    assert fits(make(change(0.3))) == {}


def test_clusters_are_found_around_sampled_tokens_only(monkeypatch, make):
    """With few sampled tokens a cluster may be missed: the result says around how many it was searched."""

    def change(vectors):
        vectors[100:120] = vectors[100] + 0.03 * vectors[100:120]

    monkeypatch.setattr(untrained_share, "NEAR_PROBES", 2)
    about = measures.untrained_share(make(change)).details["fingerprints"]["near_another"]
    assert (about["searched_around"], about["rows"]) == (2, 20 if about["sampled_with_neighbor"] else 0)


def test_few_dimensions_bring_rows_near_by_chance(make):
    """In 3 dimensions rows are near each other by chance: that fingerprint is not used."""
    assert "3 dimensions" in measures.untrained_share(make(width=3)).details["fingerprints"]["near_another"]["not_used"]


def test_a_row_counts_once(make):
    """A row that several fingerprints fit is counted once, and lists them all."""

    def change(vectors):
        vectors[10:16] = 0.01 * vectors[10]

    found = measures.untrained_share(make(change))
    assert found.value == pytest.approx(6 / ROWS)
    assert found.details["listed"][0]["why"] == ["short", "equal", "near_another"]


@pytest.mark.parametrize("unit", [1e-12, 1e-25, 1e-30])
def test_the_unit_of_the_vectors_plays_no_part(make, unit):
    """Noise so short that squares of its lengths have no float32 is no nearer to itself than other noise."""

    def change(vectors):
        vectors *= np.float32(unit)

    assert fits(make(change)) == {}


def test_a_long_list_is_cut(make):
    """At most 100 rows are listed, 10 of them as counterexamples; the share counts all."""

    def change(vectors):
        vectors[:105] *= 1e-3

    found = measures.untrained_share(make(change))
    assert (len(found.details["listed"]), len(found.counterexamples)) == (100, 10)
    assert found.effect["value"] == 105


class Tokenized(WordVocabulary):
    """Words of which some are bytes and some can't be reached."""

    def __init__(self, tokens, status, kinds):
        super().__init__(tokens)
        self.status = self.status.copy()
        for row, value in status.items():
            self.status[row] = value
        for row, value in kinds.items():
            self.kinds[row] = value


def test_round_trip_classes_are_disjoint(make):
    """Tokens are reachable, unreachable, undecodable, special or unused; rows past them are padding."""
    table = make()
    tokens = [*table.tokens[:-3], "\ufffd\ufffd"]
    vocabulary = Tokenized(
        tokens,
        {5: RowStatus.UNREACHABLE, 6: RowStatus.UNREACHABLE, 7: RowStatus.SPECIAL, 8: RowStatus.UNREACHABLE},
        {8: TokenKind.BYTE, 9: TokenKind.BYTE},
    )
    changed = EmbeddingTable(table.vectors, vocabulary, table.provenance)
    found = measures.untrained_share(changed).details["round_trip"]
    counts = {k: v for k, v in found.items() if k != "examples"}
    unused = sum(token.startswith("[unused") for token in tokens)
    assert counts == {
        "reachable": len(tokens) - 3 - 3 - unused,
        "unreachable": 2,
        "undecodable": 3,
        "special": 1,
        "unused": unused,
        "padding": 2,
    }
    assert sum(counts.values()) == len(table.vectors)
    assert [e["id"] for e in found["examples"]["unreachable"]] == [5, 6]
    assert [e["id"] for e in found["examples"]["undecodable"]] == [8, 9, len(tokens) - 1]
