"""Convert a model folder between PaddleNLP's format and that of Hugging Face transformers.

    python examples/language_model/convbert/convert.py --input_dir ./conv-bert-base \
        --output_dir ./convbert-base --to paddle

Any of the six families, either direction; neither PyTorch nor transformers is needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from paddlenlp_ext.cli import parsing, program
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import resolve
from paddlenlp_ext.process import runtime
from paddlenlp_ext.weights.files import FORMATS


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = parsing.Parser(description="Convert a model folder to the other format.")
    add = parser.add_argument
    add("--input_dir", help="folder with a model, a preset, or a repository of the Hub")
    add("--output_dir", help="where the converted model goes")
    add("--to", choices=tuple(FORMATS), help="format to write; default: the other one")
    add("--model_class", help="class to load with (BertForPreTraining); default: as config.json")
    page = parser.add_argument_group("the original's flags, for files in model folders")
    page.add_argument("--pytorch_checkpoint_path", type=Path, help="…/pytorch_model.bin")
    page.add_argument("--paddle_dump_path", type=Path, help="…/model_state.pdparams")
    args = parser.parse_args(argv)
    has_files = args.pytorch_checkpoint_path and args.paddle_dump_path
    if not (has_files or (args.input_dir and args.output_dir)):
        parser.error(
            "give --input_dir and --output_dir, or --pytorch_checkpoint_path and --paddle_dump_path"
        )
    return args


def main(argv: Sequence[str] | None = None) -> Path:
    """Convert as the command line says; return the file that was written."""
    args = parse_args(argv)
    runtime.tune()
    runtime.import_paddle()
    from paddlenlp_ext.models.conversion import convert, converted_paths

    by_files = args.pytorch_checkpoint_path and args.paddle_dump_path
    source = resolve(args.input_dir or args.pytorch_checkpoint_path.parent)
    output = Path(args.output_dir or args.paddle_dump_path.parent)
    to = args.to or ("paddle" if by_files else None)
    check_paths(args, *converted_paths(source, output, to))
    done = convert(source, output, to=to, class_name=args.model_class)
    name, report = type(done.model).__name__, done.model.load_report
    print(f"{done.weights} -> {done.written}")
    print(f"{name}, {sum(p.size for p in done.model.parameters()):,} parameters")
    if report is not None and report.unexpected:
        print(f"left out, since {name} has no place for it: {report.describe()}")
    if done.tokenizer is not None:
        saved = ", ".join(path.name for path in done.vocabulary)
        print(f"{type(done.tokenizer).__name__}: {saved}")
    else:
        print(f"no tokenizer: {source} has no vocabulary")
    return done.written


def check_paths(args: argparse.Namespace, weights: Path, written: Path) -> None:
    """Refuse to read or write other files than those that were asked for.

    Raises:
        UserError: The folder's weights are in another file.
    """
    for flag, asked, used in (
        ("--pytorch_checkpoint_path", args.pytorch_checkpoint_path, weights),
        ("--paddle_dump_path", args.paddle_dump_path, written),
    ):
        if asked is not None and asked.resolve() != used.resolve():
            raise UserError(
                f"{flag} {asked}: expected {used}; rename the file, or leave {flag} out"
            )


if __name__ == "__main__":
    program.run(main)
