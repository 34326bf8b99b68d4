"""Information extraction gives the answers of PaddleNLP 2.8.1's Taskflow, of the same numbers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.tasks.cross_lingual import XNLI, read_languages
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import ErnieTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from tests.inference.test_extraction import extraction
from tests.parity.paddlenlp_reference import PYTHON, needs_paddlenlp
from tests.parity.taskflow_jobs import made_up
from tests.scripts import multilingual

pytestmark = needs_paddlenlp
SCHEMAS = [
    (["时间", "选手"], False),
    ({"评价维度": ["观点词", "情感倾向[正，负]"]}, False),
    ([{"人": [{"时间": ["地", {"物": "人"}]}]}, "情感倾向[正，负]"], False),
    ([{"person": ["age", "mood [good,bad]"]}, "mood [good,bad]"], True),
]


def tokenizers(folder: Path) -> dict[str, Tokenizer]:
    """Small tokenizers of both families; that of ERNIE-M with PaddleNLP's ids."""
    ernie, ernie_m = folder / "UIE", folder / "UIEM"
    ernie.mkdir()
    ernie_m.mkdir()
    words = "[ ] , age mood good bad of person " + " ".join(
        "的时间选手评价维度观点词情感倾向正负人地物"
    )
    pieces = {piece for text in texts() for piece in text.lower() if not piece.isspace()}
    pieces = sorted({*pieces, *(f"##{piece}" for piece in pieces)} - set(words.split()))
    lines = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *words.split(), *pieces]
    (ernie / "vocab.txt").write_text("\n".join(lines) + "\n", "utf-8")
    multilingual.ernie_m(ernie_m, required_chars=words.replace(" ", ""))
    return {
        "UIE": ErnieTokenizer.from_pretrained(ernie),
        "UIEM": ErnieMTokenizer.from_pretrained(ernie_m, drop_lone_space=True),
    }


def texts() -> list[str]:
    rows = read_languages(XNLI, "test", multilingual.DATA)
    return [row.text_a for language in ("zh", "en", "ru") for row in rows[language][::4]]


def assert_same(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Compare answers; theirs are in no order."""
    assert set(ours) == set(theirs)
    for name, answers in ours.items():
        others = sorted(theirs[name], key=lambda one: one.get("start", 0))
        for one, other in zip(answers, others, strict=True):
            assert one.pop("probability") == pytest.approx(other.pop("probability"), abs=1e-6)
            assert_same(one.pop("relations", {}), other.pop("relations", {}))
            assert one == other


def test_answers_are_taskflows(tmp_path: Path) -> None:
    ours, jobs = [], []
    for model, tokenizer in tokenizers(tmp_path).items():
        names = ("[CLS]", "[SEP]", "[PAD]", "[", "]", ",")
        special = {name: int(tokenizer.convert_tokens_to_ids(name)) for name in names}
        for schema, english in SCHEMAS:
            extract = extraction(
                lambda columns, special=special: made_up(columns["input_ids"], special),
                tokenizer,
                schema,
            )
            ours.append(extract(texts()))
            jobs.append({"model": model, "schema": schema, "english": english, "special": special})
            jobs[-1] |= {"texts": texts(), "tokenizer": type(tokenizer).__name__}
            jobs[-1]["folder"] = str(tmp_path / model)
    (tmp_path / "jobs.json").write_text(json.dumps(jobs), "utf-8")
    script = Path(__file__).with_name("taskflow_jobs.py")
    command = [PYTHON, str(script), str(tmp_path / "jobs.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads((tmp_path / "answers.json").read_text("utf-8"))
    for answers, others in zip(ours, theirs, strict=True):
        assert sum(map(len, answers)) > len(answers) / 2
        for one, other in zip(answers, others, strict=True):
            assert_same(one, other)
