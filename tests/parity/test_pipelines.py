"""Pipelines against those of transformers: the same answers to the same texts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_ext.inference.export import export_logits, export_onnx
from paddlenlp_ext.inference.pipelines import pipeline
from tests.parity.reference import randomize

pytestmark = pytest.mark.parity
pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

WORDS = [
    *"abcdefg",
    "the",
    "film",
    "is",
    "good",
    "bad",
    "very",
    "of",
    "time",
    "story",
    ",",
    ".",
    "##s",
]
SIZES = {  # MiniLM's shape, in small
    "vocab_size": 5 + len(WORDS),
    "hidden_size": 36,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 72,
    "max_position_embeddings": 48,
}
RANDOM = np.random.default_rng(2)
TEXTS = [" ".join(RANDOM.choice(WORDS[:-1], 1 + n)) for n in range(23)]


@pytest.fixture
def made(tmp_path: Path) -> Any:
    """Saves a random model of transformers with a tokenizer; returns its folder."""

    def make(cls: str, std: float = 0.3, **changes: Any) -> Path:
        file = tmp_path / "vocab.txt"
        file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
        config = transformers.BertConfig(**SIZES, **changes)
        randomize(getattr(transformers, cls)(config), std=std).save_pretrained(tmp_path / "model")
        transformers.BertTokenizerFast(str(file)).save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return make


def assert_alike(found: Any, expected: Any, key: str) -> None:
    assert [one[key] for one in found] == [one[key] for one in expected]
    scores = [[one["score"] for one in answers] for answers in (found, expected)]
    np.testing.assert_allclose(*scores, atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("problem", [None, "single_label_classification",
                                     "multi_label_classification", "regression"])  # fmt: skip
def test_labels(made, problem, tmp_path):
    names = dict(enumerate(("no", "maybe", "yes")))
    folder = made("BertForSequenceClassification", id2label=names, problem_type=problem)
    theirs = transformers.pipeline("text-classification", str(folder), top_k=None)
    classify = pipeline("text-classification", folder, top_k=None, batch_size=5)
    places = [export_logits(classify.loaded.model, tmp_path / "served")]
    if find_spec("onnxruntime") and find_spec("paddle2onnx"):  # of an extra
        places.append(export_onnx(classify.loaded.model, tmp_path / "onnx"))
    ours = [classify]
    for place in places:
        classify.config.save_pretrained(place.parent)
        ours.append(
            pipeline("text-classification", place, tokenizer=classify.tokenizer, top_k=None)
        )
    pairs = [
        {"text": first, "text_pair": second}
        for first, second in zip(TEXTS, reversed(TEXTS), strict=True)
    ]
    for samples in (TEXTS, pairs):
        expected = theirs(samples)
        for one in ours:
            for left, right in zip(one(samples), expected, strict=True):
                assert_alike(left, right, "label")
    assert classify(TEXTS[3], top_k=1)[0]["label"] == theirs(TEXTS[3], top_k=1)[0]["label"]
    default = pipeline("text-classification", folder)(TEXTS[3])
    assert [{*one} for one in default] == [{"label", "score"}]
    assert (
        default[0]["label"]
        == transformers.pipeline("text-classification", str(folder))(TEXTS[3])[0]["label"]
    )


def test_masks(made):
    folder = made("BertForMaskedLM")
    fill, theirs = pipeline("fill-mask", folder), transformers.pipeline("fill-mask", str(folder))
    for text in ("a [MASK] film , and a story", "the [MASK] of time is very [MASK] ."):
        found, expected = fill(text), theirs(text)
        one_mask = text.count("[MASK]") == 1
        for left, right in zip([found] if one_mask else found, [expected] if one_mask else expected,
                               strict=True):  # fmt: skip
            for key in ("token", "token_str", "sequence"):
                assert_alike(left, right, key)
    assert_alike(fill("a [MASK]", targets=["bad", "good"]),
                 theirs("a [MASK]", targets=["bad", "good"]), "token")  # fmt: skip


def test_continuations(made):
    folder = made("BertLMHeadModel", is_decoder=True)
    theirs = transformers.pipeline("text-generation", str(folder))
    write = pipeline("text-generation", folder)
    for text in ("a fine story of", "the film"):
        # Ours leaves out the separator at the end of the text; theirs is given the beginning here.
        options = {"max_new_tokens": 7, "do_sample": False}
        expected = theirs("[CLS] " + text, add_special_tokens=False, **options)
        (found,) = write(text, **options)
        assert found["generated_text"] == expected[0]["generated_text"].removeprefix("[CLS] ")


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_entities(made, strategy):
    names = dict(enumerate(("B-PER", "I-PER", "B-LOC", "I-LOC", "O")))
    folder = made("BertForTokenClassification", id2label=names)
    theirs = transformers.pipeline(
        "token-classification", str(folder), aggregation_strategy=strategy
    )
    find = pipeline("token-classification", folder, aggregation_strategy=strategy, batch_size=5)
    texts = [text.replace(" time", "s time").replace("very", "verys , unseen") for text in TEXTS]
    own = ("entity", "index") if strategy == "none" else ("entity_group",)
    entities = 0
    for found, expected in zip(find(texts), theirs(texts), strict=True):
        entities += len(found)
        for name in ("word", "start", "end", *own):
            assert_alike(found, expected, name)
        assert [{*one} for one in found] == [{*one} for one in expected]
    assert entities > 20


def test_answers(made):
    folder = made("BertForQuestionAnswering", std=0.1)
    theirs = transformers.pipeline("question-answering", str(folder))
    answer = pipeline("question-answering", folder, max_length=24)
    for number in range(4, 20):
        sample = {"question": "is the film good", "context": TEXTS[number]}
        options = {"max_answer_len": 7, "doc_stride": 8}
        expected = theirs(**sample, max_seq_len=24, **options)
        found = answer(sample, **options, max_question_len=6)
        assert found["answer"] == sample["context"][found["start"] : found["end"]]
        # Of long texts, theirs compares probabilities within a row, ours scores, as the script;
        # and theirs adds up the scores of answers that read the same.
        if number < 15 and sample["context"].split().count(expected["answer"]) < 2:
            assert [found[name] for name in ("answer", "start", "end")] == [
                expected[name] for name in ("answer", "start", "end")
            ]
