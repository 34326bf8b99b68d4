"""Loading a model takes the memory of its weights once, not again for the file and for zeros."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import paddle
import pytest

from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.bert import BertConfig, BertModel
from tests.scripts.multilingual import ROOT

SIZES = {"vocab_size": 160_001, "hidden_size": 256, "num_hidden_layers": 1}
LOAD = """
import sys
from pathlib import Path
from paddlenlp_ext.models.bert import BertModel
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
before = peak()
BertModel.from_pretrained(sys.argv[1])
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux counts memory there")
@pytest.mark.skipif(paddle.__version__.startswith("2."), reason="it copies arrays into tensors")
@pytest.mark.parametrize("format", ["paddle", "huggingface"])
def test_weights_are_in_memory_once(format: Format, tmp_path: Path) -> None:
    config = BertConfig(num_attention_heads=4, intermediate_size=64, **SIZES)
    BertModel(config).save_pretrained(tmp_path, format)
    size = max(path.stat().st_size for path in tmp_path.iterdir()) / 1024
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    # Of the file, 64 MB are mapped at a time; twice the size would be 330 MB.
    assert size > 160_000
    assert size < float(done.stdout.split()[-1]) < 1.6 * size
