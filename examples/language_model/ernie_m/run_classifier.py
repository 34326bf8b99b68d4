"""Fine-tune ERNIE-M or XLM-RoBERTa on XNLI, in English or in 15 languages, and test it in all.

    python examples/language_model/ernie_m/run_classifier.py --task_type cross-lingual-transfer \
        --batch_size 16 --model_name_or_path ernie-m-base --save_steps 12272 --output_dir output

On several devices: `python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import flags, parsing, program
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.devices import default_device
from paddlenlp_ext.tasks.cross_lingual import XNLI, XNLI_TABLE_ORDER

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.cross_lingual import ExamplesByLanguage
    from paddlenlp_ext.tasks.task import Task
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run

TRANSFER, TRANSLATE = TASK_TYPES = ("cross-lingual-transfer", "translate-train-all")
# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = ("model_name_or_path", "task_type", "languages")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = parsing.Parser(description="Fine-tune ERNIE-M or XLM-RoBERTa on XNLI.")
    add = parser.add_argument
    count, whole = parsing.positive_int, parsing.non_negative_int
    rate, part = parsing.non_negative_float, parsing.probability
    add("--task_type", choices=TASK_TYPES, help="train in English, or in all")
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    add("--output_dir", required=True, help="where checkpoints and results go")
    add("--max_seq_length", type=count, default=256, help="longer pairs are cut")
    add("--memory_length", type=parsing.integer, help="without effect, as in the original")
    add("--learning_rate", type=rate, default=5e-5, help="the highest of the run")
    add("--num_train_epochs", type=count, default=5, help="passes over the data")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    add("--save_steps", type=count, default=10000, help="steps between checkpoints")
    add("--batch_size", type=count, default=16, help="examples a step, each device")
    add("--weight_decay", type=rate, default=0.0, help="of all but biases and LayerNorm")
    add("--layerwise_decay", type=part, default=0.8, help="of the rate, from a layer to the next")
    add("--adam_epsilon", type=parsing.positive_float, default=1e-8, help="AdamW's")
    add("--warmup_steps", type=whole, default=0, help="above 0, wins over the proportion")
    add("--warmup_proportion", type=part, default=0.1, help="part of the steps that warm up")
    add("--max_steps", type=parsing.integer, default=-1, help="above 0, wins over the epochs")
    add("--seed", type=whole, default=42, help="of data order, dropout and new weights")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    add(
        "--use_amp",
        **parsing.SWITCH,
        help="train in mixed precision: on a GPU or XPU; on a CPU in bfloat16, where the processor "
        "has avx512_bf16 or amx_bf16",
    )
    first_scale = "first loss scale, for float16"
    add("--scale_loss", type=parsing.positive_float, default=2.0**15, help=first_scale)
    add("--languages", nargs="+", help="of dev and test, and of translate-train-all; default: all")
    flags.add_engine_arguments(
        parser, omit=("seed", "use_amp", "scale_loss"), trims_vocabulary=True
    )
    # The page tests the last checkpoint, and scales losses, which float16 alone needs.
    parser.set_defaults(load_best_model_at_end=False, amp_dtype="float16")
    flags.add_phase_arguments(parser, omit=("submission_dir",))
    flags.add_own_data_arguments(parser, languages=True)
    args = parser.parse_args(argv)
    flags.require_data(parser, args, "task_type")
    return args


def log_step(event: StepDone, pace: Pace) -> str:
    """Write the line of the original script; `batch` counts from 0, and process 0 writes it."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"batch: {event.batch}, rank_id: 0, loss: {event.loss:f}, "
        f"lr: {event.learning_rate:.10f}, speed: {pace.speed:.4f} step/s"
    )


def log_evaluation(event: Evaluated, seconds: float | None = None) -> str:
    """Write the line of one language as the original script does."""
    language = event.split.partition("_")[2]
    numbers = ", ".join(f"{name}: {value}" for name, value in event.metrics.items())
    return (
        f"[{language.upper()}] eval loss: {event.loss:f}, {numbers}, "
        f"eval done total : {event.seconds} s\n"
    )


def name_of(args: argparse.Namespace, task: Task) -> str:
    """Name what is trained on for the results: "xnli/translate-train-all"."""
    return f"xnli/{args.task_type}" if args.task_type else task.folder


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Fine-tune as the command line says; return the accuracies of the test."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training.own_task import read_languages, read_own
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    run = Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH})
    if args.memory_length is not None:
        say("note: --memory_length is accepted and has no effect, as in the original\n")
    todo = flags.phases(args, flags.Phases(True, True, False))
    own = read_own(vars(args), args.model_name_or_path, trains=todo.trains)
    task = own.task if own else XNLI
    train_languages = ["en"] if args.task_type == TRANSFER else args.languages
    tests = todo.evaluates or todo.predicts
    data = read_languages(vars(args), own or task, train_languages, trains=todo.trains, tests=tests)
    folder = train(args, run, task, data) if todo.trains else Path(args.model_name_or_path)
    return test(args, todo, run, task, folder, data["test"]) if "test" in data else {}


def train(
    args: argparse.Namespace, run: Run, task: Task, splits: Mapping[str, ExamplesByLanguage]
) -> Path:
    """Train, evaluating on each language of dev; return the folder of the one to test."""
    from paddlenlp_ext.models.auto import AutoModelForSequenceClassification
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import languages
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import judge

    with run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        data = languages.batch(run.batching(tokenizer), splits)
        model = run.load_classifier(AutoModelForSequenceClassification, task)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=name_of(args, task),
            log_step=log_step,
            log_evaluation=log_evaluation,
        )
        loss, metric = judge(task, model)
        for event in finetune(
            model,
            data.train,
            evaluate_on=data.evaluate_on,
            loss=loss,
            metric=metric,
            optimizer=training.optimizer,
            max_steps=training.total_steps,
            evaluate_every=args.save_steps,
            settings=training.updates,
            resume=training.progress,
        ):
            training.report.add(event)
            if training.is_checkpoint_due(event):
                kind = "final" if event.step == training.total_steps else "ft"
                training.save(f"ernie_m_{kind}_model_{event.step}.pdparams", event)
        training.report.draw()
        return training.chosen()


def test(
    args: argparse.Namespace,
    todo: flags.Phases,
    run: Run,
    task: Task,
    folder: Path,
    examples: ExamplesByLanguage,
) -> dict[str, float]:
    """Test a checkpoint on each language, predict, or both; return the accuracies."""
    from paddlenlp_ext.training import languages
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.trained import Trained

    trained = Trained.load(run, folder, task)
    evaluates = todo.evaluates and "test" not in task.unlabelled
    tested = trained.test_languages(examples, evaluates=evaluates, predicts=todo.predicts)
    if not evaluates:
        return {}
    events = []
    say(f"test of {folder}:\n")
    for event in tested:
        events.append(event)
        say(log_evaluation(event))
    summary = languages.summarize(events)
    name = f"{Path(args.model_name_or_path).name}, {args.task_type or task.name}"
    say(languages.table(name, summary, XNLI_TABLE_ORDER))
    facts = run.settings.facts(name_of(args, task), trained=todo.trains)
    languages.record(args.output_dir, facts, events)
    return summary


if __name__ == "__main__":
    program.run(main)
