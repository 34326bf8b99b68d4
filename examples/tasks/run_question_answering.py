"""Train a model that finds answers to questions in passages, as in SQuAD 1.1 and 2.0.

    python examples/tasks/run_question_answering.py --model_name_or_path bert-base-uncased \
        --train_file train-v1.1.json --validation_file dev-v1.1.json --output_dir output/qa/ \
        --do_train --do_eval

Several files to evaluate on, named by their languages (`xquad.de.json`), give a table of them.
On several devices: `python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.process import runtime

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.questions import Question
    from paddlenlp_ext.tasks.spans import AnswerSettings, Windows
    from paddlenlp_ext.tokenizers.base import Tokenizer
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.settings import RunSettings

# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = (
    "model_name_or_path",
    "doc_stride",
    "max_query_length",
    "version_2_with_negative",
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = cli.Parser(description="Train a model that finds answers to questions.")
    add = parser.add_argument
    count, whole = cli.positive_int, cli.non_negative_int
    rate, part = cli.non_negative_float, cli.probability
    switch = {"type": cli.boolean, "nargs": "?", "const": True, "default": False, "metavar": "BOOL"}
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    cli.add_task_files(parser, "JSON of SQuAD 1.1 or 2.0, XQuAD or MLQA")
    add("--version_2_with_negative", **switch, help="passages may have no answer, as in SQuAD 2.0")
    threshold = "how much higher no answer must score than the best one, for there to be none"
    add("--null_score_diff_threshold", type=float, default=0.0, help=threshold)
    add("--doc_stride", type=whole, default=128, help="tokens that windows of a passage share")
    add("--max_query_length", type=count, default=64, help="longer questions are cut")
    add("--n_best_size", type=count, default=20, help="answers that are kept of each question")
    add("--max_answer_length", type=count, default=30, help="most tokens of an answer")
    add("--output_dir", required=True, help="where the best model, checkpoints and results go")
    add("--max_seq_length", type=count, default=384, help="longer passages have several windows")
    add("--batch_size", type=count, default=16, help="windows a step, each device")
    add("--learning_rate", type=rate, default=3e-5, help="the highest of the run")
    add("--weight_decay", type=rate, default=0.0, help="of all but biases and LayerNorm")
    add("--adam_epsilon", type=cli.positive_float, default=1e-8, help="AdamW's")
    add("--warmup_steps", type=whole, default=0, help="above 0, wins over the proportion")
    add("--warmup_proportion", type=part, default=0.0, help="part of the steps that warm up")
    add("--num_train_epochs", type=count, default=3, help="passes over the data")
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    add("--save_steps", type=count, default=500, help="steps between checkpoints")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    unused = ("data_dir", "token_cache", "label_smoothing_factor", "class_weights")
    cli.add_engine_arguments(parser, omit=unused, trims_vocabulary=True)
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
    from paddlenlp_ext.tasks.questions import read_questions
    from paddlenlp_ext.training.settings import RunSettings, default_device
    from paddlenlp_ext.training.task_files import read_splits

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    splits = read_splits(vars(args), settings, lambda split, paths: read_questions(
        paths,
        for_training=split == "train",
        is_labelled=split != "test",
        has_negatives=args.version_2_with_negative,
        on_bad_row=settings.on_bad_row,
    ))  # fmt: skip
    source = train(args, settings, splits) if args.do_train else args.model_name_or_path
    return test(args, settings, source, splits)


def windows_of(
    args: argparse.Namespace, questions: Sequence[Question], tokenizer: Tokenizer
) -> Windows:
    """Make the rows that a model reads."""
    from paddlenlp_ext.tasks.spans import make_windows

    return make_windows(
        questions, tokenizer, args.max_seq_length, args.doc_stride, args.max_query_length
    )


def answer_settings(args: argparse.Namespace) -> AnswerSettings:
    """Say how answers are chosen."""
    from paddlenlp_ext.tasks.spans import AnswerSettings

    return AnswerSettings(
        args.n_best_size,
        args.max_answer_length,
        args.version_2_with_negative,
        args.null_score_diff_threshold,
    )


def train(
    args: argparse.Namespace,
    settings: RunSettings,
    splits: Mapping[str, Mapping[str, Sequence[Question]]],
) -> str:
    """Train; return the folder of the best model, or of the last where nothing is evaluated."""
    from paddlenlp_ext.models.auto import AutoModelForQuestionAnswering
    from paddlenlp_ext.tasks.spans import answer_metric
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import span_loss
    from paddlenlp_ext.training.run import Run

    (questions,) = splits["train"].values()
    name = Path(args.train_file[0]).stem
    with Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH}) as run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        model = AutoModelForQuestionAnswering.from_pretrained(run.source)
        rows = windows_of(args, questions, tokenizer)
        dev = splits["validation"]
        dev_rows = {split: windows_of(args, found, tokenizer) for split, found in dev.items()}
        data = run.batching(tokenizer).data_of(
            rows.features,
            {split: one.features for split, one in dev_rows.items()},
            [questions[one.question].source for one in rows.windows],
        )
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=f"answers/{name}",
            log_step=log_step,
            log_evaluation=log_evaluation,
        )
        metrics = {
            split: answer_metric(one.windows, dev[split], answer_settings(args))
            for split, one in dev_rows.items()
        }
        for event in finetune(
            model,
            data.train,
            evaluate_on=data.evaluate_on,
            loss=span_loss,
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
    splits: Mapping[str, Mapping[str, Sequence[Question]]],
) -> dict[str, float]:
    """Evaluate a trained model on the validation files, and answer the test files with it."""
    from paddlenlp_ext.models.auto import AutoModelForQuestionAnswering
    from paddlenlp_ext.tasks.prediction_files import answer_writer, path_of, write_all
    from paddlenlp_ext.tasks.spans import answer_metric, find_answers
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed
    from paddlenlp_ext.training.finetune import evaluate, predict
    from paddlenlp_ext.training.languages import part_of
    from paddlenlp_ext.training.loaders import Batching
    from paddlenlp_ext.training.losses import span_loss
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.task_files import load_trained, report_files

    if not (args.do_eval or args.do_predict):
        return {}
    if not args.do_train:
        distributed.start(settings.device)
    model = load_trained(AutoModelForQuestionAnswering, source, settings)
    tokenizer = AutoTokenizer.from_pretrained(source)
    batching, chosen = Batching(settings, tokenizer), answer_settings(args)
    say(f"test of {source}:\n")
    events = []
    for split, questions in splits["validation"].items() if args.do_eval else ():
        made = windows_of(args, questions, tokenizer)
        loader = batching.evaluation_loader(made.features)
        metric = answer_metric(made.windows, questions, chosen)
        event = evaluate(model, loader, loss=span_loss, metric=metric, split=split)
        say(log_evaluation(event))
        events.append(event)
    for split, questions in splits["test"].items():
        made = windows_of(args, questions, tokenizer)
        logits = predict(model, batching.evaluation_loader(made.features))
        if distributed.rank() == 0:
            found = find_answers(logits, made.windows, questions, chosen)
            place = Path(args.output_dir), part_of(split)
            writer = answer_writer(*place, has_negatives=args.version_2_with_negative)
            write_all(writer, zip(questions, found, strict=True))
            say(f"{path_of(*place, 'json')}\n")
    name = Path((args.validation_file or args.test_file)[0]).stem
    return report_files(
        settings, events, f"answers/{name}", trained=args.do_train, tables=("f1", "exact_match")
    )


if __name__ == "__main__":
    cli.run(main)
