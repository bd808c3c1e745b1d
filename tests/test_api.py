from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

import embcheck
from embcheck import EmbeddingTable, Estimate, NotMeasurable, above, below, claim
from embcheck.checks import collect
from embcheck.checks.evaluate import judge
from embcheck.claims import Verdict
from embcheck.cli import main
from embcheck.errors import DeviceError, SourceError, SpecError, UsageError
from embcheck.reports import json_file
from embcheck.reports.comparison import COLUMNS
from embcheck.settings import current
from embcheck.spec import parse

WORDS = ["a", "b", "c", "d"]
MATRIX = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [-1.0, 0.5]], dtype=np.float32)


@pytest.fixture(autouse=True)
def _outside_ci(monkeypatch, tmp_path):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table():
    return EmbeddingTable.from_arrays(MATRIX, WORDS)


@pytest.fixture
def holds():
    @claim(above(0))
    def toy_holds(table, rng):
        """Everything is positive."""
        return Estimate.from_units(rng.uniform(1, 2, 10), unit="units", details={"seed": current().seed})

    return toy_holds


@pytest.fixture
def refuted():
    @claim(below(0), on_noise="any")
    def toy_refuted(table):
        """Nothing is positive."""
        return Estimate.exact(1.0)

    return toy_refuted


def test_check_gives_results_and_a_report(table, holds, refuted):
    """A run has its results in order, its report, and whether all passed."""
    run = embcheck.check(table, properties=[holds, refuted])
    assert [result.verdict for result in run.results] == ["holds", "refuted"]
    assert run.document["models"][0]["alias"] == "memory"
    assert run.document["run"]["device"] == "cpu"
    assert not run.passed
    assert embcheck.check(table, properties=holds).passed


def test_run_is_saved_as_json(table, holds, tmp_path):
    """``save`` writes the document."""
    run = embcheck.check(table, properties=holds)
    run.save(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text()) == run.document


def test_seed_and_level_reach_the_measure(table, holds):
    """Settings given to ``check`` are in force in the measure, and equal seeds give equal estimates."""
    first, again, other = (
        embcheck.check(table, properties=holds, seed=seed, confidence_level=0.9) for seed in (1, 1, 2)
    )
    values = [run.results[0].estimate.value for run in (first, again, other)]
    assert values[0] == values[1] != values[2]
    assert first.results[0].estimate.details["seed"] == 1
    assert first.results[0].estimate.confidence_level == 0.9


def test_globs_select_shipped_properties():
    """Strings are globs over everything that is found."""
    run = embcheck.check("random:300x16", properties="positive_*", probes="all")
    assert [result.check.label for result in run.results] == ["positive_cosine_bias"]


def test_properties_of_one_name_are_refused(table):
    """Results of two properties of one name would replace each other, as would those of a shipped one."""

    def declared(bound, name):
        def positive(table):
            """One is positive."""
            return Estimate.exact(1.0)

        positive.__name__ = name
        return claim(above(bound))(positive)

    two = [declared(0, "mine"), declared(99, "mine")]
    line = two[0].__code__.co_firstlineno
    with pytest.raises(UsageError, match=rf"two .* 'mine': .*test_api.py:{line} and .*test_api.py:{line}; rename one"):
        embcheck.check(table, properties=two)
    for own in (declared(0, "isotropy"), [declared(0, "isotropy"), "hubness"]):
        with pytest.raises(UsageError, match=rf"two .* 'isotropy': .*isotropy.py:\d+ and .*test_api.py:{line}"):
            embcheck.check(table, properties=own)


def test_a_property_given_twice_runs_once(table, holds):
    """The same function, or a glob beside the function that it selects, is one check."""
    (shipped,) = (check.function for check in collect.collect(globs=["isotropy"]))
    run = embcheck.check(table, properties=[holds, "isotropy", holds, shipped])
    assert [result.check.declaration.id for result in run] == ["isotropy", "toy_holds"]


def test_population_dtype_and_device_of_a_table(table, holds):
    """A table keeps its own population and type unless others are given."""
    whole = table.with_population("all")
    assert embcheck.check(whole, properties=holds).document["models"][0]["population"]["kind"] == "all"
    run = embcheck.check(whole, properties=holds, population="known", device="cpu", dtype="float16")
    assert run.document["models"][0]["population"]["kind"] == "known"


def test_load_from_a_spec():
    """``load`` reads a spec, with the options of the command line."""
    loaded = embcheck.load("random:30x4", device="cpu", dtype="float16", population="all")
    assert tuple(loaded.vectors.shape) == (30, 4)
    assert (loaded.vectors.dtype, loaded.kind) == (torch.float16, "all")
    assert embcheck.load(parse("random:30x4")).width == 4


def test_load_from_a_live_module():
    """A live module's embedding is used where it is, with the tokens given."""
    module = torch.nn.Embedding(4, 2)
    loaded = embcheck.load(module, WORDS)
    assert loaded.vectors.data_ptr() == module.weight.data_ptr()
    assert list(loaded.tokens) == WORDS


@pytest.mark.parametrize("matrix", [MATRIX, torch.from_numpy(MATRIX).half(), MATRIX.astype(np.int64)])
def test_load_and_check_a_matrix_with_its_tokens(matrix, holds):
    """An array or tensor is a table with ``tokens``, whatever its numbers are; floats of a tensor stay as they are."""
    loaded = embcheck.load(matrix, tokens=WORDS)
    assert torch.equal(loaded.vectors.double(), torch.as_tensor(matrix).double())
    assert (list(loaded.tokens), loaded.vectors.dtype == torch.float16) == (WORDS, isinstance(matrix, torch.Tensor))
    run = embcheck.check(matrix, tokens=WORDS, properties=holds)
    assert (run.passed, run[0].model, run[0].shape) == (True, "memory", (4, 2))


class Untied(torch.nn.Module):
    """A model with an output matrix, which may be the input embedding."""

    def __init__(self, *, tied):
        super().__init__()
        self.embed = torch.nn.Embedding(4, 2)
        self.lm_head = torch.nn.Linear(2, 4, bias=False)
        if tied:
            self.lm_head.weight = self.embed.weight


def test_the_output_matrix_of_a_live_model(holds):
    """``matrix="output"`` gives the live output matrix under the same tokens; where it is tied, the same one, noted."""
    model = Untied(tied=False)
    output = embcheck.load(model, WORDS, matrix="output")
    assert output.vectors.data_ptr() == model.lm_head.weight.data_ptr()
    assert output.provenance.weights_sha256 != embcheck.load(model, WORDS).provenance.weights_sha256
    tied = embcheck.load(Untied(tied=True), WORDS, matrix="output")
    assert tied.provenance.notes == ("the output matrix is tied to the input embedding",)
    with pytest.raises(NotMeasurable, match="has no one output matrix of its own"):
        embcheck.load(torch.nn.Embedding(4, 2), WORDS, matrix="output")

    @claim(above(0), on_noise="any")
    def largest(table):
        """Something is positive."""
        return Estimate.exact(float(table.vectors.max()))

    run = embcheck.check(model, tokenizer=WORDS, matrix="output", properties=largest)
    assert run[0].estimate.value == pytest.approx(model.lm_head.weight.max().item())


def test_the_output_matrix_of_a_spec(tmp_path, holds):
    """``matrix="output"`` is the spec's option, in ``load`` and in ``check``."""
    matrices = {"model.embed_tokens.weight": torch.eye(4, 3), "lm_head.weight": torch.eye(4, 3).flip(0) + 1}
    save_file(matrices, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"vocab_size": 4, "tie_word_embeddings": False}))
    words = models.WordLevel({word: row for row, word in enumerate(WORDS)}, "a")
    Tokenizer(words).save(str(tmp_path / "tokenizer.json"))
    assert torch.equal(embcheck.load(tmp_path).vectors, matrices["model.embed_tokens.weight"])
    assert torch.equal(embcheck.load(tmp_path, matrix="output").vectors, matrices["lm_head.weight"])
    run = embcheck.check(str(tmp_path), matrix="output", properties=holds)
    assert run.document["models"][0]["spec"] == f"{tmp_path},matrix=output"


def test_check_of_a_live_module(holds):
    """A live module can be checked; its alias is its class."""
    run = embcheck.check(torch.nn.Embedding(4, 2), tokenizer=WORDS, properties=holds)
    assert run.document["models"][0]["alias"] == "Embedding"


def test_control_is_passed_on(table, holds):
    """``control`` finds out what holds on noise too."""
    run = embcheck.check(table, properties=holds, control=True)
    assert run.results[0].control.vacuous
    assert not run.passed


def test_several_models_are_independent(tmp_path, holds):
    """One model that fails to load gives errors; the other's results are as if alone."""
    (tmp_path / "bad.vec").write_text("2 2\na 1 0\nb 1\n")
    run = embcheck.check(["bad=fasttext:bad.vec", "good=random:30x4"], properties=holds)
    assert [result.verdict for result in run.results] == ["error", "holds"]
    assert len(run.load_errors) == 1
    assert not run.passed
    alone = embcheck.check("good=random:30x4", properties=holds).document["models"][0]
    assert run.document["models"][1] == alone


def test_single_model_that_fails_to_load_raises(tmp_path, holds):
    """With one model the error is raised."""
    (tmp_path / "bad.vec").write_text("2 2\na 1 0\nb 1\n")
    with pytest.raises(SourceError):
        embcheck.check("fasttext:bad.vec", properties=holds)


def test_table_without_population_skips_everything(refuted):
    """A table whose rows are all zero has nothing to measure: skipped with the reason, and still a report."""

    @claim(above(0))
    def toy(table):
        """Says."""
        return Estimate.exact(float(len(table.population)))

    run = embcheck.check(EmbeddingTable.from_arrays(np.zeros((3, 2)), ["a", "b", "c"]), properties=toy)
    assert run.results[0].verdict == "skipped"
    assert run.document["models"][0]["population"] == {"kind": "known", "rows": 0, "excluded": {"zero": 3}}


def test_not_measurable_is_skipped_and_other_errors_are_errors(table):
    """What a table lacks skips a check; what is wrong with a property is an error. Neither stops the others."""

    @claim(above(0))
    def toy_lacks(table):
        """Says."""
        raise NotMeasurable("too few")

    @claim(above(0))
    def toy_wrong(table):
        """Says."""
        raise UsageError("wrong argument")

    run = embcheck.check(table, properties=[toy_lacks, toy_wrong])
    assert [(result.verdict, result.reason) for result in run.results] == [
        ("skipped", "too few"),
        ("error", "wrong argument"),
    ]


def test_numbers_that_are_not_finite_become_null(table):
    """Details with NaN or NumPy types come out as plain JSON."""

    @claim(above(0))
    def toy(table):
        """Says."""
        return Estimate.exact(
            1.0, details={"nan": np.float32("nan"), "array": np.arange(2), "flag": np.array([True])[0]}
        )

    details = embcheck.check(table, properties=toy).document["models"][0]["results"][0]["details"]
    assert details == {"nan": None, "array": [0, 1], "flag": True}
    assert type(details["flag"]) is bool


def test_details_that_json_lacks_are_an_error(table):
    """Details of another type are the property's error."""

    @claim(above(0))
    def toy(table):
        """Says."""
        return Estimate.exact(1.0, details={"set": {1}})

    (result,) = embcheck.check(table, properties=toy).results
    assert (str(result.verdict), result.reason) == ("error", "details must be JSON types; got set")


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "says"),
    [
        ((3,), {}, UsageError, "got int"),
        ((torch.nn.Embedding(4, 2),), {}, UsageError, "needs tokenizer="),
        (("nosuch:x",), {}, SpecError, "unknown scheme"),
        (("./nowhere",), {}, SourceError, "no such file"),
        (("random:9x2",), {"device": "tpu"}, DeviceError, "unknown device 'tpu'"),
        (("random:9x2",), {"dtype": "int8"}, UsageError, "unknown dtype 'int8'"),
        (("random:9x2",), {"population": "some"}, UsageError, "got 'some'"),
        (("random:9x2",), {"matrix": "both"}, UsageError, "matrix must be 'input' or 'output', got 'both'"),
        (("random:9x2",), {"matrix": "output"}, SpecError, "random has no option 'matrix'"),
        (("random:9x2",), {"tokens": WORDS}, UsageError, "the spec 'random:9x2' has its own"),
        (
            (torch.nn.Embedding(4, 2),),
            {"tokens": WORDS},
            UsageError,
            "a live Embedding has its own, or takes",
        ),
        ((MATRIX,), {}, UsageError, r"a matrix \(ndarray\) needs tokens=, one a row"),
        ((MATRIX,), {"tokens": WORDS[:2]}, UsageError, "4 rows but there are 2 tokens"),
        ((MATRIX,), {"tokens": WORDS, "matrix": "output"}, UsageError, "this is one matrix already"),
    ],
)
def test_wrong_arguments_of_load(arguments, options, kind, says):
    """Wrong arguments are one-line errors that name the value."""
    with pytest.raises(kind, match=says):
        embcheck.load(*arguments, **options)


def test_wrong_dtype_of_a_table(table):
    """A table in memory can't be turned into an integer type either."""
    with pytest.raises(UsageError, match="unknown dtype 'int8'"):
        embcheck.load(table, dtype="int8")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"properties": print}, "is not a property; declare it with @claim"),
        ({"properties": "nosuch"}, "no property matches 'nosuch'"),
        ({"properties": []}, "properties is empty"),
        ({"seed": -1}, "seed must not be negative"),
        ({"probes": 1}, "at least 2 probes"),
        ({"confidence_level": 1.0}, "confidence level"),
        ({"tokens": WORDS}, "an EmbeddingTable has its own"),
        (
            {"model": MATRIX.tolist(), "tokens": WORDS},
            "or a matrix, got list; make lists of numbers a matrix with numpy",
        ),
        ({"model": MATRIX.tolist()}, "or a matrix, got list; make lists of numbers a matrix with numpy.asarray"),
        ({"model": [[0.5, 1.0]]}, "got list; make lists"),
        ({"model": [0.5, 1.0]}, "got float; make lists"),
        ({"device": "tpu", "properties": "random_baseline"}, "unknown device 'tpu'"),
    ],
)
def test_wrong_arguments_of_check(table, options, says):
    """``check`` says which argument is wrong before it measures anything."""
    with pytest.raises(UsageError, match=says):
        embcheck.check(**{"model": table} | options)


@pytest.mark.parametrize("kind", ["path", "spec", "table"])
def test_a_tokenizer_beside_a_model_with_its_own_is_refused(table, tmp_path, holds, kind):
    """A tokenizer given with a spec or a table, which bring their tokens, is refused rather than dropped."""
    (tmp_path / "v.vec").write_text("3 2\na 1 0\nb 0 1\nc 1 1\n")
    model = {"path": tmp_path / "v.vec", "spec": f"fasttext:{tmp_path}/v.vec", "table": table}[kind]
    for call in (embcheck.load, partial(embcheck.check, properties=holds)):
        with pytest.raises(UsageError, match="tokenizer= belongs to a live model"):
            call(model, tokenizer=["x", "y", "z"])


def test_a_tokenizer_is_the_live_models_among_several(holds):
    """Of a live model and a spec, the tokenizer is the live one's."""
    live = torch.nn.Embedding(30, 4)
    run = embcheck.check(["random:30x4", live], tokenizer=[f"w{i}" for i in range(30)], properties=holds)
    assert [model["alias"] for model in run.document["models"]] == ["random-30x4", "Embedding"]
    assert run.passed


def test_two_models_of_one_name_are_refused(table, holds):
    """Results are keyed by alias, so two equal ones are refused."""
    with pytest.raises(UsageError, match="two models are called 'memory'"):
        embcheck.check([table, table], properties=holds)


@pytest.mark.parametrize(
    ("verdict", "expected", "vacuous", "ci", "passes"),
    [
        (Verdict.HOLDS, True, False, False, True),
        (Verdict.HOLDS, False, False, False, False),
        (Verdict.HOLDS, True, True, False, False),
        (Verdict.REFUTED, True, False, False, False),
        (Verdict.REFUTED, False, False, False, True),
        (Verdict.INCONCLUSIVE, True, False, False, False),
        (Verdict.SKIPPED, True, False, False, True),
        (Verdict.SKIPPED, True, False, True, False),
        (Verdict.SKIPPED, False, False, True, True),
        (Verdict.ERROR, False, False, False, False),
    ],
)
def test_what_passes(monkeypatch, verdict, expected, vacuous, ci, passes):
    """Only HOLDS passes; a known exception the other way round; skipped outside CI; errors and the vacuous never."""
    monkeypatch.setenv("CI", "1" if ci else "")
    assert judge(verdict, expected=expected, vacuous=vacuous) == passes


@pytest.fixture
def pair(tmp_path):
    """Two checkpoints as specs, one row of the second being turned round and another zero."""
    vectors = np.random.default_rng(0).standard_normal((300, 16)).astype(np.float32)
    (tmp_path / "words.txt").write_text("\n".join(f"w{i}" for i in range(300)))
    np.save(tmp_path / "old.npy", vectors)
    vectors[7] *= -1
    vectors[9] = 0
    np.save(tmp_path / "new.npy", vectors)
    return "old=npy:old.npy,vocab=words.txt", "new=npy:new.npy,vocab=words.txt"


def test_models_are_compared_as_on_the_command_line(pair, tmp_path):
    """Two specs give what ``embcheck compare --json`` writes, but for their aliases in front."""
    compared = embcheck.compare(*pair, properties=["isotropy", "intact_rows"], max_moved=0.5, min_overlap=0.1)
    options = ["--property", "isotropy", "--property", "intact_rows", "--max-moved", "0.5", "--min-overlap", "0.1"]
    assert main(["compare", *pair, *options, "--json", "out.json"]) == 1
    written = json_file.read_any(tmp_path / "out.json")
    assert (compared.changes, compared.drift, compared.limits) == (written.changes, written.drift, written.limits)
    assert (compared.passes, compared.models) == (False, ("npy:old.npy,vocab=words.txt", "npy:new.npy,vocab=words.txt"))


def test_tables_are_compared(pair):
    """Tables in memory are called first and second; the repr is a line, and a row of the frame has the change."""
    old, new = (embcheck.load(spec) for spec in pair)
    old, new = (EmbeddingTable.from_arrays(t.vectors, t.tokens) for t in (old, new))
    compared = embcheck.compare(old, new, properties=["isotropy", "intact_rows"])
    said = "fails: 1 row became zero or not finite, 1 regressed"
    assert repr(compared).startswith(f"<Comparison of second against first: {said}")
    first, second = (row.row for row in compared.by_urgency)
    assert (first["check"], first["state"], first["passes"], first["before"], first["after"]) == (
        "intact_rows",
        "regressed",
        False,
        0,
        1,
    )
    assert (second["check"], second["change"]) == ("isotropy", pytest.approx(second["after"] - second["before"]))
    assert set(first) == set(COLUMNS)


def test_a_comparison_and_a_diagnosis_are_kept_and_shown(pair, tmp_path):
    """Both are saved as what report reads and as a page, and a notebook shows what failed, inert, and what happened."""
    old, new = (embcheck.load(spec) for spec in pair)
    names = ["<script>", *old.tokens[1:]]
    old, new = (EmbeddingTable.from_arrays(table.vectors, names) for table in (old, new))
    compared = embcheck.compare(old, new, properties=["isotropy", "intact_rows"], max_moved=0.5)
    diagnosed = embcheck.diagnose(old, new)
    for document, said in ((compared, "1 of 299 rows moved farther"), (diagnosed, "neither their old selves")):
        document.save(tmp_path / "kept.json")
        document.save_html(tmp_path / "kept.html")
        assert json_file.read_any(tmp_path / "kept.json") == document
        assert all(said in text for text in (document._repr_html_(), (tmp_path / "kept.html").read_text()))
        assert "<script>" not in document._repr_html_()
        with pytest.raises(UsageError, match=r"must end in \.json"):
            document.save(tmp_path / "kept.csv")
    assert '<th scope="row">intact_<wbr>rows</th><td>regressed</td>' in compared._repr_html_()
    start = "<Diagnosis of memory against memory: none of these; 1 row (#9 'w9') is zero; rows that are neither"
    assert repr(diagnosed).startswith(start)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_moved": -1}, r"max_moved must be a number from 0 to 1e\+06, got -1"),
        ({"min_overlap": 2}, "min_overlap must be a number from 0 to 1, got 2"),
        ({"properties": []}, "properties is empty"),
        ({"properties": "nosuch"}, "no property matches 'nosuch'"),
    ],
)
def test_wrong_arguments_of_compare(table, options, says):
    """``compare`` says which argument is wrong before it measures anything."""
    with pytest.raises(UsageError, match=says):
        embcheck.compare(table, table, **options)


def test_a_comparison_as_a_frame(pair):
    """With pandas, a row a check, of the types that are documented."""
    pytest.importorskip("pandas")
    shown = embcheck.compare(*pair, properties=["isotropy", "intact_rows"]).to_dataframe()
    assert {name: str(kind) for name, kind in shown.dtypes.items()} == COLUMNS
    assert shown["check"].tolist() == ["intact_rows", "isotropy"]
