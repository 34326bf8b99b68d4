"""The script that makes pretraining data, on the sample corpus."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import pytest

from tests.docs.test_readmes import script_of
from tests.scripts import pretraining_run
from tests.scripts.refusals import refused
from tests.scripts.test_bert_pretraining import CREATE, SAMPLE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's shape and vocabulary."""
    path = tmp_path_factory.mktemp("pretraining")
    pretraining_run.prepare(path)
    return path


def test_creating_data(folder, tmp_path, capsys):
    create = script_of(CREATE).main
    words = ["--input_file", str(SAMPLE / "sample_text_held_out.txt"), "--dupe_factor", "2"]
    words += ["--output_file", str(tmp_path / "out/train.hdf5"), "--max_seq_length", "40"]
    made = create([*words, "--bert_model", str(folder / "model")])
    line = capsys.readouterr().out
    assert re.fullmatch(
        r"\S+train\.hdf5: \d+ instances, \d+ tokens, \d+ masked \(1[45]\.\d\d%\), \d+ random next "
        r"sentences\n",
        line,
    )
    lower = (tmp_path / "out/train.hdf5").read_bytes()
    with h5py.File(tmp_path / "out/train.hdf5") as file:
        assert len(file["input_ids"]) == made.instances
    # The flags of the vocabulary lead to the same, and without lower-casing to another.
    vocabulary = ["--vocab_file", str(folder / "model/vocab.txt")]
    create([*words, *vocabulary])
    assert (tmp_path / "out/train.hdf5").read_bytes() == lower
    create([*words, *vocabulary, "--no_lower_case"])
    assert (tmp_path / "out/train.hdf5").read_bytes() != lower


def test_a_folder_is_no_output_file(folder, tmp_path):
    words = ["--input_file", str(SAMPLE / "sample_text_held_out.txt"), "--bert_model"]
    words += [str(folder / "model"), "--output_file", str(tmp_path)]
    with refused(r"is a folder; name a file \(\S+/train\.hdf5\)$"):
        script_of(CREATE).main(words)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--max_seq_length", "4"], "expected at least 5"),
        (["--masked_lm_prob", "15"], "expected a number from 0 to 1, got '15'"),
        (["--output_file", ""], "--output_file: expected a path, got nothing"),
        (["--random_seed", "-1"], "expected a whole number of at least 0, got '-1'"),
    ],
)
def test_bad_flags_of_creating_data(flags, message, capsys):
    with pytest.raises(SystemExit):
        script_of(CREATE).parse_args(["--input_file", "x", "--output_file", "y", *flags])
    assert message in capsys.readouterr().err
