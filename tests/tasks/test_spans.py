"""Questions: files as SQuAD's, what cannot be used, windows, and the answers that are chosen."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_ext.errors import DataError, UserError
from paddlenlp_ext.tasks.prediction_files import answer_writer, write_all
from paddlenlp_ext.tasks.questions import Question, iterate_questions, read_questions
from paddlenlp_ext.tasks.spans import (
    AnswerSettings,
    answer_metric,
    find_answers,
    make_windows,
)
from paddlenlp_ext.tokenizers.bert import BertTokenizer

DATA = Path(__file__).parents[2] / "data" / "qa"
CHARACTERS = sorted({*"".join(path.read_text() for path in DATA.glob("*.json")).lower()} - {" "})
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *CHARACTERS,
    *(f"##{c}" for c in CHARACTERS),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> BertTokenizer:
    """A piece for each character, so that windows are short."""
    path = tmp_path_factory.mktemp("tokenizer") / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n")
    return BertTokenizer(path)


def right(windows, score=5.0):
    """Scores that say the labels."""
    logits = [np.full((len(one), 2), -score, np.float32) for one in windows.features]
    for scores, one in zip(logits, windows.features, strict=True):
        for kind, token in enumerate(one.label):
            scores[token, kind] = score if token else 0.0
    return logits


def file(tmp_path: Path, **changes) -> Path:
    """A file of one question, with what is changed of it; None leaves a key out."""
    row = {"id": "q1", "question": "Who?", "answers": [{"text": "Eve", "answer_start": 4}]}
    context = changes.pop("context", "But Eve did.")
    row = {key: value for key, value in (row | changes).items() if value is not None}
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": [row]}]}]}))
    return path


@pytest.mark.parametrize("name", ["train.en", "dev.en", "dev.de"])
def test_right_scores_give_the_right_answers_through_all_windows(tokenizer, name):
    questions, _ = read_questions([DATA / f"{name}.json"], for_training=True, has_negatives=True)
    windows = make_windows(questions, tokenizer, 110, 20, 50)
    assert len(windows.features) > 2 * len(questions)
    assert all(len(one) <= 110 for one in windows.features)
    settings = AnswerSettings(max_answer_length=60, version_2_with_negative=True)
    logits = right(windows)
    scores = answer_metric(windows.windows, questions, settings)(logits, None)
    assert scores["HasAns_exact_match"] == scores["NoAns_f1"] == 1.0
    found = find_answers(logits, windows.windows, questions, settings)
    for one, question in zip(found, questions, strict=True):
        best = one.best[0]
        assert question.context[best.start : best.end] == best.text
        assert one.answer == next(iter(question.answers), "")
        assert sum(answer.probability for answer in one.best) == pytest.approx(1.0)


def test_labels_are_places_of_the_answers_tokens(tokenizer):
    question = Question("q", "Who?", "But Eve did.", ("Eve",), 4, True, "s")
    (window,) = make_windows([question], tokenizer, 32, 4, 8).features
    first, last = window.label
    assert tokenizer.decode(window.input_ids[first : last + 1]) == "eve"
    assert make_windows([question], tokenizer, 32, 4, 2).features[0].input_ids.tolist()[3] == 3


def test_no_answer_where_it_scores_higher_by_more_than_the_threshold(tokenizer):
    question = Question("q", "Who?", "But Eve did.", (), -1, True, "s")
    windows = make_windows([question], tokenizer, 32, 4, 8)
    logits = [np.zeros((len(windows.features[0]), 2), np.float32)]
    logits[0][0] = 2.0  # no answer scores 4, the best answer 3
    logits[0][9] = 1.5
    for threshold, is_none in ((0.9, True), (1.0, False), (-3.0, True)):
        settings = AnswerSettings(
            version_2_with_negative=True, null_score_diff_threshold=threshold, max_answer_length=1
        )
        (found,) = find_answers(logits, windows.windows, [question], settings)
        assert (found.answer == "") == is_none
        assert found.null_odds == 1.0
        assert len(found.best[1].text) == 1
    (found,) = find_answers(logits, windows.windows, [question], AnswerSettings(n_best_size=3))
    assert found.answer
    assert 1 <= len(found.best) <= 3


def test_an_answer_begins_before_it_ends_and_is_not_too_long(tokenizer):
    question = Question("q", "Who?", "abcdefgh", (), -1, True, "s")
    windows = make_windows([question], tokenizer, 32, 4, 8)
    logits = [np.random.default_rng(1).normal(size=(len(windows.features[0]), 2)).astype("f4")]
    for longest in (1, 2, 5):
        settings = AnswerSettings(n_best_size=32, max_answer_length=longest)
        (found,) = find_answers(logits, windows.windows, [question], settings)
        assert {len(one.text) for one in found.best} == {*range(1, longest + 1)}
        sums = [one.start_logit + one.end_logit for one in found.best]
        assert sums == sorted(sums, reverse=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, r"train\.json:1: .*qas\[0\]: expected a text as 'id', got None"),
        ({"question": " "}, r"train\.json:1: question 'q1': expected a text as 'question'"),
        ({"context": 3}, r"expected a text as 'context', got 3"),
        ({"answers": None}, r"question 'q1': expected 'answers', got none"),
        ({"answers": "Eve"}, r"expected a list of answers"),
        ({"answers": [{"text": "Eve"}]}, r"expected a list of answers"),
        ({"answers": [{"text": "", "answer_start": 0}]}, r"expected a list of answers"),
        (
            {"answers": [{"text": "Eve", "answer_start": 5}]},
            r"expected the answer 'Eve' at 5, got 've ",
        ),
        (
            {"answers": [{"text": "Eve", "answer_start": 12}]},
            r"expected answers in the passage of 12 characters, got one at 12",
        ),
        ({"answers": []}, r"has no answer: expected one without `version_2_with_negative`"),
        ({"is_impossible": True}, r"has no answer"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_questions([file(tmp_path, **changes)], for_training=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{\n"data": [,]}', r"t\.json:2: expected JSON as SQuAD's"),
        ("[]", r"t\.json:1: expected an object with a list 'data'"),
        ('{"data": [3]}', r"t\.json:1: data\[0\]: expected an object, got 3"),
        ('{"data": [{}]}', r"t\.json:1: data\[0\]: expected an object with a list 'paragraphs'"),
        ('{"data": [{"paragraphs": [{}]}]}', r"data\[0\]\.paragraphs\[0\]: .* a list 'qas'"),
        ('{"data": []}', r"t\.json: expected questions"),
        ("\0\0", r"t\.json:1: expected"),
        ("[" * 200_000, r"t\.json:1: expected JSON as SQuAD's"),
        ('{"data": [], "data": []}', r"t\.json:1: expected JSON as SQuAD's \(it has 'data' twice"),
        ('{"data": [{"a": NaN}]}', r"t\.json:1: expected JSON .*NaN is no number"),
        (f'{{"data": {"9" * 5_000}}}', r"t\.json:1: expected JSON as SQuAD's"),
    ],
)
def test_files_that_are_no_squad(tmp_path, content, message):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(DataError, match=message):
        read_questions([tmp_path / "t.json"])


def test_questions_without_answers_can_be_asked_and_bad_ones_left_out(tmp_path):
    (one,), _ = read_questions([file(tmp_path, answers=None)], is_labelled=False)
    assert (one.answers, one.start, one.is_labelled) == ((), -1, False)
    twice = [file(tmp_path), DATA / "dev.en.json", tmp_path / "train.json"]
    with pytest.raises(DataError, match="expected an id of its own"):
        read_questions([*twice, DATA / "dev.de.json"], has_negatives=True)
    questions, bad = read_questions(
        [DATA / "dev.en.json"], for_training=True, on_bad_row="skip"
    )  # one has no answer
    assert (len(questions), len(bad)) == (5, 1)
    assert bad[0].source.startswith("dev.en.json:")


ROWS = {
    "a.csv": "id,question,passage,answers\n7,Who?,But Eve did.,x\n,When?,Now.,\n",
    "a.jsonl": """{"id": 7, "question": "Who?", "context": "But Eve did.",
        "answers": {"text": ["Eve"], "answer_start": [4]}}
        {"question": "When?", "context": "Now.", "is_impossible": true}""".replace(",\n", ","),
}


@pytest.mark.parametrize("name", ROWS)
def test_tables_of_questions(tmp_path, name):
    (tmp_path / name).write_text(ROWS[name])
    questions, _ = read_questions([tmp_path / name], is_labelled=False, has_negatives=True)
    first, second = questions
    assert (first.name, first.text, first.context) == ("7", "Who?", "But Eve did.")
    assert (second.name, second.source) == (second.source, f"{name}:{2 + name.endswith('v')}")
    has_answers = name == "a.jsonl"
    assert first.answers == ("Eve",) * has_answers
    assert (second.answers, second.is_labelled) == ((), has_answers)
    for columns in ({"question": "ask"}, {"context": "ask"}):
        with pytest.raises(DataError, match=":1: expected a column 'ask', got 'id', 'question'"):
            next(iterate_questions(tmp_path / name, **columns, is_labelled=False))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"answer_text": "Eve", "answer_start": "4"},
        {"answers": "{'text': ['Eve']}", "is_impossible": "False"},
    ],
)
def test_tables_hold_no_answers(more, tmp_path):
    row = {"question": "Who?", "context": "But Eve did."} | more
    lines = [",".join(f'"{one}"' for one in part) for part in (row, row.values())]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"a\.csv: expected questions with answers, .* \(\.jsonl\)"):
        read_questions([tmp_path / "a.csv"], has_negatives=True)
    (one,), _ = read_questions([tmp_path / "a.csv"], is_labelled=False)
    assert not one.is_labelled


def test_rows_without_ids_are_told_by_their_files(tmp_path):
    paths = [tmp_path / folder / "a.csv" for folder in "xy"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("question,context\nWho?,Eve.\n")
    questions, _ = read_questions(paths, is_labelled=False)
    assert [one.name for one in questions] == [f"{path}:2" for path in paths]
    with pytest.raises(DataError, match=r"x/a\.csv:2: expected an id of its own"):
        read_questions(paths[:1] * 2, is_labelled=False)


def test_lines_of_questions_are_found_in_one_pass(tmp_path):
    rows = [
        {"id": f"q{n}é/{n % 7}", "question": "Who?", "answers": [{"text": "a", "answer_start": 0}]}
        for n in range(30)
    ]
    content = {"data": [{"paragraphs": [{"context": "a b", "qas": rows}]}]}
    texts = [json.dumps(content, ensure_ascii=is_ascii, indent=1) for is_ascii in (True, False)]
    for text in (*texts, texts[0].replace("/", "\\/").replace('": ', '"\n:')):
        (tmp_path / "t.json").write_text(text)
        places = [one.source.split(":")[1] for one in read_questions([tmp_path / "t.json"])[0]]
        lines = text.split("\n")
        assert places == [str(n) for n, line in enumerate(lines, 1) if '"id"' in line]


def test_windows_need_room(tokenizer):
    question = Question("q", "Who?", "But Eve did.", (), -1, True, "s")
    with pytest.raises(UserError, match="`max_seq_length` 64: expected more than 67"):
        make_windows([question], tokenizer, 64, 16, 48)


def test_files_are_those_of_the_official_scripts(tmp_path, tokenizer):
    questions, _ = read_questions([DATA / "dev.de.json"], has_negatives=True)
    windows = make_windows(questions, tokenizer, 110, 20, 50)
    settings = AnswerSettings(version_2_with_negative=True)
    found = find_answers(right(windows), windows.windows, questions, settings)
    writer = answer_writer(tmp_path / "new", "de", has_negatives=True)
    write_all(writer, zip(questions, found, strict=True))
    path = tmp_path / "new/predictions_de.json"
    answers = json.loads(path.read_text())
    assert json.dumps(answers, ensure_ascii=False, indent=2) + "\n" == path.read_text()
    assert answers["sample-dev-03"] == "Hanna Brekke"
    assert answers["sample-dev-06"] == ""
    best = json.loads((tmp_path / "new/nbest_predictions_de.json").read_text())["sample-dev-03"][0]
    assert {"text", "probability", "start_logit", "end_logit"} <= best.keys()
    assert json.loads((tmp_path / "new/null_odds_de.json").read_text()).keys() == answers.keys()
    table = [row.split("\t") for row in path.with_suffix(".tsv").read_text().splitlines()]
    assert table[0] == ["id", "answer", "score", "start", "end"]
    lines = [json.loads(row) for row in path.with_suffix(".jsonl").read_text().splitlines()]
    for question, row, line in zip(questions, table[1:], lines, strict=True):
        assert row[:2] == [question.name, answers[question.name]]
        assert line["answer"] == question.context[line["start"] : line["end"]] == row[1]
        assert float(row[2]) == pytest.approx(line["score"], abs=1e-6)
