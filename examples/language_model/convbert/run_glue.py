"""Fine-tune ConvBERT, ELECTRA, ERNIE or BERT on a GLUE task.

    python -u examples/language_model/convbert/run_glue.py --model_type convbert \
        --model_name_or_path convbert-small --task_name SST-2 --max_seq_length 128 \
        --batch_size 256 --learning_rate 1e-4 --num_train_epochs 3 --logging_steps 100 \
        --save_steps 100 --output_dir ./glue/SST-2/ --device gpu

On several GPUs: name them in `CUDA_VISIBLE_DEVICES`; or, on a CPU too,
`python -m paddle.distributed.launch --nproc_per_node 2` in place of `python`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import flags, parsing, program
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.devices import default_device, visible_gpus
from paddlenlp_ext.tasks.task import Task

if TYPE_CHECKING:
    from paddlenlp_ext.tasks.own import OwnData
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run

MODEL_TYPES = ("bert", "electra", "ernie", "convbert")
# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = ("model_type", "model_name_or_path", "task_name")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = parsing.Parser(description="Fine-tune on a GLUE task.")
    add = parser.add_argument
    count, whole = parsing.positive_int, parsing.non_negative_int
    rate, part = parsing.non_negative_float, parsing.probability
    add("--model_type", required=True, type=str.lower, choices=MODEL_TYPES, help="model family")
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    add("--task_name", help="CoLA, SST-2, MRPC, STS-B, QQP, MNLI, QNLI or RTE")
    add("--max_seq_length", type=count, default=128, help="longer texts are cut")
    add("--batch_size", type=count, default=32, help="examples a step, each device")
    add("--learning_rate", type=rate, default=1e-4, help="the highest of the run")
    add("--num_train_epochs", type=count, default=3, help="passes over the data")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    add("--save_steps", type=count, default=100, help="steps between checkpoints")
    add("--output_dir", required=True, help="where checkpoints and results go")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    add("--weight_decay", type=rate, default=0.0, help="of all but biases and LayerNorm")
    add("--warmup_steps", type=whole, default=0, help="above 0, wins over the proportion")
    add("--warmup_proportion", type=part, default=0.1, help="part of the steps that warm up")
    add("--adam_epsilon", type=parsing.positive_float, default=1e-6, help="AdamW's")
    add("--max_steps", type=parsing.integer, default=-1, help="above 0, wins over the epochs")
    flags.add_engine_arguments(parser)
    flags.add_phase_arguments(parser)
    flags.add_own_data_arguments(parser)
    args = parser.parse_args(argv)
    flags.require_data(parser, args, "task_name")
    return args


def log_step(event: StepDone, pace: Pace) -> str:
    """Write the page's line; only the first process prints, so the rank is its own."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"batch: {event.batch}, rank_id: 0, loss: {event.loss:f}, "
        f"lr: {event.learning_rate:.10f}, speed: {pace.speed:.4f} step/s"
    )


def log_evaluation(event: Evaluated, seconds: float | None) -> str:
    """Write the page's line: each split of a step in its turn, then what all of them took."""
    numbers = "".join(f"{name}: {value}, " for name, value in event.metrics.items())
    end = "" if seconds is None else f"eval done total : {seconds} s\n"
    return f"eval loss: {event.loss:f}, {numbers}{end}"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Fine-tune as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training import distributed

    device = args.device or default_device()
    if device == "gpu" and visible_gpus() > 1 and distributed.world_size() == 1:
        program.spawn(work, visible_gpus(), args, device, device=device)
        return {}
    return work(args, device)


def work(args: argparse.Namespace, device: str) -> dict[str, float]:
    """Do what is asked for in this process, which may be one of several; return the metrics."""
    from paddlenlp_ext.tasks.glue import glue_task
    from paddlenlp_ext.training.own_task import read_own
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings
    from paddlenlp_ext.training.trained import read_splits, use_trained

    trains, evaluates, predicts = flags.phases(args, flags.Phases(True, False, False))
    own = read_own(vars(args), args.model_name_or_path, trains=trains)
    task = own.task if own else glue_task(args.task_name)
    settings = RunSettings.from_flags(vars(args), device=device)
    run = Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH})
    splits = read_splits(  # before training, so that what is wrong is said at once
        settings,
        own or task,
        args.data_dir,
        trains=trains,
        evaluates=evaluates,
        predicts=predicts,
    )
    folder, metrics = Path(args.model_name_or_path), {}
    if trains:
        folder, metrics = train(args, run, own or task)
    if not splits:
        return metrics
    submission = None if own else args.submission_dir or Path(args.output_dir) / "submission"
    return metrics | use_trained(
        run,
        folder,
        task,
        splits,
        log_evaluation=log_evaluation,
        predicts=predicts,
        submission_dir=submission,
    )


def train(
    args: argparse.Namespace, run: Run, source: Task | OwnData
) -> tuple[Path, dict[str, float]]:
    """Fine-tune; return the folder of the best model, and the last metrics."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training.finetune import finetune
    from paddlenlp_ext.training.losses import judge

    task = source if isinstance(source, Task) else source.task
    with run:
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        data = run.read_task(source, tokenizer, args.data_dir)
        model = run.load_classifier(model_class(args.model_type, "ForSequenceClassification"), task)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=task.folder,
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
                training.save(f"{task.name.lower()}_ft_model_{event.step}.pdparams", event)
        training.report.draw()
        return training.chosen(), training.report.metrics


if __name__ == "__main__":
    program.run(main)
