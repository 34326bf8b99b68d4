"""Pretrain BERT on masked tokens and sentence pairs.

    python -u examples/language_model/bert/run_pretrain.py --model_type bert \
        --model_name_or_path bert-base-uncased --max_predictions_per_seq 20 --batch_size 32 \
        --learning_rate 1e-4 --weight_decay 1e-2 --adam_epsilon 1e-6 --warmup_steps 10000 \
        --num_train_epochs 1e5 --input_dir $DATA_DIR --output_dir ./tmp2/ --logging_steps 1 \
        --save_steps 20000 --max_steps 1000000 --n_gpu 2

`create_pretraining_data.py` makes the data; shards of NVIDIA's scripts are read too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.process import runtime
from paddlenlp_ext.training.events import Evaluated, Event, Interrupted, StepDone

if TYPE_CHECKING:
    from paddlenlp_ext.models.base import Model
    from paddlenlp_ext.pretraining.shard_set import ShardSet
    from paddlenlp_ext.tokenizers.base import Tokenizer

UNUSED = ("eager_run", "to_static", "fuse_transformer", "profiler_options")  # flags of the original
MODEL_TYPES = ("bert", "ernie")
# Flags that a run must have in common with the one that it continues.
MUST_STAY = (
    "model_type",
    "model_name_or_path",
    "max_predictions_per_seq",
    "batch_size",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "warmup_steps",
    "weight_decay",
    "adam_epsilon",
    *cli.AFFECTS_RESULT,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = argparse.ArgumentParser(description="Pretrain BERT.")
    add = parser.add_argument
    add("--model_type", required=True, type=str.lower, choices=MODEL_TYPES, help="model family")
    add(
        "--model_name_or_path",
        required=True,
        help="a preset, to begin with random weights of its shape, or a folder, to go on from its",
    )
    add(
        "--max_predictions_per_seq",
        type=cli.positive_int,
        default=80,
        help="masked tokens of a row that are used, at most",
    )
    add("--batch_size", type=cli.positive_int, default=8, help="rows a step, each device")
    add("--learning_rate", type=cli.non_negative_float, default=5e-5, help="the highest of the run")
    add(
        "--weight_decay",
        type=cli.non_negative_float,
        default=0.0,
        help="of all but biases and LayerNorm",
    )
    add("--adam_epsilon", type=cli.positive_float, default=1e-8, help="AdamW's")
    add("--warmup_steps", type=cli.non_negative_int, default=0, help="of the learning rate")
    add("--num_train_epochs", type=cli.positive_int, default=3, help="passes over the data")
    add("--input_dir", required=True, help="folder of .hdf5 files with 'train' in their names")
    add("--output_dir", required=True, help="where checkpoints and results go")
    add("--logging_steps", type=cli.positive_int, default=500, help="steps between log lines")
    add("--save_steps", type=cli.positive_int, default=500, help="steps between checkpoints")
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add("--n_gpu", type=cli.non_negative_int, default=1, help="number of devices; 0 is the CPU")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    cli.add_unused_arguments(parser, UNUSED)
    more = parser.add_argument_group("further", "what the original script does not have")
    more.add_argument(
        "--eval_dir",
        help="folder of held-out .hdf5 files, those without 'train' in their names; may be the "
        "input folder; evaluated on before each checkpoint",
    )
    more.add_argument(
        "--from_scratch",
        action="store_true",
        help="begin with random weights, also when --model_name_or_path is a folder: then its "
        "config.json is all that is needed",
    )
    more.add_argument(
        "--tokenizer_name",
        help="preset or folder of the vocabulary that is saved with the model; default: as "
        "--model_name_or_path",
    )
    unused = ("data_dir", "group_by_length", "on_bad_row", "token_cache")
    cli.add_engine_arguments(parser, omit=unused)
    return parser.parse_args(argv)


class Pace:
    """What the log line says of the steps since the line before."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.steps = self.rows = 0
        self.reading = self.seconds = 0.0

    def add(self, event: Event) -> None:
        """Count a step."""
        if isinstance(event, StepDone):
            self.steps, self.rows = self.steps + 1, self.rows + event.examples
            self.reading += event.reading_seconds
            self.seconds += event.seconds

    def line(self, event: StepDone, speed: float) -> str:
        """Write the line of PaddleNLP's script, and begin to count anew."""
        line = (
            f"global step: {event.step}, epoch: {event.epoch}, batch: {event.batch}, "
            f"loss: {event.loss:f}, avg_reader_cost: {self.reading / self.steps:.5f} sec, "
            f"avg_batch_cost: {self.seconds / self.steps:.5f} sec, "
            f"avg_samples: {self.rows / self.steps:.5f}, "
            f"ips: {self.rows / self.seconds:.5f} sequences/sec"
        )
        self._clear()
        return line


def log_evaluation(event: Evaluated, is_last: bool) -> str:
    """Write the loss and the metrics."""
    numbers = ", ".join(f"{name}: {value:f}" for name, value in event.metrics.items())
    return f"eval loss: {event.loss:f}, {numbers}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Pretrain as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training import distributed, engine

    args.device = args.device or ("cpu" if args.n_gpu == 0 else engine.default_device())
    if args.n_gpu > 1 and distributed.world_size() == 1:
        cli.spawn(train, args.n_gpu, args, device=args.device)
        return {}
    return train(args)


def train(args: argparse.Namespace) -> dict[str, float]:
    """Pretrain in this process, which may be one of several; return the last metrics."""
    from paddlenlp_ext.pretraining.bert_shards import has_pairs
    from paddlenlp_ext.pretraining.reader import ShardReader
    from paddlenlp_ext.pretraining.shards import digest, find_shards
    from paddlenlp_ext.training import distributed, engine
    from paddlenlp_ext.training.checkpoint import Checkpoints
    from paddlenlp_ext.training.masked_lm import MaskedLM, MaskedTensors
    from paddlenlp_ext.training.optimization import adamw, linear_schedule
    from paddlenlp_ext.training.pretrain import ShardBatches, pretrain
    from paddlenlp_ext.training.report import Report

    distributed.start(args.device)
    distributed.seed_everything(args.seed)
    if distributed.rank() == 0:
        cli.note_unused(args, UNUSED)
    paths = find_shards(args.input_dir)
    settings = {name: vars(args)[name] for name in MUST_STAY} | {"shards": digest(paths)}
    with Checkpoints(args.output_dir, settings, keep=args.keep_checkpoints) as checkpoints:
        found = checkpoints.find(args.resume_from_checkpoint)
        model, tokenizer = load(args, found.folder if found else None)
        shards = open_shards(args, paths, model, tokenizer)
        multiple = engine.padding_multiple(args.device)
        tensors = MaskedTensors(args.max_predictions_per_seq, multiple)
        processes = (distributed.rank(), distributed.world_size())
        batches = {
            split: ShardBatches(
                ShardReader(data, seed=args.seed, shuffle=split == "train"),
                tensors,
                args.batch_size if split == "train" else args.eval_batch_size or args.batch_size,
                *processes,
            )
            for split, data in shards.items()
        }
        max_steps = engine.count_steps(
            batches["train"],
            epochs=args.num_train_epochs,
            max_steps=args.max_steps,
            accumulate=args.gradient_accumulation_steps,
        )
        schedule = linear_schedule(args.learning_rate, max_steps, warmup_steps=args.warmup_steps)
        optimizer = adamw(
            model,
            schedule,
            weight_decay=args.weight_decay,
            epsilon=args.adam_epsilon,
            max_grad_norm=args.max_grad_norm,
        )
        updates = engine.update_settings(args, model, optimizer, shards["train"].sources)
        position = found.restore(model, optimizer, updates.precision) if found else None
        pace = Pace()
        args.max_seq_length = shards["train"].widths["tokens"]
        held_out = {split: data for split, data in batches.items() if split != "train"}
        report = Report(
            args.output_dir,
            log_step=pace.line,
            log_evaluation=log_evaluation,
            logging_steps=args.logging_steps,
            splits=len(held_out),
            facts=engine.signature_facts(args, f"pretraining/{Path(args.input_dir).name}"),
            resume=position,
        )

        def write(folder: Path) -> None:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

        def is_to_be_saved(event: Event) -> bool:
            if held_out or isinstance(event, Interrupted):
                return report.is_complete(event) or isinstance(event, Interrupted)
            return event.step % args.save_steps == 0 or event.step == max_steps

        for event in pretrain(
            model,
            batches["train"],
            objective=MaskedLM(has_pairs(shards["train"])),
            optimizer=optimizer,
            max_steps=max_steps,
            evaluate_on=held_out,
            evaluate_every=args.save_steps,
            settings=updates,
            resume=position,
        ):
            pace.add(event)
            report.add(event)
            if is_to_be_saved(event):
                checkpoints.save(
                    f"model_{event.step}",
                    event.position,
                    model,
                    optimizer,
                    write=write,
                    precision=updates.precision,
                    score=event.metrics["mlm acc"] if isinstance(event, Evaluated) else None,
                )
        report.draw()
    return report.scores


def load(args: argparse.Namespace, checkpoint: Path | None) -> tuple[Model, Tokenizer]:
    """Take the model and the vocabulary of a checkpoint, or those that the command line names."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer

    source = str(checkpoint or args.model_name_or_path)
    cls = model_class(args.model_type, "ForPreTraining")
    is_new = args.from_scratch or (source in cls.presets and not Path(source).is_dir())
    if is_new and checkpoint is None:
        model = cls(cls.read_config(source))
    else:
        model = cls.from_pretrained(source)
    vocabulary = source if checkpoint else args.tokenizer_name or source
    return model, AutoTokenizer.from_pretrained(vocabulary)


def open_shards(
    args: argparse.Namespace, paths: Sequence[Path], model: Model, tokenizer: Tokenizer
) -> dict[str, ShardSet]:
    """Open the shards to train on, and the held-out ones if the command line names some."""
    from paddlenlp_ext.pretraining.bert_shards import LAYOUT, check_rows, require_fit
    from paddlenlp_ext.pretraining.shard_set import ShardSet
    from paddlenlp_ext.pretraining.shards import find_shards

    check = check_rows(model.config.vocab_size, model.config.type_vocab_size)
    shards = {"train": ShardSet(paths, LAYOUT, check, limit=args.max_train_samples)}
    if args.eval_dir:
        paths = find_shards(args.eval_dir, held_out=True)
        shards["dev"] = ShardSet(paths, LAYOUT, check, limit=args.max_eval_samples)
    for one in shards.values():
        require_fit(one, tokenizer, model.config.max_position_embeddings)
    return shards


if __name__ == "__main__":
    cli.run(main)
