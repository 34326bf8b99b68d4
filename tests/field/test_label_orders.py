"""A trained model keeps the order of its labels, in every script, in training and after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import paddle
import pytest

from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI, XNLI_REMBERT
from paddlenlp_ext.tasks.glue import GLUE
from paddlenlp_ext.training.run import Run
from paddlenlp_ext.training.settings import RunSettings
from paddlenlp_ext.transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
)
from tests.docs.test_readmes import script_of
from tests.scripts import test_bert_run_glue as bert
from tests.scripts.multilingual import ernie_m, rembert

ROOT = Path(__file__).parents[2]
NLI = ("entailment", "neutral", "contradiction")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert.tiny_bert(tmp_path_factory.mktemp("encoder"))


def always(encoder: Path, folder: Path, names: tuple[str, ...], said: int) -> Path:
    """A model that predicts one of its labels whatever it reads."""
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, id2label=dict(enumerate(names))
    )
    model.classifier.weight.set_value(model.classifier.weight * 0)
    bias = [5.0 if number == said else 0.0 for number in range(len(names))]
    model.classifier.bias.set_value(paddle.to_tensor(bias))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    return folder


def rows_of(task: str, label: str, folder: Path) -> Path:
    """The sample rows of a task that have one label."""
    column = GLUE[task].splits["train"].label
    (folder / GLUE[task].name).mkdir(parents=True)
    for table in GLUE[task].splits.values():
        path = bert.DATA / GLUE[task].name / table.files[0]
        head, *rows = path.read_text(encoding="utf-8").splitlines()
        at = head.split("\t").index(column)
        kept = [row for row in rows if row.split("\t")[at] == label]
        (folder / GLUE[task].name / path.name).write_text("\n".join([head, *kept]))
    return folder


def names_in(folder: Path) -> list[str]:
    return [*json.loads((folder / "config.json").read_text())["id2label"].values()]


@pytest.mark.parametrize(
    ("task", "names", "said", "label"),
    [
        ("mnli", NLI, 0, "entailment"),
        ("mnli", ("NEUTRAL", "CONTRADICTION", "ENTAILMENT"), 1, "contradiction"),
        ("rte", ("not_entailment", "entailment"), 0, "not_entailment"),
        ("sst-2", ("POSITIVE", "NEGATIVE"), 0, "1"),
        ("sst-2", ("1", "0"), 1, "0"),
        ("mrpc", ("Equivalent", "not equivalent"), 0, "1"),
        ("mnli", ("LABEL_0", "LABEL_1", "LABEL_2"), 1, "entailment"),
        ("mnli", ("contradictory", "other", "entailment"), 2, "entailment"),
    ],
)
def test_a_model_is_right_whatever_the_order_of_its_labels(
    task: str, names: tuple[str, ...], said: int, label: str, encoder: Path, tmp_path: Path
) -> None:
    folder = always(encoder, tmp_path / "trained", names, said)
    data = rows_of(task, label, tmp_path / "data")
    flags = {"task_name": task, "data_dir": data, "learning_rate": 0, "save_steps": 1}
    scores = bert.main(folder, tmp_path / "out", max_steps=1, **flags)
    assert {value for name, value in scores.items() if name.endswith(" acc")} == {1.0}
    saved = tmp_path / "out/model_1"
    assert names_in(saved)[said].lower() in (names[said].lower(), label)
    (tmp_path / "out/latest").unlink()
    resumed = bert.main(
        folder, tmp_path / "out", max_steps=1, resume_from_checkpoint="latest", **flags
    )
    assert resumed == {}  # the run is complete: it was the same one
    again = bert.main(saved, tmp_path / "again", max_steps=1, **flags)
    assert again == scores
    assert names_in(tmp_path / "again/model_1") == names_in(saved)


def test_training_goes_on_with_the_models_own_labels(encoder: Path, tmp_path: Path) -> None:
    """The same classifier in two orders learns the same."""
    folders, scores, losses = [], [], []
    for names, columns in ((GLUE["mnli"].labels, [0, 1, 2]), (NLI, [1, 2, 0])):
        paddle.seed(3)
        model = BertForSequenceClassification.from_pretrained(
            encoder, id2label=dict(enumerate(names))
        )
        for parameter in (model.classifier.weight, model.classifier.bias):
            parameter.set_value(parameter.numpy()[..., columns])
        folders.append(tmp_path / names[0])
        model.save_pretrained(folders[-1])
        AutoTokenizer.from_pretrained(encoder).save_pretrained(folders[-1])
        out = tmp_path / f"out-{names[0]}"
        scores.append(bert.main(folders[-1], out, task_name="MNLI", max_steps=4, save_steps=2))
        losses.append(bert.losses(out))
        assert names_in(out / "model_4") == [*names]
    assert scores[0] == pytest.approx(scores[1])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


SCRIPTS = {
    "convbert/run_glue": {
        "model_type": "bert", "task_name": "MNLI", "data_dir": ROOT / "data/glue",
    },
    "ernie_m/run_classifier": {
        "task_type": "cross-lingual-transfer", "data_dir": ROOT / "data", "languages": "en",
    },
    "rembert/main": {"task": "xnli", "data_dir": ROOT / "data", "do_train": None, "do_eval": None},
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_knows_the_labels_by_their_names(
    script: str, encoder: Path, tmp_path: Path
) -> None:
    """One model says the same in all six orders, so that its accuracy is the same, too."""
    make = {"ernie_m/run_classifier": ernie_m, "rembert/main": rembert}.get(script)
    (tmp_path / "encoder").mkdir()
    base = make(tmp_path / "encoder") if make else encoder
    found = []
    for number, names in enumerate((NLI, ("neutral", "Entailment", "CONTRADICTORY"))):
        said = [name.lower() for name in names].index("entailment")
        folder = always(base, tmp_path / f"m{number}", names, said)
        flags: dict[str, Any] = {
            "model_name_or_path": folder, "learning_rate": 0, "max_steps": 1, "device": "cpu",
            "output_dir": tmp_path / f"o{number}", "max_seq_length": 24, "max_train_samples": 8,
        }  # fmt: skip
        flags |= SCRIPTS[script]
        argv = []
        for name, value in flags.items():
            argv += [f"--{name}"] if value is None else [f"--{name}", str(value)]
        path = ROOT / f"examples/language_model/{script}.py"
        found.append(script_of(path).main(argv))
        saved = next((tmp_path / f"o{number}").glob("*/config.json")).parent
        assert names_in(saved) == [*names]
    assert found[0] == found[1]
    assert max(value for name, value in found[0].items() if "acc" in name) > 0.2


def run(source: Path, output: Path) -> Run:
    return Run(
        RunSettings(
            model_name_or_path=str(source), output_dir=str(output), device="cpu", batch_size=2,
            learning_rate=0.1, num_train_epochs=1, logging_steps=1, save_steps=1,
        ),
        {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("task", "names", "saved", "said"),
    [
        (GLUE["mnli"], ("sad", "glad", "mad"), ["contradiction", "entailment", "neutral"], "other"),
        (GLUE["mnli"], ("x", "neutral", "y"), ["contradiction", "neutral", "entailment"], "other"),
        (XNLI_REMBERT, ("contradiction", "neutral", "e"), None, "other"),
        (XNLI, NLI, [*NLI], ""),
        (PAWS_X, ("paraphrase", "not_paraphrase"), ["paraphrase", "not_paraphrase"], ""),
        (GLUE["rte"], NLI, ["entailment", "not_entailment"], ""),
        (GLUE["sts-b"], ("score",), ["LABEL_0"], ""),
    ],
)
def test_labels_of_another_task_are_said_and_named(
    task: Any, names: Any, saved: Any, said: str, encoder: Path, tmp_path: Path, caplog: Any
) -> None:
    folder = always(encoder, tmp_path / "trained", names, 0)
    with run(folder, tmp_path / "out") as made:
        model = made.load_classifier(BertForSequenceClassification, task)
    assert [*model.config.label_names] == (saved or ["contradiction", "neutral", "entailment"])
    assert ("has other labels" in caplog.text) == bool(said)
