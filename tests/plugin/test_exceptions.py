import pytest

CONFIGURED = "[tool.embcheck]\nmodels = ['random:300x16']\njson = 'out.json'\n"
EXCEPTIONS = "[tool.embcheck.model.'random-300x16']\nexceptions = [{}]\n"


@pytest.fixture
def excepting(toys, write):
    """Configure exceptions of the random model."""

    def configure(*names):
        write("pyproject.toml", CONFIGURED + EXCEPTIONS.format(", ".join(map(repr, names))))

    return configure


def test_known_exception(run, excepting, report):
    """A check that is expected not to hold passes as such, by id and parameters, and keeps its verdict."""
    excepting("drawn[one]")
    run("--embcheck-property=drawn").assert_outcomes(xfailed=1, failed=1)
    results = report()[1]
    record = results["random-300x16", "drawn[one]"]
    assert (record["verdict"], record["outcome"], record["expected"]) == ("refuted", "pass", False)
    assert "expected" not in results["random-300x16", "drawn[two]"]


def test_known_exception_for_all_parameters(alone, excepting):
    """An id without parameters excuses the property with any."""
    excepting("drawn")
    result = alone("--embcheck-property=drawn")
    result.assert_outcomes(xfailed=2, deselected=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["2 known exceptions"])


def test_exception_that_holds(alone, excepting, report):
    """A known exception that starts to hold fails, with what to do."""
    excepting("rows")
    result = alone("--embcheck-property=rows")
    result.assert_outcomes(failed=1)
    assert "remove the exception" in " ".join(str(result.stdout).split())
    record = report()[1]["random-300x16", "rows"]
    assert (record["verdict"], record["outcome"], record["expected"]) == ("holds", "fail", False)


def test_exception_excuses_no_error(alone, excepting, write, report):
    """A check that can't be run fails, whatever is expected of it."""
    write(
        "properties/faulty.py",
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
    excepting("faulty", "returns_a_number")
    alone("--embcheck-property=faulty", "--embcheck-property=returns*").assert_outcomes(failed=2, deselected=4)
    assert {(r["verdict"], r["outcome"]) for r in report()[1].values()} == {("error", "fail")}


@pytest.mark.parametrize("ci", ["", "true"])
def test_exception_that_can_not_be_measured(alone, excepting, report, monkeypatch, ci):
    """A known exception that can't be measured stays skipped, in continuous integration too."""
    monkeypatch.setenv("CI", ci)
    excepting("unmeasurable")
    alone("--embcheck-property=unmeasurable").assert_outcomes(skipped=1, deselected=3)
    record = report()[1]["random-300x16", "unmeasurable"]
    assert (record["verdict"], record["outcome"], record["expected"]) == ("skipped", "pass", False)


@pytest.mark.parametrize(("bound", "verdict", "outcome"), [(5, "refuted", "pass"), (0, "holds", "fail")])
def test_authors_own_xfail(alone, write, model, report, bound, verdict, outcome):
    """A strict xfail mark on a property is an expectation as well: the report says what pytest says."""
    write(
        "properties/p.py",
        "import pytest\n"
        "from embcheck import Estimate, above, claim\n"
        "@pytest.mark.xfail(strict=True, reason='known')\n"
        f"@claim(above({bound}))\n"
        "def marked(table):\n"
        "    '''A claim.'''\n"
        "    return Estimate.exact(1.0)\n",
    )
    result = alone(model, "--embcheck-json=out.json", "properties")
    assert (result.ret == 0) is (outcome == "pass")
    record = report()[1]["random-300x16", "marked"]
    assert (record["verdict"], record["outcome"], record["expected"]) == (verdict, outcome, False)


def test_runxfail(alone, excepting, report):
    """``--runxfail`` lifts the exceptions, in the report too."""
    excepting("drawn")
    alone("--runxfail", "--embcheck-property=drawn").assert_outcomes(failed=2, deselected=2)
    assert {r["outcome"] for r in report()[1].values()} == {"fail"}
