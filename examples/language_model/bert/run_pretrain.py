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

from paddlenlp_ext.cli import flags, parsing, program
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.devices import default_device

if TYPE_CHECKING:
    from paddlenlp_ext.models.base import Model
    from paddlenlp_ext.pretraining.shard_set import ShardSet
    from paddlenlp_ext.tokenizers.base import Tokenizer
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace

UNUSED = ("eager_run", "fuse_transformer", "profiler_options")  # flags of the original
MODEL_TYPES = ("bert", "ernie")
# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = ("model_type", "model_name_or_path", "max_predictions_per_seq")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the page first, in its order."""
    parser = parsing.Parser(description="Pretrain BERT.")
    add = parser.add_argument
    count, whole, rate = parsing.positive_int, parsing.non_negative_int, parsing.non_negative_float
    add("--model_type", required=True, type=str.lower, choices=MODEL_TYPES, help="model family")
    source = "a preset, to begin with random weights of its shape, or a folder, to go on from its"
    add("--model_name_or_path", required=True, help=source)
    masked = "masked tokens of a row that are used, at most"
    add("--max_predictions_per_seq", type=count, default=80, help=masked)
    add("--batch_size", type=count, default=8, help="rows a step, each device")
    add("--learning_rate", type=rate, default=5e-5, help="the highest of the run")
    add("--weight_decay", type=rate, default=0.0, help="of all but biases and LayerNorm")
    add("--adam_epsilon", type=parsing.positive_float, default=1e-8, help="AdamW's")
    add("--warmup_steps", type=whole, default=0, help="of the learning rate")
    add("--num_train_epochs", type=count, default=3, help="passes over the data")
    add("--input_dir", required=True, help="folder of .hdf5 files with 'train' in their names")
    add("--output_dir", required=True, help="where checkpoints and results go")
    add("--logging_steps", type=count, default=500, help="steps between log lines")
    add("--save_steps", type=count, default=500, help="steps between checkpoints")
    add("--max_steps", type=parsing.integer, default=-1, help="above 0, wins over the epochs")
    add("--n_gpu", type=whole, default=1, help="number of devices; 0 is the CPU")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    flags.add_unused_arguments(parser, UNUSED)
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
    of_tasks = ("label_smoothing_factor", "class_weights", "error_texts")
    flags.add_engine_arguments(parser, omit=(*unused, *of_tasks))
    return parser.parse_args(argv)


def log_step(event: StepDone, pace: Pace) -> str:
    """Write the line of PaddleNLP's script, with means over the steps since the line before."""
    return (
        f"global step: {event.step}, epoch: {event.epoch}, batch: {event.batch}, "
        f"loss: {event.loss:f}, avg_reader_cost: {pace.reading_seconds / pace.steps:.5f} sec, "
        f"avg_batch_cost: {pace.seconds / pace.steps:.5f} sec, "
        f"avg_samples: {pace.examples / pace.steps:.5f}, "
        f"ips: {pace.examples / pace.seconds:.5f} sequences/sec"
    )


def log_evaluation(event: Evaluated, seconds: float | None) -> str:
    """Write the loss and the metrics."""
    numbers = ", ".join(f"{name}: {value:f}" for name, value in event.metrics.items())
    return f"eval loss: {event.loss:f}, {numbers}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Pretrain as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training import distributed

    device = args.device or ("cpu" if args.n_gpu == 0 else default_device())
    if args.n_gpu > 1 and distributed.world_size() == 1:
        program.spawn(train, args.n_gpu, args, device, device=device)
        return {}
    return train(args, device)


def train(args: argparse.Namespace, device: str) -> dict[str, float]:
    """Pretrain in this process, which may be one of several; return the last metrics."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.pretraining.bert_shards import has_pairs
    from paddlenlp_ext.pretraining.shards import digest, find_shards
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import distributed
    from paddlenlp_ext.training.objectives import MaskedLM, MaskedTensors
    from paddlenlp_ext.training.pretrain import pretrain
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings

    settings = RunSettings.from_flags(vars(args), device=device)
    must_match = {name: vars(args)[name] for name in RESUME_MUST_MATCH}
    paths = find_shards(args.input_dir)
    with Run(settings, must_match, data=digest(paths)) as run:
        if distributed.rank() == 0:
            flags.note_unused(args, UNUSED)
        cls = model_class(args.model_type, "ForPreTraining")
        model = run.begin_model(cls, from_scratch=args.from_scratch)
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        shards = open_shards(args, paths, model, tokenizer)
        tensors = MaskedTensors(args.max_predictions_per_seq, settings.pad_to_multiple_of)
        data = run.read_shards(shards, tensors)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=f"pretraining/{Path(args.input_dir).name}",
            log_step=log_step,
            log_evaluation=log_evaluation,
        )
        for event in pretrain(
            model,
            data.train,
            objective=MaskedLM(has_pairs(shards["train"])),
            optimizer=training.optimizer,
            max_steps=training.total_steps,
            evaluate_on=data.evaluate_on,
            evaluate_every=args.save_steps,
            settings=training.updates,
            resume=training.progress,
        ):
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}", event)
        training.report.draw()
    return training.report.metrics


def open_shards(
    args: argparse.Namespace, paths: Sequence[Path], model: Model, tokenizer: Tokenizer
) -> dict[str, ShardSet]:
    """Open the shards to train on, and the held-out ones if the command line names some."""
    from paddlenlp_ext.pretraining.bert_shards import LAYOUT, check_rows, part_beyond, require_fit
    from paddlenlp_ext.pretraining.shard_set import ShardSet
    from paddlenlp_ext.pretraining.shards import find_shards
    from paddlenlp_ext.training.report import say

    check = check_rows(model.config.vocab_size, model.config.type_vocab_size)
    shards = {"train": ShardSet(paths, LAYOUT, check, limit=args.max_train_samples)}
    if args.eval_dir:
        paths = find_shards(args.eval_dir, held_out=True)
        shards["dev"] = ShardSet(paths, LAYOUT, check, limit=args.max_eval_samples)
    for one in shards.values():
        require_fit(one, tokenizer, model.config.max_position_embeddings)
    if part := part_beyond(shards["train"], args.max_predictions_per_seq):
        say(
            f"note: --max_predictions_per_seq {args.max_predictions_per_seq} leaves {part:.0%} of "
            "the masked tokens unpredicted; the rows list up to "
            f"{shards['train'].widths['predictions']}\n"
        )
    return shards


if __name__ == "__main__":
    program.run(main)
