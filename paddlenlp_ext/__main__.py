"""The console command `paddlenlp-ext`, which `python -m paddlenlp_ext` is too.

    paddlenlp-ext train glue --model_type bert --model_name_or_path bert-base-uncased \
        --task_name SST-2 --output_dir outputs
    paddlenlp-ext predict outputs/model_500 new.csv
    paddlenlp-ext info outputs/model_500
    paddlenlp-ext export outputs/model_500 --format onnx

`train` runs the scripts of `examples`, which the package brings along: `python
examples/language_model/bert/run_glue.py` is the same as `paddlenlp-ext train glue`. On several
devices give the command's file to Paddle's launcher:

    python -m paddle.distributed.launch --nproc_per_node 2 $(which paddlenlp-ext) train glue …
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from paddlenlp_ext import __version__, cli
from paddlenlp_ext.process import runtime

PROGRAM = "paddlenlp-ext"
PACKAGE = Path(__file__).resolve().parent
# In the package where that is installed, else beside it in the checkout.
EXAMPLES = next(
    path for path in (PACKAGE / "examples", PACKAGE.parent / "examples") if path.is_dir()
)
BERT, CONVBERT = "language_model/bert", "language_model/convbert"
# What `train` runs, by the name of the task.
SCRIPTS = {
    "glue": (f"{BERT}/run_glue.py", "texts with BERT, ELECTRA, ERNIE or ConvBERT"),
    "convbert": (f"{CONVBERT}/run_glue.py", "texts, by the page of ConvBERT"),
    "cross-lingual": ("language_model/rembert/main.py", "XNLI and PAWS-X with RemBERT"),
    "ernie-m": ("language_model/ernie_m/run_classifier.py", "XNLI with ERNIE-M or XLM-RoBERTa"),
    "multiple-choice": ("tasks/run_multiple_choice.py", "texts with choices, your own files"),
    "language-modeling": ("tasks/run_language_modeling.py", "plain text: masked or next tokens"),
    "token-classification": (
        "tasks/run_token_classification.py",
        "words: entities, parts of speech",
    ),
    "question-answering": ("tasks/run_question_answering.py", "answers in passages, as in SQuAD"),
    "bert-pretraining-data": (f"{BERT}/create_pretraining_data.py", "masked rows of plain text"),
    "bert-pretraining": (f"{BERT}/run_pretrain.py", "masked tokens and next sentence"),
    "convbert-pretraining": (f"{CONVBERT}/run_pretrain.py", "replaced tokens"),
}
Command = Callable[[Sequence[str]], None]  # runs with the rest of the command line


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the command line names."""
    given = sys.argv[1:] if argv is None else [*argv]
    if given == ["--version"]:
        print(f"{PROGRAM} {__version__}")
        return
    name, *rest = choose("COMMAND", {name: what for name, (_, what) in COMMANDS.items()}, given)
    COMMANDS[name][0](rest)


def choose(
    kind: str, known: Mapping[str, str], given: Sequence[str], before: str = ""
) -> list[str]:
    """Return the words that begin with a known name; else end the process with what is known.

    Args:
        kind: Of the names, for the user.
        known: What each name is for.
        given: The command line.
        before: What of it has been read before.
    """
    name = given[0] if given else "--help"
    if name in known:
        return [*given]
    if name not in ("--help", "-h"):
        problem = f"unknown {kind.lower()} {name!r}{cli.did_you_mean(name, known)}"
        print(f"error: {problem}; known: {', '.join(known)}", file=sys.stderr)
        sys.exit(cli.USER_ERROR)
    print(f"usage: {PROGRAM} {before}{kind} …; each has its own --help\n")
    for name, what in known.items():
        print(f"  {name:22}  {what}")
    sys.exit(0 if given else cli.USER_ERROR)


def train(argv: Sequence[str]) -> None:
    """Run the script of a task."""
    known = {task: f"{what} (examples/{script})" for task, (script, what) in SCRIPTS.items()}
    task, *rest = choose("TASK", known, argv, "train ")
    run_script(f"train {task}", SCRIPTS[task][0], rest)


def run_script(command: str, script: str, argv: Sequence[str]) -> None:
    """Run a script as Python does: processes that it starts find it as theirs, too."""
    sys.argv = [f"{PROGRAM} {command}", *argv]
    path = EXAMPLES / script
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__file__ = str(path)
    exec(compile(path.read_bytes(), path, "exec"), vars(module))


def export(argv: Sequence[str]) -> None:
    """Write a model as a program, and compare what both answer."""
    parser = command_parser("export")
    add_model(parser)
    parser.add_argument("--format", choices=("inference", "onnx"), default="inference", help="of")
    where = "for program, config and tokenizer; default: MODEL/exported"
    parser.add_argument("--output_dir", type=Path, help=where)
    args = parser.parse_args(argv)
    runtime.tune()
    runtime.import_paddle()
    from paddlenlp_ext.inference.checked_export import export_checked

    print(export_checked(args.model, args.output_dir, args.format))


def predict(argv: Sequence[str]) -> None:
    """Classify the rows of a file."""
    parser = command_parser("predict")
    add_model(parser)
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="rows: .csv, .tsv, .json, .jsonl, .txt, or .gz")
    add("--output", type=Path, metavar="DIR", help="for predictions; default: the file's folder")
    add("--text_column_name", metavar="NAME", help="column of the text; default: by its name")
    add("--text_pair_column_name", metavar="NAME", help="column of a second text")
    add("--device", type=cli.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    add("--batch_size", type=cli.positive_int, default=32, help="rows computed together")
    most = "longer texts are cut; default: as long as the model reads"
    add("--max_length", type=cli.positive_int, metavar="N", help=most)
    args = parser.parse_args(argv)
    runtime.tune()
    runtime.import_paddle()
    from paddlenlp_ext.inference.files import predict_file

    rows, table = predict_file(
        args.model,
        args.file,
        args.output,
        text=args.text_column_name,
        pair=args.text_pair_column_name,
        device=args.device,
        batch_size=args.batch_size,
        max_length=args.max_length,
    )
    print(f"predictions of {rows:,} rows: {table} and {table.with_suffix('.jsonl').name}")


def plot(argv: Sequence[str]) -> None:
    """Draw the curves of a run again."""
    parser = command_parser("plot")
    parser.add_argument("run", type=Path, metavar="RUN", help="the --output_dir of a run")
    args = parser.parse_args(argv)
    from paddlenlp_ext.training.results import redraw_curves

    print(redraw_curves(args.run))


def info(argv: Sequence[str]) -> None:
    """Say what a model is."""
    parser = command_parser("info")
    add_model(parser)
    args = parser.parse_args(argv)
    from paddlenlp_ext.inference.description import describe

    for name, value in describe(args.model).items():
        print(f"{name + ':':12} {value}")


def command_parser(name: str) -> argparse.ArgumentParser:
    """Make the parser of a command."""
    return cli.Parser(prog=f"{PROGRAM} {name}", description=COMMANDS[name][1])


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model, by whatever it is found."""
    what = "folder of a model, a preset, or a repository of the Hub"
    parser.add_argument("model", metavar="MODEL", help=what)


def ended(command: Command, argv: Sequence[str]) -> NoReturn:
    """Run a command as a script is run; scripts do so themselves."""
    cli.run(partial(command, argv))


# What runs each command, and what it is for.
COMMANDS: dict[str, tuple[Command, str]] = {
    "train": (train, "train a model on a task, by the task's script"),
    "predict": (partial(ended, predict), "classify the rows of a file with a trained model"),
    "export": (partial(ended, export), "write a model as a program of Paddle Inference or ONNX"),
    "convert": (
        partial(run_script, "convert", f"{CONVBERT}/convert.py"),
        "write a model in the other library's format: PaddleNLP's or transformers'",
    ),
    "plot": (partial(ended, plot), "draw the curves of a run anew, from its history.jsonl"),
    "info": (partial(ended, info), "say what a model is: family, sizes, labels, where it is from"),
}


if __name__ == "__main__":
    main()
