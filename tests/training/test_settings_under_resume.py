"""Schedules, frozen layers and read positions: exact when a run continues, and as it grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.nn.arrays import as_array
from paddlenlp_ext.training.schedules import SCHEDULES, Course
from tests.training.test_best_model import lines
from tests.training.tiny_task import FLAGS, encoder, train

RATE, EPOCH, WARMUP = FLAGS["learning_rate"], 5, 3  # steps of an epoch, and of the warm-up
# What is not trained, another part with each schedule.
FROZEN: dict[str, dict[str, Any]] = {
    "linear": {"freeze_layers": 1},
    "cosine": {"freeze_layers": 2},
    "constant": {"freeze_layers": 1, "freeze_embeddings": True},
    "polynomial": {"freeze_embeddings": True},
    "inverse_sqrt": {"freeze_layers": 2, "trim_vocab": True},
}


class Stop(Exception):  # noqa: N818  (not an error)
    """Ends a run at a chosen step, as a kill does."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    encoder(tmp_path / "encoder")
    return tmp_path


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule_continues_and_grows(kind, folder, capsys):
    settings = {"lr_scheduler_type": kind, "warmup_steps": WARMUP, "weight_decay": 0.1}
    settings |= FROZEN[kind]
    kept: list[dict[str, Any]] = []

    def keep(event: Any, training: Any) -> None:
        if event.step in (1, 2 * EPOCH):
            named = training.model.named_parameters()
            kept.append({name: as_array(p).copy() for name, p in named if p.stop_gradient})

    def stop(event: Any, _: Any) -> None:
        if event.step == EPOCH + 2:  # after the checkpoint of one step before
            raise Stop

    whole = train(folder, keep, output="whole", num_train_epochs=2, **settings)
    assert kept[0]
    for name, array in kept[0].items():
        assert (array == kept[-1][name]).all(), name
    with pytest.raises(Stop):
        train(folder, stop, num_train_epochs=2, **settings)
    rest = train(folder, num_train_epochs=2, **settings)
    assert min(rest["losses"]) == EPOCH + 2
    assert rest["losses"].items() <= whole["losses"].items()
    assert rest["digest"] == whole["digest"]
    one, other = (folder / name / "model_10/optimizer.safetensors" for name in ("whole", "out"))
    assert one.read_bytes() == other.read_bytes()

    capsys.readouterr()
    grown = train(folder, num_train_epochs=3, **settings)
    short, long = (Course(RATE, epochs * EPOCH, WARMUP) for epochs in (2, 3))
    before, after = (RATE * one.factor(kind, 2 * EPOCH) for one in (short, long))
    said = (
        "the run was complete with 10 steps, and goes on to 15: its learning rate goes on as in a "
        f"{kind} schedule of 15 steps, at {after:.10f}"
    )
    said += f" after {before:.10f}" * (before != after)
    assert f"{said}\n" in capsys.readouterr().err
    assert [*grown["losses"]] == [*range(11, 16)]
    signatures = [row["signature"] for row in lines(folder / "out/results.jsonl")]
    assert ["|ep2|" in signatures[0], "|ep3|grown10|" in signatures[-1]] == [True, True]
    # A line says the rate of the update after it.
    expected = [RATE * long.factor(kind, step) for step in range(11, 16)]
    assert grown["rates"] == pytest.approx(expected, abs=1e-12)
    if kind in ("constant", "inverse_sqrt"):  # their rates do not depend on the length
        longer = train(folder, output="longer", num_train_epochs=3, **settings)
        assert grown["digest"] == longer["digest"]


@pytest.mark.parametrize("skips", [None, False])
def test_a_run_goes_on_as_it_began_with_what_is_not_read(skips, folder):
    def stop(event: Any, training: Any) -> None:
        assert training.model.backbone.encoder.skips_unread is (skips is None)
        if event.step == EPOCH + 2:
            raise Stop

    begun = {"num_train_epochs": 2, "skip_unread_positions": skips}
    whole = train(folder, output="whole", **begun)
    with pytest.raises(Stop):
        train(folder, stop, **begun)
    rest = train(folder, num_train_epochs=2)
    assert min(rest["losses"]) == EPOCH + 2
    assert rest["losses"].items() <= whole["losses"].items()
    assert rest["digest"] == whole["digest"]
    given = {"num_train_epochs": 3, "skip_unread_positions": skips is False}
    with pytest.raises(UserError, match=rf"`skip_unread_positions` {skips is None} \(now "):
        train(folder, **given)
