import re
import xml.etree.ElementTree as ET

import pytest

PROPERTIES = "properties"


def test_message(run, toys, model):
    """A failure shows claim, estimate, interval, bound, model, seed, n and worst tokens, and no Python."""
    result = run(model, "--embcheck-property=drawn[one]", PROPERTIES)
    shown = str(result.stdout).partition("= FAILURES =")[2].partition("= embcheck =")[0]
    for piece in (
        r"REFUTED drawn\[one\] -?0\.\d+ \[-0\.\d+, 0\.\d+\] n = 50 draws above 0\.5",
        r"says: Draws around zero lie above a half\.",
        r"95% interval by Student t  seed 0",
        r"worst: 'worst one \\ud800' #7 -0\.25",
        r"model: random-300x16 \(random:300x16\), 300 x 16 float32",
    ):
        assert re.search(piece, shown), piece
    assert not re.search(r"\.py:\d+|Traceback|__embcheck__|Estimate|def |hidden", shown)


def test_counterexamples_have_a_section(alone, toys, model):
    """The counterexamples stand in a section of the test's report where the claim is refuted, and nowhere else."""
    result = alone(model, "-rA", "--embcheck-property=drawn", PROPERTIES)
    result.stdout.fnmatch_lines(["*embcheck counterexamples*", '*"token": "worst one ?ud800"*'])
    write = toys.path / "properties/toys.py"
    write.write_text(write.read_text(encoding="utf-8").replace("above(0.5)", "above(-5)"), encoding="utf-8")
    assert "embcheck counterexamples" not in str(alone(model, "-rA", "--embcheck-property=drawn", PROPERTIES).stdout)


def test_junit(alone, toys, model, project):
    """JUnit's failure has the statistics as message and the whole text, and every check has them as a property."""
    alone(model, "--junitxml=junit.xml", PROPERTIES)
    cases = {case.get("name"): case for case in ET.parse(project.path / "junit.xml").iter("testcase")}  # noqa: S314
    failure = cases["drawn[random-300x16-one]"].find("failure")
    assert failure.get("message").startswith("refuted; ")
    assert failure.text.startswith("REFUTED drawn[one] ")
    properties = cases["rows[random-300x16]"].find("properties")
    assert [p.get("value") for p in properties] == ["holds rows 300 (exact) n = 1 table above 10 below 1000"]


def test_p_values(alone, write, model):
    """Where a null is not beaten, its p-value is shown."""
    write(
        "properties/p.py",
        "from embcheck import Estimate, above, beats, claim\n"
        "import numpy as np\n"
        "def coin(table, parameters, rng): return table, parameters\n"
        "@claim(beats(coin))\n"
        "def tossed(table):\n"
        "    '''Beats a coin.'''\n"
        "    return Estimate.exact(0.5, draws={'coin': np.linspace(0, 1, 100)})\n",
    )
    alone(model, PROPERTIES).stdout.fnmatch_lines(["*nulls: coin 0.5, p = 0.5*"])


def test_faulty_property(run, write, model, report):
    """An exception in a property's own code shows where it came from, and is an error in the report."""
    write(
        "properties/p.py",
        "from embcheck import Estimate, above, claim\n"
        "@claim(above(0))\n"
        "def faulty(table):\n"
        "    '''It fails.'''\n"
        "    raise KeyError('mistake')\n"
        "@claim(above(0))\n"
        "def returns_a_number(table):\n"
        "    '''It returns no estimate.'''\n"
        "    return 1.0\n",
    )
    result = run(model, "--embcheck-json=out.json", PROPERTIES)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*raise KeyError('mistake')", "*p.py:5: KeyError"])
    found = {label: (r["verdict"], r["reason"]) for (_, label), r in report()[1].items()}
    assert found["faulty"] == ("error", "KeyError: 'mistake'")
    assert found["returns_a_number"][0] == "error"
    assert "return an Estimate" in found["returns_a_number"][1]


def test_model_that_does_not_load(run, toys, write, model, report):
    """A model that fails to load gives errors with the reason, and the others run."""
    write("broken.npy", "this is no matrix")
    write("words.txt", "a\nb\n")
    broken = "--embcheck-model=broken=npy:broken.npy,vocab=words.txt"
    result = run(broken, model, "--embcheck-json=out.json", "--embcheck-property=rows", PROPERTIES)
    result.assert_outcomes(failed=1, passed=1)
    assert "Traceback" not in str(result.stdout)
    document, results = report()
    assert [m["alias"] for m in document["models"]] == ["broken", "random-300x16"]
    assert results["broken", "rows"]["verdict"] == "error"
    assert "broken.npy" in results["broken", "rows"]["reason"]
    assert results["random-300x16", "rows"]["verdict"] == "holds"


@pytest.mark.parametrize(("variable", "outcome"), [(None, "skipped"), ("true", "failed"), ("0", "skipped")])
def test_what_can_not_be_measured(alone, toys, model, report, monkeypatch, variable, outcome):
    """A check that can't be made is skipped with the reason; in continuous integration it fails."""
    if variable:
        monkeypatch.setenv("CI", variable)
    result = alone(model, "-rs", "--embcheck-json=out.json", "--embcheck-property=unmeasurable", PROPERTIES)
    assert result.parseoutcomes()[outcome] == 1
    result.stdout.fnmatch_lines(["*the table has no such words*"])
    record = report()[1]["random-300x16", "unmeasurable"]
    assert record["verdict"] == "skipped"
    assert record["outcome"] == ("fail" if outcome == "failed" else "pass")


def test_skip_is_located_at_the_property(alone, toys, model):
    """A skip is reported at the property's own line."""
    result = alone(model, "-rs", "--embcheck-property=unmeasurable", PROPERTIES)
    result.stdout.fnmatch_lines(["SKIPPED [[]1] properties/toys.py:18: the table has no such words"])


EVIL = "x\n::warning::evil\x1b[31m\u202e\x85"
HOSTILE = f'''
import pytest
from embcheck import Estimate, above, claim

EVIL = {EVIL!r}

@claim(above(5))
def refuted(table):
    """Never holds."""
    worst = [{{"token": EVIL, "id": 1, "value": 0.5, EVIL: EVIL}}]
    return Estimate.from_units([1.0, 2.0, 3.0], unit=EVIL, name=EVIL, counterexamples=worst)

@claim(above(0))
def raises(table):
    """It raises."""
    raise ValueError(EVIL)

@claim(above(0))
def chained(table):
    """It raises while it handles another."""
    try:
        raise KeyError(EVIL)
    except KeyError as error:
        raise RuntimeError(EVIL) from error

@claim(above(0))
def skips(table):
    """It skips by itself."""
    pytest.skip(EVIL)

@claim(above(0), word=[EVIL])
def named(table, word):
    """Its parameter is hostile."""
    return Estimate.exact(-1.0)

def test_plain(embcheck_table):
    assert embcheck_table.tokens == [EVIL], EVIL.encode()
'''


@pytest.mark.parametrize(
    "more", [("-v",), ("-rA", "--tb=long", "--showlocals"), ("--tb=short", "-q"), ("-rA", "--embcheck-show=all")]
)
@pytest.mark.parametrize("in_ci", [False, True])
def test_what_is_printed_is_inert(alone, model, write, monkeypatch, more, in_ci):
    """Tokens, units, aliases and messages that hold control characters, direction marks or commands act on nothing."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    if in_ci:
        monkeypatch.setenv("CI", "true")
    write("properties/p.py", HOSTILE)
    result = alone(model, *more, "properties")
    text = str(result.stdout) + str(result.stderr)
    assert result.ret == 1
    assert not {"\x1b", "\u202e", "\x85"} & set(text)
    commands = [line.strip() for line in text.splitlines() if line.strip().startswith("::")]
    assert not [line for line in commands if not line.startswith("::error title=")]
