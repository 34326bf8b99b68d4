"""What flags, model and data say is found before the first step; "~" is the home folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.cli import flags, parsing
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.inference.runners import load
from paddlenlp_ext.models.auto import AutoConfig
from paddlenlp_ext.models.bert import BertConfig, BertForMaskedLM
from paddlenlp_ext.models.ernie_m import ErnieMConfig, ErnieMForSequenceClassification
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.training.run import require_positions
from tests.docs.test_readmes import script_of
from tests.scripts import test_bert_run_glue as bert

SIZES = {
    "vocab_size": 53, "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4,
    "intermediate_size": 37,
}  # fmt: skip
EXAMPLES = bert.ROOT / "examples/language_model"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert.tiny_bert(tmp_path_factory.mktemp("encoder"))


@pytest.mark.parametrize(("length", "words"), [(64, 60), (49, 3)])
def test_more_tokens_than_positions_are_refused_before_the_first_step(
    length: int, words: int, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "SST-2").mkdir()
    rows = "sentence\tlabel\na good film\t1\na bad one\t0\n"
    (tmp_path / "SST-2/train.tsv").write_text(rows)
    text = " ".join(map(str, range(words)))
    (tmp_path / "SST-2/dev.tsv").write_text(f"sentence\tlabel\n{text}\t1\n")
    with pytest.raises(UserError, match=f"^`max_seq_length` {length}: the model has 48 positions"):
        bert.main(
            encoder, tmp_path / "out", task_name="SST-2", data_dir=tmp_path,
            max_seq_length=length, max_steps=3,
        )  # fmt: skip
    assert "global step" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("length", "multiple", "most"),
    [(19, 1, None), (20, 1, 19), (16, 8, None), (17, 8, 16), (19, 8, 16), (512, 1, 19)],
)
def test_padding_counts_as_tokens(length: int, multiple: int, most: int | None) -> None:
    model = BertForMaskedLM(BertConfig(**SIZES, max_position_embeddings=19))
    if most is None:
        require_positions(model, length, multiple)
    else:
        with pytest.raises(UserError, match=f"has 19 positions; give at most {most}"):
            require_positions(model, length, multiple)


def test_positions_that_a_table_begins_with_do_not_count() -> None:
    config = ErnieMConfig(**SIZES, max_position_embeddings=21)
    model = ErnieMForSequenceClassification(config)
    require_positions(model, 19, 1)
    with pytest.raises(UserError, match="has 19 positions"):
        require_positions(model, 20, 1)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused_before_the_first_step(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = AutoConfig.from_pretrained(encoder).vocab_size
    for name, tokens in (("fits", rows), ("over", rows + 1)):
        shutil.copytree(encoder, tmp_path / name)
        tokenizer = BertTokenizer.from_pretrained(encoder)
        tokenizer.add_tokens([f"<new{n}>" for n in range(tokens - len(tokenizer))])
        tokenizer.save_pretrained(tmp_path / name)
    options = {"task_name": "SST-2", "max_steps": 1, "save_steps": 1}
    bert.main(tmp_path / "fits", tmp_path / "out", **options)
    capsys.readouterr()
    said = rf"^the tokenizer has {rows + 1:,} tokens, the model {rows:,} word embeddings; take"
    with pytest.raises(UserError, match=said):
        bert.main(tmp_path / "over", tmp_path / "none", **options)
    assert "global step" not in capsys.readouterr().out
    trained = sorted(tmp_path.glob("out/*/config.json"))[0].parent
    with pytest.raises(UserError, match=said):
        load(trained, "ForSequenceClassification", tokenizer=tmp_path / "over")


SCRIPTS = {
    "bert/run_glue": ["model_type=bert", "model_name_or_path", "task_name=RTE", "output_dir"],
    "bert/run_pretrain": ["model_type=bert", "model_name_or_path", "input_dir", "output_dir"],
    "convbert/run_glue": ["model_type=bert", "model_name_or_path", "task_name=RTE", "output_dir"],
    "convbert/run_pretrain": ["model_name_or_path", "input_dir", "output_dir"],
    "ernie_m/run_classifier": [
        "task_type=translate-train-all", "model_name_or_path", "output_dir", "data_dir",
    ],
    "rembert/main": ["task=xnli", "output_dir", "data_dir", "model_name_or_path", "do_train="],
    "bert/create_pretraining_data": ["input_file", "output_file", "vocab_file"],
    "multilingual/create_pretraining_data": ["tokenizer_name", "output_dir"],
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_tilde_is_the_home_folder_in_every_path(script: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    argv, paths = [], []
    for flag in SCRIPTS[script]:
        name, equals, value = flag.partition("=")
        argv.append(f"--{name}" if equals and not value else f"--{name}={value or '~/x'}")
        paths += [] if equals else [name]
    args = vars(script_of(EXAMPLES / f"{script}.py").parse_args(argv))
    assert {name: args[name] for name in paths} == dict.fromkeys(paths, "/somewhere/x")


def test_only_what_begins_with_a_tilde_is_expanded(monkeypatch: Any) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    parser = parsing.Parser()
    flags.add_engine_arguments(parser)
    parser.add_argument("--names", nargs="+")
    parser.add_argument("--place", type=Path)
    args = parser.parse_args(
        ["--names", "a~", "~", "./~/x", "~/~", "--place=~/y", "--data_dir=~/d"]
    )
    assert args.names == ["a~", "/somewhere", "./~/x", "/somewhere/~"]
    assert (args.place, args.data_dir) == (Path("/somewhere/y"), "/somewhere/d")
