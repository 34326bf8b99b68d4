"""Train a model to choose one of several texts, on your own files, and choose with it.

    python examples/tasks/run_multiple_choice.py --model_name_or_path bert-base-uncased \
        --train_file swag/train.csv --validation_file swag/val.csv --output_dir output/swag/ \
        --do_train --do_eval

CSV, TSV, JSON and JSON Lines; which columns are read is guessed, and said. Files that end with a
language ("val.et.jsonl") are evaluated language by language.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.process import runtime

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.choices import Choices
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run

RESUME_MUST_MATCH = ("model_name_or_path",)  # besides the settings of every run and the data


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.Parser(description="Train a model to choose one of several texts.")
    add = parser.add_argument
    count, whole = cli.positive_int, cli.non_negative_int
    rate, part = cli.non_negative_float, cli.probability
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    cli.add_task_files(parser, "tables (CSV, TSV), JSON or JSON lines")
    share = "part of --train_file to evaluate on where there is no --validation_file"
    add("--validation_share", type=part, default=0.1, help=share)
    add("--context_column_name", help="of the text that choices follow; guessed by default")
    add("--question_column_name", help="of the question about it; guessed by default")
    choices = "a column for each choice, or one column of lists; guessed by default"
    add("--choices_column_names", nargs="+", default=[], help=choices)
    right = "of the right choice: its number, letter or text; guessed by default"
    add("--label_column_name", help=right)
    add("--first_label", type=whole, default=0, help="the number that means the first choice")
    add("--language_column_name", help="of the language; default: from the files' names, if there")
    add("--output_dir", required=True, help="where checkpoints and results go")
    add("--max_seq_length", type=count, default=128, help="tokens of a text with a choice")
    add("--batch_size", type=count, default=16, help="rows a step, each device")
    add("--learning_rate", type=rate, default=5e-5, help="the highest of the run")
    add("--weight_decay", type=rate, default=0.0, help="of all but biases and LayerNorm")
    add("--adam_epsilon", type=cli.positive_float, default=1e-8, help="AdamW's")
    add("--warmup_steps", type=whole, default=0, help="above 0, wins over the proportion")
    add("--warmup_proportion", type=part, default=0.1, help="part of the steps that warm up")
    add("--num_train_epochs", type=count, default=3, help="passes over the data")
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    add("--save_steps", type=count, default=500, help="steps between evaluations")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    unused = ("data_dir", "label_smoothing_factor", "class_weights")
    cli.add_engine_arguments(parser, omit=unused, trims_vocabulary=True)
    args = parser.parse_args(argv)
    cli.check_task_files(parser, args)
    return args


def log_step(event: StepDone, pace: Pace) -> str:
    """Write the line of an update."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"loss: {event.loss:f}, lr: {event.learning_rate:.10f}, speed: {pace.speed:.2f} step/s"
    )


def log_evaluation(event: Evaluated, seconds: float | None = None) -> str:
    """Write the line of a split, or of one of its languages."""
    return f"{event.split}: loss {event.loss:f}, accuracy {event.metrics['acc']:.4f}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate and predict as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training.multiple_choice import ChoiceSettings, read_splits
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings, default_device

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    run = Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH})
    wanted = {
        "train": args.do_train,
        "validation": args.do_train or args.do_eval,
        "test": args.do_predict,
    }
    splits = read_splits(
        ChoiceSettings.from_flags(vars(args)), [*filter(wanted.get, wanted)], settings
    )
    metrics = train(args, run, splits) if args.do_train else {}
    return metrics | test(args, run, splits)


def train(args: argparse.Namespace, run: Run, splits: Mapping[str, Choices]) -> dict[str, float]:
    """Train, and keep the best model in --output_dir, or the last where nothing is evaluated."""
    from paddlenlp_ext.metrics import accuracy
    from paddlenlp_ext.models.auto import AutoModelForMultipleChoice
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import multiple_choice
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import cross_entropy

    with run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        data = multiple_choice.batch(run.batching(tokenizer), splits)
        model = AutoModelForMultipleChoice.from_pretrained(run.source)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=f"multiple-choice/{Path(args.train_file[0]).stem}",
            log_step=log_step,
            log_evaluation=log_evaluation,
        )
        for event in finetune(
            model,
            data.train,
            evaluate_on=data.evaluate_on,
            loss=cross_entropy,
            metric=accuracy,
            optimizer=training.optimizer,
            max_steps=training.total_steps,
            evaluate_every=args.save_steps,
            settings=training.updates,
            resume=training.progress,
        ):
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}", event, best_to=args.output_dir)
        training.report.draw()
        if not data.evaluate_on:
            training.save_model(args.output_dir)
    return training.report.metrics


def test(args: argparse.Namespace, run: Run, splits: Mapping[str, Choices]) -> dict[str, float]:
    """Evaluate the trained model, or the one given, and write what it chooses."""
    from paddlenlp_ext.models.auto import AutoModelForMultipleChoice
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import multiple_choice
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.task_files import load_trained, report_files

    wanted = {"validation": args.do_eval, "test": args.do_predict}
    if not any(wanted.values()):
        return {}
    source = args.output_dir if args.do_train else args.model_name_or_path
    model = load_trained(AutoModelForMultipleChoice, source, run.settings)
    batching = run.batching(AutoTokenizer.from_pretrained(source))
    metrics: dict[str, float] = {}
    say(f"test of {source}:\n")
    for split in filter(wanted.get, wanted):
        parts = multiple_choice.by_language(splits, split)
        events = []
        for event in multiple_choice.evaluate_splits(model, batching, parts):
            say(log_evaluation(event))
            events.append(event)
        kept = {"trained": args.do_train, "tables": ("acc",)}
        metrics |= report_files(run.settings, events, "multiple-choice", **kept)
        if split == "test":
            for path in multiple_choice.write_predictions(model, batching, parts, args.output_dir):
                say(f"predictions: {path}\n")
    return metrics


if __name__ == "__main__":
    cli.run(main)
