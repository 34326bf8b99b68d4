"""What the flags of `cli.add_engine_arguments` mean to the training loop."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Sequence, Sized
from pathlib import Path
from typing import Any

import paddle
from paddle.optimizer import Optimizer

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.tasks.batches import Loader
from paddlenlp_ext.tasks.token_cache import TokenCache
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.loaders import Batching
from paddlenlp_ext.training.precision import mixed_precision
from paddlenlp_ext.training.updates import UpdateSettings
from paddlenlp_ext.training.vocabulary_trimming import FLAG, trim_vocabulary

GPU_PADDING = 8  # lengths are rounded up to it: tensor cores compute in blocks of eight


def default_device() -> str:
    """A GPU or XPU if this PaddlePaddle is built for one and finds it, else the CPU."""
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        return "gpu"
    return "xpu" if paddle.is_compiled_with_xpu() else "cpu"


def padding_multiple(device: str) -> int:
    """What lengths of batches are rounded up to on a device."""
    return 1 if device.startswith("cpu") else GPU_PADDING


def count_steps(train: Sized, *, epochs: int, max_steps: int, accumulate: int) -> int:
    """Count the updates of a run.

    Args:
        train: Batches of an epoch.
        epochs: Passes over them.
        max_steps: If above 0, the answer.
        accumulate: Batches of an update; an epoch's last update may have fewer.

    Raises:
        UserError: Neither says how long to train.
    """
    if max_steps > 0:
        return max_steps
    if epochs <= 0:
        raise UserError(f"--num_train_epochs {epochs}: expected at least 1, or --max_steps above 0")
    return epochs * -(-len(train) // accumulate)


def signature_facts(args: Namespace, task: str) -> dict[str, Any]:
    """Collect what all results of a run depend on, for `results.signature`.

    Args:
        args: A script's arguments. Without `do_train`, where a script has that flag, nothing of
            training is among the facts.
        task: With its collection: "glue/SST-2".
    """
    processes = distributed.world_size()
    facts = {
        "model": str(args.model_name_or_path),
        "task": task,
        "max_length": args.max_seq_length,
        "device": args.device,
        "processes": processes,
    }
    if not getattr(args, "do_train", True):
        return facts
    in_steps = args.max_steps > 0
    length = {"steps": args.max_steps} if in_steps else {"epochs": args.num_train_epochs}
    return {
        **facts,
        **length,
        "batch_size": args.batch_size * args.gradient_accumulation_steps * processes,
        "learning_rate": args.learning_rate,
        "seed": args.seed,
    }


def batching(args: Namespace, tokenizer: Tokenizer) -> Batching:
    """Say how examples become batches, as a script's flags ask.

    Args:
        args: A script's arguments, the engine's among them.
        tokenizer: The model's.
    """
    return Batching(
        tokenizer,
        args.max_seq_length,
        args.batch_size,
        eval_batch_size=args.eval_batch_size,
        seed=args.seed,
        group_by_length=args.group_by_length,
        pad_to_multiple_of=padding_multiple(args.device),
        cache=TokenCache.default() if args.token_cache else None,
    )


def trim_if_asked(
    args: Namespace, model: Model, tokenizer: Tokenizer, loaders: Iterable[Loader]
) -> None:
    """Train only the word embeddings that occur in the data, with `--trim_vocab`.

    Args:
        args: A script's arguments, the engine's among them.
        model: Just loaded; its optimizer comes later.
        tokenizer: The model's.
        loaders: All that the run trains and evaluates on.

    Raises:
        UserError: The model, or its precision, is not for that.
    """
    if not args.trim_vocab:
        return
    if args.use_amp and args.amp_level == "O2":
        raise UserError(
            f"{FLAG}: keeps float32 tables, and --amp_level O2 casts them; give --amp_level O1"
        )
    trim_vocabulary(model, tokenizer, loaders, Path(args.output_dir))


def update_settings(
    args: Namespace, model: Model, optimizer: Optimizer, sources: Sequence[str] = ()
) -> UpdateSettings:
    """Prepare a model and its optimizer as the engine's flags ask, and say how updates are made.

    Args:
        args: A script's arguments, the engine's among them.
        model: Recomputes activations if asked to.
        optimizer: Keeps float32 weights under mixed precision of level O2.
        sources: Where each training row stands, for messages.

    Raises:
        DeviceError: Mixed precision is asked for where there is none.
    """
    if args.recompute:
        model.enable_recompute()
    precision = None
    if args.use_amp:
        precision = mixed_precision(
            model,
            optimizer,
            level=args.amp_level,
            dtype=args.amp_dtype,
            scale_loss=args.scale_loss,
        )
    return UpdateSettings(
        accumulate=args.gradient_accumulation_steps,
        precision=precision,
        seed=args.seed,
        on_non_finite=args.on_non_finite,
        sources=sources,
    )
