"""Which nulls must break each property, and which transforms must leave its value as it is."""

import importlib

import numpy as np
import pytest

from embcheck import lexicons, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.measures.pairs import analogy_rank
from embcheck.settings import Settings
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable

PAIRS, DECOYS, WIDTH, ROWS, SHORT = 30, 3, 48, 600, 12
ASCII = [chr(c) for c in range(0x61, 0x61 + 26)]
OTHER = [chr(c) for c in range(0x3B1, 0x3C9)] + [chr(c) for c in range(0x430, 0x450)]

# what no null may break: lengths and cosines stay, and so does what looks at no token while all rows are measured
LOOKS_AT_TOKENS = {
    "ascii_anti_alignment",
    "plural_direction_consistency",
    "analogy_gain",
    "analogy_rank",
    "frequency_norm",
}
PAIRS_ROWS_BY_TOKEN = {"background_similarity"}  # its random pairs are others then; its exact mean cosine is not
LOOKS_AT_NOTHING = {"random_baseline"}  # it measures a matrix of its own
TOKEN_BLIND = {
    "positive_cosine_bias",
    "normalization",
    "hubness",
    "effective_dimension",
    "isotropy",
    "untrained_tokens",
    "metric_agreement",
    "random_baseline",
}
UNCHANGED = {"rotated": LOOKS_AT_TOKENS | PAIRS_ROWS_BY_TOKEN | TOKEN_BLIND, "row_shuffled": TOKEN_BLIND}

# what must not survive: the property holds on the planted table, and not after the null
BROKEN = {
    "gaussian": LOOKS_AT_TOKENS | {"positive_cosine_bias", "hubness", "effective_dimension", "isotropy"},
    "row_shuffled": LOOKS_AT_TOKENS,
    "column_shuffled": LOOKS_AT_TOKENS | {"untrained_tokens"},
    "gaussian_like": LOOKS_AT_TOKENS | {"untrained_tokens"},
}
# properties whose claim may hold on noise, or of which the null keeps a part: there the value must move
MOVED = {
    "gaussian": {"background_similarity", "untrained_tokens", "metric_agreement", "normalization"},
    "column_shuffled": {"untrained_tokens", "metric_agreement", "normalization", "effective_dimension"},
    "gaussian_like": {"untrained_tokens", "metric_agreement", "normalization"},
}
# what mean and covariance, or the columns alone, account for
KEPT = {
    "gaussian_like": {"isotropy": 0.1, "effective_dimension": 0.05, "background_similarity": 0.5},
    "column_shuffled": {"isotropy": 0.1},
}
CASES = [(null, name) for null, names in UNCHANGED.items() for name in sorted(names)]


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permutations, "PERMUTATIONS", 299)
        patch.setattr(permutations, "PERMUTATIONS", 299)
        patch.setattr(analogy_rank, "ENOUGH_FORMS", 100)
        yield


@pytest.fixture(scope="module")
def checks(words):
    """Every property, with its parameters on the planted table."""
    names = words(2 * PAIRS + 4)
    relation = lexicons.relation("made up", list(zip(names[:PAIRS], names[PAIRS : 2 * PAIRS], strict=True)))
    analogy = lexicons.Analogy("made up", *names[2 * PAIRS :])
    parameters = {
        "ascii_anti_alignment": {"token_class": "ascii"},
        "plural_direction_consistency": {"relation": relation},
        "analogy_gain": {"relation": relation},
        "analogy_rank": {"analogy": analogy},
        "frequency_norm": {"frequency": "id"},
    }
    files = {"analogy_gain": "analogy", "analogy_rank": "analogy"}

    def check(name):
        module = importlib.import_module(f"embcheck.properties.{files.get(name, name)}")
        return Check(getattr(module, name), parameters.get(name, {}))

    return check


@pytest.fixture(scope="module")
def planted(words):
    """A table on which every property holds but those of rows that look untrained: 8 of them are short."""
    rng = np.random.default_rng(11)
    tokens = [*words(2 * PAIRS + 4), *ASCII, *OTHER]
    tokens += words(len(tokens) + ROWS)[2 * PAIRS + 4 :][: ROWS - len(tokens)]
    vectors = rng.standard_normal((ROWS, WIDTH)) / np.sqrt(WIDTH)
    turn = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    vectors[:, :4] *= 2.0  # few directions have most of the variance,
    vectors[-120::12] *= 0.3  # some rows are near the centre, and in most lists,
    first, second = slice(0, PAIRS), slice(PAIRS, 2 * PAIRS)
    vectors[second] = vectors[first]
    for decoy in range(DECOYS):  # near what firsts and seconds share, so that no word of the question is near enough,
        start = ROWS - 150 - PAIRS * (decoy + 1)
        vectors[start : start + PAIRS] = vectors[first] + 0.3 * vectors[start : start + PAIRS]
    vectors[first, 5] += 1.2  # seconds are firsts and a direction,
    vectors[second, 5] -= 1.2
    a, b, c, target = range(2 * PAIRS, 2 * PAIRS + 4)
    vectors[target] = vectors[a] - vectors[b] + vectors[c]
    vectors[:, 6] += 0.6  # all rows share a direction,
    ascii_rows = np.arange(2 * PAIRS + 4, 2 * PAIRS + 4 + len(ASCII))
    vectors[ascii_rows] *= -1  # from which the characters turn away,
    vectors *= np.linspace(3, 1, ROWS)[:, None]  # and lengths fall with the id
    vectors[-SHORT:] *= 1e-3
    vectors = vectors @ turn
    return EmbeddingTable.from_arrays(vectors.astype(np.float32), tokens)


@pytest.fixture(scope="module")
def found(planted, checks):
    """``found(name, null)``: the result of a property on the planted table, or on it after a null; made once."""
    tables = {"": planted}
    results = {}

    def find(name, null=""):
        if null not in tables:
            tables[null] = getattr(nulls, null)(planted, {}, np.random.default_rng(6))[0]
        if (name, null) not in results:
            results[name, null] = evaluate(checks(name), tables[null], Settings())
        return results[name, null]

    return find


def value(result):
    return result.estimate.value


@pytest.mark.parametrize(("null", "name"), CASES)
def test_what_a_property_must_not_see(found, null, name):
    """Value and interval are the same, within float tolerance, after a transform that keeps what is measured."""
    before, after = found(name).estimate, found(name, null).estimate
    assert (after.value, after.low, after.high) == pytest.approx((before.value, before.low, before.high), abs=2e-5)


@pytest.mark.parametrize(("null", "name"), [(n, p) for n, names in BROKEN.items() for p in sorted(names)])
def test_what_must_break_a_property(found, null, name):
    """The property holds on the planted table and not after the null; rows planted as untrained are gone then."""
    if name == "untrained_tokens":
        assert (found(name).verdict, found(name, null).verdict) == (Verdict.REFUTED, Verdict.HOLDS)
    else:
        assert found(name).verdict is Verdict.HOLDS
        assert found(name, null).verdict in {Verdict.REFUTED, Verdict.INCONCLUSIVE}


@pytest.mark.parametrize(
    ("null", "name"), [(n, p) for n, names in MOVED.items() for p in sorted(names - {"normalization"})]
)
def test_what_must_move_a_value(found, null, name):
    """Where the claim may hold on noise, or the null keeps part of the structure, the value after it is another."""
    assert abs(value(found(name, null)) - value(found(name))) > 0.015


@pytest.mark.parametrize("null", sorted(MOVED))
def test_unit_length_does_not_survive(planted, checks, null):
    """Unit rows are unit no more once columns or rows are redrawn; rotation and row shuffling leave them so."""
    unit = planted.with_vectors(planted.vectors / planted.norms.float()[:, None])
    share = {}
    for name in (null, "rotated", "row_shuffled"):
        table, _ = getattr(nulls, name)(unit, {}, np.random.default_rng(5))
        share[name] = value(evaluate(checks("normalization"), table, Settings()))
    assert share[null] < 0.2
    assert share["rotated"] == share["row_shuffled"] == 1


@pytest.mark.parametrize(
    ("null", "name", "tolerance"), [(n, p, t) for n, names in KEPT.items() for p, t in sorted(names.items())]
)
def test_what_mean_and_covariance_account_for(found, null, name, tolerance):
    """A null that keeps what a property measures leaves its value nearly as it is."""
    assert value(found(name, null)) == pytest.approx(value(found(name)), abs=tolerance)


def test_row_shuffling_keeps_the_exact_background(found):
    """Other rows are paired after a row shuffle, but the mean cosine over all pairs is the same."""
    before, after = (found("background_similarity", null).estimate.details for null in ("", "row_shuffled"))
    assert after["exact_mean_cosine"] == pytest.approx(before["exact_mean_cosine"], abs=1e-7)
