"""Train a tagger of words: named entities, parts of speech.

    python examples/tasks/run_token_classification.py --model_name_or_path bert-base-cased \
        --train_file train.conll --validation_file dev.conll --output_dir output/ner/ \
        --do_train --do_eval

Several files to evaluate on, named by their languages (`de_pud.conllu`), give a table of them.
On several devices: `python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.process import runtime

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.token_labels import TaggedSentence, TokenRows
    from paddlenlp_ext.tokenizers.base import Tokenizer
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.settings import RunSettings

# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = ("model_name_or_path", "label_all_tokens")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.Parser(description="Train a tagger of words.")
    add = parser.add_argument
    count, whole = cli.positive_int, cli.non_negative_int
    rate, part = cli.non_negative_float, cli.probability
    switch = {"type": cli.boolean, "nargs": "?", "const": True, "default": False, "metavar": "BOOL"}
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    cli.add_task_files(parser, "columns (a word and its tag a line), CoNLL-U, or JSON lines")
    column = "number from 1, name in CoNLL-U, key of JSON; default: "
    add("--text_column", help=f"where the words are: {column}the first, FORM, words")
    add("--label_column", help=f"where the tags are: {column}the last, UPOS, tags")
    pieces = "give all pieces of a word its tag, not the first one alone"
    add("--label_all_tokens", **switch, help=pieces)
    exact = "count entities only where tags are written as BIO or BIOES has them (seqeval's strict)"
    add("--strict", **switch, help=exact)
    add("--output_dir", required=True, help="where the best model, checkpoints and results go")
    add("--max_seq_length", type=count, default=128, help="longer sentences have several rows")
    add("--batch_size", type=count, default=16, help="sentences a step, each device")
    add("--learning_rate", type=rate, default=5e-5, help="the highest of the run")
    add("--weight_decay", type=rate, default=0.0, help="of all but biases and LayerNorm")
    add("--adam_epsilon", type=cli.positive_float, default=1e-8, help="AdamW's")
    add("--warmup_steps", type=whole, default=0, help="above 0, wins over the proportion")
    add("--warmup_proportion", type=part, default=0.0, help="part of the steps that warm up")
    add("--num_train_epochs", type=count, default=3, help="passes over the data")
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    add("--save_steps", type=count, default=500, help="steps between checkpoints")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    cli.add_engine_arguments(parser, omit=("data_dir", "token_cache"), trims_vocabulary=True)
    args = parser.parse_args(argv)
    cli.check_task_files(parser, args)
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
    from paddlenlp_ext.training.settings import RunSettings, default_device
    from paddlenlp_ext.training.task_files import read_splits

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    splits = read_splits(vars(args), settings, lambda split, paths: read_sentences(
        paths,
        text_column=args.text_column,
        label_column=args.label_column,
        is_labelled=split != "test",
        on_bad_row=settings.on_bad_row,
    ))  # fmt: skip
    source = train(args, settings, splits) if args.do_train else args.model_name_or_path
    return test(args, settings, source, splits)


def rows_of(
    args: argparse.Namespace,
    sentences: Sequence[TaggedSentence],
    tags: Sequence[str],
    tokenizer: Tokenizer,
) -> TokenRows:
    """Make the rows that a model reads, and say what became of long sentences."""
    from paddlenlp_ext.tasks.token_labels import make_token_rows
    from paddlenlp_ext.training.report import say

    made = make_token_rows(
        sentences, tags, tokenizer, args.max_seq_length, label_all_tokens=args.label_all_tokens
    )
    if made.split or made.lost:
        say(
            f"note: {sentences[0].source.partition(':')[0]}: {made.split} sentences have more than "
            f"one row of {args.max_seq_length} tokens; {made.lost} words have no token: they are "
            "not learned, and count as predicted O\n"
        )
    return made


def train(
    args: argparse.Namespace,
    settings: RunSettings,
    splits: Mapping[str, Mapping[str, Sequence[TaggedSentence]]],
) -> str:
    """Train; return the folder of the best model, or of the last where nothing is evaluated."""
    from paddlenlp_ext.metrics import accuracy
    from paddlenlp_ext.models.auto import AutoModelForTokenClassification
    from paddlenlp_ext.tasks.task import Task
    from paddlenlp_ext.tasks.token_labels import tag_metric, tag_names
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.run import Run

    (sentences,) = splits["train"].values()
    name = Path(args.train_file[0]).stem
    task = Task(name, splits={}, metric=accuracy, labels=tag_names(sentences))
    with Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH}) as run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        model = run.load_classifier(AutoModelForTokenClassification, task)
        tags = model.config.label_names
        run.task = replace(task, labels=tags)  # by which the rows are numbered
        rows = rows_of(args, sentences, tags, tokenizer)
        dev = splits["validation"]
        dev_rows = {split: rows_of(args, found, tags, tokenizer) for split, found in dev.items()}
        data = run.batching(tokenizer).data_of(
            rows.features,
            {split: one.features for split, one in dev_rows.items()},
            [sentences[row.sentence].source for row in rows.rows],
        )
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=f"tags/{name}",
            log_step=log_step,
            log_evaluation=log_evaluation,
        )
        metrics = {
            split: tag_metric(one.rows, dev[split], tags, strict=args.strict)
            for split, one in dev_rows.items()
        }
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
        last = str(Path(args.output_dir) / f"model_{training.total_steps}")
        return args.output_dir if dev else last


def test(
    args: argparse.Namespace,
    settings: RunSettings,
    source: str,
    splits: Mapping[str, Mapping[str, Sequence[TaggedSentence]]],
) -> dict[str, float]:
    """Evaluate a trained model on the validation files, and tag the test files with it."""
    from paddlenlp_ext.models.auto import AutoModelForTokenClassification
    from paddlenlp_ext.tasks.prediction_files import path_of, tag_writer, write_all
    from paddlenlp_ext.tasks.token_labels import tag_metric, tags_of
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed
    from paddlenlp_ext.training.finetune import evaluate, predict
    from paddlenlp_ext.training.languages import part_of
    from paddlenlp_ext.training.loaders import Batching
    from paddlenlp_ext.training.losses import cross_entropy
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.task_files import load_trained, report_files

    if not (args.do_eval or args.do_predict):
        return {}
    if not args.do_train:
        distributed.start(settings.device)
    model = load_trained(AutoModelForTokenClassification, source, settings)
    tokenizer = AutoTokenizer.from_pretrained(source)
    batching, tags = Batching(settings, tokenizer), model.config.label_names
    say(f"test of {source}:\n")
    events = []
    for split, sentences in splits["validation"].items() if args.do_eval else ():
        made = rows_of(args, sentences, tags, tokenizer)
        loader = batching.evaluation_loader(made.features)
        metric = tag_metric(made.rows, sentences, tags, strict=args.strict)
        event = evaluate(model, loader, loss=cross_entropy, metric=metric, split=split)
        say(log_evaluation(event))
        events.append(event)
    for split, sentences in splits["test"].items():
        made = rows_of(args, sentences, tags, tokenizer)
        logits = predict(model, batching.evaluation_loader(made.features))
        if distributed.rank() == 0:
            found = tags_of(logits, made.rows, sentences, tags)
            place = Path(args.output_dir), part_of(split)
            write_all(tag_writer(*place), zip(sentences, found, strict=True))
            say(f"{path_of(*place)}\n")
    name = Path((args.validation_file or args.test_file)[0]).stem
    return report_files(
        settings, events, f"tags/{name}", trained=args.do_train, tables=("f1", "acc")
    )


if __name__ == "__main__":
    cli.run(main)
