"""Time training steps on a device, ours or those of transformers and torch; a line for each type.

    python -m benchmarks.device_steps --device gpu --side ours
    python -m benchmarks.device_steps --device gpu --side transformers

Both train a BERT with new weights on random ids without padding, with dropout, AdamW and a clipped
norm, and read the loss of every step; batches are made meanwhile. `gpu.sh` runs it.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator

import numpy as np

from paddlenlp_ext.cli import program
from paddlenlp_ext.errors import DeviceError
from paddlenlp_ext.process import devices, runtime

TYPES = ("float32", "float16", "bfloat16")
VOCABULARY = 30_522


def sizes(args: argparse.Namespace) -> dict[str, int]:
    """Return the sizes of the model, as both libraries name them."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": args.width,
        "num_hidden_layers": args.layers,
        "num_attention_heads": args.width // 64,
        "intermediate_size": 4 * args.width,
    }


def ids(args: argparse.Namespace) -> np.ndarray:
    """Draw the ids of eight batches; int64 [N, L]."""
    return np.random.default_rng(1).integers(1000, VOCABULARY, (8 * args.batch, args.length))


def ours(args: argparse.Namespace, dtype: str) -> Iterator[float]:
    """Yield the seconds of each step of `finetune`.

    Raises:
        DeviceError: The device does not compute in this type.
    """
    import paddle

    from paddlenlp_ext.metrics import accuracy
    from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
    from paddlenlp_ext.tasks.batches import BatchOrder, Loader
    from paddlenlp_ext.tasks.features import Features
    from paddlenlp_ext.training import distributed
    from paddlenlp_ext.training.events import StepDone
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.optimization import adamw, rate_schedule
    from paddlenlp_ext.training.precision import mixed_precision
    from paddlenlp_ext.training.updates import UpdateSettings

    distributed.start(args.device)
    model = BertForSequenceClassification(BertConfig(**sizes(args)))
    if not args.unread:
        model.compute_unread(True)
    schedule = rate_schedule(5e-5, 10 * args.steps)
    optimizer = adamw(model, schedule, weight_decay=0.01, max_grad_norm=1.0)
    precision = None if dtype == "float32" else mixed_precision(model, optimizer, dtype=dtype)  # type: ignore[arg-type]
    rows = [
        Features(row.astype(np.int32), np.zeros(args.length, np.int32), number % 2)
        for number, row in enumerate(ids(args))
    ]
    for event in finetune(
        model,
        Loader(rows, BatchOrder(len(rows), args.batch, 1), pad_token_id=0),
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=optimizer,
        max_steps=args.steps + args.warmup,
        settings=UpdateSettings(precision=precision, on_non_finite="skip"),
    ):
        if isinstance(event, StepDone):
            yield event.seconds
    paddle.device.synchronize() if not devices.current().is_host else None


def transformers(args: argparse.Namespace, dtype: str) -> Iterator[float]:
    """Yield the seconds of each step, as transformers' Trainer makes them.

    Raises:
        DeviceError: The device does not compute in this type.
    """
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from benchmarks.transformers_side import optimizer_of

    kind = "cuda" if args.device.startswith("gpu") else "cpu"
    if dtype == "float16" and kind == "cpu":
        raise DeviceError("float16 is not compared on a CPU")
    device = torch.device(kind)
    model = BertForSequenceClassification(BertConfig(**sizes(args))).to(device).train()
    optimizer = optimizer_of(model)
    scaler = torch.amp.GradScaler(kind, enabled=dtype == "float16")
    rows = torch.from_numpy(ids(args))
    rows = rows.pin_memory() if kind == "cuda" else rows
    labels = torch.arange(args.batch) % 2
    for number in range(args.steps + args.warmup):
        began = time.perf_counter()
        first = number % 8 * args.batch
        batch = rows[first : first + args.batch].to(device, non_blocking=True)
        with torch.autocast(kind, getattr(torch, dtype), enabled=dtype != "float32"):
            loss = model(
                input_ids=batch,
                attention_mask=torch.ones_like(batch),
                labels=labels.to(device, non_blocking=True),
            ).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        loss.item()
        yield time.perf_counter() - began


SIDES = {"ours": ours, "transformers": transformers}


def main() -> None:
    """Time the steps of every type that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--device", default=devices.default_device(), help="cpu or gpu")
    add("--side", choices=(*SIDES,), default="ours")
    add("--dtypes", nargs="+", choices=TYPES, default=TYPES)
    for name, default in (("layers", 12), ("width", 768), ("batch", 32), ("length", 128)):
        add(f"--{name}", type=int, default=default)
    add("--steps", type=int, default=50)
    add("--warmup", type=int, default=10)
    add("--unread", action="store_true", help="our last layer computes only what is read")
    args = parser.parse_args()
    for dtype in args.dtypes:
        try:
            seconds = sorted(list(SIDES[args.side](args, dtype))[args.warmup :])
        except DeviceError as error:
            print(f"{args.side} {dtype}: left out: {error}", flush=True)
            continue
        middle = 1000 * statistics.median(seconds)
        print(
            f"{args.side} {dtype}: {middle:.2f} ms a step ({1000 * seconds[0]:.2f} to "
            f"{1000 * seconds[-1]:.2f}), {1000 * args.batch / middle:.0f} examples/s",
            flush=True,
        )


if __name__ == "__main__":
    runtime.tune()
    sys.exit(program.run(main))
