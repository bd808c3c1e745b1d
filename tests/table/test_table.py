import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embcheck.errors import NotMeasurable, UsageError
from embcheck.settings import Settings, using
from embcheck.table import EmbeddingTable, Provenance
from embcheck.table.table import weights_sha256
from embcheck.table.vocabulary import RowStatus, TokenKind, WordVocabulary, script_of

TOKENS = ["<unk>", "dog", "[unused1]", "cat", "a", "zero", "nan", "far"]
ROWS = [[1, 1], [2, 0], [1, 2], [0, 3], [1, -1], [0, 0], [np.nan, 1], [1e30, 1e38]]


@pytest.fixture
def table():
    """Eight named rows of every status, and three padding rows, one of them zero."""
    vectors = torch.tensor([*ROWS, [1, 5], [5, 1], [0, 0]], dtype=torch.float32)
    vectors[7] = torch.tensor([3e38, 3e38])  # finite entries, but a length beyond float32
    return EmbeddingTable(vectors, WordVocabulary(TOKENS), Provenance("memory", "memory", (11, 2), "float32"))


def plain(count, width=4, seed=0):
    vectors = np.random.default_rng(seed).standard_normal((count, width))
    return EmbeddingTable.from_arrays(vectors, [f"t{i}" for i in range(count)])


# --- population ---------------------------------------------------------------------------------------------------


def test_every_row_has_a_status(table):
    """Each row is known, or has the reason why it is not."""
    names = [RowStatus(int(s)).name for s in table.status]
    assert names == [
        "SPECIAL",
        "KNOWN",
        "UNUSED",
        "KNOWN",
        "KNOWN",
        "ZERO",
        "NON_FINITE",
        "NON_FINITE",
        *["PADDING"] * 3,
    ]


def test_the_known_population_leaves_out_what_is_no_token(table):
    """Special, unused, zero, non-finite and padding rows are left out, and counted by reason."""
    assert table.population.tolist() == [1, 3, 4]
    assert table.in_population.nonzero()[0].tolist() == [1, 3, 4]
    assert table.excluded() == {"padding": 3, "non_finite": 2, "zero": 1, "special": 1, "unused": 1}
    assert sum(table.excluded().values()) + 3 == 11


def test_the_whole_population_has_every_row_with_a_direction(table):
    """Asked for all, the population keeps special, unused and padding rows; those without a direction stay out."""
    whole = table.with_population("all")
    assert whole.population.tolist() == [0, 1, 2, 3, 4, 8, 9]
    assert whole.excluded()["non_finite"] == 2


def test_rows_outside_are_counted_whichever_population(table):
    """The rows of the population and those counted as left out are all rows, for either population."""
    for kind in ("known", "all"):
        chosen = table.with_population(kind)
        assert len(chosen.population) + sum(chosen.excluded().values()) == len(chosen.vectors), kind


def test_a_population_needs_two_rows():
    """With fewer than two usable rows nothing can be compared; the message says where the others went."""
    table = EmbeddingTable.from_arrays(np.array([[1.0], [0.0], [2.0]]), ["a", "b", "<unk>"])
    with pytest.raises(NotMeasurable, match=r"the population has 1 of 3 rows; \{'zero': 1, 'special': 1\}"):
        _ = table.population


def test_classes_are_of_population_rows_only(table):
    """A class lists rows of the population; padding has no class but special."""
    assert table.of_kind(TokenKind.WORD_START).tolist() == [1, 3]
    assert table.of_kind(TokenKind.ASCII_CHARACTER).tolist() == [4]
    assert table.with_population("all").of_kind(TokenKind.SPECIAL).tolist() == [0, 8, 9]


def test_padding_rows_are_named_by_number(table):
    """A row past the tokenizer has no surface form."""
    assert (table.token(1), table.token(9)) == ("dog", "<padding 9>")


# --- construction -------------------------------------------------------------------------------------------------


def test_a_tensor_is_neither_copied_nor_converted():
    """A floating-point tensor stays where and as it is."""
    vectors = torch.randn(4, 3).to(torch.bfloat16)
    table = EmbeddingTable.from_arrays(vectors, list("abcd"))
    assert table.vectors.data_ptr() == vectors.data_ptr()
    assert (table.vectors.dtype, table.provenance.dtype, table.provenance.shape) == (torch.bfloat16, "bfloat16", (4, 3))


def test_integers_become_floats():
    """A matrix of whole numbers is taken as float32."""
    assert EmbeddingTable.from_arrays([[1, 2], [3, 4]], ["a", "b"]).vectors.dtype == torch.float32


def test_a_gradient_is_left_behind():
    """A parameter in training can be measured: the table holds no graph."""
    vectors = torch.randn(4, 3, requires_grad=True)
    assert not EmbeddingTable.from_arrays(vectors, list("abcd")).norms.requires_grad


@pytest.mark.parametrize("vectors", [np.ones(3), np.ones((3, 0)), np.ones((3, 2, 2))])
def test_other_shapes_are_refused(vectors):
    """Only a matrix with at least one column is an embedding matrix."""
    with pytest.raises(UsageError, match="must have shape"):
        EmbeddingTable.from_arrays(vectors, list("abc"))


def test_tokens_must_match_rows():
    """Another number of tokens than rows is refused with both numbers."""
    with pytest.raises(UsageError, match="the matrix has 3 rows but there are 2 tokens"):
        EmbeddingTable.from_arrays(np.ones((3, 2)), ["a", "b"])


# --- vectors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_unit_rows_have_length_one(dtype):
    """Unit rows are float32, of length 1, along the stored rows, whatever the stored dtype."""
    table = EmbeddingTable.from_arrays(
        torch.randn(50, 8, generator=torch.Generator().manual_seed(0)).to(dtype), [f"t{i}" for i in range(50)]
    )
    units = table.units(np.array([3, 4, 5, 49, 0]))
    assert units.dtype == torch.float32
    rows = table.vectors[[3, 4, 5, 49, 0]].double()
    expected = rows / rows.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(units, expected, atol=1e-7)


def test_consecutive_and_scattered_rows_are_read_alike():
    """Rows read as one slice are those read one by one, in any order and repeated."""
    table = plain(40)
    for rows in ([], [7], [7, 8, 9], [9, 8, 7], [7, 9, 11], [7, 7, 9], [5, 39, 0]):
        assert torch.equal(table.gather(np.array(rows, dtype=np.int64)), table.vectors[rows].float())
    assert torch.equal(table.gather(slice(2, 5)), table.vectors[2:5].float())


def test_lengths_do_not_depend_on_blocks(monkeypatch):
    """Row lengths are the same in one block and in many."""
    table = plain(2_000)
    again = plain(2_000)
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 1)
    assert len(list(again.slices(2_000))) > 1
    assert torch.equal(table.norms, again.norms)
    np.testing.assert_allclose(again.norms, np.linalg.norm(table.vectors.double().numpy(), axis=1))


def test_slices_cover_each_row_once(monkeypatch):
    """Blocks follow each other without gap or overlap."""
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 1)
    rows = [r for part in plain(3).slices(1_000) for r in range(part.start, part.stop)]
    assert rows == list(range(1_000))


# --- words --------------------------------------------------------------------------------------------------------


class Pieces(WordVocabulary):
    """Splits words at hyphens."""

    def encode(self, words):
        """Rows of the pieces; none where one is missing."""
        known = {token: row for row, token in enumerate(self.tokens)}
        found = [tuple(known.get(piece, -1) for piece in word.split("-")) for word in words]
        return [() if -1 in ids else ids for ids in found]


@pytest.fixture
def pieces(table):
    return EmbeddingTable(table.vectors, Pieces(TOKENS), table.provenance)


def test_a_word_is_one_token_of_the_population(pieces):
    """Words of several tokens, absent words and words of rows outside the population have no row."""
    assert pieces.rows(["dog", "dog-cat", "cow", "zero", "<unk>", "cat"]) == [1, None, None, None, None, 3]


def test_single_tokens_are_the_default(pieces):
    """Words of several tokens are counted as pooled, and left out unless pooling is asked for."""
    found = pieces.embed(["dog", "dog-cat", "cow", "zero-dog", "a"])
    assert (found.words, found.rows) == (("dog", "a"), ((1,), (4,)))
    np.testing.assert_allclose(found.vectors, [[2, 0], [1, -1]])
    assert (found.coverage.single, found.coverage.pooled, found.coverage.missing) == (2, 1, ("cow", "zero-dog"))


def test_pooling_averages_tokens(pieces):
    """Asked for, a word of several tokens is the mean of their raw vectors."""
    found = pieces.embed(["dog-cat-a", "dog"], "mean")
    assert found.rows == ((1, 3, 4), (1,))
    np.testing.assert_allclose(found.vectors, [[1, 2 / 3], [2, 0]])


def test_no_word_found_is_an_empty_matrix(pieces):
    """When nothing resolves there are no vectors, of the table's width."""
    found = pieces.embed(["cow"])
    assert (found.words, tuple(found.vectors.shape)) == ((), (0, 2))


def test_coverage_names_at_most_twenty_missing_words(pieces):
    """The record counts all missing words and names the first twenty."""
    record = pieces.embed(["dog", *(f"x{i}" for i in range(30))]).coverage.record()
    assert record == {"single": 1, "pooled": 0, "missing": 30, "missing_words": [f"x{i}" for i in range(20)]}


# --- sampling -----------------------------------------------------------------------------------------------------


def test_a_smaller_sample_is_the_start_of_a_larger_one():
    """Probes are nested: fewer probes are a prefix of more, without repetition."""
    table = plain(200)
    every = table.probes(200)
    assert sorted(every.tolist()) == list(range(200))
    for count in (1, 2, 50, 199):
        assert table.probes(count).tolist() == every[:count].tolist()


def test_tables_with_the_same_tokens_draw_the_same_probes():
    """The order depends on seed and token alone: not on vectors, their number or the order of rows."""
    table, other = plain(100), plain(100, width=7, seed=5)
    order = np.random.default_rng(0).permutation(100)
    shuffled = EmbeddingTable.from_arrays(table.vectors[order.tolist()], [table.tokens[i] for i in order])
    names = [table.token(r) for r in table.probes(30)]
    assert [other.token(r) for r in other.probes(30)] == names
    assert [shuffled.token(r) for r in shuffled.probes(30)] == names
    part = table.subset(np.sort(table.probes(60)))
    assert [part.token(r) for r in part.probes(30)] == names


def test_another_seed_draws_other_probes():
    """The seed in force decides the draw."""
    table = plain(100)
    with using(Settings(seed=1)):
        other = table.probes(30).tolist()
    assert table.probes(30).tolist() != other


def test_each_row_is_drawn_as_often_as_any_other():
    """Over seeds, each row is among the first ten of a hundred about one time in ten."""
    table = plain(100)
    drawn = np.zeros(100)
    for seed in range(400):
        with using(Settings(seed=seed)):
            drawn[table.probes(10)] += 1
    expected = 400 * 0.1
    assert abs(((drawn - expected) ** 2 / expected).sum() - 90) < 4 * np.sqrt(2 * 90)  # chi-squared, about 90 +- 13


def test_equal_tokens_are_told_apart():
    """Rows of one text are drawn one by one, not together."""
    table = EmbeddingTable.from_arrays(np.ones((50, 2)), ["same"] * 50)
    assert len(np.unique(table._hashes(0))) == 50


def test_the_order_of_sampling_is_a_hash_of_seed_and_token():
    """A row's hash is the keyed BLAKE2b of its text, and from the second one on of which copy it is; padding too."""
    tokens = ["cat", "dog", "cat", "<padding 5>", "cat"]
    table = EmbeddingTable(torch.ones(6, 2), WordVocabulary(tokens), Provenance("memory", "memory", (6, 2), "float32"))
    texts = ["cat", "dog", "cat\0" + "1", "<padding 5>", "cat\0" + "2", "<padding 5>\0" + "1"]
    key = (7).to_bytes(8, "little")
    expected = [hashlib.blake2b(text.encode(), digest_size=8, key=key).digest() for text in texts]
    assert table._hashes(7).tobytes() == b"".join(expected)


@given(st.lists(st.sampled_from(["cat", " кот", "猫", "42", "cafe", "ab猫", "-a", "\n"]), min_size=2))
def test_scripts_are_those_of_each_token(tokens):
    """Every population row stands under the system that all its letters are of; the system with most rows is first."""
    table = EmbeddingTable.from_arrays(np.ones((len(tokens), 2)), tokens)
    assert {row: name for name, rows in table.scripts.items() for row in rows.tolist()} == {
        row: script for row, token in enumerate(tokens) if (script := script_of(token)) is not None
    }
    sizes = [len(rows) for rows in table.scripts.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_texts_of_rows_are_those_of_each(table):
    """Many surface forms are read as single ones are, padding included, in any order."""
    rows = np.array([10, 0, 3, 3])
    assert list(table.texts(rows)) == [table.token(int(row)) for row in rows]


def test_probes_follow_the_settings():
    """The number of probes is the settings'; among a part, they come from that part."""
    table = plain(100)
    assert len(table.probes()) == 100
    with using(Settings(probes=12)):
        assert len(table.probes()) == 12
        among = np.arange(40, 90)
        assert set(table.probes(among=among).tolist()) <= set(among.tolist())
    assert len(table.probes(500, among=np.arange(10))) == 10


@pytest.mark.parametrize(
    ("probes", "population", "expected"),
    [
        (None, 32_000, 32_000),
        (None, 32_001, 1_000),
        ("all", 10**6, 10**6),
        (50, 10**6, 50),
        (50, 20, 20),
        (None, 20, 20),
    ],
)
def test_default_probes(probes, population, expected):
    """Up to 32,000 rows all are probed, above that 1,000, unless a number is asked for; never more than there are."""
    assert Settings(probes=probes).probe_count(population) == expected


@pytest.mark.parametrize("options", [{"confidence_level": 0.5}, {"confidence_level": 1.0}, {"probes": 1}, {"seed": -1}])
def test_settings_out_of_range_are_refused(options):
    """A level outside (0.5, 1), fewer than two probes and a negative seed are usage errors."""
    with pytest.raises(UsageError):
        Settings(**options)


# --- other tables -------------------------------------------------------------------------------------------------


def test_a_subset_keeps_rows_and_tokens_together(table):
    """Rows are renumbered in the order given; vectors, tokens and population follow them."""
    part = table.subset(np.array([4, 0, 3, 9]))
    assert [part.token(r) for r in range(3)] == ["a", "<unk>", "cat"]
    np.testing.assert_allclose(part.vectors, [[1, -1], [1, 1], [0, 3], [5, 1]])
    assert part.population.tolist() == [0, 2]
    assert part.provenance.shape == (4, 2)
    assert part.rows(["cat", "dog"]) == [2, None]


def test_other_vectors_share_no_memory_of_the_first(table):
    """A table made with other vectors works out its own lengths and probe order."""
    _ = table.norms, table.probes(2)
    double = table.with_vectors(table.vectors * 2)
    assert float(double.norms[1]) == 4
    assert double.memo == {}


def test_the_token_hash_is_of_known_rows_in_order(table):
    """Vectors and padding play no part in the hash of tokens; their texts and order do."""
    other = table.with_vectors(
        torch.randn(11, 2, generator=torch.Generator().manual_seed(0)).index_fill(0, torch.tensor([5, 6, 7]), 0.0)
    )
    assert other.tokens_sha256 == table.tokens_sha256
    assert plain(5).tokens_sha256 != plain(6).tokens_sha256
    assert plain(5).subset(np.array([1, 0, 2, 3, 4])).tokens_sha256 != plain(5).tokens_sha256


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_weights_hash_is_of_the_bytes(monkeypatch, dtype):
    """The hash is SHA-256 of the tensor's bytes in row order, whatever the dtype, the strides and the blocks."""
    matrix = torch.randn(30, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = hashlib.sha256(matrix.view(torch.uint8).numpy().tobytes()).hexdigest()
    assert weights_sha256(matrix) == expected
    monkeypatch.setattr("embcheck.table.table.BLOCK_BYTES", 50)
    assert weights_sha256(matrix.T.contiguous().T) == expected
