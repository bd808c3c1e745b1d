from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import embcheck as library
from embcheck import EmbeddingTable
from embcheck.explore import parse_analogy, probe, tokens


def test_list_names_properties_claims_parameters_and_models(embcheck, project):
    """``list`` shows each property with its sentence, claims and parameters, and the configured models."""
    (project / "pyproject.toml").write_text('[tool.embcheck]\nmodels = ["noise=random:30x4"]\n')
    found = embcheck("list", "--property", "toy_*")
    assert found.code == 0
    for part in ("toy_sizes", "Every size is small.", "claims: below 100", "size: 1  2", "noise = random:30x4"):
        assert part in found.out
    assert "positive_cosine_bias" not in found.out


def test_list_without_models_says_so(embcheck):
    """``list`` says where no model is configured."""
    assert "none configured" in embcheck("list").out


def test_inspect_shows_shape_population_lengths_and_kinds(embcheck, words):
    """``inspect`` shows what was read and how its rows are classed."""
    found = embcheck("inspect", words, "--json", "out.json")
    assert found.code == 0
    lines = found.out.splitlines()
    assert lines[0] == "words"
    assert "  matrix      5 x 2 float32" in lines
    assert "5 word_start" in found.out
    assert "max 1 " in found.out or "max 1\n" in found.out


def test_inspect_json_holds_whole_hashes(embcheck, words, project):
    """The JSON of ``inspect`` has the hashes whole, and counts that add up."""
    embcheck("inspect", words, "--json", "out.json")
    document = json.loads((project / "out.json").read_text())
    assert len(document["weights_sha256"]) == 64
    assert sum(document["token_kinds"].values()) == 5


def test_probe_gives_closed_form_statistics(embcheck, words, project):
    """``probe`` compares one token with all others and leaves out the token itself."""
    assert embcheck("probe", words, "king", "--json", "out.json").code == 0
    document = json.loads((project / "out.json").read_text())
    assert document["others"] == 4
    assert (document["non_negative"], document["negative"], document["share"]) == (3, 1, 0.75)
    assert document["min"] == pytest.approx(-1)
    assert document["negative_runs"] == [[4, 4]]
    assert [entry["token"] for entry in document["negative_tokens"]] == ["back"]


def test_probe_takes_an_id(embcheck, words):
    """``#ID`` names a row."""
    assert "'queen' #1 against 4 rows" in embcheck("probe", words, "#1").out


def test_probe_lists_runs_of_ids():
    """Consecutive negative ids are given as runs."""
    vectors = [[1.0, 0.1], *[[-1.0, 0.0]] * 3, [1.0, 0.0], [-1.0, 0.2]]
    found = probe(EmbeddingTable.from_arrays(vectors, list("abcdef")), "a")
    assert found["negative_runs"] == [[1, 3], [5, 5]]


def test_probe_of_a_zero_row_is_refused(embcheck, project):
    """A row of zeros has no direction, which is said."""
    (project / "zero.vec").write_text("3 2\na 1 0\nb 0 0\nc 0 1\n")
    found = embcheck("probe", "fasttext:zero.vec", "#1")
    assert found.code == 4
    assert "has no direction" in found.err


def test_neighbors_are_in_order_of_cosine(embcheck, words, project):
    """``neighbors`` lists the nearest rows first and leaves out the word itself."""
    embcheck("neighbors", words, "king", "-k", "3", "--json", "out.json")
    document = json.loads((project / "out.json").read_text())
    assert [entry["token"] for entry in document["neighbors"]] == ["King", "queen", "up"]
    assert document["neighbors"][1]["cosine"] == pytest.approx(0.98 / math.hypot(0.98, 0.17))


def test_neighbors_can_merge_variants(embcheck, words):
    """--merge leaves out other spellings of the word."""
    found = embcheck("neighbors", words, "king", "--merge")
    assert "'King'" not in found.out
    assert "variants counted once" in found.out


def test_k_larger_than_the_vocabulary_lists_it_all(embcheck, words):
    """Asking for more rows than there are lists those there are."""
    found = embcheck("neighbors", words, "king", "-k", "99")
    assert (found.code, len(found.out.splitlines())) == (0, 5)


def test_analogy_excludes_and_keeps_sources(embcheck, project):
    """``analogy`` ranks the target with the source words left out and kept."""
    (project / "plane.vec").write_text("5 3\nking 1 1 0\nman 1 0 0\nwoman 0 0 1\nqueen 0 1 1\nother -1 -1 -1\n")
    found = embcheck(
        "analogy", "fasttext:plane.vec", "king", "-", "man", "+", "woman", "=", "queen", "--json", "out.json"
    )
    assert found.code == 0
    document = json.loads((project / "out.json").read_text())
    assert next(entry["token"] for entry in document["sources_excluded"]) == "queen"
    assert document["ranks"]["queen"]["sources_excluded"] == 1
    assert document["ranks"]["king"]["sources_excluded"] is None
    assert document["ranks"]["king"]["sources_kept"] is not None


def test_configured_alias_is_a_spec(embcheck, project):
    """The alias of a configured model stands for it."""
    (project / "pyproject.toml").write_text('[tool.embcheck]\nmodels = ["noise=random:30x4"]\n')
    assert embcheck("inspect", "noise").out.startswith("noise\n  read        480 of 480 bytes\n")


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        (["king", "-", "man", "+", "woman"], ["king", "man", "woman"]),
        (["king - man + woman"], ["king", "man", "woman"]),
        (["king", "+", "woman", "-", "man"], ["king", "man", "woman"]),
        (["king - man + woman = queen"], ["king", "man", "woman", "queen"]),
    ],
)
def test_analogy_may_be_written_in_several_ways(terms, words):
    """An analogy may come as one argument or several, in either order, with or without a target."""
    assert parse_analogy(" ".join(terms)) == words


PLANE = "6 3\nking 1 1 0\nman 1 0 0\nwoman 0 0 1\nqueen 0 1 1\nother -1 -1 -1\nKING 0.9 1 0.1\n"
QUESTIONS = ": royal\nman king woman queen\nman king woman other\n: unknown\na b c d\n"


def test_analogy_answers_a_file_of_questions(embcheck, project):
    """--questions gives the accuracy by section and over all, with the rules it was asked under."""
    (project / "plane.vec").write_text(PLANE)
    (project / "q.txt").write_text(QUESTIONS)
    found = embcheck("analogy", "fasttext:plane.vec", "--questions", "q.txt", "--json", "out.json")
    assert found.code == 0
    assert all(len(line) <= 80 for line in found.out.splitlines())
    document = json.loads((project / "out.json").read_text())
    assert (document["accuracy"], document["asked"], document["words"]) == (0.5, 2, 6)
    assert [(s["section"], s["asked"], s["correct"]) for s in document["sections"]] == [
        ("royal", 2, 1),
        ("unknown", 0, 0),
    ]
    assert document["wrong"][0]["answer"] == "queen"
    assert document["rules"] == {"restrict": None, "fold_case": True, "keep_sources": False}
    kept = embcheck("analogy", "fasttext:plane.vec", "--questions", "q.txt", "--keep-sources", "--restrict", "5")
    assert "5 words, case folded, source words kept" in kept.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either an analogy, such as king - man + woman, or --questions FILE"),
        (("a", "-", "b", "+", "c", "--questions", "q.txt"), "give either an analogy"),
        (("a", "-", "b", "+", "c", "--keep-case"), "--keep-case is a rule for --questions FILE"),
        (("--questions", "none.txt"), "questions 'none.txt': No such file or directory"),
    ],
)
def test_analogy_is_one_question_or_a_file(embcheck, words, arguments, message):
    """An analogy and a file of questions exclude each other, and rules are for a file; both are wrong usage."""
    found = embcheck("analogy", words, *arguments)
    assert found.code == 4
    assert message in found.err


def test_random_probes_average_the_statistics_of_single_ones(embcheck, project):
    """``probe --random`` gives the means, over the tokens that it names, of what ``probe`` says of each."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 5)).astype(np.float32)
    rows = "".join(f"w{i} {' '.join(map(str, row))}\n" for i, row in enumerate(vectors))
    (project / "noise.vec").write_text(f"40 5\n{rows}")
    found = embcheck("probe", "fasttext:noise.vec", "--random", "7", "--seed", "3", "--json", "out.json")
    assert found.code == 0
    document = json.loads((project / "out.json").read_text())
    ids = [entry["id"] for entry in document["drawn"]]
    assert len(set(ids)) == 7
    units = vectors.astype(float) / np.linalg.norm(vectors.astype(float), axis=1)[:, None]
    cosines = np.array([np.delete(units @ units[i], i) for i in ids])
    expected = {
        "min": cosines.min(1),
        "max": cosines.max(1),
        "mean": cosines.mean(1),
        "median": np.median(cosines, axis=1),
        "non_negative": (cosines >= 0).sum(1),
        "negative": (cosines < 0).sum(1),
        "share": (cosines >= 0).mean(1),
    }
    assert document["averaged"] == pytest.approx({k: v.mean() for k, v in expected.items()}, abs=1e-4)
    assert [entry["share"] for entry in document["drawn"]] == pytest.approx(expected["share"].tolist())
    assert "7 tokens drawn with seed 3, each against the 39 other rows; averaged" in found.out
    assert embcheck("probe", "fasttext:noise.vec", "--random", "7", "--seed", "4").out != found.out


@pytest.mark.parametrize("arguments", [(), ("king", "--random", "3")])
def test_a_probe_is_of_a_token_or_of_random_ones(embcheck, words, arguments):
    """A token and --random exclude each other, and one of them is needed."""
    found = embcheck("probe", words, *arguments)
    assert found.code == 4
    assert "give either a token, or --random N" in found.err


def test_similarity_by_three_measures(embcheck, project):
    """``similarity`` gives cosine, dot product and distance as defined, and counts the random pairs below each."""
    (project / "plane.vec").write_text("3 2\na 3 4\nb 4 3\nc -1 0\n")
    found = embcheck("similarity", "fasttext:plane.vec", "a", "b", "--json", "out.json")
    assert found.code == 0
    document = json.loads((project / "out.json").read_text())
    assert [document[name] for name in ("cosine", "dot", "distance")] == pytest.approx([24 / 25, 24, math.sqrt(2)])
    # a pair is {a, b} with chance 1/3, as near as they are; {a, c} and {b, c} are farther by every measure
    for share in document["percentiles"].values():
        assert share == pytest.approx(200 / 3, abs=2)
    assert document["ranks"] == [1, 1]
    assert "10,000 random pairs of rows, seed 0" in found.out


def test_similarity_of_a_word_with_itself(embcheck, words, project):
    """A word is at cosine 1 and distance 0 from itself, and no neighbor of its own."""
    embcheck("similarity", words, "king", "king", "--json", "out.json")
    document = json.loads((project / "out.json").read_text())
    assert (document["cosine"], document["distance"]) == (pytest.approx(1), 0)
    assert document["ranks"] == [None, None]


def test_tokens_say_how_words_split_and_which_row_a_claim_uses():
    """A word of one token has a row; of several, outside the population or unknown, the reason why it has none."""
    pieces = ["[PAD]", "[UNK]", "king", "##s", "s"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]"])
    table = library.load(torch.nn.Embedding(5, 3), PreTrainedTokenizerFast(tokenizer_object=tokenizer))
    found = {word["text"]: word for word in tokens(table, ["king", "kings", '"[PAD]"', '"##s"'])["words"]}
    assert [part["token"] for part in found["kings"]["tokens"]] == ["king", "##s"]
    assert (found["king"]["row"], found["king"]["why"]) == (2, None)
    assert found["kings"]["why"] == "it is 2 tokens, and claims are about words of one"
    assert found['"##s"']["row"] == 3
    assert found['"[PAD]"']["why"] == "its row is left out of the population: special"
    unknown = tokens(EmbeddingTable.from_arrays([[1.0, 0.0], [0.0, 1.0]], ["a", "A"]), ["b", "a"])["words"]
    assert unknown[0]["why"] == "it is no word of this vocabulary"
    assert unknown[1]["spellings"] == [{"id": 1, "token": "A"}]


def test_tokens_are_printed(embcheck, words):
    """``tokens`` prints the row that a claim would use, and the other spelling's."""
    found = embcheck("tokens", words, "king", "nobody")
    assert found.out.splitlines() == [
        "king",
        "  tokens      'king' #0",
        "  claims use  #0",
        "  spelt alike 'King' #2",
        "nobody",
        "  tokens      none",
        "  claims use  none: it is no word of this vocabulary",
    ]
