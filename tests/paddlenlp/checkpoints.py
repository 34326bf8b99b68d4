"""Tiny folders to begin from, whose dropout is 0: a script then always computes the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paddle

from paddlenlp_ext.models.auto import FAMILIES, model_class
from tests.tiny import FAMILY_SIZES, SIZES
from tests.tokenizers import spm_models

DATA = Path(__file__).parents[2] / "data" / "glue" / "SST-2"
SCRIPTS = Path(__file__).parent / "scripts"
WORDS = ("good", "bad", "film", "the", "end", "is", "it", "a", "one", "of", "what", "this", "not")

# By script: the family, the class whose weights are saved, and what else it is given.
ROWS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "bert_glue": ("bert", "ForSequenceClassification", (str(DATA),)),
    "ernie_matching": ("ernie", "Model", ()),
    "ernie_m_tags": ("ernie_m", "ForTokenClassification", ()),
    "convbert_answers": ("convbert", "ForQuestionAnswering", ()),
    "electra_pretraining": ("electra", "Model", ()),
    "rembert_xnli": ("rembert", "Model", ()),
}


def write_tokenizer(folder: Path, family: str) -> int:
    """Write the files of a tokenizer; return how many tokens it has."""
    folder.mkdir(parents=True)
    if family == "rembert":
        spm_models.train(folder / "sentencepiece.model", **spm_models.REMBERT)
        return 300
    if family == "ernie_m":
        spm_models.ernie_m_folder(folder)
        return len((folder / "vocab.txt").read_text("utf-8").splitlines())
    letters = [*"abcdefghijklmnopqrstuvwxyz'.,!"]
    lines = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    lines += [one for one in letters if one not in lines] + [f"##{one}" for one in letters]
    (folder / "vocab.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    prefix = FAMILIES[family].prefix
    (folder / "tokenizer_config.json").write_text(f'{{"tokenizer_class": "{prefix}Tokenizer"}}')
    return len(lines)


def write(folder: Path, family: str, head: str) -> Path:
    """Write a model and its tokenizer as PaddleNLP reads them."""
    sizes = SIZES | FAMILY_SIZES[family] | {"max_position_embeddings": 64}
    changes: dict[str, Any] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if family == "ernie_m":
        changes["intermediate_size"] = 4 * SIZES["hidden_size"]  # what PaddleNLP builds anyway
        changes["num_labels"] = 3
    if family == "convbert":
        changes["pool_act"] = "tanh"
    sizes["vocab_size"] = write_tokenizer(folder, family)
    paddle.seed(5)
    cls = model_class(family, head)
    cls(cls.config_class(**sizes | changes)).save_pretrained(folder)
    return folder
