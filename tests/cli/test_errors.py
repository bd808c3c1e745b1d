from __future__ import annotations

import pytest

from embcheck.cli.common import notice

NOISE = "random:300x16"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["check", "nosuch:thing"], "unknown scheme 'nosuch'"),
        (["check", "./nowhere"], "no such file or directory: ./nowhere"),
        (["check", ""], "empty"),
        (["check", "a=random:9x2", "a=random:8x2"], "two models are called 'a'"),
        (["check", NOISE, "--seed", "x"], "option seed: expected a whole number, got 'x'"),
        (["check", NOISE, "--seed", "-1"], "seed must not be negative, got -1"),
        (["check", NOISE, "--confidence", "2"], "confidence level must lie between 0.5 and 1, got 2.0"),
        (["check", NOISE, "--probes", "most"], "option probes: expected a whole number, 'all' or 'auto', got 'most'"),
        (["check", NOISE, "--probes", "1"], "at least 2 probes"),
        (["check", NOISE, "--device", "tpu"], "expected auto, cpu, cuda, cuda:N or mps, got 'tpu'"),
        (["check", NOISE, "--device", "cuda:99"], "cuda:99"),
        (["check", NOISE, "--dtype", "int8"], "expected float32, float16 or bfloat16, got 'int8'"),
        (["check", NOISE, "--population", "knwon"], "did you mean known?"),
        (["check", NOISE, "--show", "some"], "expected fail, rows, all or none, got 'some'"),
        (["check", NOISE, "--property", "toy_hold"], "no property matches 'toy_hold'; did you mean 'toy_holds'"),
        (["check", NOISE, "--property", "nosuch"], "no property matches 'nosuch'; all "),
        (["check", NOISE, "--property", "analogy_rank[romes]"], "did you mean 'analogy_rank[rome]'"),
        (["diagnose", NOISE, NOISE, "--allow", "quantised"], "'quantised'; did you mean 'quantized'?"),
        (["diagnose", NOISE, NOISE, "--allow", "bad_luck"], "known: another_run, cast, "),
        (["diagnose", "st:x", "api:http://127.0.0.1:9,model=m,words=w", "--allow", "zz"], "known: case, identical, "),
        (["check", NOISE, "--properties", "nowhere"], "'nowhere': no such file or folder"),
        (["check", NOISE, "--json", "."], "it is a folder"),
        (["check", NOISE, "--json", "no/such/out.json"], "does not exist"),
        (["check", NOISE, "--sed", "1"], "No such option '--sed'"),
        (["chekc"], "No such command 'chekc'"),
        (["inspect"], "Missing argument 'SPEC'"),
        (["inspect", "./nowhere"], "no such file or directory"),
        (["probe", NOISE, "#300"], "the matrix has rows #0 to #299"),
        (["probe", NOISE, "zzz"], "'zzz' is no word of this vocabulary"),
        (["neighbors", NOISE, "zzz"], "'zzz' is no word of this vocabulary"),
        (["neighbors", NOISE, "#1", "-k", "0"], "0 is not in the range"),
        (["analogy", NOISE, "king", "woman"], "write it as king - man + woman"),
        (["analogy", NOISE, "king-man+woman"], "with spaces"),
        (["analogy", NOISE, "a", "-", "b", "+", ""], "the word '' is empty"),
        (["tokens", NOISE, "a", ""], "the word '' is empty"),
        (["tokens", NOISE, " ", "a"], "the word ' ' is blank"),
        (["probe", NOISE, ""], "the word '' is empty"),
        (["neighbors", NOISE, " "], "the word ' ' is blank"),
        (["similarity", NOISE, "#1", ""], "the word '' is empty"),
    ],
)
def test_bad_input_is_one_line_and_code_4(embcheck, arguments, says):
    """Whatever a user gets wrong is said in one line that names it, without a traceback, with exit code 4."""
    found = embcheck(*arguments)
    assert found.code == 4
    assert found.out == ""
    assert says in found.err
    assert found.err.startswith("embcheck: error: ")
    assert found.err.count("\n") == 1


def test_unknown_variable_is_an_error(embcheck, monkeypatch):
    """A misspelt environment variable does not pass silently."""
    monkeypatch.setenv("EMBCHECK_SEDE", "1")
    found = embcheck("check", NOISE)
    assert found.code == 4
    assert "EMBCHECK_SEDE='1'; did you mean 'EMBCHECK_SEED'?" in found.err


def test_unknown_key_is_an_error(embcheck, project):
    """A misspelt key in [tool.embcheck] is named with its file."""
    (project / "pyproject.toml").write_text("[tool.embcheck]\nconfidense = 0.9\n")
    found = embcheck("check", NOISE)
    assert found.code == 4
    assert "pyproject.toml: [tool.embcheck] unknown key 'confidense' (= 0.9); did you mean 'confidence'?" in found.err


def test_exception_of_no_check_is_an_error(embcheck, project):
    """An exception must name a check that exists."""
    (project / "pyproject.toml").write_text('[tool.embcheck.model.a]\nexceptions = ["toy_hold"]\n')
    found = embcheck("check", f"a={NOISE}")
    assert found.code == 4
    assert "no check is called 'toy_hold'; did you mean 'toy_holds'?" in found.err


def test_settings_of_no_model_name_each_known_one_once(embcheck, project):
    """Settings of an unknown model are an error that lists the models there are."""
    table = "[tool.embcheck]\nmodels = ['mine=random:300x16']\n[tool.embcheck.model.other]\nexceptions = []\n"
    (project / "pyproject.toml").write_text(table)
    found = embcheck("check")
    assert found.code == 4
    assert found.err.rstrip().endswith("no model is called 'other'; known: mine")


def test_the_only_model_failing_to_load_is_code_4(embcheck, project):
    """A malformed file is a one-line error where it is the only model."""
    (project / "bad.vec").write_text("2 2\na 1 0\nb 1\n")
    found = embcheck("check", "fasttext:bad.vec")
    assert (found.code, found.out) == (4, "")
    assert found.err.count("\n") == 1


def test_property_file_that_fails_to_import_is_named(embcheck, project):
    """A property file with a mistake is an error that names the file and the mistake."""
    (project / "properties" / "broken.py").write_text("import embcheck\nraise ImportError('no such thing')\n")
    found = embcheck("check", NOISE)
    assert found.code == 4
    assert "broken.py: ImportError: no such thing" in found.err


def test_property_that_misbehaves_leaves_the_others(embcheck, project):
    """A property that returns no estimate is an error result; the others run."""
    source = 'from embcheck import above, claim\n@claim(above(0))\ndef toy_wrong(table):\n    "Says."\n    return 1.0\n'
    (project / "properties" / "wrong.py").write_text(source)
    found = embcheck("check", NOISE, "--property", "toy_wrong", "--property", "toy_holds")
    assert found.code == 1
    assert "property toy_wrong returned float; return an Estimate" in " ".join(found.out.split())
    assert found.out.splitlines()[-1] == "1 of 2 checks fails: 1 hold, 1 error"


def test_a_property_that_raises_is_an_error_that_names_its_line(embcheck, project):
    """What a user's property raises is its check's error, with the user's own line; the others run."""
    source = 'from embcheck import above, claim\n@claim(above(0))\ndef toy_raises(table):\n    "Says."\n    1 / 0\n'
    (project / "properties" / "raises.py").write_text(source)
    found = embcheck("check", NOISE, "--property", "toy_raises", "--property", "toy_holds")
    assert (found.code, found.out.splitlines()[-1]) == (1, "1 of 2 checks fails: 1 hold, 1 error")
    assert "why: ZeroDivisionError: division by zero (raises.py:5: 1 / 0)" in found.out


@pytest.mark.parametrize("leaves", ["import sys\nsys.exit(0)", "raise KeyboardInterrupt()", "raise RuntimeError('no')"])
def test_a_property_file_that_leaves_does_not_pass(embcheck, project, leaves):
    """A property file that ends the program, or raises anything, is no success and no internal error."""
    (project / "properties" / "leaves.py").write_text(f"import embcheck\n{leaves}\n")
    found = embcheck("check", NOISE)
    assert found.code == (2 if "Interrupt" in leaves else 4)
    assert len(found.err.strip().splitlines()) == 1


def test_unexpected_exception_is_code_3_with_a_way_to_see_more(embcheck, monkeypatch):
    """An internal error is one line that says where; --traceback shows the rest."""
    monkeypatch.setattr("embcheck.cli.check.resolve", lambda *_, **__: 1 / 0)
    found = embcheck("check", NOISE)
    assert found.code == 3
    assert found.err.startswith("embcheck: internal error: ZeroDivisionError: ")
    assert "test_errors.py:" in found.err
    assert found.err.count("\n") == 1
    assert "Traceback" in embcheck("check", NOISE, "--traceback").err


def test_interrupt_is_code_2(embcheck, monkeypatch):
    """Ctrl-C ends with code 2 and no traceback."""

    def interrupted(*_given, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("embcheck.cli.check.resolve", interrupted)
    found = embcheck("check", NOISE)
    assert (found.code, found.out) == (2, "")
    assert "interrupted" in found.err


def test_no_properties_is_code_5(embcheck, monkeypatch):
    """Where no property is found nothing runs."""
    monkeypatch.setattr("embcheck.checks.collect.functions", lambda *_: [])
    found = embcheck("check", NOISE)
    assert found.code == 5
    assert "no properties were found" in found.err


def test_property_for_pytest_is_refused_by_name(embcheck, project):
    """A property that takes a fixture runs under pytest only, and the program says so."""
    source = 'from embcheck import above, claim\n@claim(above(0))\ndef toy_fixture(table, tmp_path):\n    "Says."\n'
    (project / "properties" / "fixture.py").write_text(source)
    found = embcheck("check", NOISE)
    assert found.code == 4
    assert "property toy_fixture" in found.err
    assert "run it under pytest" in found.err
    assert embcheck("check", NOISE, "--property", "toy_holds").code == 0


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"], ["--version"]])
def test_help_and_version_are_code_0(embcheck, arguments):
    """Asking for help is no error."""
    assert embcheck(*arguments).code == 0


def test_no_command_shows_help_and_is_wrong_usage(embcheck):
    """The bare program shows what commands there are."""
    found = embcheck()
    assert found.code == 4
    assert "Commands:" in found.err


def test_a_long_message_breaks_between_words_on_a_terminal_only(monkeypatch, capsys):
    """On a terminal no line has more than 80 columns and names stay whole; elsewhere it is one line."""
    message = "there are: " + ", ".join(f"name_{i}" for i in range(40)) + " " + "x" * 100
    notice(message)
    assert capsys.readouterr().err == f"embcheck: {message}\n"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    notice(message)
    *lines, last = capsys.readouterr().err.splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in (*lines, last)) == f"embcheck: {message}"
    assert last == "  " + "x" * 100


def test_properties_are_left_out_on_the_command_line_and_in_a_models_settings(embcheck, project):
    """``!GLOB`` leaves out what it matches, of ``--property`` and of a model's own."""
    found = embcheck("check", NOISE, "--property", "toy_*", "--property", "!toy_s*", "--property", "!toy_r*")
    assert [name in found.out for name in ("toy_holds", "toy_undecided", "toy_sizes", "toy_refuted")] == [
        True,
        True,
        False,
        False,
    ]
    (project / "pyproject.toml").write_text(
        '[tool.embcheck]\nmodels = ["own=random:300x8"]\nproperty = ["toy_*"]\n'
        '[tool.embcheck.model.own]\nproperty = ["!toy_s*"]\n'
    )
    found = embcheck("check", "own")
    assert [name in found.out for name in ("toy_holds", "toy_sizes")] == [True, False], found.err


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ('property = ["zzz*"]', "property: no check matches 'zzz*'; known: "),
        ('property = ["!isotrpy*"]', "did you mean 'isotropy'?"),
        ('exceptions = ["zzz"]', "exceptions: no check is called 'zzz'; known: "),
    ],
)
def test_a_name_among_many_does_not_list_them_all(project, embcheck, setting, says):
    """Of more than a hundred known checks the message has one that is alike, or a few and where all of them are."""
    (project / "pyproject.toml").write_text(
        f'[tool.embcheck]\nmodels = ["m={NOISE}"]\n[tool.embcheck.model.m]\n{setting}\n'
    )
    done = embcheck("check")
    assert done.code == 4
    assert says in done.err
    assert len(done.err) < 400
    assert "did you mean" in done.err or " more (embcheck list has all)" in done.err


def test_a_sweep_does_not_go_to_standard_output(embcheck, project):
    """What a sweep goes on with later is a file of its own: ``-`` is wrong usage, before any work."""
    done = embcheck("sweep", NOISE, "--out", "-")
    assert done.code == 4
    assert "can't be standard output" in done.err
    assert not (project / "-").exists()
