"""Fine-tune ERNIE-M on XNLI, in English or in all 15 languages, and test it in all of them.

    python examples/language_model/ernie_m/run_classifier.py --task_type cross-lingual-transfer \
        --batch_size 16 --model_name_or_path ernie-m-base --save_steps 12272 --output_dir output

On several devices: `python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.process import runtime
from paddlenlp_ext.tasks.cross_lingual import XNLI, XNLI_TABLE_ORDER
from paddlenlp_ext.training.events import Evaluated, Interrupted, StepDone

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.cross_lingual import ExamplesByLanguage

TRANSFER, TRANSLATE = TASK_TYPES = ("cross-lingual-transfer", "translate-train-all")
# Flags that a run must have in common with the one that it continues.
MUST_STAY = (
    "model_name_or_path",
    "task_type",
    "languages",
    "max_seq_length",
    "batch_size",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "warmup_steps",
    "warmup_proportion",
    "weight_decay",
    "adam_epsilon",
    "layerwise_decay",
    "group_by_length",
    *cli.AFFECTS_RESULT,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = argparse.ArgumentParser(description="Fine-tune ERNIE-M on XNLI.")
    add = parser.add_argument
    add("--task_type", required=True, choices=TASK_TYPES, help="train in English, or in all")
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    add("--output_dir", required=True, help="where checkpoints and results go")
    add("--max_seq_length", type=cli.positive_int, default=256, help="longer pairs are cut")
    add("--memory_length", type=cli.integer, help="without effect, as in the original")
    add("--learning_rate", type=cli.non_negative_float, default=5e-5, help="the highest of the run")
    add("--num_train_epochs", type=cli.positive_int, default=5, help="passes over the data")
    add("--logging_steps", type=cli.positive_int, default=100, help="steps between log lines")
    add("--save_steps", type=cli.positive_int, default=10000, help="steps between checkpoints")
    add("--batch_size", type=cli.positive_int, default=16, help="examples a step, each device")
    add(
        "--weight_decay",
        type=cli.non_negative_float,
        default=0.0,
        help="of all but biases and LayerNorm",
    )
    add(
        "--layerwise_decay",
        type=cli.probability,
        default=0.8,
        help="of the rate, from a layer to the next",
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
        default=0.1,
        help="part of the steps that warm up",
    )
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add(
        "--seed",
        type=cli.non_negative_int,
        default=42,
        help="of data order, dropout and new weights",
    )
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    switch = {"type": cli.boolean, "nargs": "?", "const": True, "default": False}
    add("--use_amp", **switch, metavar="BOOL", help="train in mixed precision (GPU and XPU)")
    add(
        "--scale_loss",
        type=cli.positive_float,
        default=2.0**15,
        help="first loss scale, for float16",
    )
    add("--languages", nargs="+", help="of dev and test, and of translate-train-all; default: all")
    cli.add_engine_arguments(parser, omit=("seed", "use_amp", "scale_loss"), trims_vocabulary=True)
    return parser.parse_args(argv)


def log_step(event: StepDone, speed: float) -> str:
    """Write the line of the original script; `batch` counts from 0, and process 0 writes it."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"batch: {event.batch}, rank_id: 0, loss: {event.loss:f}, "
        f"lr: {event.learning_rate:.10f}, speed: {speed:.4f} step/s"
    )


def log_evaluation(event: Evaluated, is_last: bool = True) -> str:
    """Write the line of one language as the original script does."""
    language = event.split.partition("_")[2]
    return (
        f"[{language.upper()}] eval loss: {event.loss:f}, acc: {event.metrics['acc']}, "
        f"eval done total : {event.seconds} s\n"
    )


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Fine-tune as the command line says; return the accuracies of the test."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training import distributed, engine
    from paddlenlp_ext.training.languages import read_splits

    args.device = args.device or engine.default_device()
    distributed.start(args.device)
    if args.memory_length is not None and distributed.rank() == 0:
        print("note: --memory_length is accepted and has no effect, as in the original")
    train_languages = ["en"] if args.task_type == TRANSFER else args.languages
    data = read_splits(
        XNLI,
        {"train": train_languages, "dev": args.languages, "test": args.languages},
        args.data_dir,
        max_samples={
            "train": args.max_train_samples,
            "dev": args.max_eval_samples,
            "test": args.max_eval_samples,
        },
        on_bad_row=args.on_bad_row,
    )
    return test(args, train(args, data), data["test"])


def train(args: argparse.Namespace, data: Mapping[str, ExamplesByLanguage]) -> Path:
    """Train, evaluating on each language of dev; return the folder of the last checkpoint."""
    from paddlenlp_ext.models.auto import AutoModelForSequenceClassification
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed, engine
    from paddlenlp_ext.training.checkpoint import Checkpoints
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.languages import all_languages, split_name
    from paddlenlp_ext.training.losses import loss_for
    from paddlenlp_ext.training.optimization import adamw, linear_schedule
    from paddlenlp_ext.training.report import Report

    distributed.seed_everything(args.seed)
    settings = {name: vars(args)[name] for name in MUST_STAY}
    with Checkpoints(args.output_dir, settings, keep=args.keep_checkpoints) as checkpoints:
        found = checkpoints.find(args.resume_from_checkpoint)
        source = found.folder if found else args.model_name_or_path
        tokenizer = AutoTokenizer.from_pretrained(source)
        batching = engine.batching(args, tokenizer)
        rows = all_languages(data["train"])
        loader = batching.training(rows)
        dev = {split_name("dev", code): batching.evaluation(ex) for code, ex in data["dev"].items()}
        model = AutoModelForSequenceClassification.from_pretrained(
            source, num_labels=XNLI.num_labels, id2label=dict(enumerate(XNLI.labels or ()))
        )
        engine.trim_if_asked(args, model, tokenizer, [loader, *dev.values()])
        max_steps = engine.count_steps(
            loader,
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
            layerwise_decay=args.layerwise_decay,
        )
        updates = engine.update_settings(args, model, optimizer, [row.source for row in rows])
        position = found.restore(model, optimizer, updates.precision) if found else None
        last = found.folder if found else Path(args.output_dir)
        report = Report(
            args.output_dir,
            log_step=log_step,
            log_evaluation=log_evaluation,
            logging_steps=args.logging_steps,
            splits=len(dev),
            facts=engine.signature_facts(args, f"xnli/{args.task_type}"),
            resume=position,
        )

        def write(folder: Path) -> None:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        for event in finetune(
            model,
            loader,
            evaluate_on=dev,
            loss=loss_for(XNLI.num_labels),
            metric=XNLI.metric,
            optimizer=optimizer,
            max_steps=max_steps,
            evaluate_every=args.save_steps,
            settings=updates,
            resume=position,
        ):
            report.add(event)
            if report.is_complete(event) or isinstance(event, Interrupted):
                kind = "final" if event.step == max_steps else "ft"
                last = checkpoints.save(
                    f"ernie_m_{kind}_model_{event.step}.pdparams",
                    event.position,
                    model,
                    optimizer,
                    write=write,
                    precision=updates.precision,
                    score=report.score(event.step),
                )
        report.draw()
    return last


def test(args: argparse.Namespace, folder: Path, examples: ExamplesByLanguage) -> dict[str, float]:
    """Test a checkpoint on each language; return the accuracies."""
    from paddlenlp_ext.models.auto import AutoModelForSequenceClassification
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed, engine, languages
    from paddlenlp_ext.training.losses import loss_for

    gc.collect()  # the trained model goes before the tested one comes
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    batching = engine.batching(args, AutoTokenizer.from_pretrained(folder))
    loss = loss_for(XNLI.num_labels)
    events = []
    if distributed.rank() == 0:
        print(f"test of {folder}:", flush=True)
    for event in languages.evaluate_languages(model, examples, batching, XNLI, loss=loss):
        events.append(event)
        if distributed.rank() == 0:
            print(log_evaluation(event), end="", flush=True)
    summary = languages.summarize(events)
    if distributed.rank() == 0:
        name = f"{Path(args.model_name_or_path).name}, {args.task_type}"
        print(languages.table(name, summary, XNLI_TABLE_ORDER), end="")
        facts = engine.signature_facts(args, f"xnli/{args.task_type}")
        languages.record(args.output_dir, facts, events)
    return summary


if __name__ == "__main__":
    cli.run(main)
