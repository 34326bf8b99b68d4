"""The best model, early stopping, growing runs: exact under resume, and with several processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.training.events import Evaluated
from tests.training.test_processes import results, start
from tests.training.tiny_task import encoder, train

ENDING: dict[str, Any] = {"metric_for_best_model": "eval_loss", "early_stopping_patience": 2}
ALL: dict[str, Any] = ENDING | {
    "lr_scheduler_type": "cosine", "warmup_steps": 2, "label_smoothing_factor": 0.1,
    "class_weights": "balanced", "freeze_embeddings": True, "freeze_layers": 1,
    "weight_decay": 0.1, "layerwise_decay": 0.8, "keep_checkpoints": 1, "trim_vocab": True,
}  # fmt: skip


class Stop(Exception):  # noqa: N818  (not an error)
    """Ends a run at a chosen event, as a kill does."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    encoder(tmp_path / "encoder")
    return tmp_path


def folders(output: Path) -> set[str]:
    return {path.name for path in output.glob("model_*")}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    times = ("seconds", "date")
    return [{name: row[name] for name in row if name not in times} for row in rows]


def by_step(evaluations: list[Any]) -> dict[int, float]:
    """The mean loss of both splits of each step."""
    found: dict[int, list[float]] = {}
    for step, loss, _ in evaluations:
        found.setdefault(step, []).append(loss)
    return {step: sum(values) / 2 for step, values in found.items()}


def test_a_run_ends_when_no_evaluation_was_better_for_too_long(folder, capsys):
    # Which evaluation is the best depends on how layers are computed.
    how = {"lr_scheduler_type": "constant", "compiled_layers": False}
    whole = train(folder, output="whole", **how)
    losses = by_step(whole["evaluations"])
    assert len(whole["losses"]) == 20
    capsys.readouterr()
    stopped = train(folder, **how, **ENDING)
    seen = by_step(stopped["evaluations"])
    top = min(seen, key=seen.__getitem__)
    assert [*seen][-3] == top  # two evaluations later
    assert seen == {step: losses[step] for step in seen}
    assert len(seen) < len(losses)
    error = capsys.readouterr().err
    line = f"ends early, at step {top + 4}: no evaluation was better in the last 2 than that of"
    assert f"{line} step {top} " in error
    assert stopped["chosen"] == f"model_{top}"
    assert (folder / "out/best").read_text() == f"model_{top}\n"
    assert (folder / "out/latest").read_text() == f"model_{top + 4}\n"
    recorded = lines(folder / "out/results.jsonl")
    assert [row["step"] for row in recorded] == [top + 4] * 2
    assert "|ep4|constant|patience2-eval_loss|len9|" in recorded[0]["signature"]

    again = train(folder, lr_scheduler_type="constant", **ENDING)
    assert again["losses"] == {}
    assert again["chosen"] == stopped["chosen"]
    assert line in capsys.readouterr().err
    # With more patience it goes on as if it had not stopped.
    patient = ENDING | {"early_stopping_patience": 99}
    rest = train(folder, lr_scheduler_type="constant", **patient)
    assert {**stopped["losses"], **rest["losses"]} == whole["losses"]
    assert rest["digest"] == whole["digest"]


def test_the_best_is_known_by_any_metric(folder, capsys):
    whole = train(folder, output="loss", metric_for_best_model="loss", keep_checkpoints=1)
    losses = by_step(whole["evaluations"])
    top = min(losses, key=losses.__getitem__)
    assert whole["chosen"] == f"model_{top}"
    assert folders(folder / "loss") == {f"model_{top}", "model_20"}
    default = train(folder, output="acc")
    accuracies: dict[int, float] = {}
    for step, _, acc in default["evaluations"]:
        accuracies[step] = accuracies.get(step, 0) + acc
    first_best = max(accuracies, key=accuracies.__getitem__)
    assert (folder / "acc/best").read_text() == f"model_{first_best}\n"
    # The run is judged anew, by the scores of its history, and may end with its last model.
    assert train(folder, output="acc", metric_for_best_model="loss")["chosen"] == f"model_{top}"
    capsys.readouterr()
    assert train(folder, output="acc", load_best_model_at_end=False)["chosen"] == "model_20"
    said = capsys.readouterr().err
    numbers = [
        ", ".join(
            f"{row['split']} {name} {value:.4f}"
            for row in lines(folder / "acc/history.jsonl")
            if "split" in row and row["step"] == step
            for name, value in row["metrics"].items()
        )
        for step in (20, first_best)
    ]
    assert first_best < 20
    expected = f"result:  step 20 is last: {numbers[0]}; step {first_best} is best: {numbers[1]}\n"
    assert expected + f"model:   {folder / 'acc/model_20'}\n" in said


def test_a_metric_that_is_not_there_costs_nothing(folder):
    message = (
        r"`metric_for_best_model`: there is no accuracy; give one of acc, precision, recall, f1, "
        r"acc and f1, loss; `resume_from_checkpoint` latest goes on after step 2"
    )
    with pytest.raises(UserError, match=message):
        train(folder, metric_for_best_model="accuracy")
    rest = train(folder, metric_for_best_model="acc_and_f1")
    assert min(rest["losses"]) == 3
    assert "model_2" in folders(folder / "out")


def test_all_settings_together_continue_bit_for_bit(folder):
    whole = train(folder, output="whole", **ALL)
    last = max(whole["losses"])
    assert last < 20  # it stopped early
    events = []
    for stop in range(4, 2 * last, 6):

        def on_event(event: object, _: object, stop: int = stop) -> None:
            events.append(event)
            if len(events) == stop:
                raise Stop

        with pytest.raises(Stop):
            train(folder, on_event, output=f"run_{stop}", **ALL)
        events.clear()
        rest = train(folder, output=f"run_{stop}", **ALL)
        assert rest["digest"] == whole["digest"]
        assert rest["chosen"] == whole["chosen"]
        assert rest["losses"].items() <= whole["losses"].items()
        output, expected = folder / f"run_{stop}", folder / "whole"
        for name in ("best", "latest"):
            assert (output / name).read_text() == (expected / name).read_text()
        for name in ("results.jsonl", "history.jsonl"):
            found = without_times(lines(output / name))
            assert found == without_times(lines(expected / name)), name
        for path in expected.glob("model_*/optimizer.safetensors"):
            assert (output / path.relative_to(expected)).read_bytes() == path.read_bytes()
        shutil.rmtree(output)


def test_what_the_weights_depend_on_must_match_and_older_checkpoints_continue(folder):
    def stop(event: Any, _: object) -> None:
        if isinstance(event, Evaluated) and event.progress.evaluations == 2:
            raise Stop

    with pytest.raises(Stop):
        train(folder, stop)
    for name in ("lr_scheduler_type", "label_smoothing_factor", "class_weights", "freeze_layers"):
        with pytest.raises(UserError, match=rf"was saved with `{name}` .* \(now "):
            train(folder, **{name: ALL[name]})
    # Of before there were such settings.
    path = folder / "out/model_2/manifest.json"
    from paddlenlp_ext.training import folders as whole_folders
    from paddlenlp_ext.training.identity import BEFORE

    manifest = whole_folders.read_manifest(path.parent)
    for name in BEFORE:
        del manifest["settings"][name]
    path.write_text(whole_folders._manifest_text(manifest))
    with pytest.raises(UserError, match=r"`skip_unread_positions` False \(now True\)"):
        train(folder, skip_unread_positions=True)
    with pytest.raises(UserError, match=r"`lr_scheduler_type` 'linear' \(now 'cosine'\)"):
        train(folder, lr_scheduler_type="cosine")
    assert min(train(folder)["losses"]) == 3


def test_weights_of_a_file_are_compared_by_what_it_holds(folder, tmp_path):
    def stop(event: Any, _: object) -> None:
        if event.step == 3:
            raise Stop

    (tmp_path / "weights").write_text("even\t1\nodd\t2\n")
    with pytest.raises(Stop):
        train(folder, stop, class_weights=str(tmp_path / "weights"))
    (tmp_path / "others").write_text('{"odd": 2.0, "even": 1}')
    assert train(folder, class_weights=str(tmp_path / "others"))["losses"]
    (tmp_path / "others").write_text('{"odd": 3.0, "even": 1}')
    with pytest.raises(UserError, match=r"`class_weights` {'odd': 2.0, 'even': 1.0} \(now"):
        train(folder, class_weights=str(tmp_path / "others"))


def test_a_run_that_grows_may_be_killed(folder, capsys):
    whole = train(folder, output="linear")
    train(folder, output="grown", num_train_epochs=2)
    capsys.readouterr()

    def stop(event: Any, _: object) -> None:
        if event.step == 13:
            raise Stop

    shutil.copytree(folder / "grown", folder / "again")
    grown = train(folder, output="grown")
    assert "as in a linear schedule of 20 steps, at 0.0150000000" in capsys.readouterr().err
    assert grown["rates"] == whole["rates"][10:]
    assert grown["losses"].keys() == {*range(11, 21)}
    with pytest.raises(Stop):
        train(folder, stop, output="again")
    capsys.readouterr()
    assert train(folder, output="again")["digest"] == grown["digest"]
    # Results say that the run has grown, also when it was killed since.
    assert "|grown10|" in lines(folder / "again/results.jsonl")[-1]["signature"]
    assert "was complete" not in capsys.readouterr().err


def test_only_a_complete_run_grows_and_none_shrinks(folder):
    def stop(event: Any, _: object) -> None:
        if event.step == 5:
            raise Stop

    with pytest.raises(Stop):
        train(folder, stop, num_train_epochs=2)
    with pytest.raises(UserError, match=r"10 steps in all \(now 15\)"):
        train(folder, num_train_epochs=3)
    train(folder, num_train_epochs=2)
    with pytest.raises(UserError, match=r"10 steps in all \(now 5\)"):
        train(folder, num_train_epochs=1)


def test_two_processes_are_one(tmp_path):
    encoder(tmp_path / "encoder", dropout=0.0)
    one = train(tmp_path, output="one", **ALL)
    changes = json.dumps(ALL | {"batch_size": 4, "output": "two"})
    arguments = ("-m", "tests.training.tiny_task", str(tmp_path), "2", changes)
    launched = start(*arguments, cwd=Path(__file__).parents[2])
    printed, errors = launched.communicate(timeout=100)
    assert launched.returncode == 0, errors
    two = results(printed)
    assert len(two) == 2
    assert two[0]["digest"] == two[1]["digest"]
    for other in two:
        losses = {int(step): loss for step, loss in other["losses"].items()}
        assert losses == pytest.approx(one["losses"], abs=1e-5)
        assert other["chosen"] == one["chosen"]
