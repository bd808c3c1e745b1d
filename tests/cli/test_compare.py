from __future__ import annotations

import json
import time

import numpy as np
import pytest

from embcheck import EmbeddingTable
from embcheck.baseline.drift import drift
from embcheck.baseline.pairing import pair_rows

SHOWN = ("none", "fail", "rows", "all")
WORDS = [f"w{i}" for i in range(300)]


def made(vectors, words=WORDS):
    return EmbeddingTable.from_arrays(np.asarray(vectors, dtype=np.float32), words)


@pytest.fixture
def vectors():
    """A small Gaussian matrix."""
    return np.random.default_rng(0).standard_normal((300, 16))


def test_nothing_moved(vectors):
    """A table against itself: every row identical, no churn, no residual, nothing named."""
    found = drift(made(vectors), made(vectors))
    assert (found["identical_rows"], found["neighbor_jaccard"], found["moved"]) == (300, 1.0, [])
    assert found["procrustes_residual"] < 1e-6


def test_rotation_moves_rows_and_no_neighbours(vectors):
    """A rotation changes cosines row by row, but no neighbour, and Procrustes leaves nothing over."""
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    found = drift(made(vectors), made(vectors @ rotation))
    assert found["neighbor_jaccard"] > 0.999
    assert found["procrustes_residual"] < 1e-3
    assert found["cosine"]["median"] < 0.9


def test_moved_tokens_are_named(vectors):
    """The rows that turned most are named first, and lengths and the mean shift are those of the change."""
    other = vectors.copy()
    other[7] *= -1
    other[9] *= 2
    found = drift(made(vectors), made(other))
    assert found["moved"][0] == {"id": 7, "token": "w7", "value": pytest.approx(-1)}
    assert found["norm_ratio"]["max"] == pytest.approx(2)
    assert found["identical_rows"] == 298
    shift = drift(made(vectors), made(vectors + 1))["mean_shift"]
    assert shift == pytest.approx(4 / np.linalg.norm(vectors, axis=1).mean(), rel=1e-3)


def fates(found):
    return {name: fate["rows"] for name, fate in found["tokens"].items() if name != "paired" and fate["rows"]}


def test_a_dead_row_is_named_and_the_others_are_measured(vectors):
    """One row that is zero, one NaN and one special one that is infinite: all three died, 297 others stand still."""
    words = ["<pad>", *WORDS[1:]]
    other = vectors.copy()
    other[0], other[7], other[9] = np.inf, 0, np.nan
    old, new = made(vectors, words), made(other, words)
    found = drift(old, new)
    assert (found["rows"], found["identical_rows"], found["tokens"]["paired"]) == (297, 297, 300)
    assert fates(found) == {"died": 3}
    named = [{"id": 0, "token": "<pad>"}, {"id": 7, "token": "w7"}, {"id": 9, "token": "w9"}]
    assert found["tokens"]["died"]["first"] == named
    assert fates(drift(new, new)) == {}
    assert old.tokens_sha256 == new.tokens_sha256


def test_a_table_that_died_whole_says_so(vectors):
    """Where all rows are broken there is no drift to measure, and every token died."""
    found = drift(made(vectors), made(np.full_like(vectors, np.nan)))
    assert fates(found) == {"died": 300}
    assert "0 of 300 rows" in found["reason"]


def test_added_and_removed_tokens_leave_the_others_paired(vectors):
    """With two tokens put in front and three left off, 297 rows are found under other ids, moved by nothing."""
    other = np.vstack([vectors[:2] + 1, vectors[:297]])
    found = drift(made(vectors), made(other, ["new", "newer", *WORDS[:297]]))
    assert (found["rows"], found["identical_rows"], found["moved"]) == (297, 297, [])
    assert fates(found) == {"came": 2, "went": 3, "moved_id": 297}
    assert [token["token"] for token in found["tokens"]["went"]["first"]] == ["w297", "w298", "w299"]
    assert found["tokens"]["moved_id"]["first"][1] == {"id": 1, "token": "w1", "new_id": 3}


def test_permuted_ids_are_paired_by_their_tokens(vectors):
    """Rows in another order drift as far as in the same one: each is compared with the row of its own token."""
    order = np.random.default_rng(2).permutation(300)
    moved = vectors + 0.1 * np.random.default_rng(3).standard_normal(vectors.shape)
    straight, permuted = (
        drift(made(vectors), made(moved)),
        drift(made(vectors), made(moved[order], np.array(WORDS)[order].tolist())),
    )
    assert fates(permuted) == {"moved_id": int((order != np.arange(300)).sum())}
    assert {k: v for k, v in permuted.items() if k != "tokens"} == {k: v for k, v in straight.items() if k != "tokens"}


def test_repeated_texts_pair_where_it_is_certain_which_is_which(vectors):
    """Copies of a text pair by id where both tables have them in the same rows; elsewhere they are left out."""
    twice = [*WORDS[:298], "same", "same"]
    assert drift(made(vectors, twice), made(vectors, twice))["rows"] == 300
    found = drift(made(vectors, twice), made(vectors[1:], twice[1:]))
    assert (fates(found), found["rows"]) == ({"went": 1, "moved_id": 297, "ambiguous": 2}, 297)


def test_tokens_in_common_are_none(vectors):
    """Two vocabularies without a common token have no drift, and the reason says so."""
    found = drift(made(vectors), made(vectors, [word.upper() for word in WORDS]))
    assert found["reason"] == "the two populations share 0 tokens; at least 2 are needed"
    assert fates(found) == {"came": 300, "went": 300}


def test_rows_are_paired_in_time_linear_in_them():
    """400,000 rows are paired by their tokens in seconds."""
    words = [f"t{i}" for i in range(400_000)]
    tables = [made(np.ones((400_000, 1)), w) for w in (words, words[1:] + words[:1])]
    started = time.perf_counter()
    pairing = pair_rows(*tables)
    assert time.perf_counter() - started < 5
    assert np.array_equal(pairing.second, np.roll(np.arange(400_000), 1))


@pytest.mark.slow
def test_compare_specs_and_reports(embcheck, project, vectors):
    """Two specs give changes and drift, two reports changes; a regression is exit code 1; one of each is refused."""
    (project / "words.txt").write_text("\n".join(WORDS))
    np.save(project / "a.npy", vectors.astype(np.float32))
    np.save(project / "b.npy", (vectors + 2).astype(np.float32))
    specs = [f"{name}=npy:{name}.npy,vocab=words.txt" for name in "ab"]
    glob = ("--property", "positive*")
    same = embcheck("compare", specs[0], specs[0], *glob)
    assert same.code == 0, same.err
    assert "match" in same.out
    moved = embcheck("compare", *specs, *glob, "--json", "out.json")
    assert moved.code == 1
    document = json.loads((project / "out.json").read_text())
    assert document["changes"][0]["change"]["state"] == "regressed"
    assert document["drift"]["identical_rows"] == 0
    vectors[5] = 0
    np.save(project / "b.npy", vectors.astype(np.float32))
    died = embcheck("compare", *specs, *glob, "--json", "out.json")
    assert "1 zero or not finite in the second only:  'w5' #5" in died.out
    assert ": 1 row became zero or not finite, 1 " in " ".join(died.out.partition("drift")[0].split())
    document = json.loads((project / "out.json").read_text())
    assert (document["same_tokens"], document["drift"]["tokens"]["died"]["rows"]) == (True, 1)
    np.save(project / "b.npy", (vectors + 2).astype(np.float32))
    for spec, name in zip(specs, "ab", strict=True):
        embcheck("check", spec, *glob, "--json", f"{name}.json")
    assert embcheck("compare", "a.json", "b.json", *glob).code == 1
    assert embcheck("compare", "a.json", specs[1]).code == 4


RANKS = '''
from embcheck import Estimate, below, claim


@claim(below(11), margin=0.05, bad="down", on_noise="any")
def ranked(table):
    """The target is near."""
    rank = float(len(table.vectors))
    return Estimate.exact(rank, name="rank", compared_as=("reciprocal rank", 1 / rank))


@claim(below(1000), margin=1, on_noise="any")
def only_narrow(table):
    """There are columns."""
    from embcheck import NotMeasurable

    if table.width > 4:
        raise NotMeasurable("too wide")
    return Estimate.exact(float(table.width), name="width")
'''


def test_reports_are_compared_on_the_scale_of_the_property(embcheck, project):
    """A rank that rises from 2 to 200 regresses in two reports as in two models; what one of them lacks fails."""
    (project / "properties" / "ranks.py").write_text(RANKS)
    for name, spec in (("a", "random:2x4"), ("b", "random:200x4"), ("c", "random:2x8")):
        embcheck("check", f"m={spec}", "--property", "ranked", "--property", "only_narrow", "--json", f"{name}.json")
    found = embcheck("compare", "a.json", "b.json", "--property", "ranked")
    assert (found.code, "fails: 1 regressed" in found.out) == (1, True)
    assert "moved -0.495 from 0.5 in reciprocal rank (" in found.out
    assert "passes: 1 improved" in embcheck("compare", "b.json", "a.json", "--property", "ranked").out
    models = embcheck("compare", "random:2x4", "random:200x4", "--property", "ranked")
    assert (models.code, "fails: 1 regressed" in models.out) == (1, True)
    lacking = embcheck("compare", "a.json", "c.json", "--property", "only_narrow")
    assert (lacking.code, "only a.json has a value" in lacking.out) == (1, True)
    assert embcheck("compare", "a.json", "a.json").code == 0


def test_what_neither_model_can_have_is_no_row_and_what_one_lost_fails(embcheck, project):
    """Checks that apply to neither are left out; one that applied to the first and not to the second fails."""
    kept = [" ".join(map(str, row)) for row in np.random.default_rng(0).standard_normal((1_200, 4)).round(3)]
    words = ["king", "queen", "man", "woman", *(f"w{i}" for i in range(1_196))]
    for name, renamed in (("a", "queen"), ("b", "empress")):
        lines = [f"{renamed if word == 'queen' else word} {row}" for word, row in zip(words, kept, strict=True)]
        (project / f"{name}.vec").write_text("1200 4\n" + "\n".join(lines) + "\n")
    selected = ["--property", "analogy_rank[king]", "--property", "analogy_rank[rome]"]
    same = embcheck("compare", "a=fasttext:a.vec", "b=fasttext:a.vec", *selected)
    assert "analogy_rank[rome]" not in same.out
    lost = embcheck("compare", "a=fasttext:a.vec", "b=fasttext:b.vec", *selected)
    assert lost.code == 1
    assert "3 of 4 king words" in lost.out


@pytest.fixture
def pair(project, vectors):
    """Specs of two matrices: in the second, row 7 is turned round and all others are as they were."""
    (project / "words.txt").write_text("\n".join(WORDS))
    other = vectors.copy()
    other[7] *= -1
    for name, rows in (("a", vectors), ("b", other)):
        np.save(project / f"{name}.npy", rows.astype(np.float32))
    return [f"{name}=npy:{name}.npy,vocab=words.txt" for name in "ab"]


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (
            ("--max-moved", "2.1"),
            0,
            "passes --max-moved 2.1: 0 of 300 rows moved farther; the farthest, in its length: 'w7' #7 by 2",
        ),
        (
            ("--max-moved", "1.9"),
            1,
            "fails --max-moved 1.9: 1 of 300 rows moved farther; the farthest, in its length: 'w7' #7 by 2",
        ),
        (("--min-overlap", "0.5"), 0, "passes --min-overlap 0.5: mean Jaccard of the ten nearest rows 0.9"),
        (("--min-overlap", "1"), 1, "fails --min-overlap 1: "),
    ],
)
def test_drift_can_fail(embcheck, pair, options, code, says):
    """A row turned round is at twice its length from itself: a limit below that fails by name, one above passes."""
    found = embcheck("compare", *pair, "--property", "isotropy", *options)
    assert found.code == code
    assert says in " ".join(found.out.split())
    assert ("drift beyond its limit" in found.out) == (code == 1)


def test_a_limit_says_how_many_rows_moved_beyond_it_and_names_the_worst(embcheck, project, pair, vectors):
    """Of three rows beyond the limit their number and all three, the farthest first; JSON has the number."""
    for row, factor in ((7, -1), (9, 4), (11, 3)):
        vectors[row] *= factor
    np.save(project / "b.npy", vectors.astype(np.float32))
    found = embcheck("compare", *pair, "--property", "isotropy", "--max-moved", "0.5", "--json", "out.json")
    said = "3 of 300 rows moved farther; the farthest, in their lengths: 'w9' #9 by 3, 'w7' #7 by 2, 'w11' #11 by 2"
    assert said in " ".join(found.out.split()).replace("'w11' #11 by 2, 'w7' #7 by 2", "'w7' #7 by 2, 'w11' #11 by 2")
    assert json.loads((project / "out.json").read_text())["drift"]["beyond"] == 3


def test_what_compare_shows_is_chosen(embcheck, pair):
    """None shows the counts and the drift, fail the checks that fail, rows every check, all how each was compared."""
    shown = {show: embcheck("compare", *pair, "--property", "isotropy", "--show", show).out for show in SHOWN}
    has = {
        show: [word in text for word in ("isotropy", "rows that turned", "are exact")] for show, text in shown.items()
    }
    assert has == {"none": [False] * 3, "fail": [False] * 3, "rows": [True, True, False], "all": [True] * 3}


def test_rows_that_died_or_can_not_be_measured_exceed_every_limit(embcheck, project, pair, vectors):
    """A row that became zero fails --max-moved, however large; so do two widths, which have no distance."""
    vectors[5] = 0
    np.save(project / "b.npy", vectors.astype(np.float32))
    found = embcheck("compare", *pair, "--property", "isotropy", "--max-moved", "1000")
    assert (found.code, "1 row is zero or not finite in the second only" in found.out) == (1, True)
    vectors[7] *= -1
    np.save(project / "b.npy", vectors.astype(np.float32))
    found = embcheck("compare", *pair, "--property", "isotropy", "--max-moved", "0.5")
    said = "1 row is zero or not finite in the second only; 1 of 299 rows moved farther; the farthest"
    assert (found.code, said in " ".join(found.out.split())) == (1, True), found.out
    np.save(project / "b.npy", vectors[:, :8].astype(np.float32))
    found = embcheck("compare", *pair, "--property", "isotropy", "--max-moved", "1000")
    assert (found.code, "rows of different widths have no distance" in found.out) == (1, True)


@pytest.mark.parametrize("bad", ["nan", "inf", "-0.1", "x"])
@pytest.mark.parametrize("option", ["--max-moved", "--min-overlap"])
def test_a_limit_that_bounds_nothing_is_refused(embcheck, pair, option, bad):
    """Not a number, infinity and what lies below zero are wrong usage, before anything is measured."""
    found = embcheck("compare", *pair, option, bad)
    assert (found.code, found.out, len(found.err.splitlines())) == (4, "", 1)
    assert option in found.err


def test_reports_have_no_rows_to_limit(embcheck, project, pair):
    """A limit on drift is refused for reports, which hold no rows: it would pass over what it is about."""
    for name, spec in zip("ab", pair, strict=True):
        embcheck("check", spec, "--property", "isotropy", "--json", f"{name}.json")
    found = embcheck("compare", "a.json", "b.json", "--max-moved", "9")
    assert (found.code, "reports hold no rows" in found.err) == (4, True)


def test_a_comparison_is_shown_again_from_its_json(embcheck, project, pair):
    """Screen, page and Markdown of compare are those that report makes of its JSON; a card of it is refused."""
    outputs = ("--html", "one.html", "--summary", "one.md")
    found = embcheck("compare", *pair, "--property", "isotropy", "--max-moved", "1", "--json", "out.json", *outputs)
    again = embcheck("report", "out.json", "--html", "two.html", "--summary", "two.md")
    assert (found.code, again.code, again.out) == (1, 0, found.out)
    for suffix in ("html", "md"):
        assert (project / f"one.{suffix}").read_bytes() == (project / f"two.{suffix}").read_bytes()
    short = embcheck("report", "out.json", "--show", "none")
    assert 0 < len(short.out.splitlines()) < len(found.out.splitlines())
    assert embcheck("report", "out.json", "--card", "card.md").code == 4
