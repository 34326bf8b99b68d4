"""Pretraining by replaced tokens with tiny models: from a corpus to a model that is fine-tuned."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_ext.models.auto import model_class
from paddlenlp_ext.weights.files import read_weights
from tests.docs.test_readmes import script_of
from tests.scripts.refusals import refused

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples/language_model/convbert"
SCRIPT = FOLDER / "run_pretrain.py"
# PaddleNLP's lines, every number of which may be another one of the same form.
STEP = re.compile(
    r"global step \d+/\d+, epoch: \d+, batch: \d+, loss: \d+\.\d{15}, lr: \d\.\d{10}, "
    r"speed: \d+\.\d\d s/it"
)
EVALUATION = re.compile(
    r"eval loss: \d+\.\d{6}, discriminator acc: [01]\.\d{6}, always original acc: [01]\.\d{6}, "
    r"replaced acc: [01]\.\d{6}, generator acc: [01]\.\d{6}, generator loss: \d+\.\d{6}, "
    r"discriminator loss: \d+\.\d{6}"
)
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"

WORDS = ["the", "a", "cat", "dog", "bird", "sees", "hears", "likes", "small", "big", "red", "old"]
ROLES = (range(2), range(8, 12), range(2, 5), range(5, 8))  # article, adjective, noun, verb


def sentence(random: np.random.Generator) -> str:
    """Article, adjective, noun, verb; then the same article, adjective and noun again."""
    article, adjective, noun, verb = (WORDS[random.choice(list(words))] for words in ROLES)
    return " ".join([article, adjective, noun, verb, article, adjective, noun])


def write_corpus(folder: Path, train: int, dev: int) -> Path:
    random = np.random.default_rng(4)
    for name, count in {"train.data": train, "dev.data": dev}.items():
        lines = (sentence(random) for _ in range(count))
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), 43, 9)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Configs of tiny pairs of nets, with a vocabulary."""
    folders = {}
    for family, sizes in {"convbert": {"conv_kernel_size": 3}, "electra": {}}.items():
        folders[family] = folder = tmp_path_factory.mktemp(family)
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        (folder / "vocab.txt").write_text("\n".join(special + WORDS) + "\n")
        cls = model_class(family, "ForPreTraining")
        paddle.seed(5)
        cls(
            cls.config_class(
                vocab_size=len(special + WORDS),
                embedding_size=11,
                hidden_size=24,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=37,
                max_position_embeddings=32,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                generator={"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 13},
                **sizes,
            )
        ).save_pretrained(folder)
    return folders


def arguments(model: Path, corpus: Path, output: Path, **changes: Any) -> list[str]:
    flags: dict[str, Any] = {
        "model_type": "convbert",
        "model_name_or_path": model,
        "input_dir": corpus,
        "output_dir": output,
        "max_seq_length": 16,
        "train_batch_size": 8,
        "learning_rate": 5e-3,
        "max_steps": 7,
        "warmup_steps": 2,
        "logging_steps": 2,
        "save_steps": 3,
        "device": "cpu",
    }
    return [part for name, value in (flags | changes).items() for part in (f"--{name}", str(value))]


def main(*args: Any, **changes: Any) -> dict[str, float]:
    return script_of(SCRIPT).main(arguments(*args, **changes))


def history(folder: Path, split: str | None = None) -> list[dict[str, Any]]:
    rows = map(json.loads, (folder / "history.jsonl").read_text().splitlines())
    return [row for row in rows if row.get("split") == split]


def losses(folder: Path) -> list[float]:
    return [row["loss"] for row in history(folder)]


def assert_same_checkpoint(one: Path, other: Path) -> None:
    for name in ("model_state.pdparams", "optimizer.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("family", ["convbert", "electra"])
def test_log_lines_and_files(
    family: str,
    models: dict[str, Path],
    corpus: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    scores = main(models[family], corpus, tmp_path, model_type=family)
    first, second, third, *lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(f"start load data : {TIME}", first)
    assert re.fullmatch(r"load data done, total : \d+\.\d+ s", second)
    assert re.fullmatch(f"start train : {TIME}", third)
    steps = [line for line in lines if line.startswith("global")]
    assert all(STEP.fullmatch(line) for line in steps)
    assert [line.split(",")[0] for line in steps] == [
        f"global step {step}/7" for step in (2, 4, 6, 7)
    ]
    # 43 rows in batches of 8 are 6 steps; the seventh is the first of the next epoch.
    assert steps[2].split(", ")[1:3] == ["epoch: 0", "batch: 5"]
    assert steps[3].split(", ")[1:3] == ["epoch: 1", "batch: 0"]
    shown = [float(re.search(r"loss: (\S+),", line)[1]) for line in steps]
    own = losses(tmp_path)
    means = [np.mean(own[0:2]), np.mean(own[2:4]), np.mean(own[4:6]), own[6]]
    np.testing.assert_allclose(shown, means, rtol=1e-12)
    evaluations = [line for line in lines if line.startswith("eval")]
    assert len(evaluations) == 3
    assert all(EVALUATION.fullmatch(line) for line in evaluations)
    assert f"discriminator acc: {scores['dev discriminator acc']:f}, " in evaluations[-1]
    folders = {"model_3.pdparams", "model_6.pdparams", "model_7.pdparams", "shards"}
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        *folders, "latest", "best", "history.jsonl", "results.jsonl", "curves.png",
        "record.json",
    }  # fmt: skip
    saved = {path.name for path in (tmp_path / "model_7.pdparams").iterdir()}
    assert saved >= {"config.json", "model_state.pdparams", "vocab.txt", "tokenizer_config.json"}
    names = read_weights(tmp_path / "model_7.pdparams").keys()
    assert {name.split(".")[0] for name in names} == {"generator", "discriminator"}


def test_training_learns(models: dict[str, Path], tmp_path: Path) -> None:
    """Masked words become as predictable as the grammar makes them, and replaced ones are found."""
    scores = main(
        models["convbert"], write_corpus(tmp_path, 600, 150), tmp_path / "run",
        max_steps=300, warmup_steps=20, save_steps=1000, logging_steps=1000, learning_rate=5e-3,
        train_batch_size=16,
    )  # fmt: skip
    first, *others = losses(tmp_path / "run")
    assert first > 0.8 * (np.log(17) + 50 * np.log(2))  # both nets begin by guessing
    assert np.mean(others[-10:]) < 0.6 * first
    # A word is one of 2, 4, 3 or 3: on average 1.05 nats for who knows its place.
    assert scores["dev generator loss"] < 1.3
    assert scores["dev replaced acc"] > 0.05
    assert scores["dev discriminator acc"] > scores["dev always original acc"]


def test_from_pretraining_to_fine_tuning(
    models: dict[str, Path], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    main(models["electra"], corpus, tmp_path / "run", model_type="electra", max_steps=1)
    checkpoint = tmp_path / "run/model_1.pdparams"
    folder = script_of(FOLDER / "get_ft_model.py").main(["--model_dir", str(checkpoint)])
    assert folder == checkpoint / "discriminator_for_ft.pdparams"
    joint, alone = read_weights(checkpoint), read_weights(folder)
    for net, found in {
        "discriminator": alone,
        "generator": read_weights(checkpoint / "generator_for_ft.pdparams"),
    }.items():
        expected = {
            name.removeprefix(f"{net}."): array
            for name, array in joint.items()
            if name.startswith(f"{net}.")
        }
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
    fine_tuning = [
        "--model_type", "electra", "--task_name", "SST-2", "--data_dir", str(ROOT / "data/glue"),
        "--max_seq_length", "16", "--max_steps", "1", "--max_eval_samples", "8", "--output_dir",
        str(tmp_path / "glue"), "--device", "cpu", "--model_name_or_path",
    ]  # fmt: skip
    scores = script_of(FOLDER / "run_glue.py").main([*fine_tuning, str(folder)])
    assert 0 <= scores["dev acc"] <= 1
    with refused(r"a generator and a discriminator; .*get_ft_model\.py"):
        script_of(FOLDER / "run_glue.py").main([*fine_tuning, str(checkpoint)])
    with refused(r"a single model.*; give a checkpoint of it"):
        script_of(FOLDER / "get_ft_model.py").main(["--model_dir", str(folder)])
    with refused(r"a single model.*, or a preset's name to begin with new weights"):
        main(folder, corpus, tmp_path / "other", model_type="electra", max_steps=1)
    # The checkpoint is as whole as it was: it can still be continued from.
    main(models["electra"], corpus, tmp_path / "run", model_type="electra", max_steps=1,
         resume_from_checkpoint="latest")  # fmt: skip
    assert "but total training steps is 1" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["resume_from_checkpoint", "init_from_ckpt"])
def test_resumed_run_equals_the_unbroken_one(
    how: str, models: dict[str, Path], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = models["convbert"]
    main(model, corpus, tmp_path / "whole")
    main(model, corpus, tmp_path / "parts")
    for step in (6, 7):  # as if the run had been killed after step 3
        shutil.rmtree(tmp_path / f"parts/model_{step}.pdparams")
    if how == "resume_from_checkpoint":
        main(model, corpus, tmp_path / "parts", resume_from_checkpoint="latest")
    else:
        flags = arguments(tmp_path / "parts/model_3.pdparams", corpus, tmp_path / "parts")
        script_of(SCRIPT).main([*flags, "--init_from_ckpt"])
    said = "we have already trained 3 steps, seeking next step : 4"
    assert f"[ start train from checkpoint ] {said}\n" in capsys.readouterr().out
    assert_same_checkpoint(*(tmp_path / run / "model_7.pdparams" for run in ("whole", "parts")))
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_killed_run_continues_bit_for_bit(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """Killed without a warning while it trains, with dropout, two batches a step."""
    model = tmp_path / "model"
    shutil.copytree(models["convbert"], model)
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    (model / "config.json").write_text(json.dumps(config))
    changes = {"max_steps": 40, "save_steps": 5, "gradient_accumulation_steps": 2}
    main(model, corpus, tmp_path / "whole", **changes)
    run = subprocess.Popen(
        [sys.executable, SCRIPT, *arguments(model, corpus, tmp_path / "killed", **changes)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed/model_5.pdparams").exists():
        assert run.poll() is None, run.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "killed/model_40.pdparams").exists()
    main(model, corpus, tmp_path / "killed", resume_from_checkpoint="latest", **changes)
    assert_same_checkpoint(*(tmp_path / run / "model_40.pdparams" for run in ("whole", "killed")))
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_processes_and_accumulation_change_nothing(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    """1 x 8, 2 x 4 accumulated and 2 processes x 4 mask the same tokens and learn the same.

    ELECTRA without the discriminator's loss: the generator's words are drawn by each process for
    itself, and ConvBERT's convolution sees how far rows are padded.
    """
    model = tmp_path / "model"
    shutil.copytree(models["electra"], model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"disc_weight": 0.0}))
    changes = {"model_type": "electra", "max_steps": 8, "save_steps": 100, "logging_steps": 4}
    main(model, corpus, tmp_path / "one", **changes)
    half = changes | {"train_batch_size": 4}
    main(model, corpus, tmp_path / "accumulated", gradient_accumulation_steps=2, **half)
    done = subprocess.run(
        [
            sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2",
            "--log_dir", str(tmp_path / "log"), str(SCRIPT),
            *arguments(model, corpus, tmp_path / "two", **half),
        ],
        capture_output=True, text=True, timeout=240, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    expected = losses(tmp_path / "one")
    assert len(expected) == 8
    for name in ("accumulated", "two"):
        np.testing.assert_allclose(losses(tmp_path / name), expected, atol=1e-5, err_msg=name)
    log = (tmp_path / "log/workerlog.0").read_text()
    assert re.search(r"batch: 3, avg_loss: \d+\.\d{15}, lr: ", log)
    assert "global step" not in (tmp_path / "log/workerlog.1").read_text()


BAD = {
    "corpus": ({"input_dir": "nowhere"}, r"--input_dir nowhere: expected train\.data"),
    "length": ({"max_seq_length": 33}, r"--max_seq_length 33: the model takes 32"),
    "amp": ({"use_amp": "true"}, r"--use_amp: PaddlePaddle has no mixed precision on a CPU"),
    "model": ({"model_name_or_path": "convbert-smal"}, r"did you mean 'convbert-small'"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_named(
    case: str, models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    changes, message = BAD[case]
    with refused(message) as error:
        main(models["convbert"], corpus, tmp_path / "out", **changes)
    assert "\n" not in str(error.value)


def test_another_corpus_is_not_continued_with(
    models: dict[str, Path], corpus: Path, tmp_path: Path
) -> None:
    main(models["convbert"], corpus, tmp_path / "run", max_steps=1)
    other = tmp_path / "corpus"
    shutil.copytree(corpus, other)
    with (other / "train.data").open("a") as file:
        file.write("the old cat\n")
    changes = {"max_steps": 1, "resume_from_checkpoint": "latest"}
    with refused(r"data of digest \w+ \(now \w+\)"):
        main(models["convbert"], other, tmp_path / "run", **changes)


def test_shards_are_made_once(
    models: dict[str, Path], corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Beforehand, if asked for; and again when they would be others."""
    flags = arguments(models["convbert"], corpus, tmp_path, max_steps=1)
    script = script_of(SCRIPT)
    assert script.main([*flags, "--prepare_only"]) == {}
    assert "start train" not in capsys.readouterr().out
    shard = tmp_path / "shards/train.hdf5"
    made = shard.stat().st_mtime_ns
    script.main(flags)
    assert shard.stat().st_mtime_ns == made
    assert (tmp_path / "model_1.pdparams").is_dir()
    script.main([*flags, "--pack_lines"])
    assert shard.stat().st_mtime_ns != made
