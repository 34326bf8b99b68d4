"""Fine-tune RemBERT on XNLI or PAWS-X in English, and test it in all of their languages.

    python examples/language_model/rembert/main.py --model_type rembert --data_dir data/ \
        --output_dir output/xnli/ --device gpu --learning_rate 1e-5 --num_train_epochs 3 \
        --train_batch_size 16 --do_train --do_eval --task xnli --eval_step 500

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
from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI_REMBERT, XNLI_TABLE_ORDER

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.cross_lingual import ExamplesByLanguage
    from paddlenlp_ext.tasks.task import Task
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run

MODEL_TYPES = ("rembert",)
TASKS = {"xnli": XNLI_REMBERT, "paws": PAWS_X}
TABLE_ORDER = {"xnli": XNLI_TABLE_ORDER, "paws": ("en", "de", "es", "fr", "ja", "ko", "zh")}
BETAS = (0.9, 0.99)  # of AdamW, as in the original script
# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = ("model_name_or_path", "task", "train_languages", "languages")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = parsing.Parser(description="Fine-tune RemBERT on XNLI or PAWS-X.")
    add = parser.add_argument
    count, whole = parsing.positive_int, parsing.non_negative_int
    rate, part = parsing.non_negative_float, parsing.probability
    add("--model_type", type=str.lower, choices=MODEL_TYPES, default="rembert", help="model family")
    add("--data_dir", help="folder of the data files; without it they are downloaded")
    add("--output_dir", default="outputs", help="where the best model and the results go")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    add("--learning_rate", type=rate, default=8e-6, help="the highest of the run")
    add("--num_train_epochs", type=count, default=3, help="passes over the data")
    per_device = {"type": count, "default": 16, "metavar": "N"}
    add("--train_batch_size", dest="batch_size", **per_device, help="examples, each device")
    add("--eval_batch_size", **per_device, help="examples of an evaluation, each device")
    add("--do_train", action="store_true", help="train, and keep the best model in --output_dir")
    add("--do_eval", action="store_true", help="test the model in --output_dir")
    add("--do_predict", action="store_true", help="write predictions of the test rows")
    add("--task", type=str.lower, choices=TASKS, help="what to train and test on")
    add("--eval_step", type=count, default=2000, help="steps between evaluations")
    add("--max_seq_length", type=count, default=512, help="longer pairs are cut")
    batches = "batches per step; their examples weigh the same, however they are split"
    add("--gradient_accumulation_steps", type=count, default=2, help=batches)
    add("--warmup_proportion", type=part, default=0.02, help="part of the steps that warm up")
    add("--weight_decay", type=rate, default=0.01, help="of all but biases and LayerNorm")
    add("--seed", type=whole, default=42, help="of data order, dropout and new weights")
    source = "a preset, or a folder with a model; default: rembert, or --output_dir"
    add("--model_name_or_path", help=source)
    add("--train_languages", nargs="+", help="of the training data; default: en; of own data all")
    add("--languages", nargs="+", help="of dev and test; default: all that there are")
    add("--max_steps", type=parsing.integer, default=-1, help="above 0, wins over the epochs")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    spelled_out = ("data_dir", "eval_batch_size", "gradient_accumulation_steps", "seed")
    flags.add_engine_arguments(parser, omit=spelled_out, trims_vocabulary=True)
    flags.add_own_data_arguments(parser, languages=True)
    parser.set_defaults(keep_checkpoints=1)  # besides the best one
    args = parser.parse_args(argv)
    flags.require_data(parser, args, "task")
    if args.do_train and args.train_file and not (args.validation_file or args.validation_share):
        parser.error("the best model is kept: give --validation_file or --validation_share")
    if not (args.do_train or args.do_eval or args.do_predict):
        parser.error("there is nothing to do: give --do_train, --do_eval, --do_predict or several")
    return args


def log_step(event: StepDone, pace: Pace) -> str:
    """Write a line for people to follow; the page has none."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"loss: {event.loss:f}, lr: {event.learning_rate:.10f}, speed: {pace.speed:.2f} step/s"
    )


def log_evaluation(event: Evaluated, seconds: float | None = None) -> str:
    """Write the line of one language."""
    named = {"accuracy" if name == "acc" else name: value for name, value in event.metrics.items()}
    numbers = ", ".join(f"{name} {value:.4f}" for name, value in named.items())
    return f"{event.split}: loss {event.loss:f}, {numbers}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test or both, as the command line says; return the accuracies of the test."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training.own_task import read_languages, read_own
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings

    source = args.model_name_or_path or (args.model_type if args.do_train else args.output_dir)
    settings = RunSettings.from_flags(
        vars(args),
        model_name_or_path=source,
        device=args.device or default_device(),
        save_steps=args.eval_step,
        adam_betas=BETAS,
    )
    train_languages = args.train_languages or (["en"] if args.task else None)
    must_match = {name: vars(args)[name] for name in RESUME_MUST_MATCH}
    must_match |= {"model_name_or_path": source, "train_languages": train_languages}
    run = Run(settings, must_match)
    own = read_own(vars(args), source, trains=args.do_train)
    task = own.task if own else TASKS[args.task]
    tests = args.do_eval or args.do_predict
    data = read_languages(
        vars(args), own or task, train_languages, trains=args.do_train, tests=tests
    )
    if args.do_train:
        train(args, run, task, data)
    return test(args, run, task, data["test"]) if "test" in data else {}


def train(
    args: argparse.Namespace, run: Run, task: Task, splits: Mapping[str, ExamplesByLanguage]
) -> None:
    """Train on some languages, and keep the model that is best on the average of dev's."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import languages
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import judge

    languages.refuse_folder_of_another_task(args.output_dir, task)
    with run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        data = languages.batch(run.batching(tokenizer), splits)
        model = run.load_classifier(model_class(args.model_type, "ForSequenceClassification"), task)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=task.name,
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
            evaluate_every=args.eval_step,
            settings=training.updates,
            resume=training.progress,
        ):
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}", event, best_to=args.output_dir)
        training.report.draw()


def test(
    args: argparse.Namespace, run: Run, task: Task, examples: ExamplesByLanguage
) -> dict[str, float]:
    """Test a trained model on each language, predict, or both; return the accuracies."""
    from paddlenlp_ext.training import languages
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.trained import Trained

    source = args.output_dir if args.do_train else run.settings.model_name_or_path
    trained = Trained.load(run, source, task)
    evaluates = args.do_eval and "test" not in task.unlabelled
    tested = trained.test_languages(examples, evaluates=evaluates, predicts=args.do_predict)
    if not evaluates:
        return {}
    events = []
    say(f"test of {source}:\n")
    for event in tested:
        events.append(event)
        say(log_evaluation(event))
    summary = languages.summarize(events)
    score, value = next(iter(summary.items()))
    say(f"{'Accuracy' if score == 'acc' else score} {value:.4f}\n")
    name = Path(run.settings.model_name_or_path).name
    say(languages.table(name, summary, TABLE_ORDER.get(args.task, ())))
    languages.record(args.output_dir, run.settings.facts(task.name, trained=args.do_train), events)
    return summary


if __name__ == "__main__":
    program.run(main)
