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
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import flags, parsing, program
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.devices import default_device, visible_gpus

if TYPE_CHECKING:
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.report import Pace

MODEL_TYPES = ("convbert", "electra")
# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = ("model_type", "pack_lines", "mask_prob")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the flags of the original first, in its order."""
    parser = parsing.Parser(description="Pretrain by replaced tokens.")
    add = parser.add_argument
    count, rate = parsing.positive_int, parsing.non_negative_float
    add("--model_type", type=str.lower, default="convbert", choices=MODEL_TYPES, help="family")
    source = "a preset, to begin with random weights of its shape, or a folder, to go on from its"
    add("--model_name_or_path", default="convbert-small", help=source)
    add("--input_dir", required=True, help="folder with train.data, a sentence on each line")
    add("--output_dir", required=True, help="where shards, checkpoints and results go")
    add("--max_seq_length", type=count, default=128, help="tokens of a row")
    add("--mask_prob", type=parsing.probability, default=0.15, help="part of the tokens to mask")
    add("--train_batch_size", type=count, default=96, help="rows, each device")
    add("--eval_batch_size", type=count, default=96, help="of dev.data, if there")
    add("--learning_rate", type=rate, default=5e-4, help="the highest of the run")
    add("--weight_decay", type=rate, default=0.01, help="of all but biases and LayerNorm")
    add("--adam_epsilon", type=parsing.positive_float, default=1e-6, help="AdamW's")
    add("--num_train_epochs", type=count, default=4, help="passes over the data")
    add("--max_steps", type=parsing.integer, default=-1, help="above 0, wins over the epochs")
    add("--warmup_steps", type=parsing.non_negative_int, default=10000, help="of the learning rate")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    add("--save_steps", type=count, default=1000, help="steps between checkpoints")
    continued = "continue the run whose checkpoint --model_name_or_path is"
    add("--init_from_ckpt", action="store_true", help=continued)
    add("--eager_run", type=parsing.boolean, default=True, help="accepted; there is no other way")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
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
    packed = "fill rows with lines that follow one another, up to an empty line"
    more.add_argument("--pack_lines", **parsing.SWITCH, help=packed)
    more.add_argument(
        "--prepare_only", action="store_true", help="make the shards of the corpus, and stop"
    )
    unused = ("eval_batch_size", "data_dir", "group_by_length", "on_bad_row", "token_cache")
    of_tasks = ("label_smoothing_factor", "class_weights", "error_texts")
    flags.add_engine_arguments(parser, omit=(*unused, *of_tasks))
    parser.set_defaults(scale_loss=1024.0)
    args = parser.parse_args(argv)
    if args.max_seq_length < 3:
        parser.error("--max_seq_length: expected at least 3: two special tokens and one of a text")
    return args


def log_step(event: StepDone, pace: Pace, processes: int) -> str:
    """Write the original's line, with the mean loss of the steps since the line before."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"batch: {event.batch}, {'loss' if processes == 1 else 'avg_loss'}: "
        f"{pace.losses / pace.steps:.15f}, lr: {event.learning_rate:.10f}, "
        f"speed: {1 / pace.speed:.2f} s/it"
    )


def log_evaluation(event: Evaluated, seconds: float | None) -> str:
    """Write the loss and the metrics."""
    numbers = ", ".join(f"{name}: {value:f}" for name, value in event.metrics.items())
    return f"eval loss: {event.loss:f}, {numbers}\n"


def log_resume(step: int, total_steps: int) -> str:
    """Write the original's line of where a run goes on."""
    done = f"[ start train from checkpoint ] we have already trained {step} steps"
    if step < total_steps:
        return f"{done}, seeking next step : {step + 1}\n"
    return f"{done}, but total training steps is {total_steps}, please check configuration !\n"


def log_now(what: str) -> str:
    """Write when something begins, as the original does."""
    return f"{what} : {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime())}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Pretrain as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.training import distributed

    device = args.device or default_device()
    if device == "gpu" and visible_gpus() > 1 and distributed.world_size() == 1:
        program.spawn(train, visible_gpus(), args, device, device=device)
        return {}
    return train(args, device)


def train(args: argparse.Namespace, device: str) -> dict[str, float]:
    """Pretrain in this process, which may be one of several; return the last metrics."""
    from paddlenlp_ext.models.auto import model_class
    from paddlenlp_ext.pretraining.text_shards import TextSettings, corpus_digest, find_corpus
    from paddlenlp_ext.tokenizers.auto import BY_FAMILY
    from paddlenlp_ext.training import distributed
    from paddlenlp_ext.training.objectives import MaskedTexts, ReplacedTokens, open_corpus
    from paddlenlp_ext.training.pretrain import pretrain
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings

    continues = args.init_from_ckpt and Path(args.model_name_or_path).is_dir()
    settings = RunSettings.from_flags(
        vars(args),
        device=device,
        batch_size=args.train_batch_size,
        resume_from_checkpoint=args.model_name_or_path
        if continues
        else args.resume_from_checkpoint,
    )
    must_match = {name: vars(args)[name] for name in RESUME_MUST_MATCH}
    corpus = find_corpus(args.input_dir)
    with Run(settings, must_match, data=corpus_digest(corpus["train"])) as run:
        tokenizer = BY_FAMILY[args.model_type].from_pretrained(run.vocabulary)
        model = run.begin_model(
            model_class(args.model_type, "ForPreTraining"),
            from_scratch=args.from_scratch,
            vocab_size=len(tokenizer),
        )
        began = time.perf_counter()
        say(log_now("start load data"))
        form = TextSettings(args.max_seq_length, args.pack_lines)
        shards = open_corpus(corpus, form, tokenizer, model.config, settings)
        say(f"load data done, total : {time.perf_counter() - began} s\n")
        if args.prepare_only:
            return {}
        tensors = MaskedTexts.of(tokenizer, args.mask_prob, args.seed, settings.pad_to_multiple_of)
        data = run.read_shards(shards, tensors)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=f"replaced-tokens/{Path(args.input_dir).name}",
            log_step=partial(log_step, processes=distributed.world_size()),
            log_evaluation=log_evaluation,
        )
        if training.progress:
            say(log_resume(training.progress.step, training.total_steps))
        say(log_now("start train"))
        for event in pretrain(
            model,
            data.train,
            objective=ReplacedTokens(model.config.gen_weight, model.config.disc_weight, args.seed),
            optimizer=training.optimizer,
            max_steps=training.total_steps,
            evaluate_on=data.evaluate_on,
            evaluate_every=args.save_steps,
            settings=training.updates,
            resume=training.progress,
        ):
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}.pdparams", event)
        training.report.draw()
    return training.report.metrics


if __name__ == "__main__":
    program.run(main)
