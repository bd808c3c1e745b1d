"""A row that the baseline knew, and that is zero or not finite now, is never passed over in silence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from embcheck.baseline import file

SPEC = "m=npy:m.npy,vocab=words.txt"
WORDS = [f"word{i}" for i in range(1_100)]
SAID = "lost since the baseline: row of word5 is zero"


@pytest.fixture
def intact(project):
    """A table of 1,100 words, more than are probed, none of them broken, and no configuration."""
    (project / "words.txt").write_text("\n".join(WORDS))
    write(np.random.default_rng(0).standard_normal((1_100, 16)))
    return project


def write(vectors):
    """Save the matrix as the model's."""
    np.save("m.npy", vectors.astype(np.float32))


def damage(row, value=0.0):
    """Overwrite one of the model's rows."""
    vectors = np.load("m.npy")
    vectors[row] = value
    write(vectors)


def changes(project, embcheck, *options):
    """Exit code, the model's record, and the changes by property."""
    done = embcheck("check", *options, "--json", "out.json")
    (model,) = json.loads((project / "out.json").read_text())["models"]
    return done, model, {result["property"]: result["change"] for result in model["results"]}


def test_a_lost_row_fails_where_no_check_of_the_baseline_would_see_it(intact, embcheck):
    """A claim about all rows whose row went is undecided, named everywhere; an update adopts it, once and for all."""
    assert embcheck("init", SPEC, "--property", "isotropy").code == 0
    assert embcheck("check").code == 0
    damage(5)
    done, model, change = changes(intact, embcheck, "--summary", "out.md", "--html", "out.html")
    assert (done.code, change["isotropy"]["state"], change["isotropy"]["gone"]) == (1, "undecided", ["word5"])
    assert change["isotropy"]["reason"] == "1 of 1,100 rows is gone: word5; row of word5 is zero (see intact_rows)"
    assert model["lost"] == f"{SAID} (see intact_rows)"
    assert SAID in done.out
    assert all(SAID in (intact / name).read_text() for name in ("out.md", "out.html"))
    assert SAID in embcheck("report", "out.json").out
    assert embcheck("baseline", "update").code == 0
    done, model, change = changes(intact, embcheck)
    assert (done.code, change["isotropy"]["state"], "lost" in model) == (0, "match", False)


def test_a_lost_row_is_told_where_the_check_that_sees_it_is_not_run(intact, embcheck):
    """Where the baseline has intact_rows that one fails; a run of other checks passes, and says what it did not see."""
    assert embcheck("init", SPEC, "--property", "isotropy", "--property", "intact_rows").code == 0
    damage(5)
    done, _, change = changes(intact, embcheck, "--property", "isotropy")
    assert (done.code, change["isotropy"]["state"]) == (0, "match")
    assert SAID in done.out
    done, _, change = changes(intact, embcheck)
    assert (done.code, {name: own["state"] for name, own in change.items()}) == (
        1,
        {"isotropy": "match", "intact_rows": "regressed"},
    )


def test_rows_that_were_broken_before_are_not_lost(intact, embcheck):
    """What the baseline knew as broken is not said again; the next row that breaks is, and that one alone."""
    damage(3)
    assert embcheck("init", SPEC, "--property", "isotropy").code == 0
    done, model, _ = changes(intact, embcheck)
    assert (done.code, "lost" in model) == (0, False)
    damage(7, np.nan)
    done, model, change = changes(intact, embcheck)
    assert (done.code, change["isotropy"]["gone"]) == (1, ["word7"])
    assert model["lost"] == "lost since the baseline: row of word7 is not finite (see intact_rows)"


def test_an_old_file_is_read(intact, embcheck, monkeypatch):
    """A file from before the damage was kept is read, and its counts tell where no row of all was broken then."""
    kept = file.Checkpoint
    monkeypatch.setattr(file, "builtins", lambda record, old=file.builtins: _without_damage(old(record)))
    assert embcheck("init", SPEC, "--property", "isotropy").code == 0
    monkeypatch.undo()
    monkeypatch.chdir(intact)
    assert "broken_rows" not in (intact / "embcheck-baselines" / "m.json").read_text()
    assert kept.__struct_defaults__ == (None,)
    assert embcheck("check").code == 0
    damage(5)
    done, _, change = changes(intact, embcheck)
    assert (done.code, change["isotropy"]["gone"]) == (1, ["word5"])


def _without_damage(record):
    return {key: value for key, value in record.items() if key != "broken_rows"} if isinstance(record, dict) else record


@pytest.mark.slow
def test_pytest_says_what_was_lost(intact, embcheck, pytester, monkeypatch):
    """Under pytest a passing run of other checks says it too, with -q as well."""
    monkeypatch.chdir(intact)
    assert embcheck("init", SPEC, "--property", "isotropy", "--property", "intact_rows").code == 0
    damage(5)
    done = pytester.runpytest_subprocess(
        "-q", "-p", "no:cacheprovider", "--rootdir", str(intact), "--pyargs", "embcheck.properties",
        "--embcheck-property", "isotropy",
    )  # fmt: skip
    done.stdout.fnmatch_lines([f"*{SAID}*"])


JOINED = '''
from embcheck import Estimate, above, claim

@claim(above(-5), margin=0.5, bad="down")
def joined(table):
    """Pairs of words, joined by a hyphen, some words with one of their own."""
    pairs = [("word1", "a-b"), *((f"word{i}", f"word{i + 1}") for i in range(2, 40, 2))]
    there = [pair for pair in pairs if None not in table.rows(pair)]
    return Estimate.from_units([1 + len(a) / 9 for a, _ in there], unit="pairs", labels=["-".join(p) for p in there])
'''


@pytest.mark.parametrize(
    ("row", "said"), [(5, "word4-word5; row of word5 is zero"), (0, "word1-a-b; row of a-b is zero")]
)
def test_a_broken_word_of_a_unit_is_named_however_the_unit_joins_its_words(intact, embcheck, row, said):
    """Of a pair that is gone, the word whose row is broken is said, and no adoption of its absence is advised."""
    (intact / "words.txt").write_text("\n".join(["a-b", *WORDS[1:]]))
    (intact / "properties" / "joined.py").write_text(JOINED)
    assert embcheck("init", SPEC, "--property", "joined").code == 0
    damage(row)
    _, _, change = changes(intact, embcheck)
    assert change["joined"]["reason"] == f"1 of 20 pairs is gone: {said} (see intact_rows)"


def test_a_check_that_lost_a_word_to_a_broken_row_says_so_once(intact, embcheck, monkeypatch):
    """What can't be decided for want of a word names the broken row; its annotation gives each reason once."""
    words = ["king", "man", "woman", "queen", *WORDS[4:]]
    (intact / "words.txt").write_text("\n".join(words))
    assert embcheck("init", SPEC, "--property", "analogy_rank[king]").code == 0
    damage(0)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done, _, change = changes(intact, embcheck)
    assert change["analogy_rank"]["reason"].endswith("no king; row of king is zero (see intact_rows)")
    (error,) = (line for line in done.err.splitlines() if line.startswith("::error title=analogy_rank"))
    assert (error.count("3 of 4 king words"), "adopt" in error) == (1, False)
