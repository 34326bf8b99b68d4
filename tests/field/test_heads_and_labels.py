"""A trained head is what its file says: never another width that nobody asked for, never random."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.auto import FAMILIES, base_class, model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertForSequenceClassification
from tests.models.test_contract import batch_for, build, first
from tests.tiny import FAMILY_SIZES, SIZES, tensors

LABELS = ("id2label", "label2id", "num_labels", "num_classes")
TASKS = ("ForSequenceClassification", "ForTokenClassification")


@pytest.fixture
def trained(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A folder of a classifier with three labels, and its logits."""
    return saved(tmp_path, "bert", "ForSequenceClassification")


def saved(folder: Path, family: str, task: str) -> tuple[Path, np.ndarray]:
    model = build(family, task, num_labels=3)
    model.eval()
    model.save_pretrained(folder)
    return folder, logits(model, task)


def logits(model: Model, task: str = "ForSequenceClassification") -> np.ndarray:
    return first(model(**tensors(batch_for(model, task))))


def write_labels(folder: Path, **values: Any) -> None:
    """Write what the config says of labels, and nothing else of them."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config = {name: value for name, value in config.items() if name not in LABELS}
    path.write_text(json.dumps(config | values))


NAMES = ("no", "yes", "maybe")
SAME = {
    "numbers alone": {"num_labels": 3},
    "PaddleNLP's name": {"num_classes": 3},
    "names made up for two, as an older library wrote them": {
        "num_labels": 3,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    },
    "the other way round alone": {"label2id": {name: index for index, name in enumerate(NAMES)}},
    "from 1": {"id2label": dict(zip("123", NAMES, strict=True))},
    "with a gap": {"id2label": dict(zip("017", NAMES, strict=True))},
    "in any order": {"id2label": {"9": "maybe", "2": "no", "4": "yes"}},
    "from 1, the other way round": {"label2id": {"maybe": 3, "no": 1, "yes": 2}},
}


@pytest.mark.parametrize("values", SAME.values(), ids=SAME)
def test_a_trained_head_is_read_however_its_labels_are_written(
    trained: tuple[Path, np.ndarray], values: dict[str, Any]
) -> None:
    folder, expected = trained
    write_labels(folder, **values)
    model = BertForSequenceClassification.from_pretrained(folder)
    np.testing.assert_array_equal(logits(model), expected)
    if "num_labels" not in values and "num_classes" not in values:
        assert model.config.label_names == NAMES
    model.save_pretrained(folder / "again")
    again = BertForSequenceClassification.from_pretrained(folder / "again")
    assert again.config == model.config


CONTRADICTIONS = {
    "another number": {"num_labels": 2},
    "nothing": {},
    "other names": {"id2label": {"0": "no", "1": "yes"}},
    "names and a number": {"num_labels": 3, "id2label": {"0": "no", "1": "yes"}},
    "more names": {"label2id": {"a": 0, "b": 1, "c": 2, "d": 3}},
}


@pytest.mark.parametrize("values", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_folder_that_contradicts_itself_is_refused(
    trained: tuple[Path, np.ndarray], values: dict[str, Any]
) -> None:
    folder, _ = trained
    write_labels(folder, **values)
    with pytest.raises(UserError, match="num_labels") as caught:
        BertForSequenceClassification.from_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_only_a_width_that_was_asked_for_begins_a_new_head(
    family: str, task: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, expected = saved(tmp_path, family, task)
    cls = model_class(family, task)
    write_labels(folder, num_labels=5)
    with pytest.raises(UserError, match="`num_labels`"):
        cls.from_pretrained(folder)
    trained = cls.from_pretrained(folder, num_classes=3)
    np.testing.assert_array_equal(logits(trained, task), expected)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        new = cls.from_pretrained(folder, num_labels=5)
    assert logits(new, task).shape[-1] == 5
    assert "newly initialized" in caplog.text


@pytest.mark.parametrize("family", FAMILIES)
def test_another_class_than_the_saved_one_has_a_head_of_its_own(
    family: str, tmp_path: Path
) -> None:
    folder, _ = saved(tmp_path, family, "ForSequenceClassification")
    for task in ("ForMultipleChoice", "ForQuestionAnswering"):
        model_class(family, task).from_pretrained(folder)


def test_a_pooler_of_another_width_is_refused(trained: tuple[Path, np.ndarray]) -> None:
    folder, _ = trained
    from paddlenlp_ext.weights.files import read_weights
    from paddlenlp_ext.weights.formats.pdparams import write_pdparams

    file = folder / "model_state.pdparams"
    weights = {name: np.array(value) for name, value in read_weights(file).items()}
    weights["bert.pooler.dense.weight"] = np.zeros((24, 30), "float32")
    write_pdparams(file, weights)
    with pytest.raises(UserError, match=r"pooler\.dense\.weight"):
        BertForSequenceClassification.from_pretrained(folder, num_labels=5)


OLD = {
    "a number": ([3], {}),
    "a number and a dropout": ([3, 0.2], {}),
    "a number by its name": ([], {"num_classes": 3}),
}


@pytest.mark.parametrize(("arguments", "named"), OLD.values(), ids=OLD)
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_arguments_without_names_of_an_older_paddlenlp_count(
    family: str, task: str, arguments: list[Any], named: dict[str, Any], tmp_path: Path
) -> None:
    folder, expected = saved(tmp_path, family, task)
    (folder / "config.json").unlink()
    prefix = model_class(family, task).__name__.removesuffix(task)
    sizes = base_class(family).config_class.from_dict(SIZES | FAMILY_SIZES[family]).to_dict()
    inner = {name: sizes[name] for name in SIZES | FAMILY_SIZES[family]}
    inner["init_class"] = f"{prefix}Model"
    old = {"init_args": [inner, *arguments], "init_class": prefix + task, **named}
    (folder / "model_config.json").write_text(json.dumps(old))
    model = model_class(family, task).from_pretrained(folder)
    np.testing.assert_array_equal(logits(model, task), expected)
    assert model.config.head_dropout == (0.2 if len(arguments) == 2 else model.config.head_dropout)


@pytest.mark.parametrize(
    "arguments", [[53, 24, 2, 4], [{"init_class": "BertModel", "hidden_size": 24}, 3, 0.1, "gelu"]]
)
def test_values_that_nothing_names_are_refused(
    trained: tuple[Path, np.ndarray], arguments: list[Any]
) -> None:
    folder, _ = trained
    (folder / "config.json").unlink()
    name = "BertModel" if arguments[0] == 53 else "BertForSequenceClassification"
    path = folder / "model_config.json"
    path.write_text(json.dumps({"init_args": arguments, "init_class": name}))
    with pytest.raises(UserError, match=r"init_args has .*nothing says which argument") as caught:
        BertForSequenceClassification.from_pretrained(folder)
    assert "more than twice" not in str(caught.value)


FOREIGN = {
    "position_embedding_type": ("relative_key", "relative_key_query"),
    "is_encoder_decoder": (True,),
    "cross_attention_hidden_size": (96,),
    "pruned_heads": ({"0": [1]},),
}


@pytest.mark.parametrize(("name", "values"), FOREIGN.items())
@pytest.mark.parametrize("family", FAMILIES)
def test_fields_that_would_change_numbers_are_refused_by_name(
    family: str, name: str, values: tuple[Any, ...]
) -> None:
    config_class = base_class(family).config_class
    for harmless in (None, {}, False):
        config_class.from_dict({name: harmless})
    for value in values:
        with pytest.raises(UserError, match=name):
            config_class.from_dict({name: value})
