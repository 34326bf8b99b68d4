"""PaddleNLP's and Paddle's own tools take our models as they are: each tool, family and head."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.presets.families import EVERY_FAMILY, FAMILIES
from tests.parity.paddlenlp_reference import PYTHON, needs_paddlenlp
from tests.tiny import SIZES

ROOT = Path(__file__).parents[2]
JOBS = "tests.parity.paddlenlp_tools_jobs"
SYNONYMS = ("Config", "ForPretraining", "ForTotalPretraining", "Generator")
PREFIX = "prefix"
NOT_THERE = ("PaddleNLP has no", "PaddleNLP has no such class")
NO_PREFIX = ("past_key_values", "its convolution reads words that stand together")
# What does not work: class and tool, what the job says of it, and why, as the page says it.
LEFT = {
    ("BertForCausalLM", "folders"): NOT_THERE,
    ("BertForNextSentencePrediction", "folders"): NOT_THERE,
    ("ErnieForCausalLM", "folders"): NOT_THERE,
    ("ErnieForNextSentencePrediction", "folders"): NOT_THERE,
    ("ElectraForCausalLM", "folders"): NOT_THERE,
    ("RemBertForCausalLM", "folders"): NOT_THERE,
    ("ErnieMForMaskedLM", "folders"): NOT_THERE,
    ("XLMRobertaForCausalLM", "folders"): (
        "in PaddleNLP: 0 differs",
        "it loads, but PaddleNLP's `RobertaForCausalLM` sees the following tokens too",
    ),
    ("RemBertForMaskedLM", "folders"): (
        "PaddleNLP returns (1,",
        "it loads, but PaddleNLP's scores hidden units, not words",
    ),
    ("ConvBertForMultipleChoice", "folders"): (
        "in PaddleNLP: 0 differs",
        "it loads, but PaddleNLP's reads a pooled vector, ours the last position",
    ),
    ("ConvBertDiscriminator", "folders"): (
        "must be Tensor, but got tuple",
        "it loads, but PaddleNLP's cannot be run",
    ),
    ("ConvBertForPreTraining", "folders"): (
        "Type promotion only support",
        "it loads, but PaddleNLP's cannot be run",
    ),
    ("ElectraForPreTraining", "folders"): (
        "PaddleNLP returns",
        "it loads, but PaddleNLP's returns scores and no loss",
    ),
    ("ElectraForPreTraining", PREFIX): (
        "does not support past_key_values",
        "two nets, which have layers of different widths",
    ),
    ("ConvBertModel", PREFIX): NO_PREFIX,
    ("ConvBertForMaskedLM", PREFIX): NO_PREFIX,
    ("ConvBertForMultipleChoice", PREFIX): NO_PREFIX,
    ("ConvBertForQuestionAnswering", PREFIX): NO_PREFIX,
    ("ConvBertForSequenceClassification", PREFIX): NO_PREFIX,
    ("ConvBertForTokenClassification", PREFIX): NO_PREFIX,
    ("ConvBertForPreTraining", PREFIX): NO_PREFIX,
    ("ConvBertDiscriminator", PREFIX): NO_PREFIX,
}


def classes(family: str) -> list[str]:
    """Name the classes of a family once each."""
    row = FAMILIES[family]
    ends = [end for end in (EVERY_FAMILY + row.classes).split() if end not in SYNONYMS]
    return [*(row.prefix + end for end in ends), *row.others.split()]


def run(*command: str | Path, folder: Path) -> str:
    """Run a program in PaddleNLP's environment with the code that is tested here."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [PYTHON, *map(str, command)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


class TestWithPaddleNLP:
    """What runs its tools."""

    pytestmark = needs_paddlenlp

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_tool_and_head(self, family: str, tmp_path: Path) -> None:
        printed = run("-m", JOBS, family, tmp_path, *classes(family), folder=tmp_path)
        found = json.loads(printed.splitlines()[-1])
        assert [*found] == classes(family)
        wrong = {
            (name, tool): said for name, tools in found.items() for tool, said in tools.items()
        }
        for cell, said in wrong.items():
            assert LEFT.get(cell, ("", ""))[0] in said, f"{cell}: {said or 'works'}"
            assert bool(said) == (cell in LEFT), f"{cell}: {said or 'works'}"

    def test_lines_of_the_readme(self, tmp_path: Path) -> None:
        """Those that a user of PaddleNLP needs, with a small model in place of the preset."""
        words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "bad", "film"]
        BertModel(BertConfig(**SIZES)).save_pretrained(tmp_path / "small")
        (tmp_path / "small" / "vocab.txt").write_text("".join(f"{word}\n" for word in words))
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
        lines = "\n".join(block for block in blocks if "from paddlenlp." in block)
        assert lines.count("bert-base-uncased") == 1
        script = tmp_path / "script.py"
        script.write_text(lines.replace("bert-base-uncased", "small"), "utf-8")
        run(script, folder=tmp_path)
        for folder in ("outputs/best", "outputs/checkpoint-10", "outputs/lora"):
            assert (tmp_path / folder / "config.json").exists(), folder


def table() -> list[str]:
    """Write the page's tables: what works of each class, and why something does not."""
    prefixes = [row.prefix for row in FAMILIES.values()]
    every = {family: classes(family) for family in FAMILIES}
    heads = dict.fromkeys(
        name.removeprefix(FAMILIES[family].prefix)
        for family, names in every.items()
        for name in names
    )
    lines = [f"| Head | {' | '.join(prefixes)} |", "| --- |" + " :-: |" * len(prefixes)]
    for head in heads:
        cells = []
        for family, row in FAMILIES.items():
            name = head if head in row.others.split() else row.prefix + head
            left = [tool for one, tool in LEFT if one == name]
            works = f"not {', '.join(left)}" if left else "✓"
            cells.append(works if name in every[family] else "")
        lines.append(f"| `{head}` | {' | '.join(cells)} |")
    lines += ["", "| Class | Tool | Why not |", "| --- | --- | --- |"]
    return lines + [f"| `{name}` | {tool} | {why} |" for (name, tool), (_, why) in LEFT.items()]


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs/compatibility.md").read_text("utf-8")
    assert "\n".join(table()) in page
