"""Train a model to choose one of several texts, on your own files, and choose with it.

    python examples/tasks/run_multiple_choice.py --model_name_or_path bert-base-uncased \
        --train_file swag/train.csv --validation_file swag/val.csv --output_dir output/swag/ \
        --do_train --do_eval

CSV, TSV, JSON and JSON Lines; which columns are read is guessed, and said. Files that end with a
language ("val.et.jsonl") are evaluated language by language.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import flags, parsing, program
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.devices import default_device

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.choices import ChoiceExample
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.task_files import Splits

RESUME_MUST_MATCH = ("model_name_or_path",)  # besides the settings of every run and the data


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Train a model to choose one of several texts.")
    add = parser.add_argument
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    flags.add_task_files(parser, "tables (CSV, TSV), JSON or JSON lines", validation_share=0.1)
    add("--context_column_name", help="of the text that choices follow; guessed by default")
    add("--question_column_name", help="of the question about it; guessed by default")
    choices = "a column for each choice, or one column of lists; guessed by default"
    add("--choices_column_names", nargs="+", default=[], help=choices)
    right = "of the right choice: its number, letter or text; guessed by default"
    add("--label_column_name", help=right)
    first = "the number that means the first choice"
    add("--first_label", type=parsing.non_negative_int, default=0, help=first)
    add("--language_column_name", help="of the language; default: from the files' names, if there")
    most = "tokens of a text with a choice"
    add("--max_seq_length", type=parsing.positive_int, default=128, help=most)
    flags.add_training_arguments(parser, "rows", warmup_proportion=0.1)
    unused = ("data_dir", "label_smoothing_factor", "class_weights")
    flags.add_engine_arguments(parser, omit=unused, trims_vocabulary=True)
    args = parser.parse_args(argv)
    flags.check_task_files(parser, args)
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
    from paddlenlp_ext.training.settings import RunSettings
    from paddlenlp_ext.training.task_files import wanted_splits

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    run = Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH})
    own = ChoiceSettings.from_flags(vars(args))
    splits = read_splits(own, wanted_splits(vars(args)), settings)
    metrics = train(args, run, splits) if args.do_train else {}
    return metrics | (test(args, run, splits) if args.do_eval or args.do_predict else {})


def train(args: argparse.Namespace, run: Run, splits: Splits[ChoiceExample]) -> dict[str, float]:
    """Train, and keep the best model in --output_dir, or the last where nothing is evaluated."""
    from paddlenlp_ext.models.auto import AutoModelForMultipleChoice
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.multiple_choice import rows_of
    from paddlenlp_ext.training.task_files import batch

    with run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        batching = run.batching(tokenizer)
        data, metrics = batch(batching, splits, partial(rows_of, batching))
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
            metric=metrics,
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
    return training.report.metrics


def test(args: argparse.Namespace, run: Run, splits: Splits[ChoiceExample]) -> dict[str, float]:
    """Evaluate the trained model, or the one given, and write what it chooses."""
    from paddlenlp_ext.models.auto import AutoModelForMultipleChoice
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import task_files
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.multiple_choice import labelled, rows_of
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.trained import load_trained

    source = args.output_dir if args.do_train else args.model_name_or_path
    model = load_trained(AutoModelForMultipleChoice, source, run.settings)
    batching = run.batching(AutoTokenizer.from_pretrained(source))
    rows = partial(rows_of, batching)
    say(f"test of {source}:\n")
    metrics: dict[str, float] = {}
    for split in ("validation", "test") if args.do_eval else ("test",):
        events = []
        for event in task_files.evaluate(
            model, batching, labelled(splits[split]), rows, cross_entropy
        ):
            say(log_evaluation(event))
            events.append(event)
        metrics |= task_files.report(
            run.settings, events, "multiple-choice", trained=args.do_train, tables=("acc",)
        )
    for path in task_files.predict(model, batching, splits["test"], rows, args.output_dir):
        say(f"predictions: {path}\n")
    return metrics


if __name__ == "__main__":
    program.run(main)
