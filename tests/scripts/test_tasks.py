"""The scripts of tags and of answers on the sample files: train, evaluate by language, predict."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext import __main__ as console
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.tasks.answers import squad_scores
from paddlenlp_ext.tasks.questions import read_questions
from paddlenlp_ext.tasks.token_labels import make_token_rows, read_sentences
from paddlenlp_ext.transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForTokenClassification,
    AutoTokenizer,
)
from tests.docs.test_readmes import script_of
from tests.scripts import multilingual
from tests.scripts.multilingual import DATA, ROOT, json_lines
from tests.scripts.refusals import refused

TAGS = ROOT / "examples/tasks/run_token_classification.py"
ANSWERS = ROOT / "examples/tasks/run_question_answering.py"
STEP = re.compile(
    r"global step \d+/\d+, epoch: \d+, loss: \d\.\d{6}, lr: 0\.\d{10}, speed: .* step/s"
)
TRAIN = {"do_train": True, "do_eval": True, "do_predict": True, "device": "cpu", "logging_steps": 1}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return multilingual.rembert(tmp_path_factory.mktemp("encoder"))


def run(script: Path, output: Path, **flags: Any) -> dict[str, float]:
    return script_of(script).main(multilingual.command_line(flags | {"output_dir": output}))


def test_tags_by_language(encoder, tmp_path, capsys):
    files = {
        "train_file": DATA / "tags/train.en.conllu",
        "validation_file": DATA / "tags/dev.*.conllu",
        "test_file": DATA / "tags/dev.de.conllu",
        "max_seq_length": 16,
    }
    flags = TRAIN | files | {"model_name_or_path": encoder, "learning_rate": 1e-2, "batch_size": 6}
    metrics = run(TAGS, tmp_path / "a", **flags, max_steps=24, save_steps=12)
    printed, said = capsys.readouterr()
    assert re.search(rf"use it: +paddlenlp-ext predict {tmp_path}/a/model_(12|24) FILE\n", said)
    assert len(STEP.findall(printed)) == 24
    assert metrics.keys() == {"validation_de acc", "validation_en acc"}
    assert metrics["validation_en acc"] > 0.2  # of 16 tags
    header, _, numbers = printed.splitlines()[-3:]
    assert header == "| Model | de | en | Avg |"
    assert f"{100 * metrics['validation_de acc']:.1f}" in numbers
    folders = {path.name for path in (tmp_path / "a").iterdir()}
    assert {"model_12", "model_24", "config.json", "predictions.tsv", "results.jsonl"} <= folders
    sentences, _ = read_sentences([tmp_path / "a/predictions.tsv"])
    gold, _ = read_sentences([DATA / "tags/dev.de.conllu"])
    assert [one.words for one in sentences] == [one.words for one in gold]
    found, wanted = ([tag for one in rows for tag in one.tags] for rows in (sentences, gold))
    right = sum(one == other for one, other in zip(found, wanted, strict=True))
    assert right / len(wanted) == metrics["validation_de acc"]
    model = AutoModelForTokenClassification.from_pretrained(tmp_path / "a")
    assert "NOUN" in model.config.label_names
    # A run that was interrupted after twelve updates ends with the same weights and numbers.
    interrupted = {**flags, "max_steps": 24, "save_steps": 12}
    (tmp_path / "b").mkdir()
    (tmp_path / "a/model_12").rename(tmp_path / "b/model_12")
    again = run(TAGS, tmp_path / "b", **interrupted, resume_from_checkpoint=tmp_path / "b/model_12")
    assert again == metrics
    results = [json_lines(tmp_path / name / "results.jsonl")[-1]["metrics"] for name in "ab"]
    assert results[0] == results[1]


def test_weights_of_tags_are_those_of_their_names(encoder, tmp_path):
    """The loss of an update is the mean over all words, each by the weight of its tag."""
    train = DATA / "tags/entities-train.conll"
    sentences, _ = read_sentences([train])
    tags = [*sorted({tag for one in sentences for tag in one.tags}, reverse=True)]
    paddle.seed(3)
    model = AutoModelForTokenClassification.from_pretrained(
        encoder, id2label=dict(enumerate(tags)), classifier_dropout_prob=0.0
    )
    model.save_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.save_pretrained(tmp_path / "model")
    weights = {tag: 0.25 * (number + 1) for number, tag in enumerate(sorted(tags))}
    lines = (f"{tag.lower()}\t{weights[tag]}\n" for tag in sorted(tags, key=len))
    (tmp_path / "weights.tsv").write_text("".join(lines))
    flags = {"model_name_or_path": tmp_path / "model", "train_file": train, "do_train": True,
             "class_weights": tmp_path / "weights.tsv", "learning_rate": 0, "max_steps": 1,
             "batch_size": len(sentences), "max_seq_length": 64, "device": "cpu"}  # fmt: skip
    run(TAGS, tmp_path / "out", **flags)
    features = make_token_rows(sentences, tags, tokenizer, 64).features
    model.eval()
    total = count = 0.0
    for one in features:
        ids = paddle.to_tensor(one.input_ids[None].astype("int64"))
        logits = model(input_ids=ids).logits.numpy()[0].astype(np.float64)
        at = np.flatnonzero(one.label != IGNORED)
        logits = logits[at] - logits[at].max(-1, keepdims=True)
        losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(at)), one.label[at]]
        by_tag = np.array([weights[tags[number]] for number in one.label[at]])
        total, count = total + (by_tag * losses).sum(), count + by_tag.sum()
    (row,) = json_lines(tmp_path / "out/history.jsonl")
    assert row["loss"] == pytest.approx(total / count, rel=1e-5)
    for text, message in (
        ("O\t1\n", r"--class_weights: the file has no weight for \['I-person', "),
        ("O\tx\n", r"weights\.tsv:1: expected a label and a number of at least 0, got 'x'"),
    ):
        (tmp_path / "weights.tsv").write_text(text)
        with refused(message):
            run(TAGS, tmp_path / "new", **flags)
        assert not (tmp_path / "new").exists()


def test_the_last_model_is_used_where_nothing_is_evaluated(encoder, tmp_path, capsys):
    files = {"train_file": DATA / "tags/train.en.conllu", "test_file": DATA / "tags/dev.de.conllu"}
    flags = TRAIN | files | {"model_name_or_path": encoder, "max_seq_length": 16, "batch_size": 6}
    assert run(TAGS, tmp_path, **flags | {"do_eval": None}, max_steps=2, save_steps=1) == {}
    assert f"test of {tmp_path}:" in capsys.readouterr().out
    weights = [tmp_path / name / "model_state.pdparams" for name in ("", "model_1", "model_2")]
    used, first, last = (path.read_bytes() for path in weights)
    assert used == last != first
    assert (tmp_path / "predictions.tsv").is_file()


def test_answers_in_two_languages(encoder, tmp_path, capsys):
    files = {
        "train_file": DATA / "qa/train.en.json",
        "validation_file": DATA / "qa/dev.*.json",
        "test_file": DATA / "qa/dev.de.json",
        "version_2_with_negative": True,
        "max_seq_length": 64,
        "doc_stride": 16,
        "max_query_length": 24,
    }
    flags = TRAIN | files | {"model_name_or_path": encoder, "learning_rate": 3e-3, "batch_size": 16}
    metrics = run(ANSWERS, tmp_path / "a", **flags, num_train_epochs=1)
    printed, said = capsys.readouterr()
    assert STEP.search(printed)
    assert {"validation_de f1", "validation_en exact_match"} <= metrics.keys()
    answers = json.loads((tmp_path / "a/predictions.json").read_text())
    assert [*answers] == [f"sample-dev-0{number}" for number in range(1, 7)]
    AutoModelForQuestionAnswering.from_pretrained(tmp_path / "a")
    # Of the last model, what reports list.
    told = json.loads((tmp_path / "a/outcomes.json").read_text())["last"]["splits"]
    german = told["validation_de"]
    asked, _, right = np.array(german["calibration"]).sum(axis=0)
    assert (asked, right / asked) == (6, pytest.approx(metrics["validation_de exact_match"]))
    assert len(german["errors"]) == asked - right
    assert all(" ‖ right: " in error["text"] for error in german["errors"])
    # What the run says at its end answers the same.
    (words,) = re.findall(r"use it: +paddlenlp-ext (predict .* FILE .*)\n", said)
    sizes = ["--max_seq_length", "64", "--doc_stride", "16", "--max_query_length", "24"]
    given = words.replace("FILE", str(DATA / "qa/dev.de.json")).split()
    with pytest.raises(SystemExit, match="0"):
        console.main([*given, *sizes, "--output", str(tmp_path / "said")])
    assert json.loads((tmp_path / "said/predictions_dev.de.json").read_text()) == answers
    # Two processes train, evaluate and predict as one.
    two = {"batch_size": 8, "error_texts": "false", "output_dir": tmp_path / "two"}
    both = multilingual.command_line(flags | two)
    code, _, errors = multilingual.launch(ANSWERS, [*both, "--num_train_epochs", "1"], processes=2)
    assert code == 0, errors
    assert json.loads((tmp_path / "two/predictions.json").read_text()) == answers
    told = json.loads((tmp_path / "two/outcomes.json").read_text())["last"]["splits"]
    assert told["validation_de"]["errors"]
    assert not any("text" in error for error in told["validation_de"]["errors"])
    last = json_lines(tmp_path / "two/results.jsonl")[-1]["metrics"]
    assert last == {name: metrics[f"validation_en {name}"] for name in last}
    # The model that was trained gives the same numbers when it is evaluated alone.
    alone = {**files, "do_eval": True, "device": "cpu", "model_name_or_path": tmp_path / "a"}
    assert run(ANSWERS, tmp_path / "b", **alone) == metrics
    # MLQA's rules are those of the language that a file's name says.
    gold = {one.name: one.answers for one in read_questions([QA_DE], has_negatives=True)[0]}
    expected = squad_scores(answers, gold, has_negatives=True, languages=dict.fromkeys(gold, "de"))
    alone |= {"validation_file": QA_DE, "answer_rules": "mlqa"}
    scores = run(ANSWERS, tmp_path / "c", **alone)
    assert scores == {f"validation {name}": value for name, value in expected.items()}
    assert "|answers-mlqa/dev.de|" in json_lines(tmp_path / "c/results.jsonl")[0]["signature"]
    shutil.copy(QA_DE, tmp_path / "dev.json")
    with refused(r"dev\.json: expected a name with the language .* leave out --answer_rules mlqa"):
        run(ANSWERS, tmp_path / "d", **alone | {"validation_file": tmp_path / "dev.json"})


QA_DE = DATA / "qa/dev.de.json"
POS, QA = DATA / "tags/train.en.conllu", DATA / "qa/dev.en.json"


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        (TAGS, {"do_train": True}, "--do_train needs --train_file"),
        (TAGS, {}, "there is nothing to do: give --do_train, --do_eval or --do_predict"),
    ],
)
def test_command_lines_without_work_or_files(tmp_path, capsys, script, flags, message):
    with pytest.raises(SystemExit):
        run(script, tmp_path / "new", model_name_or_path="none", **flags)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "flags", "message"),
    [
        (TAGS, {"do_train": True, "train_file": "no.conll"}, r"no such file \(--train_file\)"),
        (
            TAGS,
            {"do_train": True, "train_file": POS, "label_column": "12"},
            "--label_column '12': expected a number from 1 to 10",
        ),
        (TAGS, {"do_eval": True, "validation_file": POS}, r"has no classifier\.bias"),
        (ANSWERS, {"do_train": True, "train_file": QA}, "without --version_2_with_negative"),
        (
            ANSWERS,
            {"do_predict": True, "test_file": QA, "version_2_with_negative": True},
            r"has no qa_outputs\.bias",
        ),
    ],
)
def test_refusals(encoder, tmp_path, script, flags, message):
    given = {"model_name_or_path": encoder, "device": "cpu"} | flags
    with refused(message):
        run(script, tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()
