"""Files of rows: the command answers as the scripts do, and names what it cannot use."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paddle
import pytest

from paddlenlp_ext import __main__ as console
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.inference import file_tasks
from paddlenlp_ext.inference.checked_export import export_checked
from paddlenlp_ext.inference.file_tasks import FileSettings
from paddlenlp_ext.inference.files import predict_file
from paddlenlp_ext.models.auto import base_class, model_class
from paddlenlp_ext.tasks.rows import BadRow
from tests.docs.test_readmes import script_of
from tests.scripts.test_bert_run_glue import tiny_bert

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
GLUE, TASKS = ROOT / "examples/language_model/bert/run_glue.py", ROOT / "examples/tasks"
LABELS = {0: "up", 1: "down", 2: "so, so"}
HEADS: dict[str, tuple[str, dict[str, Any]]] = {
    "labels": ("ForSequenceClassification", {"id2label": LABELS}),
    "several": (
        "ForSequenceClassification",
        {"id2label": LABELS, "problem_type": "multi_label_classification"},
    ),
    "score": ("ForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}),
    "tags": ("ForTokenClassification", {"id2label": {0: "O", 1: "B-a", 2: "I-a"}}),
    "answers": ("ForQuestionAnswering", {}),
    "choices": ("ForMultipleChoice", {}),
    "masked": ("ForMaskedLM", {}),
}
TEXTS = 'id,review,lang\n1,"a fine, warm film",en\n2,"the\nthe story",de\n3,of time and the,en\n'


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny models with a head of each kind, and their vocabulary."""
    vocabulary = tiny_bert(tmp_path_factory.mktemp("encoder"))
    config = base_class("bert").config_class.from_pretrained(vocabulary).to_dict()
    folders = {}
    for name, (head, changes) in HEADS.items():
        folder = folders[name] = tmp_path_factory.mktemp(name)
        paddle.seed(7)
        cls = model_class("bert", head)
        changed = config | {"initializer_range": 0.5} | changes
        cls(cls.config_class.from_dict(changed)).save_pretrained(folder)
        shutil.copy(vocabulary / "vocab.txt", folder)
    return folders


def flags(settings: dict[str, Any]) -> list[str]:
    return [
        word
        for name, value in settings.items()
        for word in (f"--{name}", *([] if value is True else [str(value)]))
    ]


def ended(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as end:
        console.main(["predict", *map(str, argv)])
    return end.value.code, *capsys.readouterr()


def numbers(value: Any, *, roughly: bool = False) -> Any:
    """Read the numbers in what was written; those of one side equal the other's roughly."""
    if isinstance(value, dict):
        return {name: numbers(one, roughly=roughly) for name, one in value.items()}
    if isinstance(value, list):
        return [numbers(one, roughly=roughly) for one in value]
    try:
        return pytest.approx(float(value), abs=2e-5) if roughly else float(value)
    except (TypeError, ValueError):
        return value


def written(path: Path) -> Any:
    text = path.read_text("utf-8")
    if path.suffix == ".tsv":
        return [row.split("\t") for row in text.split("\n")]
    return [json.loads(row) for row in text.splitlines()] if path.suffix == ".jsonl" else text


def assert_same_file(one: Path, other: Path) -> None:
    first, second = written(one), written(other)
    if one.suffix == ".json":
        first, second = map(json.loads, (first, second))
    assert numbers(first, roughly=True) == numbers(second), one.name


def assert_same(one: Path, other: Path, stem: str) -> None:
    """Compare all predictions of two folders; in the second, files have the row's file's name."""
    names = sorted(path.name for path in one.glob("*predictions*"))
    assert len(names) in (2, 4)
    for name in names:
        theirs = other / name.replace("predictions", f"predictions_{stem}")
        assert_same_file(one / name, theirs)


QUESTIONS = {"doc_stride": 8, "max_query_length": 14, "max_answer_length": 9}
CASES: dict[str, tuple[str, Path, Path, dict[str, Any]]] = {
    "labels": ("labels", GLUE, Path("new.csv"), {}),
    "several": ("several", GLUE, Path("new.csv"), {"text_column_name": "review"}),
    "score": ("score", GLUE, Path("new.csv"), {}),
    "tags": ("tags", TASKS / "run_token_classification.py", DATA / "tags/dev.de.conllu", {}),
    "answers": ("answers", TASKS / "run_question_answering.py", DATA / "qa/dev.en.json", QUESTIONS
                | {"version_2_with_negative": True, "null_score_diff_threshold": 0.3}),
    "choices": ("choices", TASKS / "run_multiple_choice.py", DATA / "choice/swag/val.csv", {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_command_answers_as_the_script(case, models, tmp_path, capsys):
    model, script, path, settings = CASES[case]
    (tmp_path / "new.csv").write_text(TEXTS, "utf-8")
    path = tmp_path / path
    more = {"model_type": "bert"} if script == GLUE else {}
    given = {"model_name_or_path": models[model], "test_file": path, "output_dir": tmp_path / "a"}
    given |= {"do_predict": True, "device": "cpu", "max_seq_length": 40} | settings | more
    script_of(script).main(flags(given))
    capsys.readouterr()
    command = flags({"output": tmp_path / "b/c", "max_seq_length": 40, "batch_size": 3} | settings)
    code, out, err = ended(capsys, models[model], path, *command)
    assert code == 0, err
    assert_same(tmp_path / "a", tmp_path / "b/c", path.stem)
    assert out.endswith(f"rows: {tmp_path}/b/c/predictions_{path.stem}.tsv and predictions_"
                        f"{path.stem}.jsonl\n")  # fmt: skip
    rows = len(written(tmp_path / f"b/c/predictions_{path.stem}.jsonl"))
    assert out.startswith(f"predictions of {rows} rows: ")
    if case == "answers":
        best = json.loads((tmp_path / f"b/c/null_odds_{path.stem}.json").read_text())
        assert len(best) == rows


@pytest.mark.parametrize("names", [["00", "01"], ["LABEL_0", "LABEL_1"], ["0", "1"]])
def test_labels_are_spelled_as_the_model_has_them(names, models, tmp_path, capsys):
    model = shutil.copytree(models["labels"], tmp_path / "model")
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": dict(enumerate(names)), "label2id": {}, "num_labels": 2}
    cls = model_class("bert", "ForSequenceClassification")
    cls(cls.config_class.from_dict(config)).save_pretrained(model)
    spellings = [names, ["0", "1"]] if names[0] == "LABEL_0" else [names]
    given = {"model_name_or_path": model, "output_dir": tmp_path / "out", "do_eval": True}
    given |= {"model_type": "bert", "device": "cpu", "validation_file": tmp_path / "a.csv"}
    given |= {"max_seq_length": 40}
    scores = []
    for one, other in spellings:
        (tmp_path / "a.csv").write_text(f"text,label\nof time,{one}\nthe story,{other}\n")
        scores.append(script_of(GLUE).main(flags(given))["dev acc"])
        (tmp_path / "a.csv").write_text("text,label\nof time,000\n")
        with pytest.raises(UserError, match=f"expected a label of {', '.join(names)}, got '000'"):
            script_of(GLUE).main(flags(given))
    assert scores == scores[:1] * len(spellings)
    code, _, err = ended(capsys, model, tmp_path / "a.csv")
    assert code == 0, err
    header, row, _ = written(tmp_path / "predictions_a.tsv")
    assert header[2:] == [f"probability_{name}" for name in names]
    assert row[1] in names


FORMATS = ["inference", "onnx"] if find_spec("paddle2onnx") else ["inference"]


@pytest.fixture(scope="module", params=FORMATS)
def programs(request, models, tmp_path_factory) -> dict[str, Path]:
    """The models as programs, in one format after the other."""
    folders = {}
    for name in ("several", "tags", "answers", "choices"):
        folders[name] = tmp_path_factory.mktemp(f"{request.param}-{name}")
        export_checked(models[name], folders[name], request.param)
    return folders


@pytest.mark.parametrize("case", ["several", "tags", "answers", "choices"])
def test_an_exported_program_answers_as_the_model(case, programs, models, tmp_path):
    _, _, path, settings = CASES[case]
    (tmp_path / "new.csv").write_text(TEXTS, "utf-8")
    for place, folder in ((models[case], "a"), (programs[case], "b")):
        predict_file(
            place, tmp_path / path, tmp_path / folder, FileSettings(**settings), max_length=40
        )
    for found in (tmp_path / "a").iterdir():
        assert_same_file(found, tmp_path / "b" / found.name)


def test_a_program_needs_its_tokenizer(programs, tmp_path, capsys):
    shutil.copytree(programs["several"], tmp_path / "served")
    (tmp_path / "served/vocab.txt").unlink()
    (tmp_path / "a.txt").write_text("a film\n")
    code, out, err = ended(
        capsys, tmp_path / "served", tmp_path / "a.txt", "--output", tmp_path / "new"
    )  # fmt: skip
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "served: expected vocab.txt" in err
    assert {path.name for path in tmp_path.iterdir()} == {"served", "a.txt"}


def test_each_language_has_a_file(models, tmp_path, capsys):
    (tmp_path / "new.csv").write_text(TEXTS, "utf-8")
    code, out, err = ended(
        capsys, models["labels"], tmp_path / "new.csv", "--language_column_name", "lang"
    )
    assert code == 0, err
    assert [line.split(":")[0] for line in out.splitlines()] == [
        "predictions of 2 rows",
        "predictions of 1 rows",
    ]
    assert err == "new.csv: reads text from 'review'\n"
    predict_file(models["labels"], tmp_path / "new.csv")
    whole = written(tmp_path / "predictions_new.jsonl")
    for language, expected in (("en", [whole[0], whole[2]]), ("de", [whole[1]])):
        found = written(tmp_path / f"predictions_new_{language}.jsonl")
        assert numbers(found, roughly=True) == numbers(expected)
    (tmp_path / "new.csv").write_text(TEXTS.replace("de", "../../../evil"), "utf-8")
    with pytest.raises(UserError, match=r"new\.csv:3: expected a language like 'de' or"):
        predict_file(
            models["labels"], tmp_path / "new.csv",
            settings=FileSettings(language_column_name="lang"),
        )  # fmt: skip


TAGGED = {
    "w.conll": "the O\nfilm B-a\n. O\n\nof O\n",
    "w.txt": "the\nfilm\n.\n\nof\n",
    "w.tsv": "the\tO\nfilm\tx\n.\tx\n\nof\tx\n",
    "w.jsonl": '{"words": ["the", "film", "."]}\n{"tokens": ["of"], "tags": ["?"]}\n',
    "t.json": '[{"text": "the film."},\n {"text": "of"}]',
    "t.csv": "id,text\n1,the film.\n2, of\n",
    "t.tsv": "id\ttext\n1\tthe film.\n2\tof\n",
    "t.txt": "the film.\nof\n",
    "end.tsv": "id\ttext\n1\tthe film.\n2\tof\n\n",
    "apart.tsv": "id\tText\n1\tthe film.\n\n2\tof\n",
}


def test_words_are_read_in_every_form(models, tmp_path):
    found = {}
    for name, text in TAGGED.items():
        (tmp_path / name).write_text(text)
        predict_file(models["tags"], tmp_path / name, tmp_path / name.replace(".", "_"))
        stem = name.partition(".")[0]
        rows = written(tmp_path / name.replace(".", "_") / f"predictions_{stem}.jsonl")
        found[name] = [(row["words"], row["tags"]) for row in rows]
    first = found.pop("w.conll")
    assert [words for words, _ in first] == [["the", "film", "."], ["of"]]
    assert [*found.values()] == [first] * len(found)


LEFT = "id\ttext\n1\tthe film\n"
LAYOUTS: list[tuple[str, str, list[tuple[str, ...]]]] = [
    # Columns: of words that a header may have, with tags that the model does not know.
    ("a.tsv", "Question\tNN\n:\t:\n\nPeter\tNNP\n\n", [("Question", ":"), ("Peter",)]),
    ("a.tsv", "Texts\ttext\nare\tbe\n\nIt\tit\n\n", [("Texts", "are"), ("It",)]),
    ("a.tsv", "Texts\ttext\nU.S.\tU.S.\n\n", [("Texts", "U.S.")]),
    ("a.tsv.gz", "EU\tNNP\nrejects\tVBZ\n\n", [("EU", "rejects")]),
    ("a.txt", "Title NN\n: :\n\nPeter NNP\n", [("Title", ":"), ("Peter",)]),
    ("a.txt", "EU NNP\nrejects VBZ\nGerman JJ\n\n", [("EU", "rejects", "German")]),
    ("a.txt", "# sent_id = 1\nthe O\nking B-PER\n\n# text = x\nx O\n", [("the", "king"), ("x",)]),
    ("a.txt", "# sent_id = 1\nthe _ DT\nking _ NN\n\n", [("the", "king")]),
    ("a.txt", "# id 1\nthe\nking\n\n# id 2\nx\n", [("the", "king"), ("x",)]),
    ("a.tsv", "# sent_id = 1\nthe\tDT\nking\tNN\n\n", [("the", "king")]),
    # Texts: a table with a header and texts of several words, or a text a line.
    ("a.tsv", "text\tlabel\ngood\ta\n\nfoo bar\tb\n", [("good",), ("foo", "bar")]),
    ("a.tsv", '"id"\t"text"\n1\t"the film"\n2\tof\n\n', [("the", "film"), ("of",)]),
    ("a.tsv", "id\ttext\n1\t好片\n\n", [("好", "片")]),
    ("a.txt", "# the film\nof the film\n", [("#", "the", "film"), ("of", "the", "film")]),
    ("a.txt", "the film\rwas good\r", [("the", "film"), ("was", "good")]),
    ("a.tsv", LEFT.replace("\n", "\r"), [("the", "film")]),
    ("a.tsv", 'id\ttext\n1\t"the film\ris good"\n', [("the", "film", "is", "good")]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "words"), LAYOUTS)
def test_columns_and_texts_are_told_apart(name, content, words, tmp_path):
    path, raw = tmp_path / name, content.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    config = SimpleNamespace(label_names=("O", "B-PER"))
    items = file_tasks.TaggedWords(FileSettings(), config).read(path)
    assert [item.sample.words for item in items] == words


@pytest.mark.parametrize("bad", [b"\xff x", b"x " * 600_000], ids=["no UTF-8", "overlong"])
def test_texts_that_cannot_be_used_are_named_by_their_rows(bad, tmp_path):
    (tmp_path / "a.tsv").write_bytes(LEFT.encode() + b"2\t" + bad + b"\n3\tof\n")
    config = SimpleNamespace(label_names=("O", "B-PER"))
    items = [*file_tasks.TaggedWords(FileSettings(), config).read(tmp_path / "a.tsv")]
    assert [item.source for item in items] == ["a.tsv:2", "a.tsv:3", "a.tsv:4"]
    assert [isinstance(item, BadRow) for item in items] == [False, True, False]


def test_rows_are_not_held(models, tmp_path, monkeypatch):
    """What was read and is not yet written is never more than a window of batches."""
    (tmp_path / "new.txt").write_text("".join(f"a film {n}\n" for n in range(150)))
    read = written_rows = lag = 0
    original = file_tasks.LabelledTexts.read

    def counted(self: Any, path: Path) -> Iterator[Any]:
        nonlocal read
        read = 0
        for item in original(self, path):
            read += 1
            yield item

    def row(self: Any, item: Any, answer: Any) -> Any:
        nonlocal written_rows, lag
        written_rows += 1
        lag = max(lag, read - written_rows)
        return item.source, answer

    monkeypatch.setattr(file_tasks.LabelledTexts, "read", counted)
    monkeypatch.setattr(file_tasks.LabelledTexts, "row", row)
    found = predict_file(models["labels"], tmp_path / "new.txt", batch_size=2)
    assert found.rows == {"": 150} == {"": written_rows}
    assert 2 <= lag <= 32


SQUAD = '{"data": [{"paragraphs": [{"context": "But Eve did.",\n "qas": [%s]}]}]}'
ASKED = '{"id": "a", "question": "Who?"%s}'
BAD: list[tuple[str, str, str | bytes, str]] = [
    ("labels", "none.csv", "", "none.csv: cannot be read: No such file"),
    ("labels", "a.csv", b"", "a.csv:1: expected rows, got none"),
    ("labels", "a.csv", "text\n", "a.csv:1: expected rows, got none"),
    ("labels", "a.csv", "a long text without any header\nb\n", "a.csv:1: has the columns"),
    ("labels", "a.csv", "x,y\n1,2\n", "a.csv:1: has the columns 'x', 'y'; expected a header"),
    ("labels", "a.csv", "text,id\na,1\nb\n", "a.csv:3: expected 2 columns, got 1"),
    ("labels", "a.csv", 'text\na\n"b\n', "a.csv:3: expected the quote that opens here"),
    ("labels", "a.csv", b"text\na\nb\xff\n", "a.csv:3: expected UTF-8, got byte 0xff"),
    ("labels", "a.csv", b"\xff\xfet\0e\0", "a.csv:1: expected text in UTF-8, got UTF-16"),
    ("labels", "a.txt", "a\nb\0\n", "a.txt:2: expected text, got a NUL byte"),
    ("labels", "a.jsonl", '{"text": "a"}\n\n{"text": \n', "a.jsonl:3: expected an object of JSON"),
    ("labels", "a.jsonl", '{"text": "a"}\n["b"]\n', "a.jsonl:2: expected an object of JSON, got"),
    ("labels", "a.jsonl", '{"text": 3}\n', "a.jsonl:1: expected a text, got 3 in column"),
    ("labels", "a.jsonl", '{"text": "a"}\n{"x": ""}\n', "a.jsonl:2: expected a text, got none in"),
    ("labels", "a.jsonl", '{"text": "\\ud800"}\n', "a.jsonl:1: expected text, got half a char"),
    ("labels", "a.json", '[{"text": "a"},\n{"text"]', "a.json:2: expected an object of JSON"),
    ("labels", "a.xlsx", b"PK\3\4", "a.xlsx: expected a name that ends in .csv"),
    ("labels", "a.csv.gz", gzip.compress(b"text\na\n", mtime=0)[:-5], "expected a whole gzip file"),
    ("tags", "a.conll", "a O\nb\n", "a.conll:2: expected 2 columns, got 1"),
    ("tags", "a.conllu", "1\ta\n", "a.conllu:1: expected 10 columns, got 2"),
    ("tags", "a.conll", "\n\n", "a.conll:1: expected rows, got none"),
    ("tags", "a.conll", b"a O\n\xff O\n", "a.conll:2: expected UTF-8"),
    ("tags", "a.jsonl", '{"words": ["a"], "tags": []}\n', "a.jsonl:1: expected 1 tags, one a word"),
    ("tags", "a.jsonl", '{"words": ["a", 1]}\n', "a.jsonl:1: expected a list of texts"),
    ("answers", "a.json", "[\n]", "a.json:1: expected an object with a list 'data'"),
    ("answers", "a.json", '{"data":\n [,]}', "a.json:2: expected JSON as SQuAD's"),
    ("answers", "a.json", SQUAD % '{"id": "a"}', "a.json:2: question 'a': expected a text as 'qu"),
    ("answers", "a.json", SQUAD % (ASKED % ', "answers": [{"text": "x", "answer_start": 40}]'),
     "a.json:2: question 'a': expected answers in the passage of 12 characters, got one at 40"),
    ("answers", "a.json", SQUAD % ", ".join([ASKED % ""] * 2), "a.json:2: question 'a': expected"),
    ("answers", "a.csv", "id,question\n1,Who?\n", "a.csv:1: expected a column 'context'"),
    ("answers", "a.csv", "question,context\nWho?,\n", "a.csv:2: expected a text as 'context'"),
    ("choices", "a.csv", "context,label\na,1\n", "a.csv: expected choices, in columns like"),
    ("choices", "a.csv", "context,ending0,ending1\na,b,c\na,b,\n \n", "a.csv:3: expected a text"),
    ("choices", "a.jsonl", '{"context": "a", "choices": ["b"]}\n', "a.jsonl:1: expected at least"),
    ("masked", "a.csv", "text\na\n", "is a BertForMaskedLM; expected a model that was fine-tuned"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "name", "content", "problem"), BAD)
def test_what_cannot_be_used_is_one_line(
    model, name, content, problem, models, tmp_path, capsys
):  # fmt: skip
    before = []
    if name != "none.csv":
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        before = [name]
    code, out, err = ended(capsys, models[model], tmp_path / name, "--output", tmp_path / "new")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert problem in err
    assert [path.name for path in tmp_path.iterdir()] == before


def test_models_and_settings_that_do_not_fit(models, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("a film\n")
    before = {*tmp_path.iterdir()}
    new = ("--output", tmp_path / "new")
    for words, problem in (
        ((models["labels"], "--doc_stride", "8"), "--doc_stride: means nothing to"),
        ((models["labels"], "--text_column_name", "x"), "a.txt:1: has no column 'x' (--text_col"),
        ((models["labels"], "--max_length", "99"), "--max_length 99: "),
        ((tmp_path / "none",), "none: there is no such folder"),
        ((tmp_path / "a.txt",), "a.txt: is a file; expected a model, and after it the file to"),
        ((models["labels"], "--colum", "x"), "unrecognized arguments: --colum"),
    ):
        code, out, err = ended(capsys, words[0], tmp_path / "a.txt", *words[1:], *new)
        assert (code, out) == (2, "")
        assert problem in err.splitlines()[-1]
        assert {*tmp_path.iterdir()} == before
    code, _, err = ended(capsys, models["labels"], tmp_path)
    assert (code, err.partition(": is a folder")[0]) == (2, f"error: {tmp_path}")


def test_bad_rows_are_left_out_where_that_is_asked(models, tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"text": "a film"}\n3\n{"text": ""}\n{"text": "the"}\n')
    code, out, err = ended(
        capsys, models["labels"], tmp_path / "a.jsonl", "--on_bad_row", "skip"
    )  # fmt: skip
    assert (code, out.split(":")[0]) == (0, "predictions of 2 rows")
    assert "2 rows that cannot be used are left out, first a.jsonl:2: expected an object" in err
    rows = written(tmp_path / "predictions_a.jsonl")
    assert [row["id"] for row in rows] == ["a.jsonl:1", "a.jsonl:4"]
