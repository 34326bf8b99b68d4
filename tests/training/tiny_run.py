"""A tiny fine-tuning run, for tests in one process and, as a script, under a launcher.

Every rank prints one JSON line of what its loop yielded and a digest of its final weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import nn

from paddlenlp_ext.cli import program
from paddlenlp_ext.metrics import accuracy
from paddlenlp_ext.tasks.batches import BatchOrder, EvaluationOrder, Loader
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.checkpoint import Checkpoints
from paddlenlp_ext.training.events import Evaluated, Interrupted, StepDone
from paddlenlp_ext.training.finetune import finetune
from paddlenlp_ext.training.loaders import digest as content_digest
from paddlenlp_ext.training.losses import cross_entropy
from paddlenlp_ext.training.optimization import adamw, rate_schedule
from paddlenlp_ext.training.updates import UpdateSettings
from paddlenlp_ext.weights.formats.safe_tensors import read_safetensors, write_safetensors

VOCABULARY, WIDTH, CLASSES = 29, 12, 3


class Output(NamedTuple):
    logits: paddle.Tensor


class TinyClassifier(nn.Layer):
    """Mean of embeddings, one normalised layer, dropout, a classifier; one part is never used."""

    def __init__(self, dropout: float = 0.0, classes: int = CLASSES):
        super().__init__()
        self.embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.dense = nn.Linear(WIDTH, WIDTH + 5)
        self.norm = nn.LayerNorm(WIDTH + 5)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(WIDTH + 5, classes)
        self.unused = nn.Linear(3, 2)

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        mask = attention_mask.astype("float32").unsqueeze(-1)
        mean = (self.embeddings(input_ids) * mask).sum(1) / mask.sum(1)
        hidden = self.norm(nn.functional.gelu(self.dense(mean)))
        return Output(self.classifier(self.dropout(hidden)))


def features(count: int, seed: int = 0) -> list[Features]:
    """Rows whose class follows from their tokens, of 1 to 9 tokens."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = random.integers(1, VOCABULARY, random.integers(1, 10)).astype(np.int32)
        rows.append(Features(ids, None, int(ids.sum() % CLASSES)))
    return rows


def loaders(
    train: int, dev: int, batch: int, rank: int = 0, world: int = 1, seed: int = 5
) -> tuple[Loader, Loader]:
    order = BatchOrder(train, batch, seed=seed, rank=rank, world_size=world)
    part = EvaluationOrder(dev, batch, rank=rank, world_size=world)
    return (
        Loader(features(train, 1), order, pad_token_id=0),
        Loader(features(dev, 2), part, pad_token_id=0),
    )


def save(model: nn.Layer, folder: Path) -> None:
    weights = {name: parameter.numpy() for name, parameter in model.named_parameters()}
    write_safetensors(folder / "model.safetensors", weights)


def load(model: nn.Layer, folder: Path) -> None:
    weights = read_safetensors(folder / "model.safetensors")
    for name, parameter in model.named_parameters():
        parameter.set_value(np.array(weights[name]))


def digest(model: nn.Layer) -> str:
    content = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        content.update(name.encode() + parameter.numpy().tobytes())
    return content.hexdigest()


def tiny_model(dropout: float = 0.0) -> TinyClassifier:
    paddle.seed(11)
    return TinyClassifier(dropout)


def train(
    args: argparse.Namespace, on_event: Callable[[Any, nn.Layer], None] = lambda *_: None
) -> dict[str, Any]:
    rank, world = distributed.rank(), distributed.world_size()
    train_loader, dev = loaders(args.rows, args.dev, args.batch, rank, world)
    model = tiny_model(args.dropout)
    checkpoints = found = position = None
    if args.output_dir:
        settings = {"max_steps": args.steps, "batch_size": args.batch}
        settings["gradient_accumulation_steps"] = args.accumulate
        checkpoints = Checkpoints(args.output_dir, settings, keep=args.keep)
        found = checkpoints.find(args.resume)
        checkpoints.settle(
            content_digest(train_loader.features), -(-len(train_loader) // args.accumulate)
        )
    if found:
        load(model, found.folder)
    schedule = rate_schedule(0.02, args.steps, warmup_proportion=0.1)
    optimizer = adamw(model, schedule, weight_decay=0.1, max_grad_norm=0.5)
    if args.poison is not None and rank == world - 1:
        model.register_forward_post_hook(_poison(args.poison))
    if found:
        position = found.restore(model, optimizer)
    result: dict[str, Any] = {"losses": [], "examples": [], "evaluations": []}
    try:
        for event in finetune(
            model,
            train_loader,
            evaluate_on={"dev": dev},
            loss=cross_entropy,
            metric=accuracy,
            optimizer=optimizer,
            max_steps=args.steps,
            evaluate_every=args.evaluate_every,
            settings=UpdateSettings(args.accumulate, seed=3, on_non_finite=args.on_non_finite),
            resume=position,
        ):
            match event:
                case StepDone():
                    result["losses"].append(event.loss)
                    result["examples"].append(event.examples)
                case Evaluated():
                    result["evaluations"].append([event.loss, event.metrics, event.examples])
            on_event(event, model)
            if checkpoints and (
                isinstance(event, Interrupted) or event.step % args.save_every == 0
            ):
                checkpoints.save(
                    f"model_{event.step}",
                    event.progress,
                    model,
                    optimizer,
                    write=lambda folder: save(model, folder),
                )
    finally:
        result |= {"rank": rank, "digest": digest(model)}
        if checkpoints:
            checkpoints.close()
    return result


def _poison(call: int) -> Callable[..., Output | None]:
    """Spoil one row of the logits of a training forward pass."""
    calls = iter(range(10_000))

    def hook(layer: nn.Layer, inputs: Any, output: Output) -> Output | None:
        if layer.training and next(calls) == call:
            spoil = np.zeros(output.logits.shape, np.float32)
            spoil[-1, 0] = np.nan
            return Output(output.logits + paddle.to_tensor(spoil))
        return None

    return hook


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name, default in (("rows", 37), ("dev", 23), ("batch", 8), ("steps", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--evaluate_every", type=int, default=4)
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--poison", type=int, default=None)
    parser.add_argument("--output_dir", default=None)
    parser.add_argument("--resume", default=None)
    parser.add_argument("--save_every", type=int, default=3)
    parser.add_argument("--keep", type=int, default=0)
    parser.add_argument("--on_non_finite", default="stop")
    parser.add_argument("--processes", type=int, default=1)
    return parser.parse_args(argv)


def main(args: argparse.Namespace) -> None:
    distributed.start("cpu")
    sys.stdout.write("RESULT " + json.dumps(train(args)) + "\n")
    sys.stdout.flush()


def begin() -> None:
    args = parse()
    if args.processes > 1:
        program.spawn(main, args.processes, args, device="cpu")
    else:
        main(args)


if __name__ == "__main__":
    program.run(begin)
