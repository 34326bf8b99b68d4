"""Pipelines answer as the scripts evaluate, whatever runs the model and however texts come."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import InputError, UserError
from paddlenlp_ext.inference.export import export_logits, export_onnx
from paddlenlp_ext.inference.pipelines import pipeline
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.bert import BertModel
from paddlenlp_ext.tasks.batches import EvaluationOrder, Loader
from paddlenlp_ext.tasks.entities import find_entities
from paddlenlp_ext.tasks.features import make_features
from paddlenlp_ext.tasks.questions import Question
from paddlenlp_ext.tasks.spans import AnswerSettings, find_answers, make_windows
from paddlenlp_ext.tasks.task import TextExample
from paddlenlp_ext.tasks.token_labels import TaggedSentence, make_token_rows, tags_of
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from tests.models.test_contract import build

WORDS = [*"abcdefg", "the", "film", "is", "good", "bad", "story", "of", "time", "and", ",", "."]
SIZES = {"vocab_size": 5 + len(WORDS), "num_labels": 3, "max_position_embeddings": 23}
NAMES = {0: "bad", 1: "so-so", 2: "good"}
TEXTS = [" ".join(np.random.default_rng(n).choice(WORDS, 1 + n % 29)) for n in range(70)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizer:
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    return BertTokenizer(file)


def classifier(**changes: Any) -> Model:
    changes = SIZES | {"id2label": NAMES, "initializer_range": 0.5} | changes
    model = build("bert", "ForSequenceClassification", **changes)
    model.eval()
    return model


def saved(model: Model, tokenizer: BertTokenizer, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def evaluated(model: Model, tokenizer: BertTokenizer, pairs: list[Any]) -> np.ndarray:
    """Logits as the scripts' evaluation has them; one row at a time, and nothing padded."""
    examples = [TextExample(first, second, 0, "") for first, second in pairs]
    features = make_features(examples, tokenizer, 23)
    loader = Loader(features, EvaluationOrder(len(features), 1), pad_token_id=0)
    return np.concatenate([model(**batch.inputs).logits.numpy() for batch in loader])


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_labels_are_those_of_the_evaluation(tokenizer, tmp_path):
    model = classifier()
    pairs = [(text, None if n % 3 else TEXTS[-n]) for n, text in enumerate(TEXTS)]
    expected = np.concatenate([softmax(evaluated(model, tokenizer, [pair])) for pair in pairs])
    classify = pipeline(
        "text-classification", saved(model, tokenizer, tmp_path), batch_size=4, top_k=None
    )
    samples = [first if second is None else (first, second) for first, second in pairs]
    found = classify(samples)
    for scores, answer in zip(expected, found, strict=True):
        assert [one["label"] for one in answer] == [NAMES[n] for n in np.argsort(-scores)]
        np.testing.assert_allclose(
            [one["score"] for one in answer], sorted(scores, reverse=True), atol=1e-6
        )
    assert len({answer[0]["label"] for answer in found}) == 3


def test_every_way_to_ask(tokenizer):
    classify = pipeline("text-classification", classifier(), tokenizer=tokenizer)
    one = classify([TEXTS[0]])[0]
    assert {*one} == {"label", "score"}
    assert classify(TEXTS[0]) == [one]  # as transformers answers a string
    assert classify({"text": TEXTS[0]}) == one
    assert classify(TEXTS[0], top_k=2)[0] == classify([TEXTS[0]], top_k=None)[0][0] == one
    pair = classify((TEXTS[0], TEXTS[1]))
    assert pair == classify({"text": TEXTS[0], "text_pair": TEXTS[1]})
    assert [pair] == classify([[TEXTS[0], TEXTS[1]]])
    assert classify([]) == []
    assert classify("")[0]["label"] in NAMES.values()


def test_an_endless_stream_is_read_window_by_window(tokenizer):
    taken: list[int] = []

    def endless() -> Iterator[str]:
        for number in count():
            taken.append(number)
            yield TEXTS[number % len(TEXTS)]

    classify = pipeline("text-classification", classifier(), tokenizer=tokenizer, batch_size=2)
    answers = classify(endless())
    assert taken == []
    found = [*islice(answers, 50)]
    assert len(taken) == 64
    for answer, expected in zip(found, classify(TEXTS[:50]), strict=True):
        assert answer["label"] == expected["label"]
        assert answer["score"] == pytest.approx(expected["score"], abs=1e-6)


def served(model: Model, tokenizer: BertTokenizer, folder: Path) -> Path:
    export_logits(model, folder)
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def assert_same_answers(model: Model, tokenizer: BertTokenizer, *places: Path) -> None:
    expected = pipeline("text-classification", model, tokenizer=tokenizer, top_k=None)(TEXTS)
    for place in places:
        found = pipeline("text-classification", place, top_k=None)(TEXTS)
        for ours, theirs in zip(found, expected, strict=True):
            assert [one["label"] for one in ours] == [one["label"] for one in theirs]
            scores = [[one["score"] for one in answer] for answer in (ours, theirs)]
            np.testing.assert_allclose(*scores, atol=1e-5)


def test_a_program_answers_as_the_model(tokenizer, tmp_path):
    model = classifier()
    folder = served(model, tokenizer, tmp_path)
    assert_same_answers(model, tokenizer, folder, folder / "inference", folder / "inference.json")


def test_an_onnx_file_answers_as_the_model(tokenizer, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    model = classifier()
    folder = served(model, tokenizer, tmp_path)
    assert_same_answers(model, tokenizer, export_onnx(model, folder))
    (folder / "inference.json").unlink()
    assert_same_answers(model, tokenizer, folder)


def test_onnx_without_its_runtime_says_what_to_install(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UserError, match=r"pip install 'paddlenlp-ext\[export\]'"):
        pipeline("text-classification", tmp_path / "model.onnx", tokenizer=tokenizer)


def test_labels_of_their_own_and_regressions(tokenizer):
    model = classifier(problem_type="multi_label_classification")
    logits = evaluated(model, tokenizer, [(TEXTS[5], None)])[0]
    several = pipeline("text-classification", model, tokenizer=tokenizer, top_k=None)
    scores = {one["label"]: one["score"] for one in several([TEXTS[5]])[0]}
    for number, name in NAMES.items():
        assert scores[name] == pytest.approx(1 / (1 + np.exp(-logits[number])), abs=1e-6)
    raw = {one["label"]: one["score"] for one in several([TEXTS[5]], function_to_apply="none")[0]}
    assert raw == pytest.approx(dict(zip(NAMES.values(), logits.tolist(), strict=True)), abs=1e-5)
    model = classifier(num_labels=1, id2label={0: "stars"})
    (answer,) = pipeline("text-classification", model, tokenizer=tokenizer)(TEXTS[5])
    assert answer["label"] == "stars"
    assert answer["score"] == pytest.approx(
        float(evaluated(model, tokenizer, [(TEXTS[5], None)])[0, 0]), abs=1e-5
    )


def test_masks(tokenizer, tmp_path):
    model = build("bert", "ForMaskedLM", **SIZES, initializer_range=0.5)
    model.eval()
    fill = pipeline("fill-mask", saved(model, tokenizer, tmp_path / "model"))
    texts = ["a [MASK] film", "the story of time and the film is [MASK]"]
    answers = fill(texts, top_k=3)
    for text, answer in zip(texts, answers, strict=True):
        ids = tokenizer(text, return_tensors="pd")
        place = ids["input_ids"][0].tolist().index(tokenizer.mask_token_id)
        scores = softmax(model(**ids).logits.numpy()[0, place])
        best = np.argsort(-scores)[:3]
        assert [one["token"] for one in answer] == best.tolist()
        np.testing.assert_allclose([one["score"] for one in answer], scores[best], atol=1e-6)
        word = tokenizer.convert_ids_to_tokens(int(best[0]))
        assert answer[0]["token_str"] == word
        if word not in tokenizer.all_special_tokens:
            assert answer[0]["sequence"] == text.replace("[MASK]", word)
    of_two = fill("a [MASK] film is [MASK]", targets=["good", "bad"])
    assert [len(words) for words in of_two] == [2, 2]
    assert {one["token_str"] for one in of_two[0]} == {"good", "bad"}
    assert of_two[0][0]["sequence"].startswith("[CLS]")
    assert of_two[0][0]["sequence"].count("[MASK]") == 1
    program = pipeline("fill-mask", served(model, tokenizer, tmp_path / "served"))
    for ours, theirs in zip(answers, program(texts, top_k=3), strict=True):
        assert [one["token"] for one in ours] == [one["token"] for one in theirs]
    with pytest.raises(InputError, match=r"expected \[MASK\]"):
        fill("no mask")
    with pytest.raises(UserError, match="`targets` 'good film': expected one token, got 2"):
        fill("a [MASK]", targets="good film")


def test_choices(tokenizer):
    model = build("bert", "ForMultipleChoice", **SIZES, initializer_range=0.5)
    model.eval()
    choose = pipeline("multiple-choice", model, tokenizer=tokenizer, batch_size=3)
    samples = [(TEXTS[n], TEXTS[n + 10 : n + 12 + n % 4]) for n in range(9)]
    for (text, choices), answer in zip(samples, choose(samples), strict=True):
        ids = tokenizer(
            [text] * len(choices), choices,
            truncation=True, max_length=23, padding=True, return_tensors="pd",
        )  # fmt: skip
        logits = model(**{name: rows.unsqueeze(0) for name, rows in ids.items()}).logits.numpy()[0]
        np.testing.assert_allclose(answer["scores"], softmax(logits), atol=5e-6)
        assert answer["label"] == logits.argmax()
        assert answer["answer"] == choices[answer["label"]]
        assert answer["score"] == max(answer["scores"])
    assert choose({"text": samples[0][0], "choices": samples[0][1]})["label"] in (0, 1)
    with pytest.raises(InputError, match="expected `choices` to be a list of texts, got 'bad'"):
        choose(("good", "bad"))


def test_continuations(tokenizer):
    model = build("bert", "ForCausalLM", **SIZES, initializer_range=0.5)
    model.eval()
    write = pipeline("text-generation", model, tokenizer=tokenizer, batch_size=4)
    texts = ["a", "the story of time", TEXTS[28]]
    answers = write(texts, max_new_tokens=5)
    for text, (answer,) in zip(texts[:2], answers, strict=False):
        ids = paddle.to_tensor([[2, *tokenizer(text, add_special_tokens=False).input_ids]])
        new = model.generate(ids, max_new_tokens=5)[0].tolist()
        assert answer["generated_text"].startswith(text)
        assert tokenizer.decode(new, skip_special_tokens=True) == answer["generated_text"]
    assert (
        write("a", return_full_text=False, max_new_tokens=5)[0]["generated_text"]
        == (answers[0][0]["generated_text"][1:])
    )
    assert answers[2][0]["generated_text"].startswith(TEXTS[28])  # longer than the model reads
    with pytest.raises(UserError, match="`max_new_tokens` 0: expected a whole number of at least"):
        write("a", max_new_tokens=0)
    with pytest.raises(UserError, match="`max_new_tokens` 23: expected 1 to 22"):
        write("a", max_new_tokens=23)


def test_mistakes_are_one_line(tokenizer, tmp_path):
    model = classifier()
    with pytest.raises(UserError, match=r"'text-clasification'; did you mean 'text-classification"):
        pipeline("text-clasification", model)
    with pytest.raises(UserError, match="give the `tokenizer`"):
        pipeline("text-classification", model)
    with pytest.raises(UserError, match="expected a model ForMaskedLM, got BertForSequenceCl"):
        pipeline("fill-mask", model, tokenizer=tokenizer)
    with pytest.raises(UserError, match="unexpected keyword argument 'topk'; it has top_k"):
        pipeline("text-classification", model, tokenizer=tokenizer, topk=3)
    with pytest.raises(UserError, match=r"`max_length` 24: .* reads rows of 3 to 23 tokens"):
        pipeline("text-classification", model, tokenizer=tokenizer, max_length=24)
    for name, value in (("batch_size", 0), ("batch_size", "2"), ("top_k", -1), ("top_k", "2")):
        with pytest.raises(UserError, match=f"`{name}` '?{value}'?: expected a whole number of at"):
            pipeline("text-classification", model, tokenizer=tokenizer, **{name: value})
    classify = pipeline("text-classification", model, tokenizer=tokenizer)
    with pytest.raises(InputError, match="expected a text, a pair of texts, or a dict"):
        classify([3])
    with pytest.raises(InputError, match="expected a sample, a list or an iterator, got 3"):
        classify(3)
    with pytest.raises(UserError, match="`function_to_apply` 'tanh'"):
        classify("a", function_to_apply="tanh")
    encoder = BertModel(model.config)
    saved(encoder, tokenizer, tmp_path)
    with pytest.raises(UserError, match=r"have no classifier.*: it was not trained for this"):
        pipeline("text-classification", tmp_path)


def test_tags_are_those_of_the_evaluation(tokenizer):
    names = {0: "O", 1: "B-a", 2: "I-a", 3: "B-b", 4: "I-b"}
    sizes = SIZES | {"num_labels": 5, "id2label": names, "initializer_range": 0.5}
    model = build("bert", "ForTokenClassification", **sizes)
    model.eval()
    sentences = [TaggedSentence(tuple(text.split()), (), "") for text in TEXTS]
    rows = make_token_rows(sentences, [*names.values()], tokenizer, 23)
    order = EvaluationOrder(len(rows.features), 1)
    loader = Loader(rows.features, order, pad_token_id=0)
    logits = [model(**batch.inputs).logits.numpy()[0] for batch in loader]
    expected = tags_of(logits, rows.rows, sentences, [*names.values()])
    find = pipeline("token-classification", model, tokenizer=tokenizer, batch_size=4)
    by_words = find([{"words": [*one.words]} for one in sentences])
    assert by_words == find(TEXTS)
    for sentence, tags, found in zip(sentences, expected, by_words, strict=True):
        entities = find_entities(tags)
        places = np.cumsum([0, *(len(word) + 1 for word in sentence.words)])
        assert [(one["entity_group"], one["start"], one["end"]) for one in found] == [
            (kind, places[first], places[last + 1] - 1) for kind, first, last in entities
        ]
    assert find("") == []
    assert {one["entity_group"] for one in find(TEXTS[28], ignore_labels=[])} >= {"O"}
    with pytest.raises(InputError, match="expected a text or a dict with `words`"):
        find({"word": "a"})
    with pytest.raises(UserError, match="`aggregation_strategy` 'last': expected one of none"):
        find("a", aggregation_strategy="last")


def test_answers_are_those_of_the_evaluation(tokenizer, tmp_path):
    model = build("bert", "ForQuestionAnswering", **SIZES, initializer_range=1.0)
    model.eval()
    pairs = [(f"is the {TEXTS[n % 5]}", TEXTS[n]) for n in range(5, 60)]
    questions = [Question(str(n), *pair, (), -1, False, "") for n, pair in enumerate(pairs)]
    windows = make_windows(questions, tokenizer, 20, 4, 6)
    assert len(windows.windows) > len(pairs)
    loader = Loader(windows.features, EvaluationOrder(len(windows.features), 1), pad_token_id=0)
    outputs = [model(**batch.inputs) for batch in loader]
    logits = [np.stack([one.start_logits[0].numpy(), one.end_logits[0].numpy()], -1)
              for one in outputs]  # fmt: skip
    sizes = {"max_answer_len": 5, "doc_stride": 4, "max_question_len": 6}
    answer = pipeline(
        "question-answering", model, tokenizer=tokenizer, batch_size=4, max_length=20, **sizes
    )
    program = pipeline(
        "question-answering", served(model, tokenizer, tmp_path), max_length=20, **sizes
    )
    for is_impossible in (False, True):
        settings = AnswerSettings(max_answer_length=5, version_2_with_negative=is_impossible)
        expected = find_answers(logits, windows.windows, questions, settings)
        found = answer(pairs, handle_impossible_answer=is_impossible)
        assert [one["answer"] for one in found] == [one.answer for one in expected]
        again = program(pairs, handle_impossible_answer=is_impossible)
        assert [one["answer"] for one in again] == [one.answer for one in expected]
        assert any(one["answer"] == "" for one in found) == is_impossible
    one = answer(question=pairs[3][0], context=pairs[3][1])
    assert one["answer"] == pairs[3][1][one["start"] : one["end"]]
    best = answer(pairs[3], top_k=3)
    assert best[0]["answer"] == one["answer"]
    assert len({(two["start"], two["end"]) for two in best}) == 3
    for name in ("max_answer_len", "n_best_size", "max_question_len"):
        with pytest.raises(UserError, match=f"`{name}` 0: expected a whole number of at least 1"):
            answer(pairs[3], **{name: 0})
    for name in ("top_k", "doc_stride"):
        with pytest.raises(UserError, match=f"`{name}` -1: expected a whole number of at least 0"):
            answer(pairs[3], **{name: -1})
    with pytest.raises(InputError, match="expected a dict with `question` and `context`"):
        answer(question="what", context=" ")
