import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embcheck import measures, needs, nulls
from embcheck.checks.evaluate import checks_of, evaluate
from embcheck.claims import Verdict
from embcheck.errors import NotMeasurable
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable
from embcheck.table.vocabulary import script_of

ALPHABETS = {"LATIN": 0x61, "GREEK": 0x3B1, "CYRILLIC": 0x430}
few = settings(max_examples=8, deadline=None)


def tokens_of(script, count):
    """Distinct texts of two letters."""
    first = ALPHABETS[script]
    return [chr(first + i % 17) + chr(first + i // 17) for i in range(count)]


def table_of(counts, width=6, apart=0.0, seed=0):
    """Rows of scripts around centres of their own, and 40 tokens of digits."""
    r = np.random.default_rng(seed)
    tokens, rows = [f"{i:03}" for i in range(40)], [r.standard_normal((40, width))]
    for script, count in counts.items():
        tokens += tokens_of(script, count)
        rows.append(r.standard_normal((count, width)) + apart * r.standard_normal(width))
    order = r.permutation(len(tokens))
    return EmbeddingTable.from_arrays(np.concatenate(rows)[order], [tokens[i] for i in order])


def measured(table):
    with using(Settings(draws=9, details=False)):
        return measures.script_accuracy(table, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("token", "script"),
    [
        (" word", "LATIN"), ("##été", "LATIN"), ("\uff21", "LATIN"), ("ª", "LATIN"), ("слово", "CYRILLIC"),
        ("λόγος", "GREEK"), ("µ", "GREEK"), ("字", "CJK"), ("ひらがな", "HIRAGANA"), ("ｶ", "KATAKANA"),
        ("한국", "HANGUL"), ("हिन्दी", "DEVANAGARI"), ("عرب", "ARABIC"), ("ไทย", "THAI"), ("12", None), ("é字", None),
        ("", None), ("\ufffd", None), ("a1-b", "LATIN"),
    ],
)  # fmt: skip
def test_the_script_is_that_of_all_letters(token, script):
    """By the names of the letters in compatibility form; none without letters or with letters of several scripts."""
    assert script_of(token) == script


@given(seed=st.integers(0, 2**32 - 1), apart=st.sampled_from([0.0, 0.5, 2.0]))
@few
def test_the_share_is_that_of_means_taken_one_by_one(seed, apart):
    """In float64: every token against the mean of each script, its own row left out of its own."""
    table = table_of(dict.fromkeys(ALPHABETS, 60), apart=apart, seed=seed)
    rows = {script: [i for i, token in enumerate(table.tokens) if script_of(token) == script] for script in ALPHABETS}
    vectors = table.vectors.double().numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    right = []
    for script, own in rows.items():
        for i in own:
            distance = {
                name: np.linalg.norm(unit[i] - np.mean([unit[j] for j in others if j != i], axis=0))
                for name, others in rows.items()
            }
            right.append(min(distance, key=distance.get) == script)
    estimate = measured(table)
    assert estimate.value == pytest.approx(np.mean(right))
    assert (estimate.n, estimate.effect["value"]) == (180, pytest.approx(1 / 3))
    told = estimate.details["taken_for"]
    assert [sum(row.values()) for row in told.values()] == [60] * 3
    assert sum(told[name][name] for name in told) == sum(right)


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(0.01, 100))
@few
def test_rotation_lengths_and_the_order_of_rows_change_nothing(seed, factor):
    """Directions alone count, in whatever basis and order."""
    table = table_of(dict.fromkeys(ALPHABETS, 55), apart=0.5, seed=seed)
    r = np.random.default_rng(seed)
    turn, order = np.linalg.qr(r.standard_normal((6, 6)))[0], r.permutation(len(table.tokens))
    moved = (table.vectors.double().numpy() * r.uniform(0.1, 9, (len(order), 1)) * factor) @ turn
    other = EmbeddingTable.from_arrays(moved[order], [table.tokens[i] for i in order])
    assert measured(other).value == pytest.approx(measured(table).value, abs=0.01)


def test_scripts_weigh_the_same(words):
    """As many tokens of each as the smallest has, at most 100; scripts of fewer than 50 are left out."""
    counts = {"LATIN": 250, "GREEK": 52, "CYRILLIC": 120}
    estimate = measured(table_of(counts))
    assert (estimate.n, estimate.details["scripts"]) == (3 * 52, {"LATIN": 250, "CYRILLIC": 120, "GREEK": 52})
    lacking = table_of({**counts, "GREEK": 49})
    with pytest.raises(NotMeasurable, match="2 scripts have 50 tokens"):
        measured(lacking)
    assert needs.scripts()(lacking, {}) == "2 scripts of 50 tokens"
    assert needs.scripts(2)(lacking, {}) is None


def test_it_holds_where_scripts_lie_apart_and_not_elsewhere():
    """Centres of their own hold; noise, and rows shuffled among the scripts, do not; too few scripts are n/a."""
    (check,) = checks_of([importlib.import_module("embcheck.properties.script_separation").script_separation])
    apart, noise = (table_of(dict.fromkeys(ALPHABETS, 80), 24, strength) for strength in (0.8, 0.0))
    result = evaluate(check, apart, Settings())
    assert (result.verdict, result.nulls[0].p_value) == (Verdict.HOLDS, 1 / 500)
    assert set(result.estimate.details["neighbors_of_the_script"]) == set(ALPHABETS)
    assert result.estimate.details["neighbors_of_the_script"]["GREEK"]["share"] > 0.7
    shuffled, _ = nulls.shuffled_scripts(apart, {}, np.random.default_rng(0))
    verdicts = [evaluate(check, table, Settings()).verdict for table in (noise, shuffled)]
    assert Verdict.HOLDS not in verdicts
    assert evaluate(check, table_of({"LATIN": 90, "GREEK": 60}), Settings()).verdict is Verdict.NOT_APPLICABLE
