"""What a claim rests on: planted structure is named, and nothing is said of what doesn't hold."""

import numpy as np
import pytest

import embcheck
from embcheck.checks import collect
from embcheck.checks import ladder as ladders
from embcheck.checks.check import Check
from embcheck.checks.evaluate import evaluate
from embcheck.checks.ladder import climb
from embcheck.checks.record import Ladder, Rung
from embcheck.claims import above, beats, claim
from embcheck.estimate import Estimate
from embcheck.nulls import gaussian
from embcheck.nulls.rungs import RUNGS
from embcheck.reports.wording import ladder_text
from embcheck.selftest.ladders import MORE, examine_ladder, planted
from embcheck.settings import Settings
from embcheck.table import EmbeddingTable

QUICK = Settings(details=False, draws=99)


@pytest.mark.parametrize("rung", [*RUNGS, MORE])
def test_the_planted_rung_is_named(rung):
    """A table with the structure of one rung and no more holds for that reason."""
    check, table = planted(rung, 0)
    ladder = climb(evaluate(check, table, QUICK), table, QUICK).ladder
    assert (ladder.suffices or MORE) == rung
    assert [r.name for r in ladder.rungs] == [name for name in RUNGS if name in {r.name for r in ladder.rungs}]
    assert all(r.low <= r.value <= r.high for r in ladder.rungs)


@pytest.mark.slow
def test_the_planted_rung_is_named_time_and_again():
    """What docs/calibration.md says of 100 tables a rung, on some of them."""
    assert [row["right"] for row in examine_ladder(5, seed=100)] == [5] * 8


@pytest.mark.slow
def test_what_looks_at_no_token_has_no_rungs_about_tokens():
    """Rows dealt out anew change nothing of such a property, which would be no explanation."""
    check, table = planted("mean", 0)
    ladder = climb(evaluate(check, table, QUICK), table, QUICK).ladder
    assert [rung.name for rung in ladder.rungs] == ["gaussian", "mean", "covariance", "marginals", "lengths"]
    check, table = planted("spelling", 0)
    ladder = climb(evaluate(check, table, QUICK), table, QUICK).ladder
    assert [rung.name for rung in ladder.rungs] == list(RUNGS)


def test_what_does_not_hold_has_no_ladder():
    """Refuted claims, and those that declare no rungs, are left as they are."""
    _, table = planted("gaussian", 0)
    check, _ = planted("mean", 0)
    refuted = evaluate(check, table, QUICK)
    assert climb(refuted, table, QUICK) is refuted

    @claim(above(0), ladder=())
    def own(table):
        """Says something."""
        return Estimate.exact(1.0)

    held = evaluate(Check(own), table, QUICK)
    assert climb(held, table, QUICK) is held


def test_a_large_table_is_sampled_and_its_words_are_kept():
    """Of many rows some are drawn, with all words of the check, even those that no lexicon has."""
    rng = np.random.default_rng(0)
    count, width = 9_000, 250
    words = [f"w{row}" for row in range(count)]
    vectors = rng.standard_normal((count, width)).astype(np.float32)
    vectors[6_000:6_040] += 2 * vectors[:40]
    table = EmbeddingTable.from_arrays(vectors, words)
    relation = embcheck.lexicons.relation("own", [(words[i], words[6_000 + i]) for i in range(40)])

    @claim(above(0.55), relation=relation)
    def own(table, relation, rng):
        """Pairs are near."""
        return embcheck.measures.related_pair_auc(table, relation, rng=rng)

    ladder = climb(evaluate(Check(own, {"relation": relation}), table, QUICK), table, QUICK).ladder
    assert ladder.suffices is None
    assert 8_000 <= ladder.rows <= 8_080
    assert ladder.value > 0.9


def test_a_property_that_knows_its_words_itself_is_measured_on_all_rows(monkeypatch):
    """Where the drawn rows lack what it asks for, the whole table is taken, of which no draw stays in memory."""
    monkeypatch.setattr(ladders, "KEPT", 8_999, raising=False)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((9_000, 250)).astype(np.float32) + 1
    table = EmbeddingTable.from_arrays(vectors, [f"w{row}" for row in range(9_000)])
    left_out = min(set(range(9_000)) - set(table.probes(8_000).tolist()))

    @claim(above(0))
    def own(table):
        """A word is near the mean."""
        return Estimate.exact(float(table.directions([f"w{left_out}"])[0].mean()))

    ladder = climb(evaluate(Check(own), table, QUICK), table, QUICK).ladder
    assert (ladder.rows, ladder.suffices) == (9_000, "mean")
    assert not [key for key in table.memo["all surrogates"].base.memo if key[0] == "rung"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quantized", "copies"), [(True, 0.0), (False, 0.2), (True, 0.2)], ids=["quantized", "copies", "both"]
)
def test_quantized_and_copied_rows_mislead_no_rung(quantized, copies):
    """A mean that is planted is named whatever grid the numbers lie on, and though a fifth of the rows are copies."""
    check, table = planted("mean", 1)
    vectors = table.vectors.numpy().copy()
    if quantized:
        vectors = np.round(vectors * 2) / 2
    count = int(copies * len(vectors))
    if count:
        vectors[-count:] = vectors[:count]
    table = EmbeddingTable.from_arrays(vectors, table.tokens)
    assert climb(evaluate(check, table, QUICK), table, QUICK).ladder.suffices == "mean"


def test_few_rows_a_column_mislead_no_rung():
    """Noise of 80 rows and 64 columns is noise, though its sample covariance is far from round."""
    rng = np.random.default_rng(0)
    table = EmbeddingTable.from_arrays(rng.standard_normal((80, 64)).astype(np.float32), [f"w{i}" for i in range(80)])

    @claim(above(0.3))
    def own(table, rng):
        """It spreads in many directions."""
        return embcheck.measures.participation_share(table, rng=rng)

    assert climb(evaluate(Check(own), table, QUICK), table, QUICK).ladder.suffices == "gaussian"


def test_a_run_explains_what_is_asked(tmp_path):
    """From Python, in the report and in words; without being asked nothing is measured twice."""

    @claim(above(0.1), beats(gaussian))
    def own(table, rng):
        """Rows share a direction."""
        return embcheck.measures.mean_cosine(table, rng=rng)

    _, table = planted("mean", 0)
    run = embcheck.check(table, properties=own, explain=True)
    (result,) = run.results
    assert result.ladder.suffices == "mean"
    assert run.document["models"][0]["results"][0]["ladder"]["rungs"][0]["name"] == "gaussian"
    assert ladder_text(result.ladder).startswith("an isotropic cloud with this mean gives the same (")
    (plain,) = embcheck.check(table, properties=own).results
    assert plain.ladder is None
    assert "ladder" not in embcheck.check(table, properties=own).document["models"][0]["results"][0]


@pytest.mark.parametrize(
    ("there", "ends", "says"),
    [
        (0.98, (None, None), "an isotropic cloud with this mean gives the same (0.98 there, 1 here)"),
        (0.7, (None, None), "an isotropic cloud with this mean gives enough of it (40%: 0.7 there, 1 here)"),
        (0.7, (0.6, 1.4), "an isotropic cloud with this mean gives the same (0.7 there, 1 here)"),
        (1.5, (0.9, 1.1), "an isotropic cloud with this mean gives enough of it (200%: 1.5 there, 1 here)"),
    ],
)
def test_what_a_rung_gives_is_the_same_or_enough(there, ends, says):
    """It is called the same within the interval, or 5% of the way from noise (0.5); else that share is said."""
    rungs = (Rung("gaussian", 0.5, 0.5, 0.5, suffices=False), Rung("mean", there, there, there, suffices=True))
    ladder = Ladder("mean", 1.0, "value", 9, 3, rungs, *ends)
    assert ladder_text(ladder) == says
    assert (str(ladder), repr(ladder)) == (f"rests on: {says}", f"<rests on: {says}>")


def test_what_looks_at_variants_is_measured_on_a_sample_that_has_them():
    """Words of which two tokens write each are found on some of 20,000 rows, not on all."""
    rng = np.random.default_rng(0)
    small = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(17_576)]
    tokens = [*small, *(word.capitalize() for word in small[::220])]
    vectors = rng.standard_normal((len(tokens), 160), dtype=np.float32)
    vectors[17_576:] += 4 * vectors[:17_576:220]
    table = EmbeddingTable.from_arrays(vectors, tokens)
    (check,) = [each for each in collect.collect(globs=["surface_variants"]) if "case" in each.params.values()]
    result = climb(evaluate(check, table, QUICK), table, QUICK)
    assert (result.verdict, result.ladder.suffices) == ("holds", None)
    assert result.ladder.rows < 10_000


def test_what_looks_at_rare_tokens_is_measured_on_a_sample_that_has_them():
    """Three writing systems, two of them rare, are told apart on some of 20,000 rows, not on all."""
    rng = np.random.default_rng(0)
    letters = [chr(start + i) * 2 for start in (ord("\u0430"), ord("\u0915")) for i in range(30)]
    letters += [letter * 2 for letter in letters]
    tokens = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(17_576)] + letters
    vectors = rng.standard_normal((len(tokens), 160), dtype=np.float32)
    for script, own in enumerate((slice(0, 17_576), slice(17_576, 17_606), slice(17_606, 17_636))):
        vectors[own, script] += 20
    vectors[17_636:] = vectors[17_576:17_636]
    table = EmbeddingTable.from_arrays(vectors, tokens)
    (check,) = collect.collect(globs=["script_separation"])
    result = climb(evaluate(check, table, QUICK), table, QUICK)
    assert result.verdict == "holds"
    assert result.ladder.rows < 10_000
