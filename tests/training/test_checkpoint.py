"""A run that continues from a checkpoint is, bit for bit, the run that never stopped."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.process.signals import Terminated
from paddlenlp_ext.training import checkpoint, distributed, folders
from paddlenlp_ext.training.checkpoint import Checkpoints
from paddlenlp_ext.training.events import Interrupted, Progress, StepDone
from paddlenlp_ext.training.folders import LATEST
from paddlenlp_ext.training.optimization import adamw
from paddlenlp_ext.training.run_state import OPTIMIZER
from tests.training.tiny_run import digest, load, parse, save, tiny_model, train

RUN = ["--dropout", "0.3", "--steps", "11", "--accumulate", "2", "--batch", "4"]


class Stop(Exception):  # noqa: N818  (not an error)
    """Ends a run at a chosen event, as a kill does."""


def stop_at(step: int, kind: type = StepDone) -> Any:
    def on_event(event: Any, model: paddle.nn.Layer) -> None:
        if event.step == step and isinstance(event, kind):
            raise Stop

    return on_event


def args(folder: Path, *more: str):
    return parse([*RUN, "--output_dir", str(folder), *more])


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    return train(parse(RUN))


# An epoch has 5 updates and evaluation comes every 4: the first step, within an epoch, at an
# evaluation, at an epoch's end, and after it.
@pytest.mark.parametrize("step", [1, 3, 4, 5, 6])
def test_continues_bit_for_bit(tmp_path, whole, step):
    with pytest.raises(Stop):
        train(args(tmp_path, "--save_every", str(step)), stop_at(step + 1))
    tiny_model()  # another model built in between shifts Paddle's own names
    rest = train(args(tmp_path, "--save_every", "100", "--resume", LATEST))
    assert rest["digest"] == whole["digest"]
    assert rest["losses"] == whole["losses"][step:]
    assert rest["evaluations"] == whole["evaluations"][-len(rest["evaluations"]) :]
    assert len(rest["evaluations"]) == (3 if step < 4 else 2)


def test_a_signal_saves_between_two_updates_and_is_raised_again(tmp_path, whole):
    def send(event: Any, model: paddle.nn.Layer) -> None:
        if event.step == 7 and isinstance(event, StepDone):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Terminated):
        train(args(tmp_path, "--save_every", "100"), send)
    assert [path.name for path in tmp_path.glob("model*")] == ["model_7"]
    rest = train(args(tmp_path, "--resume", "model_7"))
    assert rest["digest"] == whole["digest"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_during_an_evaluation_repeats_it_after_the_resume(tmp_path, whole):
    seen = []

    def send(event: Any, model: paddle.nn.Layer) -> None:
        seen.append(event)
        if event.step == 4 and isinstance(event, StepDone):
            model.register_forward_pre_hook(
                lambda layer, inputs: None if layer.training else os.kill(os.getpid(), 2)
            )

    with pytest.raises(KeyboardInterrupt):
        train(args(tmp_path, "--save_every", "100"), send)
    assert isinstance(seen[-1], Interrupted)
    assert seen[-1].progress == Progress(4, 0)
    rest = train(args(tmp_path, "--resume", LATEST))
    assert rest["evaluations"] == whole["evaluations"]
    assert rest["digest"] == whole["digest"]


def saved(
    folder: Path,
    *steps: int,
    keep: int = 0,
    scores: dict[int, float] | None = None,
    **settings: int,
) -> None:
    """Save checkpoints of a model that is not trained."""
    model = tiny_model()
    identity = {"seed": 3, "batch_size": 16} | settings
    with Checkpoints(folder, identity, keep=keep) as checkpoints:
        for step in steps:
            checkpoints.save(
                f"model_{step}",
                Progress(step),
                model,
                adamw(model, 0.1),
                write=lambda folder: save(model, folder),
                scores=scores,
            )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("model*"))


def test_a_damaged_checkpoint_is_named_and_an_earlier_one_is_taken(tmp_path, caplog):
    saved(tmp_path, 100, 200, 300)
    path = tmp_path / "model_300" / OPTIMIZER
    path.write_bytes(path.read_bytes()[:-1])
    settings = {"seed": 3, "batch_size": 16}
    with Checkpoints(tmp_path, settings) as checkpoints, caplog.at_level(logging.WARNING):
        found = checkpoints.find(LATEST)
        assert found is not None
        assert (found.folder.name, found.progress) == ("model_200", Progress(200))
        assert [record.getMessage().count(str(path)) for record in caplog.records] == [1]
        with pytest.raises(UserError, match=r"model_300.*choose another"):
            checkpoints.find("model_300")
        (tmp_path / LATEST).unlink()
        assert checkpoints.find(LATEST) == found
        assert checkpoints.find(None) is None


def test_a_resume_says_where_it_begins(tmp_path, capsys):
    resume = args(tmp_path, "--save_every", "4", "--resume", LATEST)
    with pytest.raises(Stop):
        train(resume, stop_at(5))
    assert capsys.readouterr().err == (
        f"no checkpoint in {tmp_path} to continue from: the run starts from the beginning\n"
    )
    train(resume)
    said = capsys.readouterr()
    assert said.err == f"continues from {tmp_path / 'model_4'}, step 4\n"
    assert said.out == ""
    train(args(tmp_path, "--save_every", "11", "--resume", LATEST))
    capsys.readouterr()
    train(resume)
    assert capsys.readouterr().err.endswith("the run is complete: all 11 steps were made\n")
    train(args(tmp_path))
    assert capsys.readouterr().err == ""


def test_latest_starts_from_the_beginning_where_there_is_none(tmp_path):
    with Checkpoints(tmp_path / "new", {}) as checkpoints:
        assert checkpoints.find(LATEST) is None
        with pytest.raises(UserError, match=r"model_7: there is no such folder"):
            checkpoints.find("model_7")


def test_other_settings_are_refused_with_both_values(tmp_path):
    saved(tmp_path, 100)
    with Checkpoints(tmp_path, {"seed": 4, "batch_size": 16, "task": "x"}) as checkpoints:
        expected = r"`seed` 3 \(now 4\), `task` None \(now 'x'\)"
        with pytest.raises(UserError, match=expected):
            checkpoints.find(LATEST)


def test_other_data_are_refused_with_both_digests(tmp_path):
    with pytest.raises(Stop):
        train(args(tmp_path), stop_at(4))
    expected = r"saved with data of digest [0-9a-f]{16} \(now [0-9a-f]{16}\)"
    with pytest.raises(UserError, match=expected):
        train(args(tmp_path, "--resume", LATEST, "--rows", "36"))


def test_a_machine_with_other_data_or_without_the_checkpoint_is_named(tmp_path, monkeypatch):
    saved(tmp_path, 100)
    with Checkpoints(tmp_path, {"seed": 3, "batch_size": 16}) as checkpoints:
        monkeypatch.setattr(distributed, "gather", lambda item: [item, ("b", "another digest")])
        with pytest.raises(UserError, match="model_100: what is there of process 1 on b is not "):
            checkpoints.find(LATEST)
        with pytest.raises(UserError, match="the training data of process 1 on b is not that of "):
            checkpoints.settle("a digest", 3)


def test_another_number_of_processes_is_a_warning(tmp_path, caplog, monkeypatch):
    saved(tmp_path, 100)
    with Checkpoints(tmp_path, {"seed": 3, "batch_size": 16}) as checkpoints:
        monkeypatch.setattr(checkpoints, "_environment", lambda: {"processes": 2, "device": "cpu"})
        assert checkpoints.find(LATEST) is not None
    assert "processes 1, now 2" in caplog.text


def test_another_version_is_a_warning_with_both(tmp_path, caplog, monkeypatch):
    saved(tmp_path, 100)
    was = checkpoint.__version__
    monkeypatch.setattr(checkpoint, "__version__", "99.1")
    with Checkpoints(tmp_path, {"seed": 3, "batch_size": 16}) as checkpoints:
        assert checkpoints.find(LATEST) is not None
    (record,) = caplog.records
    assert f"paddlenlp_ext {was}, now 99.1: the run continues, but not bit" in record.getMessage()


def test_rows_that_version_010_sorted_within_batches_are_a_warning(tmp_path, caplog, monkeypatch):
    settings = {"batch_size": 4, "gradient_accumulation_steps": 2, "group_by_length": True}
    model = tiny_model()
    with Checkpoints(tmp_path, settings) as checkpoints:
        write = lambda folder: save(model, folder)  # noqa: E731
        checkpoints.save("model_1", Progress(1), model, adamw(model, 0.1), write=write)
        assert checkpoints.find(LATEST) is not None
        assert not caplog.records
        read = folders.read_manifest

        def of_version_010(folder: Path) -> dict[str, Any] | None:
            manifest = read(folder)
            return manifest and {name: manifest[name] for name in manifest if name != "data"}

        monkeypatch.setattr(folders, "read_manifest", of_version_010)
        assert checkpoints.find(LATEST) is not None
    (record,) = caplog.records
    assert "sorted by length, now whole updates, so other rows: the run" in record.getMessage()


def test_a_second_run_in_the_folder_is_refused(tmp_path):
    with Checkpoints(tmp_path, {}), pytest.raises(UserError, match=f"process {os.getpid()} on"):
        Checkpoints(tmp_path, {})
    Checkpoints(tmp_path, {}).close()


def test_keeps_the_newest_and_the_best(tmp_path):
    saved(tmp_path, 100, 200, 300, 1000, 1100, keep=2, scores={100: 0.5, 200: 0.9, 300: 0.7})
    assert names(tmp_path) == ["model_1000", "model_1100", "model_200"]


def test_never_deletes_what_another_run_made_or_what_it_continues_from(tmp_path):
    saved(tmp_path, 100, 200)
    saved(tmp_path, 300, 400, keep=1)
    assert names(tmp_path) == ["model_100", "model_200", "model_400"]
    model = tiny_model()
    with Checkpoints(tmp_path, {"seed": 3, "batch_size": 16}, keep=1) as checkpoints:
        assert checkpoints.find("model_200") is not None
        for step in (500, 600):
            write = lambda folder: save(model, folder)  # noqa: E731
            checkpoints.save(f"model_{step}", Progress(step), model, adamw(model, 0.1), write=write)
    assert names(tmp_path) == ["model_200", "model_400", "model_600"]


@pytest.mark.parametrize("keep", [0, 1])
def test_what_goes_on_from_an_earlier_checkpoint_is_the_latest(tmp_path, whole, keep, caplog):
    flags = ["--save_every", "2"]
    with pytest.raises(Stop):
        train(args(tmp_path, *flags), stop_at(10))
    assert (tmp_path / LATEST).read_text() == "model_8\n"
    more = ["--keep", str(keep)]
    with pytest.raises(Stop):  # before anything is saved
        train(args(tmp_path, *flags, *more, "--resume", "model_4"), stop_at(5))
    assert "has checkpoints of later steps (['model_6', 'model_8'])" in caplog.text
    assert (tmp_path / LATEST).read_text() == "model_4\n"
    with pytest.raises(Stop):
        train(args(tmp_path, "--save_every", "5", *more, "--resume", LATEST), stop_at(6))
    assert (tmp_path / LATEST).read_text() == "model_5\n"
    assert {"model_5", "model_8"} <= {*names(tmp_path)}
    rest = train(args(tmp_path, *flags, *more, "--resume", LATEST))
    assert rest["digest"] == whole["digest"]
    assert rest["losses"] == whole["losses"][5:]
    steps = (5, 10) if keep else (2, 4, 5, 6, 8, 10)
    assert names(tmp_path) == sorted(f"model_{step}" for step in steps)


def test_a_best_checkpoint_of_another_course_is_not_the_best(tmp_path):
    saved(tmp_path, 2, 4, 6, scores={2: 0.5, 4: 0.25, 6: 0.75}, max_steps=6)
    assert (tmp_path / "best").read_text() == "model_6\n"
    identity = {"seed": 3, "batch_size": 16, "max_steps": 6}
    with Checkpoints(tmp_path, identity) as checkpoints:
        checkpoints.find("model_4")
        checkpoints.settle("", 10)
        assert [path.name for path in checkpoints.own()] == ["model_2", "model_4"]
        assert checkpoints.chosen(None) == tmp_path / "model_4"
    assert (tmp_path / "best").read_text() == "model_2\n"
    assert (tmp_path / LATEST).read_text() == "model_4\n"


def test_never_deletes_what_somebody_put_into_a_checkpoint(tmp_path):
    """`get_ft_model.py` writes both models into the checkpoint's own folder."""
    model = tiny_model()
    with Checkpoints(tmp_path, {}, keep=1) as checkpoints:
        for step in (100, 200, 300, 300):
            write = lambda folder: save(model, folder)  # noqa: E731
            checkpoints.save(f"model_{step}", Progress(step), model, adamw(model, 0.1), write=write)
            if step != 200:
                (tmp_path / f"model_{step}/mine").mkdir()
                (tmp_path / f"model_{step}/mine/config.json").touch()
    # The second model_300 is the newest; the first stays beside it, for what is in it.
    assert names(tmp_path) == ["model_100", "model_300", "model_300.before-1"]


def test_a_failing_save_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    saved(tmp_path, 100)

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device", str(folder / "model.safetensors"))

    model = tiny_model()
    with Checkpoints(tmp_path, {"seed": 3, "batch_size": 16}) as checkpoints:
        with pytest.raises(
            UserError,
            match=r"model.safetensors: cannot be written: No space left.*bytes are free.*are whole",
        ):
            checkpoints.save("model_200", Progress(200), model, adamw(model, 0.1), write=full)
        found = checkpoints.find(LATEST)
        assert found is not None
        assert found.folder.name == "model_100"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["model_100"]


@pytest.mark.parametrize(
    "content",
    ["x" * 300, "x" * 10**6, "ä" * 140, "../model_100", "model_200\nmodel_100", "..", "\0"],
)
def test_a_latest_file_that_names_no_folder_here_is_passed_over(tmp_path, content):
    saved(tmp_path, 100, 200)
    (tmp_path / LATEST).write_text(content)
    with Checkpoints(tmp_path, {"seed": 3, "batch_size": 16}) as checkpoints:
        found = checkpoints.find(LATEST)
    assert found is not None
    assert found.folder == tmp_path / ("model_100" if "../" in content else "model_200")


def test_a_chosen_name_that_no_folder_can_have(tmp_path):
    with Checkpoints(tmp_path, {}) as checkpoints, pytest.raises(UserError, match="no such folder"):
        checkpoints.find("x" * 300)


def test_an_output_folder_that_cannot_be_is_named_without_a_word_of_checkpoints(tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "outputs", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match=r": (cannot be written|is a file)") as caught:
            Checkpoints(place, {})
        assert str(place)[:120] in str(caught.value)  # of 300 letters, the middle is left out
        assert str(caught.value).endswith("; choose another `output_dir`")
        assert "checkpoints" not in str(caught.value)


def test_refuses_weights_and_states_of_another_model(tmp_path):
    saved(tmp_path, 100)
    model = tiny_model()
    with Checkpoints(tmp_path, {"seed": 3, "batch_size": 16}) as checkpoints:
        found = checkpoints.find(LATEST)
    assert found is not None
    model.dense.bias.set_value(model.dense.bias + 1)
    with pytest.raises(WeightsError, match="weights are not those"):
        found.restore(model, adamw(model, 0.1))
    load(model, found.folder)
    before = digest(model)
    found.restore(model, adamw(model, 0.1))
    assert digest(model) == before


def test_the_state_stands_under_the_names_of_the_model(tmp_path):
    with pytest.raises(Stop):
        train(args(tmp_path), stop_at(4))
    from safetensors.numpy import load_file

    state = load_file(tmp_path / "model_3" / OPTIMIZER)
    assert state["moment1/dense.weight"].shape == (12, 17)
    assert not any("unused" in name for name in state)
    assert np.isclose(state["beta1_pow_acc/dense.weight"][0], 0.9**4)
    manifest = json.loads((tmp_path / "model_3" / "manifest.json").read_text())
    assert manifest["position"] == {"step": 3, "evaluations": 0}


def test_a_loop_in_another_thread_leaves_signals_alone(whole):
    results = []
    worker = threading.Thread(target=lambda: results.append(train(parse(RUN))))
    worker.start()
    worker.join()
    assert results[0]["digest"] == whole["digest"]
