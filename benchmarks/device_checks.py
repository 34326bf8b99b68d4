"""Check on a device what tests check on a CPU: attention, updates, mixed precision, determinism.

    python -m benchmarks.device_checks --device gpu

Each check is a line: ok, failed, or left out and why. The status is 1 if one failed. `gpu.sh` runs
it; on a CPU it runs what a CPU can.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle import nn

from paddlenlp_ext.errors import DeviceError
from paddlenlp_ext.metrics import accuracy
from paddlenlp_ext.models.bert import BertConfig, BertForSequenceClassification
from paddlenlp_ext.nn import attention
from paddlenlp_ext.process import devices
from paddlenlp_ext.tasks.batches import BatchOrder, Loader
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import StepDone
from paddlenlp_ext.training.finetune import finetune
from paddlenlp_ext.training.losses import cross_entropy
from paddlenlp_ext.training.optimization import adamw, updates_at_once
from paddlenlp_ext.training.precision import mixed_precision
from paddlenlp_ext.training.updates import UpdateSettings

VOCABULARY, CLASSES, ROWS = 97, 3, 48
TYPES = (paddle.float32, paddle.float16, paddle.bfloat16)
CLOSE = {paddle.float32: 2e-3, paddle.float16: 1e-2, paddle.bfloat16: 5e-2}  # TF32, half, brain


class NotThereError(Exception):
    """A check that this device has nothing for."""


def model(dropout: float = 0.0) -> nn.Layer:
    """Make a BERT of two layers, the same on every device."""
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    ).replace(num_labels=CLASSES)
    made = BertForSequenceClassification(config)
    random = np.random.default_rng(5)
    for name, parameter in made.named_parameters():
        values = 0.1 * random.standard_normal(parameter.shape)
        values += 1.0 if "norm" in name and "weight" in name else 0.0
        parameter.set_value(values.astype(np.float32))
    return made


def rows() -> list[Features]:
    """Rows of 3 to 24 tokens, whose class is that of their first token."""
    random = np.random.default_rng(3)
    made = []
    for _ in range(ROWS):
        ids = random.integers(1, VOCABULARY, random.integers(3, 25)).astype(np.int32)
        made.append(Features(ids, np.zeros_like(ids), int(ids[0]) % CLASSES))
    return made


def train(steps: int, *, dropout: float = 0.0, **amp: Any) -> tuple[list[float], nn.Layer]:
    """Train the model; return the losses and what it became."""
    trained = model(dropout)
    optimizer = adamw(trained, 3e-3, weight_decay=0.01, max_grad_norm=1.0)
    events = finetune(
        trained,
        Loader(rows(), BatchOrder(ROWS, 16, 5), pad_token_id=0, pad_to_multiple_of=8),
        evaluate_on={},
        loss=cross_entropy,
        metric=accuracy,
        optimizer=optimizer,
        max_steps=steps,
        settings=UpdateSettings(
            accumulate=amp.pop("accumulate", 1),
            precision=mixed_precision(trained, optimizer, **amp) if amp else None,
            on_non_finite="skip" if amp else "stop",
        ),
    )
    return [event.loss for event in events if isinstance(event, StepDone)], trained


def check_fused_attention() -> str:
    """Paddle's one operation computes what its parts do, with padding, in every type."""
    if not attention.HAS_FUSED:
        raise NotThereError("this PaddlePaddle has no such operation for every type")
    found = []
    for dtype in TYPES if not devices.current().is_host else TYPES[:1]:
        states = [paddle.randn([3, 24, 2, 32]) for _ in range(3)]
        mask = attention.mask_of(paddle.to_tensor(np.arange(24) < np.array([[24], [9], [17]])))
        expected, _ = attention.explicit(*states, mask, nn.Dropout(0.0))
        got, _ = attention.fused(*(one.astype(dtype) for one in states), mask, nn.Dropout(0.0))
        found.append(float((got.astype("float32") - expected).abs().max()))
        assert found[-1] < CLOSE[dtype], f"{dtype}: {found[-1]}"
    return f"largest differences {', '.join(f'{one:.0e}' for one in found)}"


def check_dropout_of_attention() -> str:
    """Dropout drops in training, in its rate, and not in evaluation."""
    if not attention.HAS_FUSED:
        raise NotThereError("this PaddlePaddle has no such operation for every type")
    host = devices.current().is_host
    dtype = paddle.float32 if host else paddle.bfloat16
    # One value for all keys: what is left of it is the part of the weights that is kept.
    query, value = paddle.zeros([4, 64, 2, 32], dtype), paddle.ones([4, 64, 2, 32], dtype)
    dropout = nn.Dropout(0.25)
    means = attention.fused(query, query, value, None, dropout)[0].astype("float32")
    assert abs(float(means.mean()) - 1) < 0.02
    assert float(means.std()) > 0.02
    dropout.eval()
    kept = attention.fused(query, query, value, None, dropout)[0].astype("float32")
    assert float((kept - 1).abs().max()) < 1e-2
    return f"mean {float(means.mean()):.3f}"


def check_updates_at_once() -> str:
    """One kernel updates many parameters, if it does what Paddle's for each does."""
    return "one kernel for many parameters" if updates_at_once() else "each parameter alone"


def check_float32() -> str:
    """Training in float32 is what it is on a CPU."""
    here, _ = train(6)
    device = paddle.device.get_device()
    paddle.set_device("cpu")
    there, _ = train(6)
    paddle.set_device(device)
    apart = max(abs(one - other) for one, other in zip(here, there, strict=True))
    assert apart < 2e-2, f"{here} instead of {there}"
    return f"largest difference of a loss {apart:.1e}"


def check_amp(level: Any, dtype: Any, accumulate: int) -> str:
    """Training in mixed precision learns."""
    try:
        losses, trained = train(60, dropout=0.1, level=level, dtype=dtype, accumulate=accumulate)
    except DeviceError as error:
        raise NotThereError(str(error)) from error
    assert all(bool(paddle.isfinite(p.astype("float32")).all()) for p in trained.parameters())
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:6]), losses
    return f"loss {np.mean(losses[:6]):.3f} to {np.mean(losses[-6:]):.3f}"


def check_determinism() -> str:
    """Two runs are the same to the last bit, with dropout."""
    (first, one), (second, other) = train(12, dropout=0.1), train(12, dropout=0.1)
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert first == second
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)
    return "equal"


def main() -> int:
    """Run all checks; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default=devices.default_device(), help="cpu, gpu or xpu")
    args = parser.parse_args()
    distributed.start(args.device, deterministic=True)
    paddle.seed(1)
    checks: dict[str, Callable[[], str]] = {
        "attention by one operation": check_fused_attention,
        "its dropout": check_dropout_of_attention,
        "AdamW": check_updates_at_once,
        "float32 beside a CPU": check_float32,
    }
    for level in ("O1", "O2"):
        for dtype in ("float16", "bfloat16"):
            for accumulate in (1, 2):
                checks[f"{level} {dtype}, {accumulate} batches an update"] = (
                    lambda level=level, dtype=dtype, accumulate=accumulate: check_amp(
                        level, dtype, accumulate
                    )
                )
    checks["determinism"] = check_determinism
    failed = 0
    for name, check in checks.items():
        try:
            result = f"ok: {check()}"
        except NotThereError as error:
            result = f"left out: {error}"
        except Exception:  # the next check may still say something
            failed += 1
            result = f"FAILED\n{traceback.format_exc()}"
        print(f"{name}: {result}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
