"""Tokenizers of `paddlenlp_ext.paddlenlp` against PaddleNLP 2.8.1's own, call by call.

Not compared: RemBERT's offsets, which PaddleNLP gives without the special tokens; its vocabulary,
which has no attribute there; the text of unknown pieces; and ERNIE-M's size, which there is that of
another file. Offsets of words that a vocabulary lacks are guessed there: none is lacking here.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from shutil import copy

from paddlenlp_ext.paddlenlp.transformers import tokenizers
from tests.parity import paddlenlp_tokenizer_calls as both
from tests.parity.paddlenlp_reference import PYTHON, needs_paddlenlp
from tests.tokenizers.conftest import VOCABULARY
from tests.tokenizers.spm_models import REMBERT, ernie_m_folder, train

pytestmark = needs_paddlenlp

OTHERS = {
    "ErnieMTokenizer: size",
    "RemBertTokenizer: vocab",
    *(f"RemBertTokenizer: {call}" for call in ("offsets", "get_offset_mapping")),
    *(f"RemBertTokenizer: {call}" for call in ("windows", "small windows", "one window")),
    *(f"RemBertTokenizer: {call}" for call in ("padded windows", "windows as rows")),
}


def test_calls_answer_as_paddlenlp(tmp_path: Path) -> None:
    for name in both.CLASSES:
        (tmp_path / name).mkdir()
    texts = " ".join([*both.TEXTS, *both.PAIRS])
    words = [".", *sorted({word.strip(",?!.").lower() for word in texts.split()})]
    lines = [*VOCABULARY, *(word for word in words if word not in VOCABULARY)]
    (tmp_path / "BertTokenizer/vocab.txt").write_text("".join(f"{line}\n" for line in lines))
    ernie_m_folder(tmp_path / "ErnieMTokenizer")
    train(tmp_path / "RemBertTokenizer/sentencepiece.model", **REMBERT)
    for name in both.CLASSES:  # PaddleNLP writes into the folder that it reads
        copied = tmp_path / "theirs" / name
        copied.mkdir(parents=True)
        for file in (tmp_path / name).iterdir():
            copy(file, copied)
    done = subprocess.run(
        [PYTHON, str(both.__file__), str(tmp_path / "theirs"), str(tmp_path / "theirs.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads((tmp_path / "theirs.json").read_text())
    ours = json.loads(json.dumps(both.answers(tokenizers, tmp_path)))
    assert len(theirs) > 140
    assert {name for name, answer in theirs.items() if answer != ours[name]} == OTHERS
