"""The console command `paddlenlp-ext`, which `python -m paddlenlp_ext` is too.

    paddlenlp-ext train glue --model_type bert --model_name_or_path bert-base-uncased \
        --task_name SST-2 --output_dir outputs
    paddlenlp-ext predict outputs/model_500 new.csv
    paddlenlp-ext info outputs/model_500
    paddlenlp-ext export outputs/model_500 --format onnx
    paddlenlp-ext eval-alignment outputs/model_500 tatoeba/en-de.tsv tatoeba/en-sw.tsv
    paddlenlp-ext push outputs --repo_id user/name

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

from paddlenlp_ext import __version__
from paddlenlp_ext.cli import parsing, program
from paddlenlp_ext.errors import UserError
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
    "glue": (
        f"{BERT}/run_glue.py",
        "labels of texts: GLUE or your own files, with BERT, ELECTRA, ERNIE, ConvBERT",
    ),
    "convbert": (f"{CONVBERT}/run_glue.py", "the same, by the page of ConvBERT"),
    "cross-lingual": (
        "language_model/rembert/main.py",
        "labels in many languages: XNLI, PAWS-X or your own files, with RemBERT",
    ),
    "ernie-m": (
        "language_model/ernie_m/run_classifier.py",
        "the same, by the page of ERNIE-M; XLM-RoBERTa too",
    ),
    "rembert-pretraining": (
        "language_model/rembert/run_pretrain.py",
        "masked tokens in many languages, scored by a table that is dropped later",
    ),
    "ernie-m-pretraining": (
        "language_model/ernie_m/run_pretrain.py",
        "masked tokens of sentences and translations, in many languages",
    ),
    "multiple-choice": (
        "tasks/run_multiple_choice.py",
        "one of several texts, as in SWAG and COPA",
    ),
    "language-modeling": ("tasks/run_language_modeling.py", "plain text: masked or next tokens"),
    "token-classification": (
        "tasks/run_token_classification.py",
        "tags of words: entities, parts of speech",
    ),
    "question-answering": ("tasks/run_question_answering.py", "answers in passages, as in SQuAD"),
    "bert-pretraining-data": (f"{BERT}/create_pretraining_data.py", "masked rows of plain text"),
    "bert-pretraining": (f"{BERT}/run_pretrain.py", "masked tokens and next sentence"),
    "multilingual-pretraining-data": (
        "language_model/multilingual/create_pretraining_data.py",
        "rows of text in many languages and of sentences with their translations",
    ),
    "convbert-pretraining": (f"{CONVBERT}/run_pretrain.py", "replaced tokens"),
}
PREDICTS = """\
what FILE holds, by the class of the model:
  labels of texts   a table with a header row (.csv, .tsv), JSON (.jsonl, .json), or lines (.txt)
  tags of words     a word a line, as CoNLL's and CoNLL-U's; JSON of words; or texts as above
  answers           SQuAD's JSON (.json), or a table or .jsonl with a question and its context
  choices           a table or JSON with a text and its choices
each may be compressed by gzip. What is written: predictions_FILE.tsv and .jsonl, and of answers
also the files that SQuAD's official scripts read.
"""
PAIRS = """\
files of pairs, each of which may be compressed by gzip:
  en-de.tsv                           a sentence, a tab and its translation on each line
  any.en-de.en beside any.en-de.de    lines that belong together; give one or both
what is written: alignment.tsv with the sentences that are found by their translations, by file and
layer; masked_tokens.tsv with masked tokens that are filled in right without and with the
translation, of models with such a head; alignment.png. What is printed is of the best layer.
"""
REPORTS = """\
A run may have ended or go on. Runs that differ by their seeds alone are drawn as their mean in a
band of a standard deviation; others beside each other. The page needs no other file, and follows
the browser's light or dark setting; its pictures are PNGs, too, those for a dark ground as
NAME-dark.png.
"""
BEGINNING = f"""\
from a table with the columns text and label to predictions:
  {PROGRAM} train glue --model_type bert --model_name_or_path bert-base-uncased \\
      --train_file reviews.csv --output_dir outputs/reviews
  {PROGRAM} predict outputs/reviews new.csv
{PROGRAM} --version says which one this is
"""
Command = Callable[[Sequence[str]], None]  # runs with the rest of the command line


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command that the command line names."""
    given = sys.argv[1:] if argv is None else [*argv]
    if given == ["--version"]:
        print(f"{PROGRAM} {__version__}")
        return
    known = {name: what for name, (_, what) in COMMANDS.items()}
    name, *rest = choose("COMMAND", known, given, more=BEGINNING)
    COMMANDS[name][0](rest)


def choose(
    kind: str, known: Mapping[str, str], given: Sequence[str], before: str = "", more: str = ""
) -> list[str]:
    """Return the words that begin with a known name; else end the process with what is known.

    Args:
        kind: Of the names, for the user.
        known: What each name is for.
        given: The command line.
        before: What of it has been read before.
        more: What `--help` says at its end.
    """
    name = given[0] if given else "--help"
    if name in known:
        return [*given]
    if name not in ("--help", "-h"):
        problem = f"unknown {kind.lower()} {name!r}{parsing.did_you_mean(name, known)}"
        print(f"error: {problem}; known: {', '.join(known)}", file=sys.stderr)
        sys.exit(program.USER_ERROR)
    print(f"usage: {PROGRAM} {before}{kind} …; each has its own --help\n")
    for name, what in known.items():
        print(f"  {name:22}  {what}")
    print(f"\n{more}" * bool(more), end="")
    sys.exit(0 if given else program.USER_ERROR)


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
    form = "a program of Paddle Inference, or an ONNX file, which needs paddlenlp-ext[export]"
    parser.add_argument("--format", choices=("inference", "onnx"), default="inference", help=form)
    where = "for program, config and tokenizer; default: MODEL/exported"
    parser.add_argument("--output_dir", type=Path, help=where)
    args = parser.parse_args(argv)
    runtime.tune()
    runtime.import_paddle()
    from paddlenlp_ext.inference.checked_export import export_checked

    print(export_checked(args.model, args.output_dir, args.format))


def predict(argv: Sequence[str]) -> None:
    """Predict the rows of a file."""
    parser = command_parser("predict", PREDICTS, usage="%(prog)s MODEL FILE [options]")
    add_model(parser)
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="rows; see below which")
    add("--output", type=Path, metavar="DIR", help="for predictions; default: the file's folder")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    types = "of large products, also on a CPU that has bfloat16; default: float32"
    add("--amp_dtype", choices=("float16", "bfloat16"), help=types)
    add("--batch_size", type=parsing.positive_int, default=32, help="rows computed together")
    most = "tokens of a row; default: as many as the model reads, 384 for questions"
    add("--max_length", "--max_seq_length", type=parsing.positive_int, metavar="N", help=most)
    bad = "stop at a row that cannot be used, or leave it out and say so"
    add("--on_bad_row", choices=("error", "skip"), default="error", help=bad)
    columns = parser.add_argument_group("columns", "by default they are guessed by their names")
    for name, text in {
        "text": "of the text, or of words: a name, or its number where a word is on each line",
        "text_pair": "of a second text",
        "context": "of the passage of a question, or of the text before choices",
        "question": "of the question",
        "language": "of the language: the predictions of each have their own files",
    }.items():
        columns.add_argument(f"--{name}_column_name", metavar="NAME", help=text)
    several = "a column for each choice, or one of lists"
    columns.add_argument("--choices_column_names", nargs="+", metavar="NAME", help=several)
    answers = parser.add_argument_group("answers", "of questions; as the model was trained with")
    none = "passages may have no answer, as in SQuAD 2.0"
    answers.add_argument("--version_2_with_negative", action="store_const", const=True, help=none)
    threshold = "how much higher no answer must score than the best one; default: 0"
    answers.add_argument("--null_score_diff_threshold", type=float, metavar="X", help=threshold)
    windows = "tokens that windows of a passage share; default: 128, or a third of --max_length"
    answers.add_argument("--doc_stride", type=parsing.non_negative_int, metavar="N", help=windows)
    for name, text in {
        "max_query_length": "longer questions are cut; default: 64, or a quarter of --max_length",
        "max_answer_length": "most tokens of an answer; default: 30",
        "n_best_size": "answers that are kept; default: 20",
    }.items():
        answers.add_argument(f"--{name}", type=parsing.positive_int, metavar="N", help=text)
    args = vars(parser.parse_args(argv))
    runtime.tune()
    runtime.import_paddle()
    from paddlenlp_ext.inference.file_tasks import FileSettings
    from paddlenlp_ext.inference.files import predict_file

    model, path, folder = (args.pop(name) for name in ("model", "file", "output"))
    of_run = ("device", "amp_dtype", "batch_size", "max_length", "on_bad_row")
    run = {name: args.pop(name) for name in of_run}
    found = predict_file(model, path, folder, FileSettings(**args), **run)
    for note in (found.note, found.left_out):
        print(f"{path.name}: {note}\n" * bool(note), end="", file=sys.stderr)
    for rows, table in zip(found.rows.values(), found.tables, strict=True):
        print(f"predictions of {rows:,} rows: {table} and {table.with_suffix('.jsonl').name}")


def eval_alignment(argv: Sequence[str]) -> None:
    """Measure how well a model aligns languages."""
    parser = command_parser("eval-alignment", PAIRS, usage="%(prog)s MODEL PAIRS... [options]")
    add_model(parser)
    add = parser.add_argument
    add("pairs", metavar="PAIRS", nargs="+", help="files of pairs, or patterns; see below which")
    add("--output", type=Path, default=Path("alignment"), metavar="DIR", help="for what is written")
    layers = "whose states are compared, 0 for the embeddings; default: all"
    add("--layers", type=parsing.non_negative_int, nargs="+", metavar="N", help=layers)
    part = "part of the tokens to mask; 0 for no masks"
    add("--mlm_probability", type=parsing.probability, default=0.15, help=part)
    positions = "count a translation's positions on, not from the beginning again"
    add("--continue_positions", **parsing.SWITCH, help=positions)
    others = "codes in the names of files that ISO 639 does not have"
    add("--more_languages", nargs="+", default=[], metavar="CODE", help=others)
    most = "use the first pairs of each file only"
    add("--max_pairs", type=parsing.positive_int, metavar="N", help=most)
    add("--batch_size", type=parsing.positive_int, default=32, help="rows computed together")
    cut = "tokens of a sentence; default: as many as the model reads"
    add("--max_length", "--max_seq_length", type=parsing.positive_int, metavar="N", help=cut)
    add("--seed", type=parsing.non_negative_int, default=42, help="of the masks")
    add("--device", type=parsing.device, help="cpu, gpu or xpu; default: a GPU if there is one")
    args = parser.parse_args(argv)
    runtime.tune()
    runtime.import_paddle()
    from paddlenlp_ext.files.patterns import find_files
    from paddlenlp_ext.inference import alignment_files as files
    from paddlenlp_ext.inference.alignment import Aligner, AlignmentSettings

    pairs = files.read_files(find_files(args.pairs, "PAIRS"), args.max_pairs, args.more_languages)
    aligner = Aligner(args.model, AlignmentSettings.from_flags(vars(args)), args.device)
    if args.mlm_probability and not aligner.fills:
        print(
            f"note: {args.model} has no trained head for masked tokens: they are left out",
            file=sys.stderr,
        )
    found = files.measure_files(aligner, pairs)
    written = files.write_all(found, args.output)
    print(files.table(found), end="")
    for note in files.notes(found):
        print(f"note: {note}", file=sys.stderr)
    print(f"\nwritten: {', '.join(map(str, written))}")


def push(argv: Sequence[str]) -> None:
    """Upload a model to the Hugging Face Hub."""
    more = (
        "what is uploaded: config, weights, tokenizer and README.md, and nothing else of the "
        "folder; log in before with `hf auth login`, or set HF_TOKEN"
    )
    parser = command_parser("push", more, usage="%(prog)s FOLDER --repo_id USER/NAME [options]")
    add = parser.add_argument
    add("folder", metavar="FOLDER", type=Path, help="of a model, or of a run: its best one")
    add("--repo_id", required=True, metavar="USER/NAME", help="of the Hub; made if it is not there")
    add("--private", action="store_true", help="make a repository that only its owner sees")
    add("--revision", metavar="BRANCH", help="made if it is not there; default: main")
    args = parser.parse_args(argv)
    from paddlenlp_ext.inference.sharing import push_model
    from paddlenlp_ext.training.folders import MANIFEST, damage

    folder = Path(model_of(str(args.folder)))
    if (folder / MANIFEST).is_file() and (problem := damage(folder)):
        raise UserError(f"{problem}; give the folder of a whole model")
    print(push_model(folder, args.repo_id, private=args.private, revision=args.revision))


def plot(argv: Sequence[str]) -> None:
    """Draw the curves of a run again."""
    parser = command_parser("plot")
    parser.add_argument("run", type=Path, metavar="RUN", help="the --output_dir of a run")
    args = parser.parse_args(argv)
    from paddlenlp_ext.reporting.plot import redraw_curves

    print(redraw_curves(args.run))


def reproduce(argv: Sequence[str]) -> None:
    """Run a table of a page again, many seeds of it, or fill pages from what was run."""
    from paddlenlp_ext.cli import reproduction

    sys.exit(reproduction.reproduce(command_parser("reproduce", reproduction.MORE), argv))


def report(argv: Sequence[str]) -> None:
    """Write a report on runs."""
    parser = command_parser("report", REPORTS)
    add = parser.add_argument
    add("runs", type=Path, nargs="+", metavar="RUN", help="the --output_dir of a run")
    where = "for report.html and its pictures; default: the run's, or the one that all are in"
    add("--output", type=Path, metavar="DIR", help=where)
    beside = "table of `reproduce` whose rows of papers are drawn beside scores by language"
    add("--reported", metavar="TABLE", help=beside)
    add("--only", nargs="+", default=[], metavar="ROW", help="of that table; default: all")
    worst = "of the worst errors of each kind of run"
    add("--errors", type=parsing.non_negative_int, default=20, metavar="N", help=worst)
    add("--no_texts", action="store_true", help="leave out the texts of errors")
    args = parser.parse_args(argv)
    from paddlenlp_ext.reporting.page import write_report
    from paddlenlp_ext.reproduce.tables import reported_by_part

    page, *pictures = write_report(
        args.runs,
        args.output,
        reported=args.reported and reported_by_part(args.reported, args.only),
        errors=args.errors,
        has_texts=not args.no_texts,
    )
    print(f"{page} and {len(pictures)} pictures in {page.parent / 'report'}")


def info(argv: Sequence[str]) -> None:
    """Say what a model is."""
    parser = command_parser("info")
    add_model(parser)
    args = parser.parse_args(argv)
    from paddlenlp_ext.inference.description import describe

    for name, value in describe(args.model).items():
        print(f"{name + ':':12} {value}")


def command_parser(name: str, more: str = "", **options: str) -> argparse.ArgumentParser:
    """Make the parser of a command."""
    what = COMMANDS[name][1]
    return parsing.Parser(prog=f"{PROGRAM} {name}", description=what, epilog=more, **options)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model, by whatever it is found."""
    what = "folder of a model or of a run, a preset, or a repository of the Hub"
    parser.add_argument("model", metavar="MODEL", type=model_of, help=what)


def model_of(name: str) -> str:
    """Return what a model is found by; of a run it is its best one, which is said."""
    from paddlenlp_ext.training.folders import model_of_run  # only now: `--help` is there at once

    found = model_of_run(Path(name).expanduser())
    if found is None:
        return name
    print(f"{name}: takes its model {found.name}", file=sys.stderr)
    return str(found)


def ended(command: Command, argv: Sequence[str]) -> NoReturn:
    """Run a command as a script is run; scripts do so themselves."""
    program.run(partial(command, argv))


# What runs each command, and what it is for.
COMMANDS: dict[str, tuple[Command, str]] = {
    "train": (train, "train a model on a task, by the task's script"),
    "predict": (
        partial(ended, predict),
        "predict the rows of a file: labels, tags, answers, choices",
    ),
    "eval-alignment": (
        partial(ended, eval_alignment),
        "measure on translations how well a model aligns languages",
    ),
    "export": (partial(ended, export), "write a model as a program of Paddle Inference or ONNX"),
    "convert": (
        partial(run_script, "convert", f"{CONVBERT}/convert.py"),
        "write a model in the other library's format: PaddleNLP's or transformers'",
    ),
    "push": (partial(ended, push), "upload a model with its card to the Hugging Face Hub"),
    "plot": (partial(ended, plot), "draw the curves of a run anew, from its history.jsonl"),
    "reproduce": (
        partial(ended, reproduce),
        "run the tables of the pages again, and put measured numbers beside the reported ones",
    ),
    "report": (
        partial(ended, report),
        "show runs as a page: curves, languages, confusion, calibration, errors",
    ),
    "info": (partial(ended, info), "say what a model is: family, sizes, labels, where it is from"),
}


if __name__ == "__main__":
    main()
