"""Twice the text takes twice the time, whatever it is made of."""

from __future__ import annotations

import time

import pytest
from tokenizers import AddedToken

from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
from paddlenlp_ext.tokenizers.rembert import RemBertTokenizer
from paddlenlp_ext.tokenizers.xlm_r import XLMRobertaTokenizer
from tests.tokenizers.conftest import VOCABULARY
from tests.tokenizers.spm_models import REMBERT, ernie_m_folder, train

LENGTH = 30_000  # characters; of a quadratic kind they take tens of seconds
SECONDS = 5.0


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[str, Tokenizer]:
    folder = tmp_path_factory.mktemp("tokenizers")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY), "utf-8")
    ernie_m = ernie_m_folder(folder / "ernie_m")
    made: dict[str, Tokenizer] = {
        "bert": BertTokenizer(folder / "vocab.txt"),
        "rembert": RemBertTokenizer(train(folder / "rembert.model", **REMBERT)),
        "ernie_m": ErnieMTokenizer.from_pretrained(ernie_m),
        "ernie_m in lower case": ErnieMTokenizer.from_pretrained(ernie_m, do_lower_case=True),
        "xlm_r": XLMRobertaTokenizer(train(folder / "xlm_r.model")),
    }
    for tokenizer in made.values():
        tokenizer.add_tokens([AddedToken("<l>", lstrip=True), AddedToken("<r>", rstrip=True)])
    return made


@pytest.mark.parametrize("spans", [False, True], ids=["ids", "offsets"])
@pytest.mark.parametrize("filler", [" ", "\n", "\u3000", "a", "博", "\u0301", "\0", "<l>", "<r> "])
@pytest.mark.parametrize("family", ["bert", "rembert", "ernie_m", "ernie_m in lower case", "xlm_r"])
def test_long_runs_take_time_in_proportion(tokenizers, family, filler, spans):
    tokenizer = tokenizers[family]
    run = filler * (LENGTH // len(filler))
    text = f"<r>{tokenizer.sep_token}{run}x<l>{run}<l>"
    began = time.monotonic()
    tokenizer([text], return_offsets_mapping=spans)
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("[SEP]  x", ["[SEP]", "▁", "x"]),
        ("a  <l>  a", ["▁a", "<l>", "▁a"]),
        ("a  <r>  \n a", ["▁a", "<r>", "▁a"]),
        ("  <l>", ["<l>"]),
        ("<r> <l>", ["<r>", "<l>"]),
    ],
)
def test_tokens_take_in_the_spaces_beside_them(tokenizers, text, tokens):
    assert tokenizers["rembert"].tokenize(text) == tokens
