from __future__ import annotations

import json
import tomllib

import jsonschema
import pytest

from embcheck.reports.json_file import schema

TOY = '''
import os
from embcheck import Estimate, NotMeasurable, above, claim

V = lambda: float(os.environ.get("TOY", "0"))

@claim(above(-5), margin=0.5, bad="down")
def moving(table):
    """It stays where it is."""
    units = [x + V() * (1 + x / 1000) for x in (1.0, 2.0, 3.0, 4.0)]
    worst = [{"token": "|`<img src=x>\\n\\u202e_*[a](b)", "id": 1, "value": 0.0}]
    return Estimate.from_units(units, unit="toys", labels=["|`<img src=x>\\n\\u202e", "b", "c", "d"], name="toy",
                               counterexamples=worst)

@claim(above(0.5))
def refuted(table):
    """Never holds."""
    return Estimate.exact(0.0)

@claim(above(0), margin=0.1)
def sometimes(table):
    """It can be measured at times."""
    if V() > 50:
        raise NotMeasurable("no such words")
    return Estimate.exact(1.0, name="sometimes")
'''


SEEDED = '''
from embcheck import Estimate, above, claim

@claim(above(-99), margin=1e-9)
def seeded(table, rng):
    """It is what is drawn."""
    return Estimate.exact(float(rng.standard_normal()))
'''


LISTED = '''
import os
from embcheck import Estimate, above, claim

@claim(above(-5), margin=0.5)
def listed(table):
    """A word of the list may be gone."""
    words = range(int(os.environ.get("TOY", "0")), 18)
    return Estimate.from_units([1 + x / 100 for x in words], unit="words", labels=[f"w{x}" for x in words])
'''


@pytest.fixture
def toys(project, monkeypatch):
    """A project whose only further properties are these toys."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    (project / "properties" / "toys.py").write_text(TOY)
    (project / "pyproject.toml").write_text(
        '# mine\n[project]\nname = "x"\n[tool.embcheck]\nproperty = ["moving", "refuted", "sometimes"]\n'
    )
    return project


@pytest.fixture
def ready(toys, embcheck):
    """A project that a small random model was taken into."""
    assert embcheck("init", "m=random:30x4").code == 0
    return toys


def states(project, embcheck, *arguments):
    code = embcheck("check", "--json", "out.json", *arguments).code
    document = json.loads((project / "out.json").read_text())
    jsonschema.validate(document, schema())
    found = {r["property"]: r["change"] and r["change"]["state"] for m in document["models"] for r in m["results"]}
    return code, found


def test_init_makes_the_same_checkpoint_pass(ready, embcheck, monkeypatch):
    """After init the checkpoint passes in CI too; exceptions have their reasons, and the file keeps its text."""
    monkeypatch.setenv("CI", "true")
    assert states(ready, embcheck) == (0, {"moving": "match", "refuted": None, "sometimes": "match"})
    text = (ready / "pyproject.toml").read_text()
    table = tomllib.loads(text)["tool"]["embcheck"]
    assert text.startswith("# mine\n[project]")
    assert '"refuted", # refuted: 0 (exact), claimed above 0.5' in text
    assert (table["models"], table["gate"], table["model"]["m"]["exceptions"]) == (
        ["m=random:30x4"], "both", ["refuted"],
    )  # fmt: skip


def test_init_twice_is_refused(ready, embcheck):
    """A model that is there already is not taken in again."""
    found = embcheck("init", "m=random:30x4")
    assert found.code == 4
    assert "embcheck baseline update m" in found.err


@pytest.mark.parametrize(
    ("moved", "state", "code"),
    [("0", "match", 0), ("0.4", "match", 0), ("-0.6", "regressed", 1), ("2", "improved", 0)],
)
def test_states(ready, embcheck, monkeypatch, moved, state, code):
    """A move beyond the margin in the bad direction fails, inside it or in the good one it passes."""
    monkeypatch.setenv("TOY", moved)
    found = states(ready, embcheck)
    assert (found[0], found[1]["moving"]) == (code, state)


def test_gate_chooses_what_decides(ready, embcheck, monkeypatch):
    """--gate claims ignores a regression, regressions a failed claim, and both counts both."""
    monkeypatch.setenv("TOY", "-2")
    assert [states(ready, embcheck, "--gate", g)[0] for g in ("claims", "regressions", "both")] == [0, 1, 1]
    monkeypatch.setenv("TOY", "0")
    (ready / "pyproject.toml").write_text(
        "[tool.embcheck]\nproperty = ['moving', 'refuted']\nmodels = ['m=random:30x4']"
    )
    assert [states(ready, embcheck, "--gate", g)[0] for g in ("claims", "both")] == [1, 1]
    assert states(ready, embcheck, "--gate", "regressions", "--property", "moving")[0] == 0


def test_a_baseline_of_other_rows_is_said(project, embcheck):
    """Where more or fewer tokens are known than when the baseline was measured, a run says how many then and now."""
    start = ("--property", "isotropy", "--baseline-dir", str(project))
    embcheck("baseline", "update", "m=random:30x4", *start)
    said = "m: its baseline is of 30 tokens, and 40 are known now"
    assert embcheck("check", "m=random:40x4", *start, "--gate", "regressions").err.count(said) == 1
    assert "its baseline is of" not in embcheck("check", "m=random:30x4", *start, "--gate", "regressions").err


def test_the_gate_repeats_the_seed_of_the_baseline(toys, embcheck):
    """With another seed a check is measured as its baseline was, in one line said; an update takes the seed over."""
    (toys / "properties" / "seeded.py").write_text(SEEDED)
    (toys / "pyproject.toml").write_text('[tool.embcheck]\nproperty = ["seeded"]\n')
    assert embcheck("init", "m=random:30x4").code == 0
    done = embcheck("check", "--seed", "1", "--json", "out.json")
    (result,) = json.loads((toys / "out.json").read_text())["models"][0]["results"]
    assert (done.code, result["change"]["state"], result["change"]["seed"]) == (0, "match", 0)
    assert done.err.count("m: measured with seed 0, as its baseline was, not with 1") == 1
    assert embcheck("check", "--seed", "1", "--update", "changed").code == 0
    done = embcheck("check", "--seed", "1")
    assert (done.code, "measured with seed" in done.err) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "ci", "code"),
    [([], "", 0), ([], "1", 1), (["--missing-baseline", "fail"], "", 1), (["--missing-baseline", "ignore"], "1", 0)],
)
def test_missing_baseline(ready, embcheck, monkeypatch, arguments, ci, code):
    """Without its baseline a model fails in CI and where asked to, and passes where that is said."""
    (ready / "embcheck-baselines" / "m.json").unlink()
    monkeypatch.setenv("CI", ci)
    assert states(ready, embcheck, *arguments) == (code, {"moving": "new", "refuted": None, "sometimes": "new"})


def test_value_that_vanishes_fails(ready, embcheck, monkeypatch):
    """A check with a baseline value that can't be measured any more fails, outside CI too, and says why."""
    monkeypatch.setenv("TOY", "60")
    found = embcheck("check", "--property", "sometimes")
    assert found.code == 1
    assert "no such words" in " ".join(found.out.split())


def test_renamed_property_is_unused_and_new(ready, embcheck, monkeypatch):
    """A renamed property is not passed in CI: its entry is unused, and it is new under its new name."""
    (ready / "properties" / "toys.py").write_text(TOY.replace("def moving", "def going"))
    config = (ready / "pyproject.toml").read_text().replace('"moving"', '"going"')
    (ready / "pyproject.toml").write_text(config)
    monkeypatch.setenv("CI", "true")
    code, found = states(ready, embcheck)
    assert (code, found["going"]) == (1, "new")
    assert json.loads((ready / "out.json").read_text())["models"][0]["unused"] == ["moving"]
    assert embcheck("check", "--update", "new,prune").code == 0
    assert states(ready, embcheck)[0] == 0


def test_update_adopts_changes_and_hides_no_failed_claim(ready, embcheck, monkeypatch):
    """--update changed takes a regression over; a claim that fails still fails, and what to do about it is said."""
    monkeypatch.setenv("TOY", "-2")
    assert embcheck("check", "--update", "changed").code == 0
    assert states(ready, embcheck) == (0, {"moving": "match", "refuted": None, "sometimes": "match"})
    monkeypatch.setenv("TOY", "-20")
    done = embcheck("check", "--update", "changed")
    assert (done.code, done.out.splitlines()[-1].endswith("(1 adopted)")) == (1, True)
    assert "m: 1 changed, " in done.err
    assert (
        "claim that does not hold: moving; if that is meant, name them in exceptions of [tool.embcheck.mod" in done.err
    )
    assert states(ready, embcheck)[1]["moving"] == "match"


def test_update_in_ci_needs_the_flag(ready, embcheck, monkeypatch):
    """In CI neither the configuration nor a command updates a baseline without --update on the command line."""
    monkeypatch.setenv("CI", "true")
    assert embcheck("baseline", "update").code == 4
    assert embcheck("baseline", "prune").code == 4
    assert embcheck("baseline", "update", "--update", "changed").code == 0
    monkeypatch.setenv("EMBCHECK_UPDATE", "changed")
    found = embcheck("check")
    assert found.code == 4
    assert "--update" in found.err


def test_baseline_commands(ready, embcheck, monkeypatch):
    """Diff shows a change and fails, update adopts it, diff is quiet then; prune removes what is unused."""
    monkeypatch.setenv("TOY", "-2")
    shown = embcheck("baseline", "diff")
    assert shown.code == 1
    assert "moved -2" in shown.out
    assert embcheck("baseline", "update", "m").code == 0
    assert embcheck("baseline", "diff").code == 0
    (ready / "properties" / "toys.py").write_text(TOY.replace("def sometimes", "def at_times"))
    assert embcheck("baseline", "prune").err.splitlines() == [
        f"embcheck: m: 1 removed, 1 as they were in {ready / 'embcheck-baselines' / 'm.json'}",
        "embcheck: m: removed sometimes 1",
    ]


def test_a_diff_says_each_check_once_and_how_each_change_was_found(ready, embcheck, monkeypatch):
    """On the terminal no row stands twice, and what did not change is counted; in Markdown every check says how."""
    monkeypatch.setenv("TOY", "-2")
    brief = embcheck("baseline", "diff").out
    assert [brief.count(f" {name}  ") for name in ("moving", "sometimes")] == [1, 0]
    assert "not shown, as they did not change: 1 hold, 1 known exception (--show all)" in brief
    shown = embcheck("baseline", "diff", "--markdown", "out.md", "--show", "all").out
    assert [shown.count(f" {name}  ") for name in ("moving", "sometimes")] == [1, 1]
    shown = embcheck("check", "--show", "all").out
    assert [shown.count(f" {name}  ") for name in ("moving", "sometimes")] == [1, 1]
    rows = [line for line in (ready / "out.md").read_text().splitlines() if line.startswith("| `")]
    whys = [row.rpartition(" |")[0].rpartition(" | ")[2] for row in rows]
    assert whys[0].startswith("Student t, of paired differences, p = 7e-10 (Holm: of 2); `d` `c` `b` ")
    assert whys[1:] == ["both values are exact"]


def test_an_update_says_what_it_changed(ready, embcheck, monkeypatch):
    """Entries that changed with both values, new ones with theirs, and how many stayed; not how many there are."""
    (ready / "properties" / "toys.py").write_text(TOY.replace("def sometimes", "def at_times"))
    config = (ready / "pyproject.toml").read_text().replace('"sometimes"', '"at_times"')
    (ready / "pyproject.toml").write_text(config)
    monkeypatch.setenv("TOY", "-2")
    said = embcheck("baseline", "update", "--update", "new,changed,prune").err.splitlines()
    assert said[-4:] == [
        f"embcheck: m: 1 new, 1 changed, 1 removed in {ready / 'embcheck-baselines' / 'm.json'}",
        "embcheck: m: changed moving 2.5 -> 0.495",
        "embcheck: m: new at_times 1",
        "embcheck: m: removed sometimes 1",
    ]
    assert embcheck("baseline", "update").err.splitlines()[-1].startswith("embcheck: m: 2 as they were in ")


def test_a_diff_as_markdown_is_for_a_reviewer(ready, embcheck, monkeypatch):
    """What regressed stands first with both values and what moved, its tokens inert; the rest is folded away."""
    monkeypatch.setenv("TOY", "-2")
    assert embcheck("baseline", "diff", "--markdown", "out.md").code == 1
    text = (ready / "out.md").read_text()
    assert text.startswith("### m against its baseline: 1 regressed, 1 match\n")
    (row,) = [line for line in text.splitlines() if line.startswith("| `moving` | regressed | 2.5 | 0.495 |")]
    assert row.replace("\\|", "").count("|") == 8
    assert not any(bad in text for bad in ("<img", "\u202e", "`<"))
    assert "<summary>1 did not change</summary>" in text
    assert embcheck("baseline", "diff", "--markdown", "none/out.md").code == 4


def test_a_unit_that_is_gone_is_said_wherever_the_change_is(toys, embcheck, monkeypatch):
    """The terminal, the Markdown and the JSON name the unit that is there no more; an update adopts its absence."""
    (toys / "properties" / "toys.py").write_text(LISTED)
    (toys / "pyproject.toml").write_text('[tool.embcheck]\nproperty = ["listed"]\n')
    assert embcheck("init", "m=random:30x4").code == 0
    monkeypatch.setenv("TOY", "1")
    said = "1 of 18 words is gone: w0"
    assert f"{said}; adopt it with: embcheck baseline update" in " ".join(embcheck("check").out.split())
    done = embcheck("baseline", "diff", "--markdown", "out.md", "--json", "out.json")
    (result,) = json.loads((toys / "out.json").read_text())["models"][0]["results"]
    assert (done.code, result["change"]["comparison"], result["change"]["gone"]) == (1, "paired", ["w0"])
    assert result["change"]["reason"].endswith("; adopt it with: embcheck baseline update")
    config = (toys / "pyproject.toml").read_text()
    (toys / "pyproject.toml").unlink()
    embcheck("check", "m=random:30x4", "--property", "listed", "--json", "other.json")
    (other,) = json.loads((toys / "other.json").read_text())["models"][0]["results"]
    assert other["change"]["reason"] == result["change"]["reason"] + " m=random:30x4"
    (toys / "pyproject.toml").write_text(config)
    assert said in done.out
    assert said in (toys / "out.md").read_text()
    assert said in embcheck("check").out
    assert embcheck("baseline", "update").code == 0
    assert states(toys, embcheck) == (0, {"listed": "match"})


ZEROED = '''
from embcheck import Estimate, above, claim, measures

@claim(above(-5), margin=0.5)
def listed(table):
    """A word of the list may be gone."""
    words = ["a", "b", "c", "d", "e", "f"]
    kept = [word for word in words if table.rows([word]) != [None]]
    return Estimate.from_units([1 + table.rows([w])[0] / 100 for w in kept], unit="words", labels=kept)
'''


def test_a_word_whose_row_is_broken_is_no_word_to_adopt(toys, embcheck, monkeypatch):
    """A unit gone for a zero row is told so, with the check that sees the row, and comes behind what regressed."""
    (toys / "properties" / "toys.py").write_text(ZEROED)
    (toys / "pyproject.toml").unlink()
    rows = {word: f"{word} {i + 1} {i * i + 1}" for i, word in enumerate("abcdefgh")}

    def spec(name, **changed):
        lines = [line for line in (rows | changed).values() if line]
        (toys / name).write_text("\n".join([f"{len(lines)} 2", *lines, ""]))
        return f"m=word2vec:{name}"

    assert embcheck("init", spec("old.txt"), "--property", "listed", "--property", "intact_rows").code == 0
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    done = embcheck("check", spec("zero.txt", b="b 0 0"), "--json", "out.json")
    (result,) = (r for r in json.loads((toys / "out.json").read_text())["models"][0]["results"] if r["change"]["gone"])
    said = "1 of 6 words is gone: b; row of b is zero (see intact_rows)"
    assert (done.code, result["change"]["reason"]) == (1, said)
    assert done.out.splitlines()[-1] == "2 of 2 checks fail: 1 regressed, 1 undecided"
    (error,) = (line for line in done.err.splitlines() if line.startswith("::error title=intact_rows"))
    assert error.endswith("; such as 'b'")
    problems = done.out.partition("what needs looking at:")[2]
    assert problems.index("REGRESSED     intact_rows (refuted)") < problems.index("UNDECIDED     listed")


def test_what_was_adopted_needs_no_more_looking_at(toys, embcheck, monkeypatch):
    """Right after an update a change is adopted, neither open nor to be adopted; the counts say how many were."""
    (toys / "properties" / "toys.py").write_text(LISTED)
    (toys / "pyproject.toml").write_text('[tool.embcheck]\nproperty = ["listed"]\n')
    assert embcheck("init", "m=random:30x4").code == 0
    monkeypatch.setenv("TOY", "1")
    done = embcheck("baseline", "update")
    assert done.code == 0
    assert not [word for word in ("undecided", "adopt it", "looking at") if word in done.out]
    assert "adopted: moved " in " ".join(done.out.split())
    assert done.out.splitlines()[-1] == "1 hold (1 adopted)"


def test_init_takes_the_checks_that_are_named_and_says_what_is_next(toys, embcheck):
    """With --property the model has these checks alone, now and later; the next command is named, and passes."""
    (toys / "pyproject.toml").unlink()
    done = embcheck("init", "m=random:30x4", "--property", "moving", "--property", "some*")
    assert done.code == 0
    assert "(0 expected exceptions)" in done.err
    assert "(2 entries)" in done.err
    assert done.err.splitlines()[-1] == "embcheck: next: embcheck check, or: pytest --pyargs embcheck.properties"
    own = tomllib.loads((toys / "pyproject.toml").read_text())["tool"]["embcheck"]["model"]["m"]
    assert own == {"property": ["moving", "some*"], "exceptions": []}
    assert states(toys, embcheck) == (0, {"moving": "match", "sometimes": "match"})


def test_what_a_models_list_leaves_out_is_said_with_the_list(toys, embcheck):
    """An own property that was added after init is named with the list that leaves it out, as is a glob of it."""
    (toys / "pyproject.toml").unlink()
    assert embcheck("init", "m=random:30x4", "--property", "moving").code == 0
    (toys / "properties" / "more.py").write_text(LISTED)
    listed = "left out by property = [...] of [tool.embcheck.model.m]; add"
    done = embcheck("check")
    assert done.code == 0
    assert f"embcheck: listed, refuted, sometimes are {listed} them there" in done.err.splitlines()
    done = embcheck("check", "--property", "list*")
    assert (done.code, done.err.endswith(f"are selected: listed is {listed} it there\n")) == (4, True)


def test_baseline_dir(ready, embcheck):
    """--baseline-dir names another folder; the gate is open where that has no baseline."""
    assert states(ready, embcheck, "--baseline-dir", "elsewhere", "--gate", "both")[1]["moving"] == "new"
    (ready / "embcheck-baselines").rename(ready / "elsewhere")
    assert states(ready, embcheck, "--baseline-dir", "elsewhere")[1]["moving"] == "match"


def test_damaged_baseline_is_wrong_usage(ready, embcheck):
    """A truncated baseline is one line and exit code 4, before anything is measured."""
    path = ready / "embcheck-baselines" / "m.json"
    path.write_text(path.read_text()[:100])
    found = embcheck("check")
    assert (found.code, found.out, len(found.err.splitlines())) == (4, "", 1)
    assert "cut short" in found.err


def test_summary_and_annotations(ready, embcheck, monkeypatch):
    """The Markdown names what regressed, its tokens inert; GitHub gets it too, and an annotation for each failure."""
    monkeypatch.setenv("TOY", "-2")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(ready / "step.md"))
    (ready / "step.md").write_text("before\n")
    found = embcheck("check", "--summary", "out.md")
    text = (ready / "out.md").read_text()
    assert (ready / "step.md").read_text() == f"before\n{text}\n"
    assert "1 of 3 checks fails" in text
    rows = [line for line in text.splitlines() if line.startswith("| `moving`")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 7
    assert not any(bad in text for bad in ("<img", "|`", "`<", "\u202e", "[a]", "_*"))
    assert "regressed" in rows[0]
    assert [line for line in found.err.splitlines() if line.startswith("::error title=moving on m::")]


PER_MODEL = """
[tool.embcheck]
models = ["a=random:30x4", "b=random:30x4"]
property = ["moving", "refuted"]
[tool.embcheck.model.a]
{}
"""


@pytest.mark.parametrize(
    ("own", "code"),
    [
        ('exceptions = ["refuted"]', 1),
        ("property = ['moving']", 1),
        ("claims = { refuted = { above = -1 } }", 1),
        ("claims = { moving = { above = 9 } }", 1),
    ],
)
def test_settings_of_one_model(toys, embcheck, own, code):
    """Bounds, selection and exceptions of one model are its own."""
    (toys / "pyproject.toml").write_text(PER_MODEL.format(own))
    found = embcheck("check", "--json", "out.json")
    results = {
        (m["alias"], r["property"]): r["outcome"]
        for m in json.loads((toys / "out.json").read_text())["models"]
        for r in m["results"]
    }
    assert found.code == code
    assert results["b", "refuted"] == "fail"
    assert results.get(("a", "refuted"), "pass") == ("fail" if "9" in own else "pass")
    assert results["a", "moving"] == ("fail" if "9" in own else "pass")


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ("claims = { movin = { above = 1 } }", "did you mean 'moving'?"),
        ("claims = { moving = { below = 1 } }", "it claims above"),
        ("claims = { moving = { abov = 1 } }", "did you mean 'above'?"),
        ("claims = { moving = { above = 'x' } }", "expected a number"),
        ("claims = { moving = { margin = -1 } }", "margin must be a positive number"),
        ("parameters = { moving = { size = [1] } }", "no parameter is called 'size'"),
        ("property = ['movin']", "did you mean 'moving'?"),
        ("devic = 'cpu'", "did you mean 'device'?"),
        ("device = 'tpu'", "tpu"),
    ],
)
def test_misspelt_settings_of_one_model(toys, embcheck, own, says):
    """A name that is no check, bound, parameter or key is wrong usage, with the one most like it."""
    (toys / "pyproject.toml").write_text(PER_MODEL.format(own))
    found = embcheck("check")
    assert (found.code, len(found.err.splitlines())) == (4, 1)
    assert says in found.err


NEEDY = '''
import os
from embcheck import Estimate, NotMeasurable, above, claim

def enough(table, parameters):
    return "2 of 4 king words" if os.environ.get("TOY") == "1" else None

@claim(above(-5), margin=0.5, needs=enough)
def needy(table):
    """Needs words."""
    return Estimate.exact(1.0, n=4, unit="words")

@claim(above(-5), margin=0.5)
def fickle(table):
    """Can't always be measured."""
    if os.environ.get("TOY") == "1":
        raise NotMeasurable("too few words: 1")
    return Estimate.exact(2.0, n=4, unit="words")
'''


def test_an_update_that_takes_a_check_out_of_the_gate_says_so(toys, embcheck, monkeypatch):
    """What is n/a now, or can't be measured, is said with why, and that the baseline no longer holds it to anything."""
    (toys / "properties" / "toys.py").write_text(NEEDY)
    (toys / "pyproject.toml").write_text('[tool.embcheck]\nproperty = ["needy", "fickle"]\n')
    assert embcheck("init", "m=random:30x4").code == 0
    monkeypatch.setenv("TOY", "1")
    said = embcheck("baseline", "update").err.splitlines()
    assert said[-2:] == [
        "embcheck: m: changed fickle 2 -> no value, so its change no longer gates: too few words: 1",
        "embcheck: m: changed needy 1 -> n/a now, so it no longer gates: 2 of 4 king words",
    ]
    monkeypatch.delenv("TOY")
    assert "embcheck: m: changed needy n/a -> 1" in embcheck("baseline", "update", "--update", "new").err.splitlines()
