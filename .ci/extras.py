"""``extras.py WHEEL [EXTRA...]``: install each extra of a wheel alone, and run what it promises.

The environment that runs this has the wheel and nothing else; each extra comes into a copy of it.
"""

import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

STORE = """
import numpy, pyarrow, pyarrow.parquet
rows = numpy.random.default_rng(0).standard_normal((600, 16), dtype=numpy.float32)
column = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.reshape(-1)), 16)
pyarrow.parquet.write_table(pyarrow.table({"vector": column}), "store.parquet", row_group_size=100)
"""
IN_PARTS = """
result = embcheck.check("parquet:store.parquet", properties="isotropy", executor={executor})[0]
assert result.is_decided, result
"""
PROMISED = {
    "": """
import os
assert os.system(f"{sys.prefix}/bin/embcheck check random:300x16 --property isotropy --json r.json >out 2>&1") == 256
asked = [f"{sys.prefix}/bin/embcheck", "report", "r.json", "--html", "r.html"]
told = subprocess.run(asked, capture_output=True, text=True)
assert (told.returncode, "embcheck[html]" in told.stderr) == (4, True), told
open("words.txt", "w").write("a 1 2\\nb 2 1\\n")
for asked in (["check", "glove:words.txt"], ["sweep", "random:30x8"]):
    told = subprocess.run([f"{sys.prefix}/bin/embcheck", *asked], capture_output=True, text=True)
    assert (told.returncode, "embcheck[arrow]" in told.stderr) == (4, True), told
""",
    "arrow": STORE + "assert embcheck.load('parquet:store.parquet').vectors.shape == (600, 16)",
    "demo": """
import gguf  # which demo:lm is read with
assert embcheck.check('demo', properties='intact_rows').passed
""",
    "html": "embcheck.check('random:300x16', properties='isotropy').save_html('page.html')",
    "pandas": "assert len(embcheck.check('random:300x16', properties='isotropy').to_dataframe()) == 1",
    "gguf": """
import gguf, numpy
writer = gguf.GGUFWriter("m.gguf", "llama")
writer.add_tokenizer_model("llama")
writer.add_token_list([f"w{row}" for row in range(64)])
writer.add_token_scores([-float(row) for row in range(64)])
kind, rows = gguf.GGMLQuantizationType.Q8_0, numpy.random.default_rng(0).standard_normal((64, 32), dtype=numpy.float32)
writer.add_tensor("token_embd.weight", gguf.quants.quantize(rows, kind), raw_dtype=kind)
writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
assert embcheck.load("gguf:m.gguf").vectors.shape == (64, 32)
""",
    "hypothesis": """
from hypothesis import given
from embcheck import strategies

@given(strategies.vectors(embcheck.load("random:30x8")))
def drawn(vector):
    assert len(vector) == 8

drawn()
""",
    "dask": f"""
if __name__ == "__main__":
    {textwrap.indent(STORE, "    ")}
    from distributed import LocalCluster
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
    {textwrap.indent(IN_PARTS.format(executor="f'dask://{cluster.scheduler_address[6:]}'"), "    ")}
    cluster.close()
""",
    "ray": STORE + IN_PARTS.format(executor="'ray'"),
    "st": """
from pathlib import Path
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from tokenizers import Tokenizer, models
words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2}, unk_token="a"))
SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=4)]).save("encoder")
Path("words.txt").write_text("a\\nb\\nc\\n")
assert embcheck.load("st:encoder,space=encoded,words=words.txt").vectors.shape == (3, 4)
""",
    "umap": """
import numpy
from embcheck import lexicons, measures
(eight,) = lexicons.categories("eight")
words = list(eight.words)
table = embcheck.EmbeddingTable.from_arrays(numpy.random.default_rng(0).standard_normal((len(words), 32)), words)
places = measures.category_separation(table, eight, rng=numpy.random.default_rng(0), umap=True).details["umap"]
assert len(places["x"]) == len(words)
""",
}
WORK_ON_IT = {"bench", "docs", "formats", "lint", "test"}  # of embcheck itself


def main(wheel: str, *only: str) -> None:
    """Each extra, or some, in turn; the first that does not do what it promises ends it."""
    declared = set(importlib.metadata.metadata("embcheck").get_all("Provides-Extra"))
    if missing := declared - WORK_ON_IT - PROMISED.keys():
        raise SystemExit(f"nothing is said of what {', '.join(sorted(missing))} promises")
    with tempfile.TemporaryDirectory() as scratch:
        for extra in only or PROMISED:
            alone = Path(scratch) / (extra or "none")
            shutil.copytree(sys.prefix, alone / "env", symlinks=True, copy_function=_linked)
            python = str(alone / "env/bin/python")
            if extra:
                install = [python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", f"{wheel}[{extra}]"]
                subprocess.run(install, check=True)
            script = alone / "promise.py"
            script.write_text(f"import subprocess\nimport sys\nimport embcheck\n{PROMISED[extra]}\n")
            subprocess.run([python, str(script)], cwd=alone, check=True)
            print(f"{extra or 'no extra'}: as promised", flush=True)
            shutil.rmtree(alone)


def _linked(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


if __name__ == "__main__":
    main(*sys.argv[1:])
