"""Writing systems: does a row tell in which script its token is written?"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from embcheck.errors import NotMeasurable
from embcheck.estimate import Details, Estimate, measure
from embcheck.measures.kernels.nearest import nearest
from embcheck.measures.resolve import listed
from embcheck.settings import current
from embcheck.stats import permutations

if TYPE_CHECKING:
    import numpy.typing as npt

    from embcheck.stats import Bools, Floats, Ints
    from embcheck.table import EmbeddingTable

__all__ = ["enough_tokens", "script_accuracy"]

MOST, LEAST, ENOUGH = 8, 3, 50  # scripts, and tokens of each
SAMPLED, DRAWS, NEIGHBORS = 100, 499, 10
_LOOKED_UP = 25  # tokens of a script whose neighbors are looked at


@measure
def script_accuracy(table: EmbeddingTable, *, rng: np.random.Generator) -> Estimate:
    r"""Share of tokens whose row is nearest to the mean row of their own script, their own row left out of it.

    Scripts are those of `EmbeddingTable.scripts` with 50 tokens and more, the eight largest; of each, 100 tokens in
    hash order, or as many as the smallest has, so that all weigh the same and chance is one over their number. Rows
    have length 1, and nearest is by Euclidean distance, so that each two scripts are told apart by a hyperplane:
    :math:`\arg\min_k |x_i - c_k|`, :math:`c_k` the mean of the tokens of script k but i. Unit: tokens; interval:
    Student t, or betting; it takes the means as given, and covers 93% at 50 tokens a script. The null
    ``shuffled_scripts`` permutes the scripts of the sampled tokens, 499 times. Details: accuracy by script, which
    scripts are taken for which, and the share of the ten nearest rows of the whole population that are of a token's
    script, beside the share of the population that is.

    Raises
    ------
    NotMeasurable
        Fewer than three scripts with 50 tokens.
    """
    scripts = enough_tokens(table)
    count = min(current().sampled(SAMPLED), *map(len, scripts.values()))
    rows = np.concatenate([table.probes(count, among=own) for own in scripts.values()])
    labels = np.repeat(np.arange(len(scripts)), count)
    gram = (units := table.units(rows).cpu().double().numpy()) @ units.T
    told = _told(gram, labels[None])[0]
    is_right = told == labels
    draws = permutations.draw(
        lambda orders: (_told(gram, labels[orders]) == labels[orders]).mean(1),
        lambda size: permutations.orders(len(rows), size, rng),
        most=DRAWS,
        chunk=20,
    )
    names = list(scripts)
    wrong = np.flatnonzero(~is_right)[:10]
    order = np.argsort(np.tile(np.arange(count), len(scripts)), kind="stable")  # all scripts in turn
    return Estimate.from_units(
        is_right[order],
        unit="tokens",
        labels=[table.token(int(row)) for row in rows[order]],
        bounds=(0.0, 1.0),
        rng=rng,
        name="share of tokens nearest to the mean of their script",
        effect={"name": "share expected by chance", "value": 1 / len(scripts)},
        draws={"shuffled_scripts": draws},
        details={
            "scripts": {name: len(scripts[name]) for name in names},
            "accuracy": {name: float(is_right[labels == k].mean()) for k, name in enumerate(names)},
            "taken_for": {
                name: {other: int((told[labels == k] == j).sum()) for j, other in enumerate(names)}
                for k, name in enumerate(names)
            },
            **(_neighbors(table, scripts) if current().details else {}),
        },
        counterexamples=[
            {**item, "script": names[labels[i]], "taken_for": names[told[i]]}
            for item, i in zip(listed(table, rows[wrong]), wrong, strict=True)
        ],
    )


def enough_tokens(table: EmbeddingTable) -> dict[str, Ints]:
    """Rows of the eight largest scripts that have 50 tokens; `NotMeasurable` where fewer than three have."""
    scripts = dict(islice(((name, rows) for name, rows in table.scripts.items() if len(rows) >= ENOUGH), MOST))
    if len(scripts) < LEAST:
        raise NotMeasurable(f"{len(scripts)} scripts have {ENOUGH} tokens; at least {LEAST} are needed")
    return scripts


def _told(gram: Floats, labels: Ints) -> Ints:
    """(b, n) labels of the nearest means, an item left out of its own, for b labellings of (n, n) dot products."""
    draws, n = labels.shape
    kinds = int(labels.max()) + 1
    member: npt.NDArray[np.bool_] = labels[:, :, None] == np.arange(kinds)  # (b, n, k)
    sums = (gram @ member.transpose(1, 0, 2).reshape(n, -1).astype(np.float64)).reshape(n, draws, kinds).swapaxes(0, 1)
    sizes = member.sum(1)[:, None]
    squares = (sums * member).sum(1)[:, None]
    own = np.diag(gram)[:, None]
    sizes, squares, sums = (
        np.where(member, without, whole)
        for without, whole in ((sizes - 1, sizes), (squares - 2 * sums + own, squares), (sums - own, sums))
    )
    distance = squares / sizes**2 - 2 * sums / sizes
    return np.asarray(distance.argmin(2))


def _neighbors(table: EmbeddingTable, scripts: dict[str, Ints]) -> Details:
    """How many of the ten nearest rows of any kind are of the script, beside how many rows are."""
    shares = {}
    for name, rows in scripts.items():
        is_own: Bools = np.isin(table.population, rows)
        near = nearest(table, table.probes(_LOOKED_UP, among=rows), NEIGHBORS)
        shares[name] = {"share": float(is_own[near].mean()), "expected": float(is_own.mean())}
    return {"neighbors_of_the_script": shares}
