"""Shards hold what the algorithm makes, in NVIDIA's layout, whoever makes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining import creation
from paddlenlp_ext.pretraining.bert_shards import LAYOUT, check_rows
from paddlenlp_ext.pretraining.creation import Created, create_shards
from paddlenlp_ext.pretraining.instances import InstanceSettings
from tests.pretraining.words import CLS, MASK, PAD, SEP, UNK, corpus, tokenizer

ROOT = Path(__file__).parents[2]
V = 365
# As NVIDIA DeepLearningExamples writes them and PaddleNLP reads them (paddle.io of BERT shards).
NVIDIA = {
    "input_ids": ("int32", 2),
    "input_mask": ("int8", 2),
    "segment_ids": ("int8", 2),
    "masked_lm_positions": ("int32", 2),
    "masked_lm_ids": ("int32", 2),
    "next_sentence_labels": ("int8", 1),
}
SMALL = InstanceSettings(max_seq_length=29, max_predictions_per_seq=5, dupe_factor=3)


def create(
    folder: Path, settings: InstanceSettings = SMALL, name: str = "train.hdf5", **options
) -> Created:
    if not (folder / "text.txt").exists():
        corpus(folder / "text.txt", 60)
    return create_shards(
        [folder / "text.txt"], tokenizer(folder), folder / name, settings, **options
    )


def columns(*paths: Path) -> dict[str, np.ndarray]:
    files = [h5py.File(path) for path in paths]
    return {name: np.concatenate([file[name][:] for file in files]) for name in NVIDIA}


def test_layout(tmp_path):
    created = create(tmp_path)
    with h5py.File(tmp_path / "train.hdf5") as file:
        assert {name: (str(file[name].dtype), file[name].ndim) for name in file} == NVIDIA
        assert {file[name].compression for name in file} == {"gzip"}
        assert file["input_ids"].shape == (created.instances, 29)
        assert file["masked_lm_ids"].shape == (created.instances, 5)


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("whole_words", [True, False])
def test_rows_are_what_they_say(tmp_path, pairs, whole_words):
    settings = InstanceSettings(
        max_seq_length=29,
        max_predictions_per_seq=5,
        dupe_factor=3,
        whole_word_masking=whole_words,
        next_sentence=pairs,
    )
    created = create(tmp_path, settings)
    rows = columns(tmp_path / "train.hdf5")
    assert check_rows(V, 2)(rows) is None
    ids, mask, places = rows["input_ids"], rows["input_mask"], rows["masked_lm_positions"]
    lengths = mask.sum(1)
    assert (ids[:, 0] == CLS).all()
    assert (np.take_along_axis(ids, lengths[:, None] - 1, 1) == SEP).all()
    assert ((ids == PAD) == (mask == 0)).all()
    assert ((ids == SEP).sum(1) == (2 if pairs else 1)).all()
    # The second text begins after the first separator.
    separators = (ids == SEP).astype(int)
    second = (np.cumsum(separators, axis=1) - separators > 0) & (mask == 1)
    assert (rows["segment_ids"] == second).all()
    count = (places > 0).sum(1)
    assert (count <= np.clip(np.rint(lengths * 0.15), 1, 5)).all()
    assert (count > 0).mean() > 0.98
    for row in range(0, len(ids), 7):
        listed = places[row, : count[row]]
        assert (np.diff(listed) > 0).all()
        assert not places[row, count[row] :].any()
        assert not rows["masked_lm_ids"][row, count[row] :].any()
        hidden = ids[row, listed]
        assert np.isin(
            hidden[hidden != rows["masked_lm_ids"][row, : count[row]]], range(4, V)
        ).all()
    assert not np.isin(rows["masked_lm_ids"][places > 0], [PAD, UNK, CLS, SEP, MASK]).any()
    random_next = int(rows["next_sentence_labels"].sum())
    assert created[1:5] == (len(ids), lengths.sum(), count.sum(), random_next)
    assert (random_next > 0) == pairs
    with h5py.File(tmp_path / "train.hdf5") as file:
        assert file.attrs["next_sentence_prediction"] == pairs


def test_unmasked_rows_are_the_corpus(tmp_path):
    """Put the tokens back where they were: every sentence is there, once a round."""
    settings = InstanceSettings(
        max_seq_length=400, max_predictions_per_seq=60, dupe_factor=2, short_seq_prob=0.0
    )
    corpus(tmp_path / "text.txt", 9, sentences=(3, 20))
    create(tmp_path, settings)
    rows = columns(tmp_path / "train.hdf5")
    ids, places = rows["input_ids"], rows["masked_lm_positions"]
    row, column = np.nonzero(places)
    ids[row, places[row, column]] = rows["masked_lm_ids"][row, column]
    texts = [" ".join(map(str, tokens)) for tokens in ids]
    words = tokenizer(tmp_path)
    for document in (tmp_path / "text.txt").read_text().split("\n\n"):
        for sentence in document.splitlines():
            tokens = words(sentence, add_special_tokens=False)["input_ids"]
            assert sum(" ".join(map(str, tokens)) in text for text in texts) >= 2


def test_statistics_of_a_large_corpus(tmp_path):
    """100,000 examples from text to shard: masks and pairs within binomial bounds."""
    corpus(tmp_path / "text.txt", 240, sentences=(40, 60))
    settings = InstanceSettings(max_seq_length=40, max_predictions_per_seq=20, dupe_factor=30)
    created = create(tmp_path, settings)
    assert created.instances > 100_000
    # Rounding to whole tokens is the only difference.
    assert abs(created.masked / created.tokens - 0.15) < 0.002
    rows = columns(tmp_path / "train.hdf5")
    places, originals = rows["masked_lm_positions"], rows["masked_lm_ids"]
    became = np.take_along_axis(rows["input_ids"], places.astype(np.int64), 1)[places > 0]
    was = originals[places > 0]
    spread = 4.5 / np.sqrt(len(was))
    assert abs((became == MASK).mean() - 0.8) < spread * 0.4
    assert abs((became == was).mean() - 0.1 - 0.1 / (V - 5)) < spread * 0.3
    # A last sentence alone has nothing to follow it; other second texts are random in half.
    share = created.random_next / created.instances
    assert 0.5 - 4.5 * 0.5 / np.sqrt(created.instances) < share < 0.53


def test_processes_and_repetition_change_nothing(tmp_path):
    """Blocks are small, so that there are many, and worked on out of turn."""
    options = {"block_bytes": 4000, "num_shards": 3}
    one = create(tmp_path, name="one.hdf5", **options)
    again = create(tmp_path, name="again.hdf5", **options)
    two = create(tmp_path, name="two.hdf5", processes=2, **options)
    content = [[path.read_bytes() for path in made.paths] for made in (one, again, two)]
    assert content[0] == content[1] == content[2]
    other = create(
        tmp_path, InstanceSettings(29, 5, dupe_factor=3, random_seed=1), "other.hdf5", **options
    )
    assert (columns(*other.paths)["input_ids"][:50] != columns(*one.paths)["input_ids"][:50]).any()


def test_rounds_and_blocks_differ(tmp_path):
    """The same text twice is not cut and masked the same: each has its own random stream."""
    once = corpus(tmp_path / "once.txt", 12, sentences=(10, 11)).read_text()
    (tmp_path / "text.txt").write_text(f"{once}\n{once}")
    create(tmp_path, block_bytes=len(once))
    rows = columns(tmp_path / "train.hdf5")["input_ids"]
    assert len(np.unique(rows, axis=0)) > 0.99 * len(rows)


@pytest.mark.parametrize("count", [1, 3, 11])
def test_rows_are_dealt_out_to_shards(tmp_path, count):
    whole = create(tmp_path, name="whole.hdf5")
    shards = create(tmp_path, name="train.hdf5", num_shards=count, block_bytes=2 << 20)
    assert len(shards.paths) == count
    expected = columns(*whole.paths)
    for number, path in enumerate(sorted(shards.paths)):
        for name, values in columns(path).items():
            np.testing.assert_array_equal(values, expected[name][number::count])


def test_memory_holds_a_few_blocks_only(tmp_path, monkeypatch):
    """The corpus is read on only when examples of earlier blocks were written."""
    corpus(tmp_path / "text.txt", 60)
    read = written = most = 0
    original = creation.read_blocks

    def counted(*args):
        nonlocal read, most
        for block in original(*args):
            read += 1
            most = max(most, read - written)
            yield block

    def progress(size):
        nonlocal written
        written += 1

    monkeypatch.setattr(creation, "read_blocks", counted)
    create(tmp_path, processes=2, block_bytes=1000, on_progress=progress)
    assert written == read > 20
    assert most <= 4


def test_a_single_document_is_refused_for_pairs_only(tmp_path):
    corpus(tmp_path / "text.txt", 1)
    with pytest.raises(DataError, match=r"single document.*`no_next_sentence`"):
        create(tmp_path)
    assert not list(tmp_path.glob("*.hdf5*"))
    assert not list(tmp_path.glob(".train*"))
    assert create(tmp_path, InstanceSettings(29, 5, next_sentence=False)).instances


def test_shards_of_another_number_are_refused(tmp_path):
    create(tmp_path, num_shards=4)
    with pytest.raises(DataError, match=r"train_3\.hdf5: is of an earlier run"):
        create(tmp_path, num_shards=3)
    create(tmp_path, num_shards=4)


FULL = """
import resource, signal, sys
from pathlib import Path
from paddlenlp_ext.cli.program import run
from tests.pretraining.test_creation import create

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
run(lambda: create(Path(sys.argv[1]), block_bytes=4000))
"""


@pytest.mark.parametrize("size", [4000, 9000, 60_000])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, size):
    """At any size; in a process of its own, since the HDF5 library can crash at its end."""
    whole = create(tmp_path).paths[0]
    before = whole.read_bytes()
    assert len(before) > 60_000
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), str(size)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {whole}: cannot be written: File too large; make room")
    assert whole.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "train" in path.name] == ["train.hdf5"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("folder", "is a folder; name a file"),
        ("text.txt/train.hdf5", "cannot be written: .*write elsewhere"),
    ],
)
def test_places_that_cannot_be_written_are_named(tmp_path, name, problem):
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=f"{name}: {problem}"):
        create(tmp_path, name=name)
    assert not list(tmp_path.glob(".*"))


def test_layouts_agree():
    assert {name: column.dtype for name, column in LAYOUT.items()} == {
        name: dtype for name, (dtype, _) in NVIDIA.items()
    }
