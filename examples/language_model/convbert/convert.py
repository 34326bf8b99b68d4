"""Convert a model folder between PaddleNLP's format and that of Hugging Face transformers.

    python examples/language_model/convbert/convert.py --input_dir ./conv-bert-base \
        --output_dir ./convbert-base --to paddle

Any of the six families, either direction; neither PyTorch nor transformers is needed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from paddlenlp_ext import cli
from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.process import runtime
from paddlenlp_ext.weights import files, folders
from paddlenlp_ext.weights.states import MOST

if TYPE_CHECKING:
    from paddlenlp_ext.models.base import Model
    from paddlenlp_ext.tokenizers.base import Tokenizer


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Convert a model folder to the other format.")
    cli.expand_home(parser)
    add = parser.add_argument
    add("--input_dir", help="folder with a model, a preset, or a repository of the Hub")
    add("--output_dir", help="where the converted model goes")
    add("--to", choices=tuple(files.FORMATS), help="format to write; default: the other one")
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
    by_files = args.pytorch_checkpoint_path and args.paddle_dump_path
    source = resolve(args.input_dir or args.pytorch_checkpoint_path.parent)
    output = Path(args.output_dir or args.paddle_dump_path.parent)
    weights = source.fetch(*files.WEIGHT_FILES)
    format = files.format_of(weights)
    other = next(other for other in files.FORMATS if other != format)
    to = args.to or ("paddle" if by_files else other)
    written = output / files.FORMATS[to].name
    check_paths(args, weights, written)
    tokenizer = load_tokenizer(source)
    model = choose_class(source, format, args.model_class).from_pretrained(source)
    report = model.load_report
    assert report is not None
    if report.missing or report.mismatched:
        raise UserError(
            f"{source}: {report.describe(MOST)}; {type(model).__name__} does not fit, choose "
            "another --model_class"
        )
    model.save_pretrained(output, format=to)
    print(f"{weights} -> {written}")
    print(f"{type(model).__name__}, {sum(p.size for p in model.parameters()):,} parameters")
    if report.unexpected:
        print(f"left out, since {type(model).__name__} has no place for it: {report.describe()}")
    if tokenizer is not None:
        saved = tokenizer.save_pretrained(output)
        print(f"{type(tokenizer).__name__}: {', '.join(path.name for path in saved)}")
    else:
        print(f"no tokenizer: {source} has no vocabulary")
    return written


def load_tokenizer(source: Source) -> Tokenizer | None:
    """Load the tokenizer, whose files both formats share; none if the model comes without one."""
    from paddlenlp_ext.tokenizers import auto

    tokenizer_class = auto.class_of(source)
    if any(source.find(name) for name in tokenizer_class.vocab_files):
        return tokenizer_class.from_pretrained(source)
    return None


def check_paths(args: argparse.Namespace, weights: Path, written: Path) -> None:
    """Refuse to read or write other files than those that were asked for.

    Raises:
        UserError: The folder's weights are in another file, or both folders are one.
    """
    for flag, asked, used in (
        ("--pytorch_checkpoint_path", args.pytorch_checkpoint_path, weights),
        ("--paddle_dump_path", args.paddle_dump_path, written),
    ):
        if asked is not None and asked.resolve() != used.resolve():
            raise UserError(
                f"{flag} {asked}: expected {used}; rename the file, or leave {flag} out"
            )
    if weights.parent.resolve() == written.parent.resolve():
        raise UserError(f"--output_dir {written.parent}: is the input's folder; give another one")


def choose_class(source: Source, format: files.Format, wanted: str | None) -> type[Model]:
    """Find the class of ours that a model folder was saved from.

    Args:
        source: Folder, preset or repository.
        format: Whose class names its config has.
        wanted: Name of a class of ours, in place of what the config says.

    Raises:
        UserError: Its family has no such class.
    """
    from paddlenlp_ext.models import auto
    from paddlenlp_ext.models.base import Model

    family = auto.family_of(source)
    module = import_module(auto.base_class(family).__module__)
    named = {name: cls for name, cls in vars(module).items() if isinstance(cls, type)}
    ours = {name: cls for name, cls in named.items() if issubclass(cls, Model) and cls.names}
    theirs = {cls.foreign_class_name(format): cls for cls in ours.values()}
    if wanted is None:
        saved = folders.read_config(source).get("architectures") or ()
        return next(
            (known[name] for name in saved for known in (theirs, ours) if name in known),
            auto.base_class(family),
        )
    if wanted not in ours:
        raise UserError(f"--model_class {wanted}: {family} has {', '.join(sorted(ours))}")
    return ours[wanted]


if __name__ == "__main__":
    cli.run(main)
