"""What is one run and what another: products, totals, and what names and paths stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.training.identity import RunIdentity

SETTINGS: dict[str, Any] = {
    "batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_steps": -1,
    "num_train_epochs": 3,
    "seed": 5,
}


def identity(processes: int = 1, data: str = "", **changes: Any) -> RunIdentity:
    return RunIdentity.of_run(SETTINGS | changes, processes, data)


@pytest.mark.parametrize("split", [(8, 2, 1), (16, 1, 1), (4, 2, 2), (4, 1, 4)])
def test_a_global_batch_may_be_divided_in_any_way(split):
    size, processes, accumulation = split
    now = identity(processes, batch_size=size, gradient_accumulation_steps=accumulation)
    assert now.differences(identity(2), steps_per_epoch=7) == []


def test_another_product_is_said_with_all_factors_of_both():
    assert identity(1).differences(identity(2)) == [
        "`batch_size` 8 x 2 processes x 1 = 16 (now 8 x 1 process x 1 = 8)"
    ]


def test_the_length_is_the_number_of_updates_however_it_was_given():
    by_steps = identity(max_steps=21, num_train_epochs=99)
    assert by_steps.differences(identity(), steps_per_epoch=7) == []
    assert by_steps.differences(identity(), steps_per_epoch=6) == ["18 steps in all (now 21)"]
    assert by_steps.differences(identity()) == []  # before the data are read
    with pytest.raises(UserError, match=r"`num_train_epochs` 0: .*`max_steps` above 0"):
        identity(num_train_epochs=0).total_steps(7)


def test_settings_that_only_one_run_has_differ():
    assert identity(task="x").differences(identity()) == ["`task` None (now 'x')"]
    assert identity().differences(identity(task="x")) == ["`task` 'x' (now None)"]
    # The first version recorded only the flags of its scripts.
    assert identity(layerwise_decay=1.0).differences(identity()) == []
    assert identity(seed=6).differences(identity()) == ["`seed` 5 (now 6)"]


def test_data_are_compared_once_they_are_known():
    assert identity().differences(identity(data="a")) == []
    assert identity(data="b").differences(identity(data="a")) == ["data of digest a (now b)"]


def source(name: str) -> RunIdentity:
    return identity(model_name_or_path=name)


def test_paths_are_compared_by_what_they_lead_to(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "x")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    saved = source("x")
    names = ("x", "./x/", str(tmp_path / "x"), "../" + tmp_path.name + "/x", "~/x", "link")
    for name in names:
        assert source(name).differences(saved) == [], name
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert source("../x").differences(saved) == []
    assert len(source("x").differences(saved)) == 1
    monkeypatch.chdir(tmp_path)
    Path("x").rmdir()  # the run that is continued does not need it
    assert source("./x").differences(saved) == []


def test_a_preset_is_no_folder_of_its_name(tmp_path, monkeypatch):
    saved = source("bert-base-uncased")
    monkeypatch.chdir(tmp_path)
    assert source("bert-base-uncased").differences(saved) == []
    (tmp_path / "bert-base-uncased").mkdir()
    assert len(source("./bert-base-uncased").differences(saved)) == 1


def test_names_of_a_task_are_compared_as_the_scripts_read_them():
    saved = identity(task_name="SST2")
    for name in ("SST-2", "sst-2", "sst_2"):
        assert identity(task_name=name).differences(saved) == []
    assert identity(task_name="STS-B").differences(saved) == ["`task_name` 'SST2' (now 'STS-B')"]


def test_a_manifest_of_the_first_version_is_read():
    manifest = {
        "settings": {"train_batch_size": 8, "gradient_accumulation_steps": 2, "shards": "a"},
        "environment": {"processes": 3},
        "position": {"step": 1, "evaluations": 0, "epoch": 0, "row": 48, "data": ""},
    }
    saved = RunIdentity.of_saved(manifest)
    assert (saved.batch.rows, saved.data) == (48, "a")
    assert set(saved.settings) == {"batch_size", "gradient_accumulation_steps"}


NEW = [("skip_unread_positions", True), ("compiled_layers", compiled.kernels() is not None)]


@pytest.mark.parametrize(("name", "default"), NEW)
def test_what_is_left_open_is_as_in_the_run_that_is_continued(name, default):
    undecided = identity(**{name: None})
    new = undecided.continuing(None)
    assert new.settings[name] is default
    for value in (True, False):
        saved = identity(**{name: value})
        again = undecided.continuing(saved)
        assert again.settings[name] is value
        assert again.differences(saved) == []
    older = identity()  # of before there was the setting
    assert undecided.continuing(older).settings[name] is False
    assert undecided.continuing(older).differences(older) == []
    given = identity(**{name: True}).continuing(older)
    assert given.differences(older) == [f"`{name}` False (now True)"]
    assert older.continuing(None) == older  # and where nothing was left open
