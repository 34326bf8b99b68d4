"""Flags that scripts have in common.

Each script spells out the flags of its own page; those that the training engine adds, and that no
page knows, come from here and stand in their own group of `--help`. This file does not import
Paddle, so `--help` is there at once.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

from paddlenlp_ext.cli.parsing import (
    SWITCH,
    device,
    integer,
    non_negative_float,
    non_negative_int,
    positive_float,
    positive_int,
    probability,
)
from paddlenlp_ext.training.loggers import chosen
from paddlenlp_ext.training.schedules import SCHEDULES

PHASES = {
    "do_train": "train, and evaluate while training",
    "do_eval": "evaluate the trained model, or without --do_train --model_name_or_path",
    "do_predict": "write predictions of the test rows by the same model",
}
FILES = ("train_file", "validation_file", "test_file")  # of the phases, in their order


def add_unused_arguments(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add flags of the original that change nothing here, so that older commands are understood."""
    for name in names:
        parser.add_argument(f"--{name}", nargs="?", const="", help="accepted, without effect")


def note_unused(args: argparse.Namespace, names: Iterable[str]) -> None:
    """Say which of the given flags change nothing."""
    for name in names:
        if vars(args)[name] is not None:
            print(f"note: --{name} is accepted and has no effect", file=sys.stderr)


def add_engine_arguments(
    parser: argparse.ArgumentParser, *, omit: tuple[str, ...] = (), trims_vocabulary: bool = False
) -> None:
    """Add the flags of the training engine, in their own group of `--help`.

    Args:
        parser: A script's parser, which has the flags of the script's page already.
        omit: Names of flags that the script's page has itself, with its own default ("seed").
        trims_vocabulary: Whether the script knows multilingual models, and so `--trim_vocab`.
    """
    group = parser.add_argument_group(
        "engine", "what the training engine adds to the script's page"
    )

    def add(name: str, **options: object) -> None:
        if name not in omit:
            group.add_argument(f"--{name}", **options)  # type: ignore[arg-type]

    add("seed", type=non_negative_int, default=42, help="of data order, dropout and new weights")
    add("data_dir", default=None, help="folder of the data files; without it they are downloaded")
    add(
        "resume_from_checkpoint",
        default=None,
        metavar="latest|FOLDER",
        help="continue a run exactly where this checkpoint of --output_dir was saved; "
        "'latest' begins a new run where there is none",
    )
    add(
        "keep_checkpoints",
        type=non_negative_int,
        default=0,
        help="keep only the newest N checkpoints, the best one, and the one that the run continued "
        "from; 0 keeps all",
    )
    add("eval_batch_size", type=positive_int, default=None, help="default: --batch_size")
    add("max_train_samples", type=positive_int, default=None, help="use the first N rows only")
    add("max_eval_samples", type=positive_int, default=None, help="use the first N rows only")
    add(
        "gradient_accumulation_steps",
        type=positive_int,
        default=1,
        help="batches per update; their examples weigh the same, however they are split",
    )
    add(
        "max_grad_norm",
        type=non_negative_float,
        default=1.0,
        help="clip the global norm; 0 does not clip",
    )
    add(
        "lr_scheduler_type",
        choices=(*SCHEDULES,),
        default="linear",
        help="course of the learning rate after its warm-up, as in transformers",
    )
    add("freeze_embeddings", **SWITCH, help="do not train the embeddings")
    add(
        "freeze_layers",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="do not train the N lowest encoder layers",
    )
    add(
        "label_smoothing_factor",
        type=probability,
        default=0.0,
        metavar="PART",
        help="part of each label that all classes share, in training; evaluations do without",
    )
    add(
        "class_weights",
        default=None,
        metavar="balanced|FILE",
        help="weight of each label in training: rare ones more, or lines of label, tab, weight",
    )
    add(
        "load_best_model_at_end",
        **{**SWITCH, "default": True},
        help="end with the best model, which `best` in --output_dir names",
    )
    add(
        "metric_for_best_model",
        default=None,
        metavar="NAME",
        help="what the best model is judged by, over all splits: a metric, or loss; default: the "
        "first metric",
    )
    add(
        "early_stopping_patience",
        type=non_negative_int,
        default=0,
        metavar="N",
        help="stop after N evaluations without a better one; 0 does not",
    )
    add(
        "use_amp",
        **SWITCH,
        help="train in mixed precision: on a GPU or XPU; on a CPU "
        "in bfloat16, where the processor has avx512_bf16 or amx_bf16",
    )
    add(
        "amp_level",
        choices=("O1", "O2"),
        default="O1",
        help="O1 casts chosen operations, O2 the whole model, with float32 master weights",
    )
    add(
        "amp_dtype",
        choices=("float16", "bfloat16"),
        default=None,
        help="of mixed precision; default: bfloat16 on a GPU or XPU that has it, else float16, or "
        "as the run that is continued",
    )
    add("scale_loss", type=positive_float, default=2.0**15, help="first loss scale, for float16")
    add("recompute", **SWITCH, help="save memory: compute activations again in the backward pass")
    add(
        "deterministic",
        **SWITCH,
        help="on a GPU, compute what is the same to the last bit at every run, where that is "
        "slower; a CPU always does",
    )
    add(
        "skip_unread_positions",
        **{**SWITCH, "default": None},
        help="compute the last layer only for what the model's head reads, as [CLS] or masked "
        "tokens; default: true, or as the run that is continued",
    )
    add(
        "compiled_layers",
        **{**SWITCH, "default": None},
        help="compute encoder layers on a CPU by kernels in C and without padding, where the "
        "installation has them; default: true if it has, or as the run that is continued",
    )
    add(
        "to_static",
        **SWITCH,
        help="train and evaluate by programs that Paddle's just-in-time compiler makes of the "
        "model; on a CPU without --compiled_layers, which is faster",
    )
    if trims_vocabulary:
        add(
            "trim_vocab",
            **SWITCH,
            help="save memory: train only the word embeddings of tokens that occur in the data; "
            "checkpoints are whole and the same",
        )
    add("group_by_length", **SWITCH, help="put rows of similar length together, to pad less")
    add(
        "on_bad_row",
        choices=("error", "skip"),
        default="error",
        help="stop at a data row that cannot be used, or leave it out and list it",
    )
    add(
        "on_non_finite",
        choices=("stop", "skip"),
        default="stop",
        help="stop before the update when a loss is not finite, or skip that update",
    )
    add(
        "token_cache",
        **{**SWITCH, "default": True},
        help="keep the ids of large data on disk for the next run",
    )
    add(
        "report_to",
        type=chosen,
        default=(),
        metavar="LOGGERS",
        help="tensorboard, visualdl, wandb, or several with commas between; default: none",
    )
    add(
        "error_texts",
        **{**SWITCH, "default": True},
        help="keep the texts of the worst errors for reports, in outcomes.json",
    )
    add("verbose", **SWITCH, help="print the settings that were tuned to this machine")


def add_phase_arguments(parser: argparse.ArgumentParser, *, omit: tuple[str, ...] = ()) -> None:
    """Add the flags that say what a script does, in their own group of `--help`.

    Args:
        parser: A script's parser.
        omit: Names of flags that the script's page has itself, or that it has no use for.
    """
    group = parser.add_argument_group("phases", "what to do; by default as the page has it")
    for name, text in PHASES.items():
        if name not in omit:
            group.add_argument(f"--{name}", action="store_true", help=text)
    if "submission_dir" not in omit:
        together = "where GLUE's files of all tasks come together; default: OUTPUT_DIR/submission"
        group.add_argument("--submission_dir", metavar="DIR", help=together)


class Phases(NamedTuple):
    """What a script is to do."""

    trains: bool
    evaluates: bool
    predicts: bool


def phases(args: argparse.Namespace, default: Phases) -> Phases:
    """Return what was asked for, or where nothing was, what the script's page has."""
    given = Phases(args.do_train, args.do_eval, args.do_predict)
    return given if any(given) else default


def add_task_files(
    parser: argparse.ArgumentParser, form: str, *, validation_share: float = 0.0
) -> None:
    """Add the flags of a task's files, and those that say what to do with them.

    Args:
        parser: A script's parser.
        form: What the files are, for the help.
        validation_share: Default of the flag of that name.
    """
    _add_files(parser.add_argument, form, validation_share)
    for name, text in PHASES.items():
        parser.add_argument(f"--{name}", action="store_true", help=text)


def _add_files(add: Callable[..., object], form: str, validation_share: float) -> None:
    add("--train_file", nargs="+", metavar="FILE", help=f"{form}; also a pattern like 'x/*'")
    add("--validation_file", nargs="+", metavar="FILE", help="likewise, to evaluate on")
    tested = "likewise, to test on or to predict; they may lack labels"
    add("--test_file", nargs="+", metavar="FILE", help=tested)
    part = "part of the training rows to evaluate on where there is no --validation_file"
    add("--validation_share", type=probability, default=validation_share, help=part)


def add_training_arguments(parser: argparse.ArgumentParser, rows: str, **defaults: object) -> None:
    """Add the flags of training that all scripts of a task's files have.

    Args:
        parser: A script's parser.
        rows: What a batch is of, for the help: "sentences".
        defaults: Those of the script, where they are others.
    """
    add = parser.add_argument
    add("--output_dir", required=True, help="where the best model, checkpoints and results go")
    add("--batch_size", type=positive_int, default=16, help=f"{rows} a step, each device")
    add("--learning_rate", type=non_negative_float, default=5e-5, help="the highest of the run")
    decay = "of all but biases and LayerNorm"
    add("--weight_decay", type=non_negative_float, default=0.0, help=decay)
    add("--adam_epsilon", type=positive_float, default=1e-8, help="AdamW's")
    add(
        "--warmup_steps", type=non_negative_int, default=0, help="above 0, wins over the proportion"
    )
    part = "part of the steps that warm up"
    add("--warmup_proportion", type=probability, default=0.0, help=part)
    add("--num_train_epochs", type=positive_int, default=3, help="passes over the data")
    add("--max_steps", type=integer, default=-1, help="above 0, wins over the epochs")
    add("--logging_steps", type=positive_int, default=100, help="steps between log lines")
    every = "steps between evaluations, and checkpoints"
    add("--save_steps", type=positive_int, default=500, help=every)
    add("--device", type=device, help="cpu, gpu or xpu; default: a GPU if there is one")
    parser.set_defaults(**defaults)


def check_task_files(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse a command line that has nothing to do, or not the files for it.

    With `validation_share`, rows to train on are held out to evaluate on.
    """
    needed = dict(zip(PHASES, FILES, strict=True))
    if not any(vars(args)[flag] for flag in needed):
        parser.error("there is nothing to do: give --do_train, --do_eval or --do_predict")
    share = args.validation_share
    if share == 1:
        parser.error("--validation_share: expected below 1: something has to be trained on")
    for flag, files in needed.items():
        is_held_out = flag == "do_eval" and args.do_train and share
        if vars(args)[flag] and not vars(args)[files] and not is_held_out:
            more = ", or --do_train with --validation_share" * (flag == "do_eval")
            parser.error(f"--{flag} needs --{files}{more}")


def add_own_data_arguments(parser: argparse.ArgumentParser, *, languages: bool = False) -> None:
    """Add the flags of a user's own data, in their own group of `--help`.

    Args:
        parser: A script's parser.
        languages: Whether the script evaluates language by language.
    """
    group = parser.add_argument_group(
        "own data", "files of your own in place of a task: .csv, .tsv, .json, .jsonl, .txt, or .gz"
    )
    add = group.add_argument
    _add_files(add, "what to train on", 0.1)
    guessed = "guessed and said if not given"
    add("--text_column_name", metavar="NAME", help=f"column of the text; {guessed}")
    add("--text_pair_column_name", metavar="NAME", help=f"column of a second text; {guessed}")
    add("--label_column_name", metavar="NAME", help=f"column of the label; {guessed}")
    if languages:
        add("--language_column_name", metavar="NAME", help="column of the language of a row")
    names = "labels in the order of their numbers, or a file of them; default: those there are"
    add("--labels", nargs="+", metavar="LABEL", help=names)
    several = "what parts several labels in a field; default: a comma; JSON has lists"
    add("--label_separator", metavar="TEXT", help=several)
    kinds = ("single_label", "multi_label", "regression")
    add("--problem_type", choices=kinds, help=guessed)


def require_data(parser: argparse.ArgumentParser, args: argparse.Namespace, task_flag: str) -> None:
    """Require either a task or files of a user, and files where a flag speaks of them.

    Args:
        parser: Says what is missing, and ends the script.
        args: What was given.
        task_flag: The flag that names a task of the page: "task_name".
    """
    files = [name for name in FILES if vars(args)[name]]
    if not files and vars(args)[task_flag] is None:
        parser.error(f"the following arguments are required: --{task_flag}, or --train_file")
    if files and vars(args)[task_flag] is not None:
        parser.error(f"--{files[0]} and --{task_flag}: files take the place of a task; give one")
    named = ("text_column_name", "text_pair_column_name", "label_column_name", "labels")
    for name in (*named, "language_column_name", "label_separator", "problem_type"):
        if not files and vars(args).get(name) is not None:
            parser.error(f"--{name} is of files of your own: give them as --train_file")
