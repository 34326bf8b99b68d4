"""Pretrain ConvBERT or ELECTRA by replaced tokens, from plain text.

    python -u examples/language_model/convbert/run_pretrain.py --model_type convbert \
        --model_name_or_path convbert-small --input_dir ./BookCorpus/ --output_dir ./pretrain/ \
        --train_batch_size 64 --learning_rate 5e-4 --max_seq_length 128 --weight_decay 1e-2 \
        --adam_epsilon 1e-6 --warmup_steps 10000 --num_train_epochs 4 --logging_steps 100 \
        --save_steps 10000 --max_steps -1 --device gpu

`./BookCorpus/train.data` has a sentence on each line. `get_ft_model.py` then takes the model to
fine-tune out of a checkpoint.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.process import runtime, signals
from paddlenlp_ext.training.events import Evaluated, Event, Interrupted, StepDone

if TYPE_CHECKING:
    from paddlenlp_ext.models.generator_discriminator import ForReplacedTokens
    from paddlenlp_ext.pretraining.shard_set import ShardSet
    from paddlenlp_ext.tokenizers.base import Tokenizer

MODEL_TYPES = ("convbert", "electra")
# Flags that a run must have in common with the one that it continues.
MUST_STAY = (
    "model_type",
    "max_seq_length",
    "pack_lines",
    "mask_prob",
    "train_batch_size",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "warmup_steps",
    "weight_decay",
    "adam_epsilon",
    *cli.AFFECTS_RESULT,
)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the original first, in its order."""
    parser = argparse.ArgumentParser(description="Pretrain by replaced tokens.")
    add = parser.add_argument
    add("--model_type", type=str.lower, default="convbert", choices=MODEL_TYPES, help="family")
    add(
        "--model_name_or_path",
        default="convbert-small",
        help="a preset, to begin with random weights of its shape, or a folder, to go on from its",
    )
    add("--input_dir", required=True, help="folder with train.data, a sentence on each line")
    add("--output_dir", required=True, help="where shards, checkpoints and results go")
    add("--max_seq_length", type=cli.positive_int, default=128, help="tokens of a row")
    add("--mask_prob", type=cli.probability, default=0.15, help="part of the tokens to mask")
    add("--train_batch_size", type=cli.positive_int, default=96, help="rows, each device")
    add("--eval_batch_size", type=cli.positive_int, default=96, help="of dev.data, if there")
    add("--learning_rate", type=cli.non_negative_float, default=5e-4, help="the highest of the run")
    add(
        "--weight_decay",
        type=cli.non_negative_float,
        default=0.01,
        help="of all but biases and LayerNorm",
    )
    add("--adam_epsilon", type=cli.positive_float, default=1e-6, help="AdamW's")
    add("--num_train_epochs", type=cli.positive_int, default=4, help="passes over the data")
    add("--max_steps", type=cli.integer, default=-1, help="above 0, wins over the epochs")
    add("--warmup_steps", type=cli.non_negative_int, default=10000, help="of the learning rate")
    add("--logging_steps", type=cli.positive_int, default=100, help="steps between log lines")
    add("--save_steps", type=cli.positive_int, default=1000, help="steps between checkpoints")
    add(
        "--init_from_ckpt",
        action="store_true",
        help="continue the run whose checkpoint --model_name_or_path is",
    )
    add("--eager_run", type=cli.boolean, default=True, help="accepted; there is no other way")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    more = parser.add_argument_group("further", "what the original script does not have")
    more.add_argument(
        "--from_scratch",
        action="store_true",
        help="begin with random weights, also when --model_name_or_path is a folder: then its "
        "config.json is all that is needed",
    )
    more.add_argument(
        "--tokenizer_name",
        help="preset, or folder with a vocabulary; default: as --model_name_or_path",
    )
    more.add_argument(
        "--pack_lines",
        type=cli.boolean,
        nargs="?",
        const=True,
        default=False,
        metavar="BOOL",
        help="fill rows with lines that follow one another, up to an empty line",
    )
    more.add_argument(
        "--prepare_only", action="store_true", help="make the shards of the corpus, and stop"
    )
    unused = ("eval_batch_size", "data_dir", "group_by_length", "on_bad_row", "token_cache")
    cli.add_engine_arguments(parser, omit=unused)
    parser.set_defaults(scale_loss=1024.0)
    args = parser.parse_args(argv)
    if args.max_seq_length < 3:
        parser.error("--max_seq_length: expected at least 3: two special tokens and one of a text")
    return args


class StepLog:
    """Writes the original's line, with the mean loss of the steps since the line before."""

    def __init__(self, processes: int) -> None:
        self.name = "loss" if processes == 1 else "avg_loss"
        self.losses: list[float] = []

    def add(self, event: Event) -> None:
        """Note the loss of a step."""
        if isinstance(event, StepDone):
            self.losses.append(event.loss)

    def line(self, event: StepDone, speed: float) -> str:
        """Write the line."""
        loss = sum(self.losses) / len(self.losses)
        self.losses.clear()
        return (
            f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
            f"batch: {event.batch}, {self.name}: {loss:.15f}, lr: {event.learning_rate:.10f}, "
            f"speed: {1 / speed:.2f} s/it"
        )


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

    args.device = args.device or engine.default_device()
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    if args.device == "gpu" and len(visible) > 1 and distributed.world_size() == 1:
        cli.spawn(train, len(visible), args, device=args.device)
        return {}
    return train(args)


def train(args: argparse.Namespace) -> dict[str, float]:
    """Pretrain in this process, which may be one of several; return the last metrics."""
    from paddlenlp_ext.pretraining.masking import MaskingVocabulary
    from paddlenlp_ext.pretraining.reader import ShardReader
    from paddlenlp_ext.pretraining.text_shards import corpus_digest, find_corpus
    from paddlenlp_ext.training import distributed, engine
    from paddlenlp_ext.training.checkpoint import Checkpoints
    from paddlenlp_ext.training.optimization import adamw, linear_schedule
    from paddlenlp_ext.training.pretrain import ShardBatches, pretrain
    from paddlenlp_ext.training.replaced_tokens import MaskedTexts, ReplacedTokens
    from paddlenlp_ext.training.report import Report

    distributed.start(args.device)
    distributed.seed_everything(args.seed)
    processes = (distributed.rank(), distributed.world_size())
    corpus = find_corpus(args.input_dir)
    settings = {name: vars(args)[name] for name in MUST_STAY}
    settings["corpus_sha256"] = corpus_digest(corpus["train"])
    with Checkpoints(args.output_dir, settings, keep=args.keep_checkpoints) as checkpoints:
        if args.init_from_ckpt and Path(args.model_name_or_path).is_dir():
            args.resume_from_checkpoint = args.model_name_or_path
        found = checkpoints.find(args.resume_from_checkpoint)
        model, tokenizer = load(args, found.folder if found else None)
        shards = open_shards(args, corpus, model, tokenizer)
        if args.prepare_only:
            return {}
        tensors = MaskedTexts(
            MaskingVocabulary.of(tokenizer),
            tokenizer.pad_token_id,
            args.mask_prob,
            args.seed,
            engine.padding_multiple(args.device),
        )
        batches = {
            split: ShardBatches(
                ShardReader(data, seed=args.seed, shuffle=split == "train"),
                tensors,
                args.train_batch_size if split == "train" else args.eval_batch_size,
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
        log = StepLog(processes[1])
        held_out = {split: data for split, data in batches.items() if split != "train"}
        args.batch_size = args.train_batch_size
        report = Report(
            args.output_dir,
            log_step=log.line,
            log_evaluation=log_evaluation,
            logging_steps=args.logging_steps,
            splits=len(held_out),
            facts=engine.signature_facts(args, f"replaced-tokens/{Path(args.input_dir).name}"),
            resume=position,
        )
        if position:
            report.say(describe_resume(position.step, max_steps) + "\n")
        report.say(f"start train : {now()}\n")

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
            objective=ReplacedTokens(model.config.gen_weight, model.config.disc_weight, args.seed),
            optimizer=optimizer,
            max_steps=max_steps,
            evaluate_on=held_out,
            evaluate_every=args.save_steps,
            settings=updates,
            resume=position,
        ):
            log.add(event)
            report.add(event)
            if is_to_be_saved(event):
                checkpoints.save(
                    f"model_{event.step}.pdparams",
                    event.position,
                    model,
                    optimizer,
                    write=write,
                    precision=updates.precision,
                    score=report.score(event.step),
                )
        report.draw()
    return report.scores


def load(args: argparse.Namespace, checkpoint: Path | None) -> tuple[ForReplacedTokens, Tokenizer]:
    """Take the model and the vocabulary of a checkpoint, or those that the command line names."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.tokenizers.auto import BY_FAMILY

    source = str(checkpoint or args.model_name_or_path)
    cls = model_class(args.model_type, "ForPreTraining")
    is_new = args.from_scratch or (source in cls.presets and not Path(source).is_dir())
    vocabulary = source if checkpoint else args.tokenizer_name or source
    tokenizer = BY_FAMILY[args.model_type].from_pretrained(vocabulary)
    if is_new and checkpoint is None:
        model = cls(cls.read_config(source).replace(vocab_size=len(tokenizer)))
    else:
        model = cls.from_pretrained(source)
    if args.max_seq_length > (most := model.config.max_position_embeddings):
        raise UserError(f"--max_seq_length {args.max_seq_length}: the model takes {most} at most")
    return model, tokenizer


def open_shards(
    args: argparse.Namespace,
    corpus: Mapping[str, Sequence[Path]],
    model: ForReplacedTokens,
    tokenizer: Tokenizer,
) -> dict[str, ShardSet]:
    """Open the shards of the corpus; the first process makes those that are not there yet."""
    from tqdm import tqdm

    from paddlenlp_ext.pretraining import text_shards as texts
    from paddlenlp_ext.pretraining.shard_set import ShardSet
    from paddlenlp_ext.training import distributed

    began = time.perf_counter()
    is_first = distributed.rank() == 0
    settings = texts.TextSettings(args.max_seq_length, args.pack_lines)
    paths = {split: Path(args.output_dir) / f"shards/{split}.hdf5" for split in corpus}
    if is_first:
        print(f"start load data : {now()}", flush=True)
    for split, files in corpus.items() if is_first else ():
        total = sum(file.stat().st_size for file in files)
        with tqdm(total=total, desc=split, unit="B", unit_scale=True, disable=None) as bar:

            def advance(size: int, bar: tqdm = bar) -> None:
                signals.raise_pending()
                bar.update(size)

            texts.make_shard(files, tokenizer, paths[split], settings, on_progress=advance)
    distributed.barrier()
    limits = {"train": args.max_train_samples, "dev": args.max_eval_samples}
    check = texts.check_rows(model.config.vocab_size)
    shards = {
        split: ShardSet([path], texts.LAYOUT, check, limit=limits[split])
        for split, path in paths.items()
    }
    if is_first:
        print(f"load data done, total : {time.perf_counter() - began} s", flush=True)
    return shards


def describe_resume(step: int, max_steps: int) -> str:
    """Write the original's line of where a run goes on."""
    done = f"[ start train from checkpoint ] we have already trained {step} steps"
    if step < max_steps:
        return f"{done}, seeking next step : {step + 1}"
    return f"{done}, but total training steps is {max_steps}, please check configuration !"


def now() -> str:
    """The time as the original writes it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime())


if __name__ == "__main__":
    cli.run(main)
