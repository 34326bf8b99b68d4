"""The card beside a model: the Hub's own reader takes it, a run that continues writes the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from paddlenlp_ext.models.bert import BertConfig, BertForPreTraining, BertForSequenceClassification
from paddlenlp_ext.training import summary
from paddlenlp_ext.training.card import Card, command, is_as_written, write_card
from paddlenlp_ext.training.folders import damage, holds_more
from paddlenlp_ext.training.settings import RunSettings
from tests.models.test_contract import CLASSES, build
from tests.training import tiny_task

SETTINGS: dict[str, Any] = {
    "output_dir": "o", "device": "cpu", "batch_size": 8, "learning_rate": 1e-4,
    "num_train_epochs": 3, "logging_steps": 1, "save_steps": 1, "max_seq_length": 17,
}  # fmt: skip
SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 5}


def card(name: str, task: str, cls: Any = BertForSequenceClassification) -> Card:
    settings = RunSettings(model_name_or_path=name, **SETTINGS)
    model = cls(BertConfig(vocab_size=29, **SIZES))
    return Card(model, settings, task, settings.facts(task), {"train": 12_000, "dev": 872}, 1125)


def read(text: str, folder: Path) -> Any:
    write_card(folder, text)
    return ModelCard.load(folder / "README.md").data


def test_metadata_of_a_benchmark(tmp_path):
    text = card("bert-base-uncased", "glue/SST-2").text(500, {"dev": {"acc": 0.91234567}})
    found = read(text, tmp_path)
    assert (found.base_model, found.datasets) == ("google-bert/bert-base-uncased", ["nyu-mll/glue"])
    assert (found.language, found.license) == (["en"], None)
    named = found.to_dict()
    assert (named["library_name"], named["pipeline_tag"]) == (
        "paddlenlp-ext",
        "text-classification",
    )
    assert (found.metrics, found.tags) == (["accuracy"], ["paddle", "paddlenlp", "bert"])
    (result,) = found.eval_results
    assert found.model_name == "bert-base-uncased-sst-2"
    assert (result.dataset_type, result.dataset_config) == ("nyu-mll/glue", "sst2")
    assert (result.dataset_split, result.metric_type) == ("validation", "accuracy")
    assert result.metric_value == 0.912346
    assert "# license: apache-2.0  # is yours to choose: see https://" in text
    assert "the model of step 500 of 1,125" in text
    assert "(rows: train 12,000, dev 872)" in text
    assert "\nbert-base-uncased|glue/sst-2|dev|acc|bs8|lr1e-4|ep3|len17|seed42|cpu1|paddle" in text
    assert 'pipeline("text-classification", "user/name")' in text


@pytest.mark.parametrize(
    "family", [family for family, task in CLASSES if task == "ForSequenceClassification"]
)
def test_classifiers_of_all_families_are_ones(family, tmp_path):
    model = build(family, "ForSequenceClassification")
    settings = RunSettings(model_name_or_path="m", **SETTINGS)
    made = Card(model, settings, "own/x", settings.facts("own/x"), {"train": 12}, 3)
    text = made.text(3, {"dev": {"acc": 0.5}})
    assert read(text, tmp_path).to_dict()["pipeline_tag"] == "text-classification"
    assert 'pipeline("text-classification"' in text
    assert summary._use(model, "x", {}).startswith("paddlenlp-ext predict x FILE")
    assert summary._labels(model).startswith(", labels LABEL_0, LABEL_1")


def test_metadata_of_several_languages(tmp_path):
    measured = {f"dev_{code}": {"acc": n / 8} for n, code in enumerate(("en", "de", "zh"))}
    mnli = card("bert-base-uncased", "glue/MNLI").text(9, {"dev_matched": {"acc": 0.5}})
    (result,) = read(mnli, tmp_path).eval_results
    assert (result.dataset_config, result.dataset_split) == ("mnli", "validation_matched")
    found = read(card("rembert", "XNLI").text(9, measured), tmp_path)
    assert (found.datasets, found.language) == (["facebook/xnli"], ["en", "de", "zh"])
    named = [(one.dataset_config, one.metric_value) for one in found.eval_results]
    assert named == [("en", 0.0), ("de", 0.125), ("zh", 0.25)]


def test_rows_of_all_languages_are_of_none(tmp_path):
    found = read(card("rembert", "XNLI").text(9, {"dev_all": {"acc": 0.5}}), tmp_path)
    assert found.language is None
    (result,) = found.eval_results
    assert (result.dataset_config, result.dataset_split) == (None, "validation")


def test_what_nobody_knows_is_left_out(tmp_path):
    (tmp_path / "encoder").mkdir()
    made = card(str(tmp_path / "encoder"), "own/reviews", BertForPreTraining)
    text = made.text(9, {"dev": {"mlm acc": float("nan"), "perplexity": 7.0}})
    found = read(text, tmp_path)
    assert found.base_model is found.datasets is found.language is found.pipeline_tag is None
    assert [one.metric_type for one in found.eval_results] == ["perplexity"]
    assert "trained from `encoder`\non own/reviews (rows: " in text
    assert 'BertForPreTraining.from_pretrained("user/name")' in text
    assert "Nothing was evaluated" in made.text(9, {})
    assert read(made.text(9, {}), tmp_path).eval_results is None
    assert card("someone/encoder", "own/x").base_model == "someone/encoder"


def test_commands_say_neither_where_a_run_continued_nor_secrets(monkeypatch):
    words = ["--output_dir", "a b", "--resume_from_checkpoint", "latest", "--seed", "3"]
    assert command(["/home/me/examples/x/run.py", *words]) == (
        "python examples/x/run.py --output_dir 'a b' --seed 3"
    )
    assert command(["paddlenlp-ext train glue", "--resume_from_checkpoint=m", "--seed=3"]) == (
        "paddlenlp-ext train glue --seed=3"
    )
    secret = "hf_" + "a1B2" * 8
    assert secret not in command(["p", "--data_dir", f"https://me:{secret}@host/x"])


def test_one_that_was_edited_stays(tmp_path, caplog):
    made = card("rembert", "XNLI")
    write_card(tmp_path, made.text(5, {}))
    write_card(tmp_path, made.text(6, {}))
    path = tmp_path / "README.md"
    assert "step 6" in path.read_text()
    assert is_as_written(path)
    edited = path.read_text().replace("# license: apache-2.0 ", "license: mit ")
    path.write_text(edited)
    write_card(tmp_path, made.text(7, {}))
    assert path.read_text() == edited
    assert [one.message for one in caplog.records] == [
        f"{path} was changed by hand and stays as it is"
    ]
    path.write_text("mine")
    assert not is_as_written(path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    write_card(tmp_path, made.text(8, {}))
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_that_continues_writes_the_same(tmp_path):
    def stop(event: Any, training: Any) -> None:
        if event.step == 7:
            raise KeyboardInterrupt

    tiny_task.encoder(tmp_path / "encoder")
    tiny_task.train(tmp_path, save_steps=4, num_train_epochs=2, output="whole")
    with pytest.raises(KeyboardInterrupt):
        tiny_task.train(tmp_path, stop, save_steps=4, num_train_epochs=2, output="parts")
    edited = tmp_path / "parts/model_4/README.md"
    edited.write_text(edited.read_text() + "More about it.\n")
    assert damage(edited.parent) is None  # it can still be continued from
    assert holds_more(edited.parent)  # and is kept
    tiny_task.train(tmp_path, save_steps=4, num_train_epochs=2, output="parts")
    for name in ("model_8", "model_10"):
        cards = [tmp_path / output / name / "README.md" for output in ("whole", "parts")]
        assert cards[0].read_bytes() == cards[1].read_bytes()
        (first, second) = ModelCard.load(cards[0]).data.eval_results[:2]
        assert (first.dataset_split, first.metric_type) == ("dev", "accuracy")
        assert second.metric_type == "precision"
        assert damage(cards[0].parent) is None
    shutil.rmtree(tmp_path / "whole/model_8")
    assert edited.read_text().endswith("More about it.\n")
