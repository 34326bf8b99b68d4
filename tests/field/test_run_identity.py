"""A run is the same one however its batch is divided and its paths and names are spelled."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from tests.scripts import test_bert_run_glue as bert

RUN: dict[str, Any] = {"num_train_epochs": 2, "save_steps": 4}  # 10 updates of 8 rows


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert.tiny_bert(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def whole(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    bert.main(encoder, folder, **RUN)
    return folder


def stopped(whole: Path, folder: Path) -> Path:
    """The run as if it had ended after step 4."""
    shutil.copytree(whole, folder)
    for name in ("model_8", "model_10", "latest"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def resumed(encoder: Path, folder: Path, **changes: Any) -> None:
    bert.main(encoder, folder, resume_from_checkpoint="latest", **(RUN | changes))


def is_the_same(folder: Path, whole: Path) -> None:
    rows, expected = bert.history(folder), bert.history(whole)
    assert [row["step"] for row in rows] == [row["step"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], abs=1e-4)
        assert row.get("learning_rate") == wanted.get("learning_rate")
    assert {"model_4", "model_8", "model_10"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("size", "accumulation"), [(4, 2), (2, 4), (1, 8)])
def test_accumulated_batches_may_take_the_place_of_rows(
    size: int, accumulation: int, encoder: Path, whole: Path, tmp_path: Path
) -> None:
    folder = stopped(whole, tmp_path / "out")
    resumed(encoder, folder, batch_size=size, gradient_accumulation_steps=accumulation)
    is_the_same(folder, whole)


def test_processes_may_take_the_place_of_rows_and_back(
    encoder: Path, whole: Path, tmp_path: Path
) -> None:
    folder = stopped(whole, tmp_path / "out")
    two = ("-m", "paddle.distributed.launch", "--log_dir", str(tmp_path / "log"))
    flags = RUN | {"batch_size": 4, "resume_from_checkpoint": "latest"}
    done = bert.launch(bert.arguments(encoder, folder, **flags), *two, "--nproc_per_node", "2")
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-500:]
    is_the_same(folder, whole)
    for name in ("model_10", "latest"):  # it stands at step 8, saved by two processes
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    resumed(encoder, folder)
    is_the_same(folder, whole)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch_size": 4}, r"8 x 1 process x 1 = 8 \(now 4 x 1 process x 1 = 4\)"),
        ({"gradient_accumulation_steps": 2}, r"= 8 \(now 8 x 1 process x 2 = 16\)"),
        ({"batch_size": 12, "gradient_accumulation_steps": 2}, r"= 24\)"),
        ({"num_train_epochs": 3}, r"10 steps in all \(now 15\)"),
        ({"max_steps": 9}, r"10 steps in all \(now 9\)"),
        ({"task_name": "QNLI"}, r"`task_name` 'RTE' \(now 'QNLI'\)"),
    ],
)
def test_another_product_or_length_is_refused_with_both(
    changes: dict[str, Any], said: str, encoder: Path, whole: Path, tmp_path: Path
) -> None:
    folder = stopped(whole, tmp_path / "out")
    before = (folder / "history.jsonl").read_bytes()
    with pytest.raises(UserError, match=said):
        resumed(encoder, folder, **changes)
    assert (folder / "history.jsonl").read_bytes() == before
    assert not (folder / "model_8").exists()


@pytest.mark.parametrize("spelling", ["{}/", "{}/../encoder", "relative", "~/encoder", "link"])
@pytest.mark.parametrize("task", ["rte", "Rte"])
def test_the_same_thing_spelled_otherwise_is_the_same_run(
    spelling: str, task: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(encoder, tmp_path / "encoder")
    bert.main(folder, tmp_path / "out", max_steps=2, save_steps=1)
    for name in ("model_2", "latest"):
        (tmp_path / "out" / name).rename(tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(folder)
    name = {"relative": os.path.relpath(folder), "link": str(tmp_path / "link")}.get(spelling)
    flags = {"max_steps": 2, "save_steps": 1, "task_name": task, "resume_from_checkpoint": "latest"}
    bert.main(name or spelling.format(folder), tmp_path / "out", **flags)
    assert (tmp_path / "out/model_2").is_dir()
