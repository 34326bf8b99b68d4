"""Upload a model to the Hugging Face Hub, and of its folder nothing but the model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import read_file
from paddlenlp_ext.files.upload import require_address, upload
from paddlenlp_ext.tokenizers import saving
from paddlenlp_ext.tokenizers.auto import BY_FAMILY
from paddlenlp_ext.weights.files import FORMATS, INDEX_SUFFIX, WEIGHT_FILES, read_index
from paddlenlp_ext.weights.folders import CARD, CONFIG, OLD_CONFIG

OTHERS = (CARD, "LICENSE", "LICENSE.txt", "NOTICE", CONFIG, OLD_CONFIG, "generation_config.json")
TOKENIZERS = (saving.CONFIG, saving.SPECIAL, saving.ADDED, "tokenizer.json")


def push_model(
    folder: Path, repository: str, *, private: bool = False, revision: str | None = None
) -> str:
    """Upload a model.

    Args:
        folder: Of the model.
        repository: "user/name"; made if it is not there.
        private: Whether it is made so that only its owner sees it.
        revision: A branch, made if it is not there; None is the main one.

    Returns:
        The address of what was uploaded.

    Raises:
        UserError: There is no model, or the Hub does not take it.
    """
    require_address(repository)
    paths = [*files_of_model(folder)]
    for path in paths:
        print(f"{path.name}  {path.stat().st_size:,} bytes", file=sys.stderr)
    if note := _lacking(folder / CARD):
        print(f"note: {note}", file=sys.stderr)
    return upload(paths, repository, private=private, revision=revision)


def files_of_model(folder: Path) -> Iterator[Path]:
    """Yield the files that make up a model; not those of a run, such as optimizer and predictions.

    Raises:
        UserError: There is none.
    """
    weights = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    if not weights or not any((folder / name).is_file() for name in (CONFIG, OLD_CONFIG)):
        form = f"{CONFIG} and weights, as {FORMATS['paddle'].name}"
        raise UserError(
            f"{folder}: expected a model ({form}); give the folder of one, or of a run that has one"
        )
    vocabularies = (name for cls in BY_FAMILY.values() for name in cls.vocab_files)
    names = dict.fromkeys((*OTHERS, *TOKENIZERS, *vocabularies))
    yield from (folder / name for name in names if (folder / name).is_file())
    for path in weights:
        yield path
        if path.name.endswith(INDEX_SUFFIX):
            yield from (folder / name for name in sorted({*read_index(path).values()}))


def _lacking(card: Path) -> str:
    """Say what a card lacks that people look for."""
    if not card.is_file():
        return f"there is no {CARD}: the Hub will not say what the model is"
    text = read_file(card, 1 << 20).decode(errors="replace")
    metadata = text.partition("\n---")[0] if text.startswith("---\n") else ""
    if not any(line.startswith("license:") for line in metadata.splitlines()):
        return f"{card} names no licence: nobody knows how the model may be used"
    return ""
