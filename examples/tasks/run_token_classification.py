"""Train a tagger of words: named entities, parts of speech.

    python examples/tasks/run_token_classification.py --model_name_or_path bert-base-cased \
        --train_file train.conll --validation_file dev.conll --output_dir output/ner/ \
        --do_train --do_eval

Several files to evaluate on, named by their languages (`de_pud.conllu`), give a table of them.
On several devices: `python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import flags, parsing, program
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.devices import default_device

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.token_labels import TaggedSentence
    from paddlenlp_ext.tokenizers.base import Tokenizer
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.task_files import Splits, TaskRows

# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = ("model_name_or_path", "label_all_tokens")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Train a tagger of words.")
    add = parser.add_argument
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    flags.add_task_files(parser, "columns (a word and its tag a line), CoNLL-U, or JSON lines")
    column = "number from 1, name in CoNLL-U, key of JSON; default: "
    add("--text_column", help=f"where the words are: {column}the first, FORM, words")
    add("--label_column", help=f"where the tags are: {column}the last, UPOS, tags")
    pieces = "give all pieces of a word its tag, not the first one alone"
    add("--label_all_tokens", **parsing.SWITCH, help=pieces)
    exact = "count entities only where tags are written as BIO or BIOES has them (seqeval's strict)"
    add("--strict", **parsing.SWITCH, help=exact)
    add("--max_seq_length", type=parsing.positive_int, default=128, help="longer rows are split")
    flags.add_training_arguments(parser, "sentences")
    flags.add_engine_arguments(parser, omit=("data_dir", "token_cache"), trims_vocabulary=True)
    args = parser.parse_args(argv)
    flags.check_task_files(parser, args)
    return args


def log_step(event: StepDone, pace: Pace) -> str:
    """Write the mean loss of the steps since the line before."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"loss: {pace.losses / pace.steps:f}, lr: {event.learning_rate:.10f}, "
        f"speed: {pace.speed:.2f} step/s"
    )


def log_evaluation(event: Evaluated, seconds: float | None = None) -> str:
    """Write the loss and the metrics of a file."""
    numbers = ", ".join(f"{name}: {value:f}" for name, value in event.metrics.items())
    return f"{event.split} loss: {event.loss:f}, {numbers}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate and predict as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.tasks.token_labels import read_sentences
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings
    from paddlenlp_ext.training.task_files import read_splits

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    run = Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH})
    splits = read_splits(vars(args), settings, lambda split, paths: read_sentences(
        paths,
        text_column=args.text_column,
        label_column=args.label_column,
        is_labelled=split != "test",
        on_bad_row=settings.on_bad_row,
    ))  # fmt: skip
    if args.do_train:
        train(args, run, splits)
    return test(args, run, splits) if args.do_eval or args.do_predict else {}


def rows_of(
    args: argparse.Namespace,
    tokenizer: Tokenizer,
    tags: Sequence[str],
    sentences: Sequence[TaggedSentence],
) -> TaskRows:
    """Make the rows that a model reads, and say what became of long sentences."""
    from paddlenlp_ext.tasks.prediction_files import tag_writer
    from paddlenlp_ext.tasks.token_labels import make_token_rows, tag_metric, tags_of
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.task_files import TaskRows

    made = make_token_rows(
        sentences, tags, tokenizer, args.max_seq_length, label_all_tokens=args.label_all_tokens
    )
    if made.split or made.lost:
        say(
            f"note: {sentences[0].source.partition(':')[0]}: {made.split} sentences have more than "
            f"one row of {args.max_seq_length} tokens; {made.lost} words have no token: they are "
            "not learned, and count as predicted O\n"
        )
    return TaskRows(
        made.features,
        [sentences[row.sentence].source for row in made.rows],
        tag_metric(made.rows, sentences, tags, strict=args.strict),
        lambda logits: tags_of(logits, made.rows, sentences, tags),
        tag_writer,
    )


def train(args: argparse.Namespace, run: Run, splits: Splits[TaggedSentence]) -> None:
    """Train, and keep the best model in --output_dir, or the last where nothing is evaluated."""
    from paddlenlp_ext.metrics import accuracy
    from paddlenlp_ext.models.auto import AutoModelForTokenClassification
    from paddlenlp_ext.tasks.task import Task
    from paddlenlp_ext.tasks.token_labels import tag_names
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.task_files import batch

    name = Path(args.train_file[0]).stem
    task = Task(name, splits={}, metric=accuracy, labels=tag_names(*splits["train"].values()))
    with run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        model = run.load_classifier(AutoModelForTokenClassification, task)
        tags = model.config.label_names
        run.task = replace(task, labels=tags)  # by which the rows are numbered
        rows = partial(rows_of, args, tokenizer, tags)
        data, metrics = batch(run.batching(tokenizer), splits, rows)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=f"tags/{name}",
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


def test(args: argparse.Namespace, run: Run, splits: Splits[TaggedSentence]) -> dict[str, float]:
    """Evaluate the trained model, or the one given, and write the tags that it gives."""
    from paddlenlp_ext.models.auto import AutoModelForTokenClassification
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import task_files
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.trained import load_trained

    source = args.output_dir if args.do_train else args.model_name_or_path
    model = load_trained(AutoModelForTokenClassification, source, run.settings)
    tokenizer = AutoTokenizer.from_pretrained(source)
    batching = run.batching(tokenizer)
    rows = partial(rows_of, args, tokenizer, model.config.label_names)
    say(f"test of {source}:\n")
    dev = splits["validation"] if args.do_eval else {}
    events = []
    for event in task_files.evaluate(model, batching, dev, rows, cross_entropy):
        say(log_evaluation(event))
        events.append(event)
    for path in task_files.predict(model, batching, splits["test"], rows, args.output_dir):
        say(f"{path}\n")
    name = Path((args.validation_file or args.test_file or args.train_file)[0]).stem
    return task_files.report(
        run.settings, events, f"tags/{name}", trained=args.do_train, tables=("f1", "acc")
    )


if __name__ == "__main__":
    program.run(main)
