"""Words of the data alone are scored: as the whole tables would score them among each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding, whole_parameters
from paddlenlp_ext.pretraining.shard_set import ShardSet
from paddlenlp_ext.pretraining.text_shards import LAYOUT, TextSettings, check_rows, make_shard
from paddlenlp_ext.training.losses import cross_entropy
from paddlenlp_ext.training.optimization import adamw
from paddlenlp_ext.training.vocabulary_trimming import trim_vocabulary, words_of
from tests.pretraining.words import tokenizer
from tests.tiny import FAMILY_SIZES, SIZES, V, arrays

WORDS = np.array([0, 1, 2, *range(5, V, 3)])
FAMILIES = ("rembert", "ernie_m", "xlm-roberta", "bert")


def new(family: str, **changes: Any) -> Any:
    paddle.seed(17)
    cls = model_class(family, "ForMaskedLM")
    sizes = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return cls(cls.config_class(**SIZES | FAMILY_SIZES[family] | sizes | changes))


def batch(family: str, seed: int = 3) -> dict[str, paddle.Tensor]:
    """Ids among the words, and labels at some places."""
    random = np.random.default_rng(seed)
    pad = FAMILY_SIZES[family].get("pad_token_id", 0)
    inputs = arrays(seed, pad=pad)
    ids = np.where(inputs["attention_mask"] == 1, random.choice(WORDS[3:], (3, 7)), pad)
    labels = np.where(random.random((3, 7)) < 0.4, random.choice(WORDS[3:], (3, 7)), IGNORED)
    tensors = {"input_ids": ids, "attention_mask": inputs["attention_mask"], "labels": labels}
    return {name: paddle.to_tensor(array) for name, array in tensors.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_the_columns_of_all(family: str, tmp_path: Path) -> None:
    inputs = batch(family)
    labels = inputs.pop("labels")
    model = new(family)
    model.lm_head.bias.set_value(paddle.randn([V]))
    model.eval()
    whole = model.run(**inputs).logits.numpy()
    assert model.columns(labels) is labels
    trim_vocabulary(model, WORDS, tmp_path)
    found = model.run(**inputs, labels=labels)
    np.testing.assert_allclose(found.logits.numpy(), whole[..., WORDS], rtol=0, atol=1e-6)
    columns = model.columns(labels)
    is_label = labels.numpy() != IGNORED
    np.testing.assert_array_equal(WORDS[columns.numpy()[is_label]], labels.numpy()[is_label])
    assert (columns.numpy()[~is_label] == IGNORED).all()
    np.testing.assert_array_equal(
        model.words(found.logits.argmax(-1)).numpy(), WORDS[found.logits.numpy().argmax(-1)]
    )
    expected = cross_entropy(found.logits, columns).sum() / is_label.sum()
    np.testing.assert_allclose(float(found.loss), float(expected), rtol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_training_is_that_of_a_choice_among_the_words(family: str, tmp_path: Path) -> None:
    """Six updates with whole tables whose other columns are cut off, and with trimmed tables."""
    plain, trimmed = new(family), new(family)
    trim_vocabulary(trimmed, WORDS, tmp_path)
    columns = paddle.to_tensor(WORDS)
    for model in (plain, trimmed):
        # Epsilon is above what rounding leaves of gradients that are none.
        optimizer = adamw(model, 1e-2, weight_decay=0.3, epsilon=1e-4)
        for step in range(6):
            inputs = batch(family, step)
            labels = inputs.pop("labels")
            logits = model.run(**inputs).logits
            if model is plain:
                logits = paddle.index_select(logits, columns, axis=-1)
                places = np.searchsorted(WORDS, labels.numpy())
                labels = paddle.to_tensor(np.where(labels.numpy() == IGNORED, IGNORED, places))
            else:
                labels = model.columns(labels)
            cross_entropy(logits, labels).sum().backward()
            optimizer.step()
            optimizer.clear_grad()
    expected, found = whole_parameters(plain), whole_parameters(trimmed)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=2e-5, atol=2e-6, err_msg=name)


def test_both_tables_are_trimmed_and_saved_whole(tmp_path: Path) -> None:
    model = new("rembert")
    before = {name: array.copy() for name, array in whole_parameters(model).items()}
    trim_vocabulary(model, WORDS, tmp_path)
    tables = [model.get_input_embeddings(), model.get_output_embeddings()]
    assert [type(table) for table in tables] == [TrimmedEmbedding] * 2
    assert [table.weight.shape for table in tables] == [[len(WORDS), 11], [len(WORDS), 31]]
    model.save_pretrained(tmp_path / "saved")
    again = type(model).from_pretrained(tmp_path / "saved")
    for name, array in whole_parameters(again).items():
        np.testing.assert_array_equal(array, before[name])


def test_words_of_shards_are_those_of_all_rows(tmp_path: Path) -> None:
    words = tokenizer(tmp_path)
    text = tmp_path / "train.data"
    text.write_text("w1 w2 w3\nw2 w9 ##p1\n", encoding="utf-8")
    paths = [tmp_path / "one.hdf5", tmp_path / "two.hdf5"]
    make_shard([text], words, paths[0], TextSettings(8))
    text.write_text("w7\n", encoding="utf-8")
    make_shard([text], words, paths[1], TextSettings(6))
    sets = [ShardSet([path], LAYOUT, check_rows(len(words))) for path in paths]
    ids = {
        *words.all_special_ids,
        *(one for line in ("w1 w2 w3", "w2 w9 ##p1", "w7") for one in words(line)["input_ids"]),
    }
    assert [*words_of(sets, words)] == sorted(ids)
    assert len(ids) > len(words.all_special_ids)
