"""The sample files have the official layouts, balanced labels and the oddities of real files."""

import importlib.util
import io
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from paddlenlp_ext.tasks.glue import GLUE, read_examples

DATA = Path(__file__).parents[2] / "data"
SMALL = [key for key in GLUE if key != "sst-2"]

# Columns of the official files. (MNLI: 12 in train, 16 in dev.)
MNLI = ["index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse"]
MNLI += ["sentence1_parse", "sentence2_parse", "sentence1", "sentence2", "label1"]
VOTES = ["label2", "label3", "label4", "label5"]
HEADERS = {
    "SST-2": ["sentence", "label"],
    "MRPC": ["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"],
    "STS-B": ["index", "genre", "filename", "year", "old_index", "source1", "source2"],
    "QQP": ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"],
    "QNLI": ["index", "question", "sentence", "label"],
    "RTE": ["index", "sentence1", "sentence2", "label"],
}
HEADERS["STS-B"] += ["sentence1", "sentence2", "score"]
TEST_HEADERS = {
    "MRPC": ["index", *HEADERS["MRPC"][1:]],
    "STS-B": HEADERS["STS-B"][:-1],
    "QQP": ["id", "question1", "question2"],
    "MNLI": MNLI[:-1],
}
COUNTS = {"SST-2": (4000, 600), "MNLI": (45, 24, 24)}


def splits(*keys):
    return [(GLUE[key], split) for key in keys for split in GLUE[key].splits]


def lines(task, split):
    data = (DATA / "glue" / task.name / f"{split}.tsv").read_bytes()
    assert data.endswith(b"\n")
    return [line.split("\t") for line in data.decode().removesuffix("\n").split("\n")]


@pytest.mark.parametrize(("task", "split"), splits(*GLUE))
def test_layout_is_the_official_one(task, split):
    header, *rows = lines(task, split)
    if task.name == "CoLA":
        assert all(
            len(row) == 4 and row[2] == ("" if row[1] == "1" else "*") for row in [header, *rows]
        )
    elif task.name == "MNLI":
        votes = VOTES if split != "train" else []
        assert header == [*MNLI, *votes, "gold_label"]
        assert all(Counter(row[10:-1]).most_common(1)[0][0] == row[-1] for row in rows)
    else:
        assert header == HEADERS[task.name]


@pytest.mark.parametrize("task", GLUE.values(), ids=list(GLUE))
def test_counts_are_those_of_the_readme_and_no_row_is_in_two_splits(task):
    read = {split: read_examples(task, split, DATA / "glue") for split in task.splits}
    counts = tuple(map(len, read.values()))
    assert counts == COUNTS.get(task.name, (40, 24))
    table = (DATA / "README.md").read_text("utf-8")
    (row,) = [line for line in table.splitlines() if line.startswith(f"| `{task.name}`")]
    stated = row.split("|")[3].replace(",", "").replace("+", "").split()
    assert tuple(map(int, stated)) == counts
    texts = [{(one.text_a, one.text_b) for one in examples} for examples in read.values()]
    assert sum(map(len, texts)) == len(set().union(*texts)) == sum(counts)


@pytest.mark.parametrize("task", GLUE.values(), ids=list(GLUE))
def test_rows_to_predict_have_official_columns_and_are_in_no_other_split(task):
    known = {
        (one.text_a, one.text_b)
        for split in task.splits
        for one in read_examples(task, split, DATA / "glue")
    }
    for split, table in task.unlabelled.items():
        header, *rows = lines(task, split)
        assert header == TEST_HEADERS.get(task.name, ["index", *table.text])
        assert [row[0] for row in rows] == [str(number) for number in range(12)]
        found = {(one.text_a, one.text_b) for one in read_examples(task, split, DATA / "glue")}
        assert len(found) == 12
        assert not found & known
        known |= found


@pytest.mark.parametrize(("task", "split"), splits(*GLUE))
def test_labels_are_balanced(task, split):
    labels = [example.label for example in read_examples(task, split, DATA / "glue")]
    if task.labels is None:
        assert all(sum(low <= x <= low + 1 for x in labels) >= 3 for low in range(5))
        assert min(labels) == 0
        assert max(labels) == 5
    else:
        assert set(Counter(labels).values()) == {len(labels) / len(task.labels)}


@pytest.mark.parametrize("key", SMALL)
def test_oddities_of_real_files_are_there(key):
    everything = [
        one for split in GLUE[key].splits for one in read_examples(GLUE[key], split, DATA / "glue")
    ]
    texts = [text for one in everything for text in (one.text_a, one.text_b or "")]
    assert any('"' in text for text in texts)
    assert any(text.count('"') % 2 for text in texts), "a lone quotation mark"
    assert any("'" in text for text in texts)
    assert any(not text.isascii() for text in texts)
    assert any(any(map(str.isdigit, text)) for text in texts)
    assert max(map(len, texts)) > 180


@pytest.fixture
def make_sst2():
    spec = importlib.util.spec_from_file_location("make_sst2", DATA / "make_sst2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's not life affirming.", "it 's not life affirming ."),
        ("I can't, won't and   cannot wait!", "i ca n't , wo n't and can not wait !"),
        ("''Big Bad Love'' isn't.", "`` big bad love '' is n't ."),
        ("They call it 'bold.' In 2002...", "they call it ` bold . ' in 2002 ..."),
        (
            "Mr. Clooney &amp; J.K. Rowling's 10,000 fans",
            "mr. clooney & j.k. rowling 's 10,000 fans",
        ),
        ("The farmers' Café (1997): 90’s fun", "the farmers ' café ( 1997 ) : 90 's fun"),
    ],
)
def test_sentences_are_written_as_in_sst2(make_sst2, text, tokens):
    assert make_sst2.tokenized(text) == tokens


def test_clear_sentences_are_chosen_once_from_the_published_archive(make_sst2, monkeypatch):
    def archive(name, data):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        return packed.getvalue()

    rows = [
        f"{n}\t{rating}\tFilm {n} is long." for n, rating in enumerate([2, -2, 1.4, -1.6, 3, 1.5])
    ]
    rows += ["7\t-3\tfilm 0 is 'long'"]  # film 0 again, but for punctuation
    study = archive(make_sst2.RATINGS, ("\r\n".join(rows) + "\r\n").encode())
    ratings = make_sst2.read_ratings(archive(make_sst2.MEMBER, study))
    monkeypatch.setattr(make_sst2, "SIZES", {"train": 2, "dev": 2})
    made = make_sst2.make_splits(ratings)
    assert {split: sorted(label for _, label in rows) for split, rows in made.items()} == {
        "train": [0, 1],
        "dev": [0, 1],
    }
    chosen = [sentence for rows in made.values() for sentence, _ in rows]
    assert len(set(chosen)) == 4
    assert set(chosen) <= {f"film {n} is long ." for n in (0, 1, 3, 4, 5)}
