"""Which runs are seeds of one thing, and what others are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.reporting.runs import RunRecord, grouped
from tests.reporting.runs import make_run, write_lines


def facts(digest: str = "1" * 16, **settings: object) -> dict[str, Any]:
    """What a run says of itself."""
    data = {"train": {"rows": 9, "digest": digest}, "dev": {"rows": 3}}
    return {"settings": settings, "data": data}


def groups(folder: Path, *runs: tuple[int, dict[str, Any] | None]) -> dict[str, list[str]]:
    """The seeds of each group by its name."""
    made = [
        make_run(folder / f"{place}", seed=seed, facts=told)
        for place, (seed, told) in enumerate(runs)
    ]
    found = grouped([RunRecord.read(one) for one in made])
    assert len({group.name for group in found}) == len(found)
    return {group.name: [run.name for run in group.runs] for group in found}


def test_settings_that_no_signature_has_part_runs(tmp_path: Path) -> None:
    decayed = [facts(weight_decay=decay, batch_size=8) for decay in (0.0, 0.1)]
    runs = [(seed, one) for one in decayed for seed in (1, 2)]
    assert groups(tmp_path, *runs) == {
        "weight_decay 0.0": ["0", "1"],
        "weight_decay 0.1": ["2", "3"],
    }


def test_models_of_one_name_are_told_by_their_folders(tmp_path: Path) -> None:
    paths = [f"/home/u/runs/{name}/model_100" for name in ("plain", "long/er")]
    found = groups(tmp_path, *((1, facts(model_name_or_path=path)) for path in paths))
    assert [*found] == [
        "model_name_or_path plain/model_100",
        "model_name_or_path long/er/model_100",
    ]


@pytest.mark.parametrize("changed", ["seed", "batch_size", "gradient_accumulation_steps"])
def test_what_a_signature_has_parts_no_runs(tmp_path: Path, changed: str) -> None:
    runs = ((seed, facts("1" * 16, **{changed: seed})) for seed in (1, 2, 3))
    assert [*groups(tmp_path, *runs).values()] == [["0", "1", "2"]]


def test_runs_that_do_not_say_their_settings_stand_with_the_others(tmp_path: Path) -> None:
    runs = [(1, facts(weight_decay=0.1)), (2, None), (3, facts(weight_decay=0.1, to_static=False))]
    assert [*groups(tmp_path, *runs).values()] == [["0", "1", "2"]]


def test_other_data_part_runs_and_rows_held_out_by_the_seed_do_not(tmp_path: Path) -> None:
    held_out = [(seed, facts(digest=f"{seed}" * 16)) for seed in (1, 2, 3)]
    assert [*groups(tmp_path / "a", *held_out).values()] == [["0", "1", "2"]]
    two_files = [(seed, facts(digest=data * 16)) for data in "ab" for seed in (1, 2)]
    assert groups(tmp_path / "b", *two_files) == {
        "train data aaaaaaaa": ["0", "1"],
        "train data bbbbbbbb": ["2", "3"],
    }
    again = [(1, facts()), (1, facts())]
    assert [*groups(tmp_path / "c", *again).values()] == [["0", "1"]]


def signed(rate: str, split: str = "train", length: int = 64) -> str:
    return f"minilm|answers/{split}|{split}|acc|bs8|lr{rate}|len{length}|seed1|cpu1"


def test_a_run_in_the_folder_of_an_earlier_one_is_itself(tmp_path: Path) -> None:
    signatures = [
        signed("1e-3", "dev"),
        signed("5e-5", "dev"),
        signed("5e-5", "test", 128),  # of the same run, whose tests are of another length
        "model_60|answers/test|test|acc|len64|cpu1",  # of a model that was there
    ]
    results = [{"signature": one, "metrics": {"acc": 0.5}} for one in signatures]
    folder = make_run(tmp_path / "a", facts={"signature": signed("5e-5")})
    write_lines(folder / "results.jsonl", results)
    run = RunRecord.read(folder)
    assert [line["signature"] for line in run.results] == signatures[1:]
    other = make_run(tmp_path / "b", facts={"signature": signed("1e-3")})
    assert [group.name for group in grouped([run, RunRecord.read(other)])] == ["lr5e-5", "lr1e-3"]
    (folder / "record.json").unlink()  # as before there was one
    run = RunRecord.read(folder)
    assert (run.signature, len(run.results)) == (signatures[2], 4)


def test_what_an_earlier_best_model_got_wrong_is_not_that_of_the_best(tmp_path: Path) -> None:
    outcomes = {
        "best": {"step": 20, "splits": {"dev": {}}},
        "last": {"step": 60, "splits": {"dev": {}}},
    }
    for best, step in ((20, 20), (40, 60)):
        folder = make_run(tmp_path / str(best), facts={"signature": "m|t|dev", "best_step": best})
        (folder / "outcomes.json").write_text(json.dumps(outcomes))
        assert RunRecord.read(folder).outcome()[0] == step


@pytest.mark.parametrize("told", [{"settings": 3, "data": []}, {"data": {"train": 1}}, {}])
def test_what_is_not_as_it_was_written_parts_nothing(tmp_path: Path, told: dict[str, Any]) -> None:
    assert [*groups(tmp_path, (1, told), (1, facts())).values()] == [["0", "1"]]
