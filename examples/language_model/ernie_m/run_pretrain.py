"""Pretrain ERNIE-M on sentences in many languages and on pairs of translations.

    python -u examples/language_model/ernie_m/run_pretrain.py --model_name_or_path ernie-m-base \
        --input_dir shards/ --objectives mmlm,tlm,camlm --output_dir output/stage-1/
    python -u examples/language_model/ernie_m/run_pretrain.py \
        --model_name_or_path output/stage-1/model_100000 --input_dir shards/ \
        --objectives mmlm,tlm,camlm,btmlm --output_dir output/stage-2/

`create_pretraining_data.py` makes the shards. `training/cross_lingual.py` describes the objectives.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext.cli import flags, multilingual, parsing, program
from paddlenlp_ext.process import runtime
from paddlenlp_ext.process.devices import default_device

if TYPE_CHECKING:
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.mixture import ObjectiveLosses
    from paddlenlp_ext.training.report import Pace

STAGE_1 = ("mmlm", "tlm", "camlm")


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Pretrain ERNIE-M.")
    add = parser.add_argument
    count, whole, rate = parsing.positive_int, parsing.non_negative_int, parsing.non_negative_float
    source = "a preset, to begin with random weights of its shape, or a folder, to go on from its"
    add("--model_name_or_path", default="ernie-m-base", help=source)
    new = "begin with random weights: only the model's config.json is used"
    add("--from_scratch", action="store_true", help=new)
    vocabulary = "preset, or folder with a vocabulary; default: as --model_name_or_path"
    add("--tokenizer_name", help=vocabulary)
    add("--output_dir", required=True, help="where checkpoints and results go")
    multilingual.add_multilingual_arguments(parser, STAGE_1)
    add("--batch_size", type=count, default=32, help="rows a step, each device")
    add("--eval_batch_size", type=count, help="of held-out rows; default: as --batch_size")
    add("--learning_rate", type=rate, default=2e-4, help="the highest of the run")
    add("--weight_decay", type=rate, default=0.01, help="of all but biases and LayerNorm")
    add("--adam_epsilon", type=parsing.positive_float, default=1e-6, help="AdamW's")
    add("--warmup_steps", type=whole, default=10000, help="of the learning rate")
    add("--num_train_epochs", type=count, default=1, help="passes over all rows")
    add("--max_steps", type=parsing.integer, default=-1, help="above 0, wins over the epochs")
    add("--logging_steps", type=count, default=100, help="steps between log lines")
    add("--save_steps", type=count, default=10000, help="steps between evaluations and checkpoints")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    unused = ("eval_batch_size", "data_dir", "group_by_length", "on_bad_row", "token_cache")
    of_tasks = ("label_smoothing_factor", "class_weights", "error_texts", "to_static")
    flags.add_engine_arguments(parser, omit=(*unused, *of_tasks), trims_vocabulary=True)
    args = parser.parse_args(argv)
    multilingual.check_multilingual_arguments(parser, args)
    return args


def log_step(event: StepDone, pace: Pace, losses: ObjectiveLosses) -> str:
    """Write the mean loss of the steps since the line before, and that of each objective."""
    return (
        f"global step {event.step}/{event.total_steps}, loss: {pace.losses / pace.steps:f}, "
        f"{losses.take()}, lr: {event.learning_rate:.10f}, speed: {pace.speed:.2f} step/s"
    )


def log_evaluation(event: Evaluated, seconds: float | None = None) -> str:
    """Write the loss, the accuracy of the masked tokens and the perplexity."""
    numbers = ", ".join(f"{name}: {value:f}" for name, value in event.metrics.items())
    return f"[{event.split}] eval loss: {event.loss:f}, {numbers}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Pretrain as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.models.ernie_m import ErnieMForMaskedLM
    from paddlenlp_ext.pretraining.language_corpora import corpora_digest
    from paddlenlp_ext.pretraining.multilingual_settings import MultilingualSettings
    from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer
    from paddlenlp_ext.training.mixture import ObjectiveLosses
    from paddlenlp_ext.training.multilingual_pretraining import open_data
    from paddlenlp_ext.training.pretrain import pretrain
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    must_match = {name: vars(args)[name] for name in multilingual.RESUME_MUST_MATCH}
    with Run(settings, must_match, data=corpora_digest(args.input_dir)) as run:
        tokenizer = ErnieMTokenizer.from_pretrained(run.vocabulary)
        model = run.begin_model(
            ErnieMForMaskedLM, from_scratch=args.from_scratch, vocab_size=len(tokenizer)
        )
        data = open_data(MultilingualSettings.from_flags(vars(args)), settings, model, tokenizer)
        losses = ObjectiveLosses(data.run_data.train)
        # Trimmed tables make another loss, which results are not to be compared with.
        named = [*args.objectives, *["trimmed"] * bool(args.trim_vocab)]
        training = run.prepare(
            model,
            tokenizer,
            data.run_data,
            task=f"{'+'.join(named)}/{Path(args.input_dir).name}",
            log_step=partial(log_step, losses=losses),
            log_evaluation=log_evaluation,
            words=data.words,
        )
        for event in pretrain(
            model,
            data.run_data.train,
            objective=data.objective,
            optimizer=training.optimizer,
            max_steps=training.total_steps,
            evaluate_on=data.run_data.evaluate_on,
            evaluate_every=args.save_steps,
            settings=training.updates,
            resume=training.progress,
        ):
            losses.add(event)
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}", event)
        training.report.draw()
    return training.report.metrics


if __name__ == "__main__":
    program.run(main)
