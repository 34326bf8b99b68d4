"""The measuring programs that stand alone do run, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.jobs import ROOT
from benchmarks.own_data_memory import measure
from paddlenlp_ext.nn.cpu import compiled


def run(folder: Path, module: str, *flags: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", module, *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert not list(folder.iterdir())
    return ended.stdout


def test_a_step_is_profiled(tmp_path: Path) -> None:
    told = run(tmp_path, "benchmarks.profile_step", "tiny", "--batch_size", "3", "--length", "7")
    assert "tiny, 3 x 7: 2 steps" in told
    assert "MatmulGradNode" in told


def test_what_is_not_read_is_timed(tmp_path: Path) -> None:
    for masked in ((), ("--masked",)):
        flags = ("tiny:3x7", "--rounds", "2", *masked)
        rows = run(tmp_path, "benchmarks.unread_positions", *flags).splitlines()[2:]
        assert [row.split(" | ")[1] for row in rows] == ["training step", "evaluation"]
        assert all(row.startswith("| tiny, 3 x 7 |") and "x** (" in row for row in rows)


def test_padding_is_timed(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    if compiled.kernels() is None:
        pytest.skip("the installation has no kernels")
    given = tmp_path_factory.mktemp("given")
    words = [*"abcdefg"]
    (given / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]))
    texts = [" ".join(words[: 1 + number % 7]) for number in range(70)]
    (given / "texts.tsv").write_text("\n".join(["sentence\tlabel", *texts]))
    flags = (str(given / "texts.tsv"), str(given / "vocab.txt"), "--shape", "tiny")
    told = run(tmp_path, "benchmarks.padding", *flags, "--batches", "2", "--rounds", "1")
    rows = [row.split(" | ") for row in told.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| tiny, training step"] * 4 + ["| tiny, evaluation"] * 4
    padded, packed, by_length, packed_too = (int(row[2]) for row in rows[:4])
    assert packed == packed_too < by_length < padded == 2 * 32 * 9


def test_means_agree_with_paddle_and_are_timed(tmp_path: Path) -> None:
    rows = run(tmp_path, "benchmarks.cpu_means", "--rounds", "1").splitlines()[2:]
    assert len(rows) == 9
    assert all(row.count(" ms |") == 2 for row in rows)


def test_a_walk_lists_what_a_program_calls(tmp_path: Path) -> None:
    script = str(ROOT / "examples/language_model/convbert/get_ft_model.py")
    *files, summary = run(tmp_path, "benchmarks.walk", script, "--help").splitlines()
    assert "paddlenlp_ext/cli/program.py" in files
    assert summary.endswith(" functions")


def test_memory_of_own_data_grows_little_with_the_rows(tmp_path: Path) -> None:
    """The ids are kept on disk, so a row takes its text and what stands for it in Python."""
    found = []
    for rows in (1_000, 31_000):
        (tmp_path / str(rows)).mkdir()
        found.append(measure(tmp_path / str(rows), rows, words=20, steps=1)["peak_mb"])
    assert found[1] - found[0] < 30_000 * 0.003  # 3 kB a row; with 2 million rows it is 1 kB
