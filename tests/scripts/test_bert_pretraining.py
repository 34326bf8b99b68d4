"""The two pretraining scripts, from text to checkpoints, with a tiny model on the sample corpus."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from paddlenlp_ext.training.report import Report
from paddlenlp_ext.transformers import AutoModelForSequenceClassification, BertForPreTraining
from paddlenlp_ext.weights.formats import pdparams
from tests.docs.test_readmes import ROOT, script_of
from tests.scripts.pretraining_run import (
    PRETRAIN,
    SCRIPTS,
    STEPS,
    WEIGHTS,
    losses,
    prepare,
    pretraining,
)
from tests.scripts.refusals import refused

CREATE = SCRIPTS / "create_pretraining_data.py"
SAMPLE = ROOT / "data/pretraining"
STEP = re.compile(
    r"global step: \d+, epoch: \d+, batch: \d+, loss: \d+\.\d{6}, avg_reader_cost: \d+\.\d{5} sec, "
    r"avg_batch_cost: \d+\.\d{5} sec, avg_samples: \d+\.\d{5}, ips: \d+\.\d{5} sequences/sec"
)
EVALUATION = re.compile(
    r"eval loss: \d+\.\d{6}, mlm acc: \d\.\d{6}, nsp acc: \d\.\d{6}, perplexity: \d+\.\d{6}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's shape and vocabulary, and shards of the sample corpus."""
    path = tmp_path_factory.mktemp("pretraining")
    prepare(path)
    return path


def arguments(folder: Path, output: Path, **changes: Any) -> list[str]:
    words = pretraining(folder, output, **{"max_steps": 6, "save_steps": 3} | changes)
    return [word for word in words if word != ""]


def main(folder: Path, output: Path, **changes: Any) -> dict[str, float]:
    return script_of(PRETRAIN).main(arguments(folder, output, **changes))


def launch(*words: object, script: Path = PRETRAIN) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, words[:-1]), str(script), *words[-1]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )


def test_log_lines_and_files(folder, tmp_path, capsys):
    scores = main(folder, tmp_path, max_steps=5)
    lines = capsys.readouterr().out.splitlines()
    assert [bool(STEP.fullmatch(line)) for line in lines if "global" in line] == [True] * 5
    assert [bool(EVALUATION.fullmatch(line)) for line in lines if "eval" in line] == [True] * 2
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        "model_3", "model_5", "latest", "best", "history.jsonl", "results.jsonl", "curves.png",
        "record.json",
    }  # fmt: skip
    saved = {path.name for path in (tmp_path / "model_5").iterdir()}
    assert saved >= {"config.json", "model_state.pdparams", "vocab.txt", "tokenizer_config.json"}
    row = json.loads((tmp_path / "results.jsonl").read_text())
    assert {f"dev {name}": value for name, value in row["metrics"].items()} == scores
    assert "|pretraining/data|dev|mlm acc+nsp acc+perplexity|bs8|lr1e-3|" in row["signature"]


def test_flags_of_the_original_without_effect(folder, tmp_path, capsys):
    argv = arguments(folder, tmp_path, max_steps=1, eager_run="False", to_static="")
    script_of(PRETRAIN).main([*argv, "--fuse_transformer", "true", "--profiler_options", "x=1;y"])
    errors = capsys.readouterr().err
    for name in ("eager_run", "fuse_transformer", "profiler_options"):
        assert f"note: --{name} is accepted and has no effect\n" in errors
    assert "--to_static" not in errors
    manifest = next(tmp_path.glob("model_*")) / "manifest.json"
    assert json.loads(manifest.read_text())["settings"]["to_static"] is True


def test_without_held_out_shards_every_save_step_is_saved(folder, tmp_path, capsys):
    argv = arguments(folder, tmp_path, max_steps=5, save_steps=2, logging_steps=3)
    at = argv.index("--eval_dir")
    script_of(PRETRAIN).main([*argv[:at], *argv[at + 2 :]])
    assert sorted(path.name for path in tmp_path.glob("model_*")) == [
        "model_2", "model_4", "model_5",
    ]  # fmt: skip
    steps = re.findall(r"global step: (\d+), .*avg_samples: (\S+),", capsys.readouterr().out)
    assert steps == [("3", "8.00000"), ("5", "8.00000")]


def test_the_model_goes_on_from_a_folder_and_into_fine_tuning(folder, tmp_path):
    first = main(folder, tmp_path / "first", max_steps=20, learning_rate=3e-3)
    argv = arguments(
        folder, tmp_path / "second", max_steps=1, model_name_or_path=tmp_path / "first/model_20"
    )
    argv.remove("--from_scratch")
    script_of(PRETRAIN).main(argv)
    begun = losses(tmp_path / "first")
    assert begun[-1] < begun[0] - 0.3
    assert losses(tmp_path / "second")[0] < begun[0] - 0.3
    assert first["dev perplexity"] < np.exp(begun[0] - 0.7)  # without the loss of the pairs
    model = BertForPreTraining.from_pretrained(tmp_path / "first/model_20")
    assert model.load_report is not None
    assert not model.load_report.missing
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "first/model_20")
    np.testing.assert_array_equal(
        classifier.backbone.embeddings.word_embeddings.weight.numpy(),
        model.backbone.embeddings.word_embeddings.weight.numpy(),
    )


@pytest.mark.parametrize(
    ("family", "preset", "shape"),
    [
        ("bert", "uer/chinese-roberta-tiny", (21128, 128)),
        ("ernie", "ernie-3.0-nano-zh", (40000, 312)),
    ],
)
def test_a_preset_begins_at_random_with_its_shape(folder, tmp_path, family, preset, shape):
    changes = {"model_name_or_path": preset, "tokenizer_name": folder / "model"}
    argv = arguments(folder, tmp_path, model_type=family, max_steps=1, **changes)
    argv.remove("--from_scratch")
    script_of(PRETRAIN).main(argv)
    saved = pdparams.read_pdparams(tmp_path / "model_1/model_state.pdparams")
    words = saved[f"{family}.embeddings.word_embeddings.weight"]
    assert words.shape == shape
    assert 0.019 < words.std() < 0.021


def test_recomputing_changes_nothing(folder, tmp_path):
    """The model has dropout."""
    main(folder, tmp_path / "plain", max_steps=4)
    main(folder, tmp_path / "again", max_steps=4, recompute="true")
    assert losses(tmp_path / "again") == losses(tmp_path / "plain")


def test_the_ready_shards_are_read_and_fit_in_the_repository(folder, tmp_path):
    """They were made with bert-base-uncased's vocabulary by the README's command."""
    for name, text in (("training_data", "sample_text"), ("held_out_data", "sample_text_held_out")):
        with h5py.File(SAMPLE / f"{name}.hdf5") as file:
            assert file["input_ids"].shape[1:] == (128,)
            assert 20_000 < file["input_ids"][:].max() < 30_522
            assert file.attrs["next_sentence_prediction"]
        text = (SAMPLE / f"{text}.txt").read_text(encoding="utf-8")
        assert text.count("\n\n") >= 6
    assert sum(path.stat().st_size for path in SAMPLE.glob("*.hdf5")) < 1_000_000
    assert sum(path.stat().st_size for path in SAMPLE.glob("*.txt")) < 300_000


def test_resumed_run_equals_the_unbroken_one(folder, tmp_path):
    main(folder, tmp_path / "whole", max_steps=13)
    main(folder, tmp_path / "parts", max_steps=13)
    for step in (9, 12, 13):  # as if the run had been killed after step 8, in the first epoch
        for path in sorted((tmp_path / f"parts/model_{step}").iterdir()):
            path.unlink()
        (tmp_path / f"parts/model_{step}").rmdir()
    main(folder, tmp_path / "parts", max_steps=13)
    for name in WEIGHTS:
        whole = (tmp_path / "whole/model_13" / name).read_bytes()
        assert (tmp_path / "parts/model_13" / name).read_bytes() == whole
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


ONE_AND_TWO = pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])


@ONE_AND_TWO
def test_sigterm_saves_and_the_run_continues_bit_for_bit(folder, tmp_path, processes):
    changes = {"batch_size": 8 // processes, "n_gpu": processes, "device": "cpu"}
    changes |= {"max_steps": 40, "save_steps": 40}
    whole, parts = (launch(arguments(folder, tmp_path / name, **changes)) for name in "ab")
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and parts.poll() is None:
        if (tmp_path / "b/history.jsonl").exists() and len(losses(tmp_path / "b")) >= 3:
            break
        time.sleep(0.01)
    parts.send_signal(signal.SIGTERM)
    _, errors = parts.communicate(timeout=60)
    assert parts.returncode == 128 + signal.SIGTERM, errors
    (saved,) = (tmp_path / "b").glob("model_*")
    assert 3 <= int(saved.name.removeprefix("model_")) < 40
    for run in (whole, launch(arguments(folder, tmp_path / "b", **changes))):
        _, errors = run.communicate(timeout=100)
        assert run.returncode == 0, errors
    for name in WEIGHTS:
        expected = (tmp_path / "a/model_40" / name).read_bytes()
        assert (tmp_path / "b/model_40" / name).read_bytes() == expected
    assert losses(tmp_path / "b") == losses(tmp_path / "a")


@ONE_AND_TWO
def test_sigkill_at_any_moment_changes_nothing(processes, tmp_path):
    command = [sys.executable, "-m", "benchmarks.kill_and_resume", str(tmp_path / "not/there")]
    command += ["--processes", str(processes), "--kills", "3", "--runs", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["kills"] >= 3
    assert report["identical"] == report["killed_runs"] >= 1
    assert len(report["digests"]) == 1
    assert report["losses"] == [1]
    assert report["steps"] == STEPS


def test_two_processes_are_one_with_accumulation(folder, tmp_path):
    """Without dropout, whose noise each process draws for its own rows."""
    config = json.loads((folder / "model/config.json").read_text())
    shape = tmp_path / "model"
    shape.mkdir()
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (shape / "config.json").write_text(json.dumps(config))
    (shape / "vocab.txt").write_text((folder / "model/vocab.txt").read_text())
    changes = {"model_name_or_path": shape, "batch_size": 4, "max_steps": 12}
    log = ("--log_dir", str(tmp_path / "log"))
    run = launch(
        *("-m", "paddle.distributed.launch", "--nproc_per_node", 2, *log),
        arguments(folder, tmp_path / "two", **changes),
    )
    one = main(folder, tmp_path / "one", gradient_accumulation_steps=2, **changes)
    _, errors = run.communicate(timeout=100)
    assert run.returncode == 0, errors
    np.testing.assert_allclose(
        losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=0, atol=1e-6
    )
    row = json.loads((tmp_path / "two/results.jsonl").read_text())
    assert {f"dev {name}": v for name, v in row["metrics"].items()} == pytest.approx(one, rel=1e-5)


BAD = {
    "no folder": ({"input_dir": "nowhere"}, r"--input_dir nowhere: there is no such folder"),
    "no shards": ({"input_dir": "{empty}"}, r"--input_dir .*and found none at all"),
    "no held-out": ({"eval_dir": "{empty}"}, r"--eval_dir .*without 'train'"),
    "truncated": ({"input_dir": "{truncated}"}, r"train_1\.hdf5: cannot be read"),
    "keys": ({"input_dir": "{keys}"}, r"train\.hdf5: lacks input_mask"),
    "vocabulary": ({"input_dir": SAMPLE}, r"training_data\.hdf5: was made with another vocabulary|"
                   r"training_data\.hdf5: has rows of 128 tokens, and the model takes 32"),
    "model": ({"model_name_or_path": "bert-base-uncasd"}, r"did you mean 'bert-base-uncased'"),
    "amp": ({"use_amp": "true"}, r"--use_amp: PaddlePaddle has no mixed precision on a CPU"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(folder, tmp_path, case):
    changes, message = BAD[case]
    for name in ("empty", "truncated", "keys"):
        (tmp_path / name).mkdir()
    for path in (folder / "data").iterdir():
        (tmp_path / "truncated" / path.name).write_bytes(path.read_bytes())
    os.truncate(tmp_path / "truncated/train_1.hdf5", 3000)
    with h5py.File(tmp_path / "keys/train.hdf5", "w") as file:
        file["input_ids"] = np.ones((3, 4), "int32")
    changes = {
        name: str(value).format(**{n: tmp_path / n for n in ("empty", "truncated", "keys")})
        for name, value in changes.items()
    }
    with refused(message) as error:
        main(folder, tmp_path / "out", **changes)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_damage_in_the_middle_leaves_the_checkpoint(folder, tmp_path, monkeypatch):
    """A bad row is found when it is read: what was saved before is whole, and can be continued."""
    path = tmp_path / "train.hdf5"
    with h5py.File(folder / "data/train_0.hdf5") as source, h5py.File(path, "w") as file:
        for name in source:
            file[name] = source[name][:80]
        good = int(file["input_ids"][5, 2])
    changes = {"input_dir": path, "max_steps": 20, "save_steps": 4, "max_train_samples": 80}
    add = Report.add

    def put(number: int) -> None:
        with h5py.File(path, "r+") as file:
            file["input_ids"][5, 2] = number

    def spoil(self: Any, event: Any) -> None:
        if event.step == 9:  # the second epoch reads the row at step 11
            put(999_999)
        add(self, event)

    with monkeypatch.context() as patch:
        patch.setattr(Report, "add", spoil)
        with refused(r"train\.hdf5: row 5: input_ids must be from 0 to"):
            main(folder, tmp_path / "out", **changes)
    assert (tmp_path / "out/latest").read_text() == "model_8\n"
    put(good)
    main(folder, tmp_path / "out", **changes)
    main(folder, tmp_path / "whole", **changes)
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")


def test_a_full_disk_at_a_save_leaves_the_checkpoint_before(folder, tmp_path, monkeypatch):
    write = BertForPreTraining.save_pretrained
    calls = iter(range(10))

    def full(self: Any, path: Path, **options: Any) -> None:
        write(self, path, **options)
        if next(calls) == 1:
            raise OSError(28, "No space left on device", str(path / "config.json"))

    monkeypatch.setattr(BertForPreTraining, "save_pretrained", full)
    with refused(r"No space left on device"):
        main(folder, tmp_path / "out", max_steps=9)
    assert [path.name for path in (tmp_path / "out").glob("model_*")] == ["model_3"]
    assert not list((tmp_path / "out").glob(".tmp*"))
    main(folder, tmp_path / "out", max_steps=9)
    main(folder, tmp_path / "whole", max_steps=9)
    assert losses(tmp_path / "out") == losses(tmp_path / "whole")


def test_other_data_and_settings_are_refused_on_resume(folder, tmp_path):
    main(folder, tmp_path / "out")
    for change, message in (  # (a complete run may be given more steps)
        ({"batch_size": 4}, r"8 x 1 process x 1 = 8 \(now 4 x 1 process x 1 = 4\)"),
        ({"max_steps": 5}, r"6 steps in all \(now 5\)"),
        ({"max_grad_norm": 0.7}, r"max_grad_norm 1\.0 \(now 0\.7\)"),
        ({"adam_epsilon": 1e-3}, r"adam_epsilon 1e-0[68] \(now 0\.001\)"),
        ({"input_dir": folder / "data/train_0.hdf5"}, r"data of digest \w+ \(now \w+\)"),
    ):
        with refused(message):
            main(folder, tmp_path / "out", **change)


def test_help_is_quick():
    for script in (PRETRAIN, CREATE):
        seconds = []
        for _ in range(4):
            began = time.perf_counter()
            assert launch(["--help"], script=script).wait() == 0
            seconds.append(time.perf_counter() - began)
        assert min(seconds) < 0.5
