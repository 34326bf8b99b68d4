"""Find the class that a folder was saved from, and convert folders between formats."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.models import auto
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.tokenizers.auto import class_of as tokenizer_class_of
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.weights import folders
from paddlenlp_ext.weights.files import FORMATS, WEIGHT_FILES, Format, format_of
from paddlenlp_ext.weights.states import MOST


class Converted(NamedTuple):
    """What was converted.

    Attributes:
        weights: The file that was read.
        written: The file that was written.
        model: As it was saved; its `load_report` says what of the file had no place in it.
        tokenizer: As it was saved, if there is one.
        vocabulary: Its files that were written.
    """

    weights: Path
    written: Path
    model: Model
    tokenizer: Tokenizer | None
    vocabulary: tuple[Path, ...]


def convert(
    source: str | Path | Source,
    folder: str | Path,
    *,
    to: Format | None = None,
    class_name: str | None = None,
) -> Converted:
    """Write a model, and its tokenizer if it has one, in the format of the other library.

    Args:
        source: Folder, preset or repository.
        folder: Where the files go.
        to: Format to write; None is the one that the source does not have.
        class_name: Of ours, to load with; None is that which the config names.

    Raises:
        UserError: The folder is the source's own, or the class does not fit the weights.
    """
    source = resolve(source)
    to = to or _other_format(source)
    weights, written = converted_paths(source, folder, to)
    tokenizer = find_tokenizer(source)
    model = saved_class(source, class_name).from_pretrained(source)
    report = model.load_report
    assert report is not None
    if report.missing or report.mismatched:
        raise UserError(
            f"{source}: {report.describe(MOST)}; {type(model).__name__} does not fit, choose "
            "another `model_class`"
        )
    model.save_pretrained(folder, format=to)
    vocabulary = tokenizer.save_pretrained(folder) if tokenizer is not None else ()
    return Converted(weights, written, model, tokenizer, vocabulary)


def converted_paths(
    source: Source, folder: str | Path, to: Format | None = None
) -> tuple[Path, Path]:
    """Return the weight file that `convert` reads, and that which it writes.

    Raises:
        UserError: They are in one folder.
    """
    weights = source.fetch(*WEIGHT_FILES)
    written = Path(folder) / FORMATS[to or _other_format(source)].name
    if weights.parent.resolve() == written.parent.resolve():
        raise UserError(f"`output_dir` {written.parent}: is the input's folder; give another one")
    return weights, written


def _other_format(source: Source) -> Format:
    own = format_of(source.fetch(*WEIGHT_FILES))
    return next(format for format in FORMATS if format != own)


def find_tokenizer(source: Source) -> Tokenizer | None:
    """Load the tokenizer, whose files both formats share; none if the model comes without one."""
    tokenizer_class = tokenizer_class_of(source)
    if any(source.find(name) for name in tokenizer_class.vocab_files):
        return tokenizer_class.from_pretrained(source)
    return None


def saved_class(source: Source, wanted: str | None = None) -> type[Model]:
    """Find the class of ours that a model was saved from; the bare model if nothing says.

    Args:
        source: Folder, preset or repository.
        wanted: Name of a class of ours, in place of what the config says.

    Raises:
        UserError: Its family has no such class.
    """
    family = auto.family_of(source)
    module = import_module(auto.base_class(family).__module__)
    named = {name: cls for name, cls in vars(module).items() if isinstance(cls, type)}
    ours = {name: cls for name, cls in named.items() if issubclass(cls, Model) and cls.names}
    if wanted is None:
        format = format_of(source.fetch(*WEIGHT_FILES))
        theirs = {cls.foreign_class_name(format): cls for cls in ours.values()}
        saved = folders.read_config(source).get("architectures") or ()
        return next(
            (known[name] for name in saved for known in (theirs, ours) if name in known),
            auto.base_class(family),
        )
    if wanted not in ours:
        raise UserError(f"`model_class` {wanted}: {family} has {', '.join(sorted(ours))}")
    return ours[wanted]
