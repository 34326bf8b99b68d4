"""Fine-tune BERT on a GLUE task.

    python -u examples/language_model/bert/run_glue.py --model_type bert \
        --model_name_or_path bert-base-uncased --task_name SST-2 --max_seq_length 128 \
        --batch_size 32 --learning_rate 2e-5 --num_train_epochs 3 --logging_steps 1 \
        --save_steps 500 --output_dir ./tmp/SST-2/ --n_gpu 1

On several devices: `--n_gpu 2`; or `python -m paddle.distributed.launch --nproc_per_node 2` in
place of `python`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from paddlenlp_ext import cli
from paddlenlp_ext.process import runtime
from paddlenlp_ext.training.events import Evaluated, Interrupted, StepDone

UNUSED = ("eager_run",)  # flags of the original
MODEL_TYPES = ("bert", "electra", "ernie", "convbert")
# Flags that a run must have in common with the one that it continues.
MUST_STAY = (
    "model_type",
    "model_name_or_path",
    "task_name",
    "max_seq_length",
    "batch_size",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "warmup_steps",
    "warmup_proportion",
    "weight_decay",
    "adam_epsilon",
    "group_by_length",
    *cli.AFFECTS_RESULT,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = argparse.ArgumentParser(description="Fine-tune BERT on a GLUE task.")
    add = parser.add_argument
    add("--model_type", required=True, type=str.lower, choices=MODEL_TYPES, help="model family")
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    add("--task_name", required=True, help="CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI or RTE")
    add("--max_seq_length", type=cli.positive_int, default=128, help="longer texts are cut")
    add("--batch_size", type=cli.positive_int, default=8, help="examples a step, each device")
    add("--learning_rate", type=cli.non_negative_float, default=5e-5, help="the highest of the run")
    add("--num_train_epochs", type=cli.positive_int, default=3, help="passes over the data")
    add("--logging_steps", type=cli.positive_int, default=500, help="steps between log lines")
    add("--save_steps", type=cli.positive_int, default=500, help="steps between checkpoints")
    add("--output_dir", required=True, help="where checkpoints and results go")
    add("--n_gpu", type=cli.non_negative_int, default=1, help="number of devices; 0 is the CPU")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add(
        "--weight_decay",
        type=cli.non_negative_float,
        default=0.0,
        help="of all but biases and LayerNorm",
    )
    add("--adam_epsilon", type=cli.positive_float, default=1e-8, help="AdamW's")
    add(
        "--warmup_steps",
        type=cli.non_negative_int,
        default=0,
        help="above 0, wins over the proportion",
    )
    add(
        "--warmup_proportion",
        type=cli.probability,
        default=0.0,
        help="part of the steps that warm up",
    )
    cli.add_unused_arguments(parser, UNUSED)
    cli.add_engine_arguments(parser, trims_vocabulary=True)
    return parser.parse_args(argv)


def log_step(event: StepDone, speed: float) -> str:
    """Write the page's line; `batch` counts from 1, as there."""
    return (
        f"global step {event.step}, epoch: {event.epoch}, batch: {event.batch + 1}, "
        f"loss: {event.loss:f}, speed: {speed:.2f} step/s"
    )


def log_evaluation(event: Evaluated, is_last: bool) -> str:
    """Write the page's line; a split besides `dev` is named."""
    split = "" if event.split == "dev" else f"{event.split} "
    named = {"accu" if name == "acc" else name: value for name, value in event.metrics.items()}
    numbers = ", ".join(f"{name}: {value:f}" for name, value in named.items())
    return f"{split}eval loss: {event.loss:f}, {numbers}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Fine-tune as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training import distributed, engine

    args.device = args.device or ("cpu" if args.n_gpu == 0 else engine.default_device())
    if args.n_gpu > 1 and distributed.world_size() == 1:
        cli.spawn(train, args.n_gpu, args, device=args.device)
        return {}
    return train(args)


def train(args: argparse.Namespace) -> dict[str, float]:
    """Fine-tune in this process, which may be one of several; return the last metrics."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.tasks.download import official_folder
    from paddlenlp_ext.tasks.glue import glue_task
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed, engine
    from paddlenlp_ext.training.checkpoint import Checkpoints
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.loaders import task_loaders
    from paddlenlp_ext.training.losses import loss_for
    from paddlenlp_ext.training.optimization import adamw, linear_schedule
    from paddlenlp_ext.training.report import Report

    distributed.start(args.device)
    distributed.seed_everything(args.seed)
    if distributed.rank() == 0:
        cli.note_unused(args, UNUSED)
    task = glue_task(args.task_name)
    settings = {name: vars(args)[name] for name in MUST_STAY}
    with Checkpoints(args.output_dir, settings, keep=args.keep_checkpoints) as checkpoints:
        found = checkpoints.find(args.resume_from_checkpoint)
        source = found.folder if found else args.model_name_or_path
        tokenizer = AutoTokenizer.from_pretrained(source)
        data = task_loaders(
            task,
            engine.batching(args, tokenizer),
            args.data_dir or official_folder(task),
            max_train_samples=args.max_train_samples,
            max_eval_samples=args.max_eval_samples,
            on_bad_row=args.on_bad_row,
        )
        model = model_class(args.model_type, "ForSequenceClassification").from_pretrained(
            source, num_labels=task.num_labels, id2label=dict(enumerate(task.labels or ())) or None
        )
        engine.trim_if_asked(args, model, tokenizer, [data.train, *data.evaluate_on.values()])
        max_steps = engine.count_steps(
            data.train,
            epochs=args.num_train_epochs,
            max_steps=args.max_steps,
            accumulate=args.gradient_accumulation_steps,
        )
        schedule = linear_schedule(
            args.learning_rate,
            max_steps,
            warmup_steps=args.warmup_steps,
            warmup_proportion=args.warmup_proportion,
        )
        optimizer = adamw(
            model,
            schedule,
            weight_decay=args.weight_decay,
            epsilon=args.adam_epsilon,
            max_grad_norm=args.max_grad_norm,
        )
        updates = engine.update_settings(args, model, optimizer, data.sources)
        position = found.restore(model, optimizer, updates.precision) if found else None
        report = Report(
            args.output_dir,
            log_step=log_step,
            log_evaluation=log_evaluation,
            logging_steps=args.logging_steps,
            splits=len(data.evaluate_on),
            facts=engine.signature_facts(args, f"glue/{task.name}"),
            resume=position,
        )

        def write(folder: Path) -> None:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        for event in finetune(
            model,
            data.train,
            evaluate_on=data.evaluate_on,
            loss=loss_for(task.num_labels),
            metric=task.metric,
            optimizer=optimizer,
            max_steps=max_steps,
            evaluate_every=args.save_steps,
            settings=updates,
            resume=position,
        ):
            report.add(event)
            if report.is_complete(event) or isinstance(event, Interrupted):
                checkpoints.save(
                    f"model_{event.step}",
                    event.position,
                    model,
                    optimizer,
                    write=write,
                    precision=updates.precision,
                    score=next(iter(report.scores.values()), None),
                )
        report.draw()
    return report.scores


if __name__ == "__main__":
    cli.run(main)
