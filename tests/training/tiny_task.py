"""A whole run of `training.run` with a tiny BERT, in one process or, as a script, in several.

    python -m tests.training.tiny_task FOLDER PROCESSES SETTINGS

SETTINGS is a JSON object of what differs from `FLAGS`; every rank prints what came of it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlenlp_ext.cli import program
from paddlenlp_ext.metrics import accuracy_and_f1
from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.tasks.task import Task
from paddlenlp_ext.tokenizers.bert import BertTokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated, StepDone
from paddlenlp_ext.training.finetune import finetune
from paddlenlp_ext.training.loaders import RunData, digest
from paddlenlp_ext.training.losses import judge
from paddlenlp_ext.training.run import Run, Training
from paddlenlp_ext.training.settings import RunSettings

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnop"]
TASK = Task("parity", {}, accuracy_and_f1, ("even", "odd"))
ROWS, DEV = 37, 23
FLAGS: dict[str, Any] = {
    "device": "cpu", "batch_size": 8, "learning_rate": 0.03, "num_train_epochs": 4,
    "logging_steps": 100, "save_steps": 2, "max_seq_length": 9,
    "seed": 7,  # whose loss is lowest before the end
}  # fmt: skip


def encoder(folder: Path, dropout: float = 0.2) -> Path:
    """A tiny BERT of two layers, and its vocabulary."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    paddle.seed(11)
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    config = BertConfig(
        vocab_size=len(WORDS), intermediate_size=5, initializer_range=0.5, **sizes, **rates
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def features(count: int, seed: int) -> list[Features]:
    """Rows of 3 to 9 tokens, a third of them of class 1."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = random.integers(5, len(WORDS), random.integers(1, 8))
        ids = np.array([2, *words, 3], np.int32)
        rows.append(Features(ids, np.zeros_like(ids), int(number % 3 == 0)))
    return rows


def data(batch_size: int) -> RunData[Loader]:
    """What the run trains and evaluates on, of two splits."""
    place = distributed.rank(), distributed.world_size()
    rows = features(ROWS, 1)
    held_out = {
        f"dev_{n}": Loader(features(DEV, n), EvaluationOrder(DEV, 8, *place), pad_token_id=0)
        for n in (2, 3)
    }
    train = Loader(rows, BatchOrder(ROWS, batch_size, 5, *place), pad_token_id=0)
    return RunData(train, held_out, [""] * ROWS, 9, digest(rows))


def train(
    folder: Path,
    on_event: Callable[[Any, Training], None] = lambda *_: None,
    *,
    output: str = "out",
    **changes: Any,
) -> dict[str, Any]:
    """Train, or continue, in a folder that has the encoder; return what came of it."""
    settings = RunSettings.from_flags(
        FLAGS | {"model_name_or_path": str(folder / "encoder"), "output_dir": str(folder / output)},
        resume_from_checkpoint="latest",
        **changes,
    )
    result: dict[str, Any] = {"losses": {}, "rates": [], "evaluations": []}
    with Run(settings, {}) as run:
        model = run.load_classifier(BertForSequenceClassification, TASK)
        tokenizer = BertTokenizer.from_pretrained(run.vocabulary)
        found = data(settings.batch_size)
        training = run.prepare(
            model, tokenizer, found, task="parity",
            log_step=lambda event, pace: "", log_evaluation=lambda event, seconds: "",
        )  # fmt: skip
        loss, metric = judge(TASK, model)
        for event in finetune(
            model,
            found.train,
            evaluate_on=found.evaluate_on,
            loss=loss,
            metric=metric,
            optimizer=training.optimizer,
            max_steps=training.total_steps,
            evaluate_every=settings.save_steps,
            settings=training.updates,
            resume=training.progress,
        ):
            match event:
                case StepDone():
                    result["losses"][event.step] = event.loss
                    result["rates"].append(event.learning_rate)
                case Evaluated():
                    result["evaluations"].append([event.step, event.loss, event.metrics["acc"]])
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}", event)
            on_event(event, training)
        chosen = training.chosen()
    content = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        content.update(name.encode() + parameter.numpy().tobytes())
    return result | {"chosen": chosen.name, "digest": content.hexdigest()}


def main(folder: str, changes: dict[str, Any]) -> None:
    distributed.start("cpu")
    sys.stdout.write("RESULT " + json.dumps(train(Path(folder), **changes)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    program.run(
        lambda: program.spawn(
            main, int(sys.argv[2]), sys.argv[1], json.loads(sys.argv[3]), device="cpu"
        )
    )
