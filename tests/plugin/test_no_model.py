import subprocess
import sys

import pytest

PLAIN_MODULE = '''
from embcheck import Estimate, above, claim

@claim(above(0), n=[1, 2])
def declared(table, n, rng):
    """A claim."""
    return Estimate.exact(1.0)
'''


def test_skipped_with_the_way_out(run, write):
    """Without a model, declared properties are skipped and the reason names the option; exit code 5: nothing ran."""
    write("test_p.py", PLAIN_MODULE)
    result = run("-rs")
    assert result.parseoutcomes()["skipped"] == 2
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["embcheck: no model to check: give --embcheck-model SPEC*"])


def test_other_tests_run(alone, write):
    """Plain tests beside them run, and decide the exit code."""
    write("test_p.py", PLAIN_MODULE + "\ndef test_plain(): pass\n")
    result = alone()
    result.assert_outcomes(passed=1, skipped=2)
    assert result.ret == pytest.ExitCode.OK


def test_fails_in_continuous_integration(run, write, monkeypatch):
    """In continuous integration nothing passes because a model is missing."""
    monkeypatch.setenv("CI", "true")
    write("test_p.py", PLAIN_MODULE)
    result = run()
    result.assert_outcomes(failed=2)
    assert "--embcheck-model" in str(result.stdout)


PROBE = """
import sys, pytest
code = pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]])
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "numpy", "scipy", "click", "transformers"})
print("HEAVY", code, heavy)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--collect-only"],
        [],
        ["--collect-only", "--embcheck-model=random:300x16", "properties", "--embcheck-property=rows"],
        ["--collect-only", "--embcheck-model=demo", "--pyargs", "embcheck.properties"],
    ],
    ids=["listing", "unused", "properties", "shipped"],
)
def test_nothing_heavy_is_imported(toys, write, project, arguments):
    """Neither an unused plugin nor the collection of properties imports torch, NumPy, SciPy or click."""
    write("test_plain.py", "def test_plain(): pass")
    command = [sys.executable, "-c", PROBE, *arguments, "-p", "no:hypothesispytest"]
    done = subprocess.run(command, cwd=project.path, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "HEAVY 0 []", done.stdout + done.stderr


def test_nothing_hangs_on_the_configuration(project):
    """The plugin keeps what it knows in the stash: no attribute of pytest's configuration is its own."""
    config = project.parseconfigure()
    assert not [name for name in vars(config) if "embcheck" in name]
