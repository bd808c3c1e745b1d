"""Changes that are nearly nothing: of a list that is known whole, and of probes of which few differ."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from embcheck import lexicons
from embcheck.baseline.change import between
from embcheck.baseline.gate import compare
from embcheck.checks.check import Check
from embcheck.checks.evaluate import evaluate
from embcheck.estimate import Estimate
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

PAIRS, ROWS = 33, 40_000


def declared(name):
    return getattr(importlib.import_module(f"embcheck.properties.{name}"), name)


@pytest.fixture
def states(words):
    """``states(flips)``: of an axis of 33 pairs, the change for each number of words that went to the other side."""
    names = words(2 * PAIRS + 80)
    pairs = list(zip(names[:PAIRS], names[PAIRS : 2 * PAIRS], strict=True))
    axis = lexicons.Axis("made up", "", lexicons.relation("made up", pairs))
    vectors = np.random.default_rng(0).standard_normal((len(names), 30))
    vectors[: 2 * PAIRS, 0] = np.repeat([-6.0, 6.0], PAIRS)
    check, settings = Check(declared("semantic_axes"), {"axis": axis}), Settings(draws=20, details=False)

    def snapshot(flipped):
        moved = vectors.copy()
        moved[PAIRS : PAIRS + flipped, 0] *= -1
        return evaluate(check, EmbeddingTable.from_arrays(moved, names), settings).estimate.snapshot()

    return lambda flips: [compare(snapshot(0), snapshot(k), check.declaration, settings, family=50) for k in flips]


def test_fewer_flipped_words_never_fail_where_more_pass(states):
    """Of 66 words 1 to 6 on the other side, up to 0.091, are inside the margin of 0.1, and from 7 on outside."""
    changes = states(range(10))
    assert [change.value for change in changes] == pytest.approx([-k / 66 for k in range(10)], abs=1e-12)
    assert [change.state for change in changes] == ["match"] * 7 + ["regressed"] * 3
    assert changes[1].moved[0]["value"] == -0.5


def change(differences, population=ROWS):
    """The change of shares of probes by so much each, with its state."""
    before = np.random.default_rng(1).uniform(0.4, 0.6, len(differences))
    about = {"unit": "probes", "labels": [f"t{i}" for i in range(len(differences))], "bounds": (0.0, 1.0)}
    old, new = (Estimate.from_units(v, population=population, **about) for v in (before, before + differences))
    declaration = declared("positive_cosine_bias").__embcheck__
    return compare(old.snapshot(), new.snapshot(), declaration, Settings(), family=50)


@pytest.mark.parametrize("probes", [50, 200, 700, 1_000])
@pytest.mark.parametrize("own", [0.0, 0.02])
def test_one_row_of_noise_is_a_match(probes, own):
    """One row that changes sign to some others moves their shares by 1 in 39,999, and its own by 0.02: no change."""
    differences = np.zeros(probes)
    differences[:: max(2, probes // 3)] = 1 / (ROWS - 1)
    differences[7] = own
    found = change(differences)
    assert found.state == "match"
    assert abs(found.value - differences.mean()) < 1e-12
    assert found.low < found.value < found.high


def test_units_without_names_are_those_at_their_places():
    """The same checkpoint passes its baseline; of two with as many units the change is that of each place."""
    values = np.random.default_rng(0).normal(0.4, 0.1, 15)
    before, same, after = (
        Estimate.from_units(given, unit="triples").snapshot() for given in (values, values, values + 0.01)
    )
    assert between(before, same, 0.95).is_zero
    moved = between(before, after, 0.95)
    assert (moved.comparison, moved.n) == ("paired", 15)
    assert moved.value == pytest.approx(0.01)
    fewer = Estimate.from_units(values[1:], unit="triples").snapshot()
    assert between(before, fewer, 0.95).comparison == "unpaired"
    assert between(before, fewer, 0.95).gone == []


def test_equal_changes_of_all_probes_have_an_interval_of_their_own_size():
    """A row that turns on all others moves each share by the same: the interval is as small as that, not as a share."""
    found = change(np.full(200, -1 / (ROWS - 1)))
    assert found.state == "match"
    assert 0 < found.high - found.low < 3 / ROWS


@pytest.mark.parametrize("probes", [200, 1_000])
def test_a_change_beyond_the_margin_is_found(probes):
    """Shares that all fall by about 0.03, or that fall by half in one row of ten, regress or at least do not pass."""
    rng = np.random.default_rng(2)
    assert change(rng.normal(-0.03, 0.01, probes)).state == "regressed"
    few = np.where(np.arange(probes) % 10 == 0, -0.5, 0.0)
    assert change(rng.permutation(few)).state == "regressed"
    one = np.zeros(probes)
    one[3] = -0.9  # a row in so many, that may well be 2%
    assert change(one).state == ("undecided" if probes == 200 else "match")


def test_what_is_known_as_a_whole_is_compared_exactly():
    """An estimate that states what it is compared as has no interval there, whatever its own is."""
    old, new = (
        Estimate(v, v - 0.2, v + 0.2, 0.95, "some", 9, "words", "share", compared_as=("share", v)) for v in (0.5, 0.4)
    )
    found = between(old.snapshot(), new.snapshot(), 0.95)
    assert (found.comparison, found.value) == ("exact", pytest.approx(-0.1))
    assert found.low == found.value == found.high


@pytest.fixture
def consistency(words):
    """``consistency(dead, pairs)``: of 24 pairs, before and after noise, without a row for the first ``dead`` words."""
    names = words(500)
    relation = lexicons.relation("made up", list(zip(names[:24], names[24:48], strict=True)))
    check, rng = Check(declared("plural_direction_consistency"), {"relation": relation}), np.random.default_rng(0)
    before = rng.standard_normal((500, 30))
    before[24:48] = before[:24] + 0.8 * rng.standard_normal((24, 30)) + 2 * np.eye(30)[0]
    after = before + 0.05 * rng.standard_normal(before.shape)

    def compared(dead):
        moved = after.copy()
        moved[:dead] = 0
        tables = [EmbeddingTable.from_arrays(vectors, names) for vectors in (before, moved)]
        settings = Settings(draws=20, details=False)
        snapshots = [evaluate(check, table, settings).estimate.snapshot() for table in tables]
        offsets = [vectors[24 + dead : 48].astype(np.float64) - vectors[dead:24] for vectors in (before, moved)]
        return compare(*snapshots, check.declaration, settings, family=1), [_naive_consistency(o) for o in offsets]

    return compared


def _naive_consistency(offsets):
    units = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    return (units @ units.T)[np.triu_indices(len(units), 1)].mean()


def test_a_pair_that_is_gone_leaves_the_others_paired_and_is_named(consistency):
    """Without one word of 24 pairs the change is that of the 23 others, exactly; it is named, and does not pass."""
    whole, _ = consistency(0)
    change, (old, new) = consistency(1)
    assert (whole.state, whole.gone) == ("match", ())
    assert (change.comparison, change.n, change.state, change.passes) == ("paired", 23, "undecided", False)
    assert change.value == pytest.approx(new - old, abs=1e-6)
    assert change.reason == f"1 of 24 word pairs is gone: {change.gone[0]}"
    assert change.high - change.low < 0.03


def test_several_pairs_that_are_gone_are_left_out_to_first_order(consistency):
    """Without three of 24 the change is off by a term of second order; without a third nothing is paired."""
    change, (old, new) = consistency(3)
    assert (change.comparison, len(change.gone)) == ("paired", 3)
    assert change.value == pytest.approx(new - old, abs=0.002)
    assert consistency(4)[0].comparison == "paired"


def test_one_row_that_is_gone_leaves_a_sample_paired():
    """Where a row of 40,000 died, the probes that both have are compared with themselves; no list lost a unit."""
    units = np.random.default_rng(1).uniform(0.4, 0.6, 200)
    labels = [f"t{i}" for i in range(201)]
    old = Estimate.from_units(units, unit="probes", population=ROWS, bounds=(0.0, 1.0), labels=labels[:200])
    now = np.append(units[1:], 0.5)
    new = Estimate.from_units(now, unit="probes", population=ROWS - 1, bounds=(0.0, 1.0), labels=labels[1:])
    difference = between(old.snapshot(), new.snapshot(), 0.95)
    assert (difference.comparison, difference.n, difference.is_zero, list(difference.gone)) == ("paired", 199, True, [])


def test_units_that_are_cut_though_they_moved_as_far_are_counted(states):
    """Of 14 words that all moved by the same, ten are named and four more are said to have moved as far."""
    changes = states([14])
    assert (len(changes[0].moved), changes[0].as_far) == (10, 4)


def test_samples_that_moved_are_named_without_the_hash_that_tells_them_apart():
    """A sample's label names its first token and how many more; its hash is no reader's."""
    labels = [f"t{i} and 499 more ({i:08x})" for i in range(10)]
    old, new = (Estimate.from_units(np.arange(10.0) * k, unit="samples", labels=labels) for k in (1, 2))
    moved = between(old.snapshot(), new.snapshot(), 0.95).moved
    assert [entry["token"] for entry in moved][:2] == ["t9 and 499 more", "t8 and 499 more"]
