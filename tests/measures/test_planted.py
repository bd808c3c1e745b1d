"""Every check seen to hold where its structure is planted, and not where it is taken away."""

import importlib
import math

import numpy as np
import pytest

from embcheck import lexicons
from embcheck.checks.evaluate import Check, checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

ASCII = [chr(c) for c in range(33, 127)]
OTHER = (
    [chr(c) for c in range(0x3B1, 0x3C9)]
    + [chr(c) for c in range(0x430, 0x450)]
    + [chr(0x4E00 + i) for i in range(200)]
)
WIDTH = 64


def declared(name, file=None):
    return getattr(importlib.import_module(f"embcheck.properties.{file or name}"), name)


@pytest.fixture(scope="module")
def tokens(words):
    return list(dict.fromkeys([*ASCII, *OTHER, *lexicons.words(), *words(1500)]))


@pytest.fixture(scope="module")
def noise(tokens):
    return np.random.default_rng(20).standard_normal((len(tokens), WIDTH)) / math.sqrt(WIDTH)


@pytest.fixture
def verdict(tokens):
    """``verdict(vectors, property, **parameters)``: what one check finds on a table of these tokens."""

    def find(vectors, function, **parameters):
        table = EmbeddingTable.from_arrays(np.asarray(vectors, dtype=np.float32), tokens)
        return evaluate(Check(function, parameters), table, Settings())

    return find


@pytest.fixture
def at(tokens):
    place = {token: i for i, token in enumerate(tokens)}
    return lambda words: [place[w] for w in words]


def test_a_mean_shift_is_a_positive_bias(verdict, noise):
    """A common vector added to all rows makes most cosines positive; without it the claim is refuted."""
    function = declared("positive_cosine_bias")
    shifted = verdict(noise + 0.05, function)
    assert shifted.verdict is Verdict.HOLDS
    assert shifted.estimate.effect["value"] > 0.9  # all of it is the mean
    assert verdict(noise, function).verdict is Verdict.REFUTED


def test_negated_characters_are_anti_aligned(verdict, noise):
    """With a common shift, ASCII rows that point the other way are found; unflipped they are not."""
    function, shifted = declared("ascii_anti_alignment"), noise + 0.05
    flipped = shifted.copy()
    flipped[: len(ASCII)] *= -1
    found = verdict(flipped, function, token_class="ascii")
    assert found.verdict is Verdict.HOLDS
    assert [(run["first"], run["last"]) for run in found.estimate.details["negative_id_runs"]] == [(0, 93)]
    assert verdict(shifted, function, token_class="ascii").verdict is not Verdict.HOLDS
    assert verdict(flipped, function, token_class="byte").verdict is Verdict.NOT_APPLICABLE


def test_a_plural_direction_is_found(verdict, noise, at):
    """Plurals that are singulars plus one vector and noise hold against both nulls; unpaired plurals do not."""
    function = declared("plural_direction_consistency")
    (relation,) = lexicons.relations("plural")
    first, second = at([a for a, _ in relation.pairs]), at([b for _, b in relation.pairs])
    planted = noise.copy()
    planted[second] = planted[first] + 0.5 * noise[second]
    planted[second, 0] += 0.5
    found = verdict(planted, function, relation=relation)
    assert found.verdict is Verdict.HOLDS
    assert found.estimate.n == len(relation.pairs)
    assert {n.name: n.p_value for n in found.nulls} == {"shuffled_pairs": 1e-4, "frequency_matched_pairs": 1e-4}
    assert verdict(noise, function, relation=relation).verdict is not Verdict.HOLDS


def test_a_shift_of_all_plurals_alone_does_not_beat_shuffled_pairs(verdict, noise, at):
    """Plurals apart from singulars as a group, whoever they belong to: consistent, but no better than shuffled."""
    (relation,) = lexicons.relations("plural")
    planted = noise.copy()
    planted[at([b for _, b in relation.pairs]), 0] += 1.0
    found = verdict(planted, declared("plural_direction_consistency"), relation=relation)
    assert found.estimate.low > 0.05
    assert found.verdict is not Verdict.HOLDS


@pytest.mark.parametrize("analogy", lexicons.analogies(), ids=str)
def test_a_parallelogram_is_ranked_first(verdict, noise, at, analogy):
    """A target at a - b + c ranks first; the same target at random does not reach the first ten."""
    function = declared("analogy_rank", "analogy")
    a, b, c, target = at([analogy.a, analogy.b, analogy.c, analogy.target])
    planted = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    planted[target] = planted[a] - planted[b] + planted[c] + 0.1 * noise[target]
    found = verdict(planted, function, analogy=analogy)
    assert (found.verdict, found.estimate.value) == (Verdict.HOLDS, 1)
    assert verdict(noise, function, analogy=analogy).verdict is Verdict.REFUTED


@pytest.mark.parametrize("relation", lexicons.relations(), ids=str)
def test_planted_analogies_gain(verdict, noise, at, relation):
    """Pairs s + g and s - g, each with decoys near s, are solved by arithmetic and not by its controls."""
    function = declared("analogy_gain", "analogy")
    first, second = at([a for a, _ in relation.pairs]), at([b for _, b in relation.pairs])
    planted = noise.copy()
    planted[second] = planted[first]
    filler = len(noise) - 1500
    for k, row in enumerate(first[:500]):
        for j in range(3):
            planted[filler + 3 * k + j] = planted[row] + 0.3 * noise[filler + 3 * k + j]
    planted[first, 0] += 1.2
    planted[second, 0] -= 1.2
    found = verdict(planted, function, relation=relation)
    assert found.verdict is Verdict.HOLDS, found.estimate
    assert verdict(noise, function, relation=relation).verdict is not Verdict.HOLDS


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_baseline_holds_whatever_the_model(verdict, noise, shift):
    """The random baseline checks the yardstick: it holds on any model."""
    assert verdict(noise + shift, declared("random_baseline")).verdict is Verdict.HOLDS


@pytest.mark.parametrize("seed", range(2))
def test_nothing_holds_on_noise(tokens, seed):
    """On a Gaussian table no property that must fail on noise holds, for any parameter."""
    files = ("positive_cosine_bias", "ascii_anti_alignment", "plural_direction_consistency", "analogy")
    modules = [importlib.import_module(f"embcheck.properties.{file}") for file in files]
    functions = [f for m in modules for f in vars(m).values() if hasattr(f, "__embcheck__")]
    checks = checks_of(functions)
    table = EmbeddingTable.from_arrays(np.random.default_rng(seed).standard_normal((len(tokens), WIDTH)), tokens)
    assert len(checks) > 15
    assert all(check.declaration.on_noise == "fails" for check in checks)
    verdicts = {check.label: evaluate(check, table, Settings(seed=seed)).verdict for check in checks}
    assert Verdict.HOLDS not in verdicts.values(), verdicts
    assert Verdict.ERROR not in verdicts.values(), verdicts
