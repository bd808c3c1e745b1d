"""One of two processes that train together: what each sees of a model that they share, and when each stops."""

import json
import sys

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

from embcheck import Estimate, claim, within
from embcheck.sources.models.live import from_module
from embcheck.training.monitor import Monitor

WORDS = [f"word{i}" for i in range(31)]


class Model(nn.Module):
    """An embedding and what turns it back into scores."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(31, 6)
        self.scores = nn.Linear(6, 31)

    def forward(self, ids):
        """Scores of ids."""
        return self.scores(self.embedding(ids))


def model():
    """The same one in each process."""
    torch.manual_seed(0)
    return Model()


def sharded_2():
    """By the newer kind: the parameters are DTensors."""
    found = model()
    mesh = init_device_mesh("cpu", (2,))
    fully_shard(found.embedding, mesh=mesh)
    return fully_shard(found, mesh=mesh)


def sharded_1(*, nested, original):
    """By the older kind: the parameters are parts of a flat one."""
    found = model()
    options = {"use_orig_params": original, "device_id": torch.device("cpu")}
    if nested:
        found.embedding = FullyShardedDataParallel(found.embedding, **options)
    return FullyShardedDataParallel(found, **options)


@claim(within(0, 1))
def toy_growth(table):
    """The first entry stays below one."""
    return Estimate.exact(float(table.vectors[0, 0].abs()))


def watch(kind):
    """Train, one step at a time, until told to stop; by how many steps, and what was logged here."""
    logged = []
    monitor = Monitor(WORDS, properties=toy_growth, on_failed="stop", log=lambda step, _: logged.append(step))
    found = nn.parallel.DistributedDataParallel(kind)
    for step in range(5):
        with torch.no_grad():
            kind.embedding.weight[0, 0] = 0.5 * step
        if monitor.observe(found, step).stop:
            break
    return step, logged


def fault():
    """Rank 0 fails; the other one must not wait for it."""
    monitor = Monitor(WORDS, properties=toy_growth, log=lambda *_: 1 / 0)
    try:
        monitor.observe(model(), 0)
    except (ZeroDivisionError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def main(rank, store):
    """Say what this process saw."""
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    whole = model().embedding.weight
    kinds = {
        "ddp": lambda: nn.parallel.DistributedDataParallel(model()),
        "fsdp2": sharded_2,
        "fsdp1": lambda: sharded_1(nested=False, original=False),
        "fsdp1 nested": lambda: sharded_1(nested=True, original=True),
    }
    equal = {}
    for name, make in kinds.items():
        found = make()
        held = sum(parameter.numel() for parameter in found.parameters())
        table = from_module(found, WORDS)
        after = sum(parameter.numel() for parameter in found.parameters())
        equal[name] = torch.equal(table.vectors, whole) and held == after
    step, logged = watch(model())
    print(json.dumps({"equal": equal, "step": step, "logged": logged, "fault": fault()}))  # noqa: T201
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
