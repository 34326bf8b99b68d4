"""Train a model that finds answers to questions in passages, as in SQuAD 1.1 and 2.0.

    python examples/tasks/run_question_answering.py --model_name_or_path bert-base-uncased \
        --train_file train-v1.1.json --validation_file dev-v1.1.json --output_dir output/qa/ \
        --do_train --do_eval

Several files to evaluate on, named by their languages (`xquad.de.json`), give a table of them.
On several devices: `python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
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
    from paddlenlp_ext.tasks.questions import Question
    from paddlenlp_ext.tokenizers.base import Tokenizer
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.task_files import Splits, TaskRows

# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = (
    "model_name_or_path", "doc_stride", "max_query_length", "version_2_with_negative",
)  # fmt: skip


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Train a model that finds answers to questions.")
    add = parser.add_argument
    count, whole = parsing.positive_int, parsing.non_negative_int
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    flags.add_task_files(parser, "JSON of SQuAD 1.1 or 2.0, XQuAD or MLQA")
    negative = "passages may have no answer, as in SQuAD 2.0"
    add("--version_2_with_negative", **parsing.SWITCH, help=negative)
    threshold = "how much higher no answer must score than the best one, for there to be none"
    add("--null_score_diff_threshold", type=float, default=0.0, help=threshold)
    rules = "by which answers are compared; mlqa: articles and words of the files' languages"
    add("--answer_rules", choices=("squad", "mlqa"), default="squad", help=rules)
    add("--doc_stride", type=whole, default=128, help="tokens that windows of a passage share")
    add("--max_query_length", type=count, default=64, help="longer questions are cut")
    add("--n_best_size", type=count, default=20, help="answers that are kept of each question")
    add("--max_answer_length", type=count, default=30, help="most tokens of an answer")
    longer = "longer passages have several windows"
    add("--max_seq_length", type=count, default=384, help=longer)
    flags.add_training_arguments(parser, "windows", learning_rate=3e-5)
    unused = ("data_dir", "token_cache", "label_smoothing_factor", "class_weights")
    flags.add_engine_arguments(parser, omit=unused, trims_vocabulary=True)
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


def name_of(args: argparse.Namespace, files: Sequence[str]) -> str:
    """Name the task for the results, by its first file, and by how answers are scored."""
    return f"answers{'-mlqa' * (args.answer_rules == 'mlqa')}/{Path(files[0]).stem}"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate and predict as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.tasks.answers import answer_language
    from paddlenlp_ext.tasks.questions import read_questions
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings
    from paddlenlp_ext.training.task_files import read_splits

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    run = Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH})
    splits = read_splits(vars(args), settings, lambda split, paths: read_questions(
        paths,
        for_training=split == "train",
        is_labelled=split != "test",
        has_negatives=args.version_2_with_negative,
        on_bad_row=settings.on_bad_row,
    ))  # fmt: skip
    for questions in splits["validation"].values() if args.answer_rules == "mlqa" else ():
        answer_language(questions[0].file)  # now, not after training, if it cannot be known
    if args.do_train:
        train(args, run, splits)
    return test(args, run, splits) if args.do_eval or args.do_predict else {}


def rows_of(
    args: argparse.Namespace, tokenizer: Tokenizer, questions: Sequence[Question]
) -> TaskRows:
    """Make the rows that a model reads, windows of passages."""
    from paddlenlp_ext.tasks import spans
    from paddlenlp_ext.tasks.prediction_files import answer_writer
    from paddlenlp_ext.training.outcomes import of_answers
    from paddlenlp_ext.training.task_files import TaskRows

    settings = spans.AnswerSettings.from_flags(vars(args))
    made = spans.make_windows(
        questions, tokenizer, args.max_seq_length, args.doc_stride, args.max_query_length
    )
    return TaskRows(
        made.features,
        [questions[one.question].source for one in made.windows],
        spans.answer_metric(made.windows, questions, settings),
        lambda logits: spans.find_answers(logits, made.windows, questions, settings),
        partial(answer_writer, has_negatives=args.version_2_with_negative),
        partial(of_answers, windows=made.windows, questions=questions, settings=settings),
    )


def train(args: argparse.Namespace, run: Run, splits: Splits[Question]) -> None:
    """Train, and keep the best model in --output_dir, or the last where nothing is evaluated."""
    from paddlenlp_ext.models.auto import AutoModelForQuestionAnswering
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import span_loss
    from paddlenlp_ext.training.task_files import batch

    with run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        model = AutoModelForQuestionAnswering.from_pretrained(run.source)
        rows = partial(rows_of, args, tokenizer)
        data, metrics = batch(run.batching(tokenizer), splits, rows)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=name_of(args, args.train_file),
            log_step=log_step,
            log_evaluation=log_evaluation,
        )
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


def test(args: argparse.Namespace, run: Run, splits: Splits[Question]) -> dict[str, float]:
    """Evaluate the trained model, or the one given, and write the answers that it finds."""
    from paddlenlp_ext.models.auto import AutoModelForQuestionAnswering
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import task_files
    from paddlenlp_ext.training.losses import span_loss
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.trained import load_trained

    source = args.output_dir if args.do_train else args.model_name_or_path
    model = load_trained(AutoModelForQuestionAnswering, source, run.settings)
    tokenizer = AutoTokenizer.from_pretrained(source)
    batching, rows = run.batching(tokenizer), partial(rows_of, args, tokenizer)
    say(f"test of {source}:\n")
    dev = splits["validation"] if args.do_eval else {}
    events = []
    for event in task_files.evaluate(model, batching, dev, rows, span_loss):
        say(log_evaluation(event))
        events.append(event)
    for path in task_files.predict(model, batching, splits["test"], rows, args.output_dir):
        say(f"{path.with_suffix('.json')}\n")
    name = name_of(args, args.validation_file or args.test_file or args.train_file)
    return task_files.report(
        run.settings, events, name, trained=args.do_train, tables=("f1", "exact_match")
    )


if __name__ == "__main__":
    program.run(main)
