"""Train a language model on plain text, by masked tokens or by the next token.

    python examples/tasks/run_language_modeling.py --model_name_or_path bert-base-uncased \
        --train_file corpus/*.txt --validation_share 0.05 --output_dir output/lm/ \
        --do_train --do_eval

Masked tokens are for all families, the next token (`--objective causal`) for those with such a
class. An empty line parts documents; with --line_by_line each line is a text of its own.
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
    from paddlenlp_ext.training.events import Evaluated, StepDone
    from paddlenlp_ext.training.language_modeling import LanguageSettings
    from paddlenlp_ext.training.report import Pace
    from paddlenlp_ext.training.run import Run

# Flags of this script alone that a resumed run must have in common with the one that it continues.
RESUME_MUST_MATCH = (
    "model_name_or_path", "objective", "line_by_line", "mlm_probability", "whole_word_mask",
    "validation_share",
)  # fmt: skip


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Train a language model on plain text.")
    add = parser.add_argument
    add("--model_name_or_path", required=True, help="a preset, or a folder with a model")
    new = "begin with random weights: only the model's config.json is used"
    add("--from_scratch", action="store_true", help=new)
    vocabulary = "preset, or folder with a vocabulary; default: as --model_name_or_path"
    add("--tokenizer_name", help=vocabulary)
    add("--objective", choices=("masked", "causal"), default="masked", help="what is predicted")
    form = "text in UTF-8; an empty line parts documents"
    flags.add_task_files(parser, form)
    add("--max_seq_length", type=parsing.positive_int, default=512, help="tokens of a row")
    add("--line_by_line", **parsing.SWITCH, help="a row for each line; else rows are filled")
    masked = "part of the tokens that is masked"
    add("--mlm_probability", type=parsing.probability, default=0.15, help=masked)
    add("--whole_word_mask", **parsing.SWITCH, help="mask all tokens of a word, or none")
    flags.add_training_arguments(parser, "rows", batch_size=8, weight_decay=0.01)
    of_data = ("data_dir", "group_by_length", "on_bad_row", "token_cache")
    unused = (*of_data, "label_smoothing_factor", "class_weights", "error_texts", "to_static")
    flags.add_engine_arguments(parser, omit=unused)
    parser.set_defaults(metric_for_best_model="loss")
    args = parser.parse_args(argv)
    flags.check_task_files(parser, args)
    if args.max_seq_length < 3:
        parser.error("--max_seq_length: expected at least 3: two special tokens and one of a text")
    return args


def log_step(event: StepDone, pace: Pace) -> str:
    """Write the mean loss of the steps since the line before."""
    return (
        f"global step {event.step}/{event.total_steps}, epoch: {event.epoch}, "
        f"loss: {pace.losses / pace.steps:f}, lr: {event.learning_rate:.10f}, "
        f"speed: {pace.speed:.2f} step/s"
    )


def log_evaluation(event: Evaluated, seconds: float | None = None) -> str:
    """Write the loss, the accuracy of the predicted tokens and the perplexity."""
    numbers = ", ".join(f"{name}: {value:f}" for name, value in event.metrics.items())
    return f"{event.split} loss: {event.loss:f}, {numbers}\n"


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    """Train, evaluate and predict as the command line says; return the last metrics."""
    args = parse_args(argv)
    runtime.tune(args.verbose)
    runtime.import_paddle()  # only now: it takes a second, and reads what was tuned
    from paddlenlp_ext.pretraining.text_shards import corpus_digest
    from paddlenlp_ext.training.language_modeling import LanguageSettings
    from paddlenlp_ext.training.run import Run
    from paddlenlp_ext.training.settings import RunSettings

    settings = RunSettings.from_flags(vars(args), device=args.device or default_device())
    language = LanguageSettings.from_flags(vars(args))
    data = corpus_digest(language.files()["train"]) if args.do_train else ""
    run = Run(settings, {name: vars(args)[name] for name in RESUME_MUST_MATCH}, data=data)
    metrics = train(args, run, language) if args.do_train else {}
    return metrics | (test(args, run, language) if args.do_eval or args.do_predict else {})


def train(args: argparse.Namespace, run: Run, language: LanguageSettings) -> dict[str, float]:
    """Train, and keep the best model in --output_dir, or the last where nothing is evaluated."""
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import language_modeling as lm
    from paddlenlp_ext.training.pretrain import pretrain

    with run:
        cls = lm.class_for(args.objective, run.source)
        tokenizer = AutoTokenizer.from_pretrained(run.vocabulary)
        if args.from_scratch and run.resumed is None:
            model = cls(cls.read_config(run.source).replace(vocab_size=len(tokenizer)))
        else:
            model = cls.from_pretrained(run.source)
        text = lm.Text.of(language, tokenizer, run.settings)
        data = run.read_shards(text.shards(model, ("train", "validation")), text.tensors)
        training = run.prepare(
            model,
            tokenizer,
            data,
            task=f"{args.objective}-lm/{language.files()['train'][0].stem}",
            log_step=log_step,
            log_evaluation=log_evaluation,
        )
        for event in pretrain(
            model,
            data.train,
            objective=lm.TokenPrediction(),
            optimizer=training.optimizer,
            max_steps=training.total_steps,
            evaluate_on=data.evaluate_on,
            evaluate_every=args.save_steps,
            settings=training.updates,
            resume=training.progress,
        ):
            training.report.add(event)
            if training.is_checkpoint_due(event):
                training.save(f"model_{event.step}", event, best_to=args.output_dir)
        training.report.draw()
    return training.report.metrics


def test(args: argparse.Namespace, run: Run, language: LanguageSettings) -> dict[str, float]:
    """Evaluate the trained model, or the one given, and write the loss of each row to predict."""
    from paddlenlp_ext.files.sources import resolve
    from paddlenlp_ext.tokenizers.auto import AutoTokenizer
    from paddlenlp_ext.training import language_modeling as lm
    from paddlenlp_ext.training import task_files
    from paddlenlp_ext.training.report import say
    from paddlenlp_ext.training.trained import load_trained

    source = args.output_dir if args.do_train else args.model_name_or_path
    cls = lm.class_for(args.objective, resolve(source))
    model = load_trained(cls, source, run.settings)
    text = lm.Text.of(language, AutoTokenizer.from_pretrained(source), run.settings)
    splits = ["validation"] * args.do_eval + ["test"] * args.do_predict
    metrics: dict[str, float] = {}
    say(f"test of {source}:\n")
    for split, rows in text.shards(model, splits).items():
        event = lm.evaluate_text(model, text, rows, split)
        say(log_evaluation(event))
        metrics |= task_files.report(
            run.settings, [event], f"{args.objective}-lm", trained=args.do_train
        )
        if split == "test":
            path = Path(args.output_dir) / "predictions.jsonl"
            lm.write_losses(model, text, rows, path)
            say(f"the loss of each row is in {path}\n")
    return metrics


if __name__ == "__main__":
    program.run(main)
