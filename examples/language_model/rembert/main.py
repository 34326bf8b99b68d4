"""Fine-tune RemBERT on XNLI or PAWS-X in English, and test it in all of their languages.

    python examples/language_model/rembert/main.py --model_type rembert --data_dir data/ \
        --output_dir output/xnli/ --device gpu --learning_rate 1e-5 --num_train_epochs 3 \
        --train_batch_size 16 --do_train --do_eval --task xnli --eval_step 500

On several devices: `python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import runtime
from paddlenlp_ext.tasks.cross_lingual import PAWS_X, XNLI_REMBERT, XNLI_TABLE_ORDER
from paddlenlp_ext.training.events import Evaluated, Interrupted, StepDone

if TYPE_CHECKING:
    from paddlenlp_ext.models.base import Model
    from paddlenlp_ext.tasks.cross_lingual import CrossLingualTask, ExamplesByLanguage

MODEL_TYPES = ("rembert",)
TASKS = {"xnli": XNLI_REMBERT, "paws": PAWS_X}
TABLE_ORDER = {"xnli": XNLI_TABLE_ORDER, "paws": ("en", "de", "es", "fr", "ja", "ko", "zh")}
BETAS = (0.9, 0.99)  # of AdamW, as in the original script
# Flags that a run must have in common with the one that it continues.
MUST_STAY = (
    "model_name_or_path",
    "task",
    "train_languages",
    "languages",
    "max_seq_length",
    "batch_size",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "warmup_proportion",
    "weight_decay",
    "group_by_length",
    *cli.AFFECTS_RESULT,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = argparse.ArgumentParser(description="Fine-tune RemBERT on XNLI or PAWS-X.")
    add = parser.add_argument
    add("--model_type", type=str.lower, choices=MODEL_TYPES, default="rembert", help="model family")
    add("--data_dir", help="folder of the data files; without it they are downloaded")
    add("--output_dir", default="outputs", help="where the best model and the results go")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    add("--learning_rate", type=cli.non_negative_float, default=8e-6, help="the highest of the run")
    add("--num_train_epochs", type=cli.positive_int, default=3, help="passes over the data")
    per_device = {"type": cli.positive_int, "default": 16, "metavar": "N"}
    add("--train_batch_size", dest="batch_size", **per_device, help="examples, each device")
    add("--eval_batch_size", **per_device, help="examples of an evaluation, each device")
    add("--do_train", action="store_true", help="train, and keep the best model in --output_dir")
    add("--do_eval", action="store_true", help="test the model in --output_dir")
    add("--task", required=True, type=str.lower, choices=TASKS, help="what to train and test on")
    add("--eval_step", type=cli.positive_int, default=2000, help="steps between evaluations")
    add("--max_seq_length", type=cli.positive_int, default=512, help="longer pairs are cut")
    add(
        "--gradient_accumulation_steps",
        type=cli.positive_int,
        default=2,
        help="batches per step; their examples weigh the same, however they are split",
    )
    add(
        "--warmup_proportion",
        type=cli.probability,
        default=0.02,
        help="part of the steps that warm up",
    )
    add(
        "--weight_decay",
        type=cli.non_negative_float,
        default=0.01,
        help="of all but biases and LayerNorm",
    )
    add(
        "--seed",
        type=cli.non_negative_int,
        default=42,
        help="of data order, dropout and new weights",
    )
    add(
        "--model_name_or_path",
        help="a preset, or a folder with a model; default: rembert, or --output_dir",
    )
    add("--train_languages", nargs="+", default=["en"], help="of the training data")
    add("--languages", nargs="+", help="of dev and test; default: all that there are")
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add("--logging_steps", type=cli.positive_int, default=100, help="steps between log lines")
    spelled_out = ("data_dir", "eval_batch_size", "gradient_accumulation_steps", "seed")
    cli.add_engine_arguments(parser, omit=spelled_out, trims_vocabulary=True)
    parser.set_defaults(keep_checkpoints=1)  # besides the best one
    args = parser.parse_args(argv)
    if not (args.do_train or args.do_eval):
        parser.error("there is nothing to do: give --do_train, --do_eval or both")
    if args.model_name_or_path is None:
        args.model_name_or_path = args.model_type if args.do_train else args.output_dir
    return args


def log_step(event: StepDone, speed: float) -> str:
    """Write a line for people to follow; the page has none."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"loss: {event.loss:f}, lr: {event.learning_rate:.10f}, speed: {speed:.2f} step/s"
    )


def log_evaluation(event: Evaluated, is_last: bool = True) -> str:
    """Write the line of one language."""
    return f"{event.split}: loss {event.loss:f}, accuracy {event.metrics['acc']:.4f}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, test or both, as the command line says; return the accuracies of the test."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training import distributed, engine
    from paddlenlp_ext.training.languages import read_splits

    args.device = args.device or engine.default_device()
    distributed.start(args.device)
    task = TASKS[args.task]
    wanted = {"train": args.train_languages, "dev": args.languages} if args.do_train else {}
    if args.do_eval:
        wanted["test"] = args.languages
    limits = dict.fromkeys(wanted, args.max_eval_samples) | {"train": args.max_train_samples}
    data = read_splits(
        task,
        wanted,
        args.data_dir,
        max_samples=limits,
        on_bad_row=args.on_bad_row,
        settings={"train": "train_languages"},
    )
    if args.do_train:
        train(args, task, data)
    return test(args, task, data["test"]) if args.do_eval else {}


def train(
    args: argparse.Namespace, task: CrossLingualTask, data: Mapping[str, ExamplesByLanguage]
) -> None:
    """Train on some languages, and keep the model that is best on the average of dev's."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed, engine
    from paddlenlp_ext.training.checkpoint import Checkpoints
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.languages import all_languages, split_name
    from paddlenlp_ext.training.losses import loss_for
    from paddlenlp_ext.training.optimization import adamw, linear_schedule
    from paddlenlp_ext.training.report import Report

    refuse_another_tasks_folder(args.output_dir, task)
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
        model = model_class(args.model_type, "ForSequenceClassification").from_pretrained(
            source, num_labels=task.num_labels, id2label=dict(enumerate(task.labels or ()))
        )
        engine.trim_if_asked(args, model, tokenizer, [loader, *dev.values()])
        max_steps = engine.count_steps(
            loader,
            epochs=args.num_train_epochs,
            max_steps=args.max_steps,
            accumulate=args.gradient_accumulation_steps,
        )
        optimizer = adamw(
            model,
            linear_schedule(
                args.learning_rate, max_steps, warmup_proportion=args.warmup_proportion
            ),
            weight_decay=args.weight_decay,
            beta1=BETAS[0],
            beta2=BETAS[1],
            max_grad_norm=args.max_grad_norm,
        )
        updates = engine.update_settings(args, model, optimizer, [row.source for row in rows])
        position = found.restore(model, optimizer, updates.precision) if found else None
        report = Report(
            args.output_dir,
            log_step=log_step,
            log_evaluation=log_evaluation,
            logging_steps=args.logging_steps,
            splits=len(dev),
            facts=engine.signature_facts(args, task.name),
            resume=position,
        )

        def write(folder: Path) -> None:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        def write_best(folder: Path) -> None:
            write(folder)
            write(Path(args.output_dir))

        for event in finetune(
            model,
            loader,
            evaluate_on=dev,
            loss=loss_for(task.num_labels),
            metric=task.metric,
            optimizer=optimizer,
            max_steps=max_steps,
            evaluate_every=args.eval_step,
            settings=updates,
            resume=position,
        ):
            report.add(event)
            if not (report.is_complete(event) or isinstance(event, Interrupted)):
                continue
            checkpoints.save(
                f"model_{event.step}",
                event.position,
                model,
                optimizer,
                write=write_best if report.is_best(event.step) else write,
                precision=updates.precision,
                score=report.score(event.step),
            )
        report.draw()


def test(
    args: argparse.Namespace, task: CrossLingualTask, examples: ExamplesByLanguage
) -> dict[str, float]:
    """Test a trained model on each language; return the accuracies."""
    from paddlenlp_ext.tasks.label_orders import label_order, renumber
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed, engine, languages
    from paddlenlp_ext.training.losses import loss_for

    source = args.output_dir if args.do_train else args.model_name_or_path
    gc.collect()  # the trained model goes before the tested one comes
    model = load_trained(source, args.model_type, task)
    order = label_order(task, model.config.label_names)
    if order is not None and order != tuple(range(task.num_labels)):
        renumber(examples, order)
        if distributed.rank() == 0:
            names = ", ".join(model.config.label_names)
            print(f"note: {source} has the labels in another order ({names}); it is tested by that")
    batching = engine.batching(args, AutoTokenizer.from_pretrained(source))
    loss = loss_for(task.num_labels)
    events = []
    if distributed.rank() == 0:
        print(f"test of {source}:", flush=True)
    for event in languages.evaluate_languages(model, examples, batching, task, loss=loss):
        events.append(event)
        if distributed.rank() == 0:
            print(log_evaluation(event), end="", flush=True)
    summary = languages.summarize(events)
    if distributed.rank() == 0:
        print(f"Accuracy {summary['acc']:.4f}")
        name = Path(args.model_name_or_path).name
        print(languages.table(name, summary, TABLE_ORDER[args.task]), end="")
        languages.record(args.output_dir, engine.signature_facts(args, task.name), events)
    return summary


def load_trained(folder: str, model_type: str, task: CrossLingualTask) -> Model:
    """Load a model that was trained on the task; anything else is refused."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.tasks.label_orders import label_order

    if not (Path(folder) / "config.json").is_file():
        raise UserError(
            f"{folder}: there is no trained model (config.json) to test; make one with --do_train, "
            "or give the folder of a checkpoint as --model_name_or_path"
        )
    model = model_class(model_type, "ForSequenceClassification").from_pretrained(folder)
    if model.load_report is not None and model.load_report.missing:
        lacking = ", ".join(model.load_report.missing)
        raise UserError(
            f"{folder}: expected a model that was trained on a task, it has no {lacking}"
        )
    names = model.config.label_names
    named = model.config.id2label is not None
    if len(names) != task.num_labels or (named and label_order(task, names) is None):
        raise UserError(
            f"{folder}/config.json: expected {task.name}'s labels ({', '.join(task.labels)}), got "
            f"{', '.join(names)}; give the --task that it was trained on"
        )
    return model


def refuse_another_tasks_folder(folder: str, task: CrossLingualTask) -> None:
    """Refuse to replace the best model of another task, which a run before this one left."""
    from paddlenlp_ext.tasks.label_orders import label_order
    from paddlenlp_ext.weights.folders import read_config

    if not (Path(folder) / "config.json").is_file():
        return
    names = [*(read_config(folder).get("id2label") or {}).values()]
    if any(not name.startswith("LABEL_") for name in names) and label_order(task, names) is None:
        raise UserError(
            f"{folder}: there is the best model of another task (labels {', '.join(names)}), which "
            f"training on {task.name} would replace; give each task an --output_dir of its own"
        )


if __name__ == "__main__":
    cli.run(main)
