"""The two sides of the comparison of tags differ in nothing but their packages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import AutoModelForTokenClassification
from paddlenlp_ext.models.bert import BertConfig, BertModel
from paddlenlp_ext.tasks.token_labels import read_sentences, tag_names
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.multilingual import DATA, ROOT, command_line

pytestmark = pytest.mark.parity

ENTITIES, WORDS = DATA / "tags/entities-train.conll", DATA / "tags/train.en.conllu"
SCRIPT = ROOT / "examples/tasks/run_token_classification.py"


def bert(folder: Path) -> Path:
    """A tiny BERT whose pieces are letters, and words of the sample sentences."""
    words = {word for one in read_sentences([ENTITIES])[0] for word in one.words}
    letters = sorted({letter for word in words for letter in word})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters]
    pieces += [f"##{letter}" for letter in letters] + sorted({*words} - {*letters})[::2]
    text = "".join(f"{piece}\n" for piece in pieces)
    (folder / "vocab.txt").write_text(text, encoding="utf-8", newline="\n")
    paddle.seed(5)
    BertModel(BertConfig(vocab_size=len(pieces), **multilingual.SIZES)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["bert", "rembert", "ernie_m", "xlm_r"])
def test_one_model_is_trained_and_scored_alike(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the same head and without dropout, every loss and every score is the same."""
    pytest.importorskip("torch")
    from benchmarks import transformers_tags

    encoder, model_folder = tmp_path / "encoder", str(tmp_path / "model")
    encoder.mkdir()
    train, tested = WORDS, sorted(DATA.glob("tags/dev.*.conllu"))
    if family == "bert":
        bert(encoder)
        train, tested = ENTITIES, [DATA / "tags/entities-dev.conll"]
    else:
        getattr(multilingual, family)(encoder)
    tags = tag_names(read_sentences([train])[0])
    paddle.seed(7)
    options = {"classifier_dropout_prob": 0.0} if family == "rembert" else {}
    model = AutoModelForTokenClassification.from_pretrained(
        encoder, id2label=dict(enumerate(tags)), **options
    )
    model.save_pretrained(model_folder, format="huggingface")
    AutoTokenizer.from_pretrained(encoder).save_pretrained(model_folder)
    both = {
        "model_name_or_path": model_folder,
        "train_file": train,
        "validation_file": tested,
        "max_seq_length": 15,  # so that some sentences have several rows
        "batch_size": 5,
        "learning_rate": 5e-3,
        "weight_decay": 0.1,
        "warmup_proportion": 0.1,
        "num_train_epochs": 2,
        "seed": 3,
    }
    transformers_tags.main(command_line(both | ({"trim_vocab": True} if family == "xlm_r" else {})))
    theirs = json.loads(capsys.readouterr().out.splitlines()[-1])
    ours = script_of(SCRIPT).main(
        command_line(
            both
            | {"output_dir": tmp_path / "output", "device": "cpu", "logging_steps": 1}
            | {"do_train": True, "do_eval": True, "group_by_length": True, "save_steps": 100_000}
        )
    )
    losses = re.findall(r"step .*, loss: (\S+),", capsys.readouterr().out)
    assert len(losses) > 10
    np.testing.assert_allclose([*map(float, losses)], theirs["losses"], atol=2e-4)
    half = len(losses) // 2
    assert np.mean(theirs["losses"][half:]) < np.mean(theirs["losses"][:half]) - 0.2
    parts = [f"validation_{name[-2:]}" for name in theirs["results"]]
    parts = parts if len(parts) > 1 else ["validation"]
    assert ours == {
        f"{part} {name}": score
        for part, scores in zip(parts, theirs["results"].values(), strict=True)
        for name, score in scores.items()
    }
