"""Make shards of text in several languages and of parallel text, with what is held out of them.

The text is read twice: once to choose what is held out (`held_out_text.py`), which finds every bad
line before anything is written, and once to make rows (`language_blocks.py`).
"""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import vocabulary_digest
from paddlenlp_ext.pretraining.creation import LEAST_UNPARTED
from paddlenlp_ext.pretraining.held_out_text import HeldOut, choose_held_out
from paddlenlp_ext.pretraining.language_blocks import (
    HELD_OUT,
    TRAIN,
    Block,
    BlockRows,
    CorporaSettings,
    RowMaker,
    text_blocks,
)
from paddlenlp_ext.pretraining.language_texts import LanguageText
from paddlenlp_ext.pretraining.multilingual_rows import LANGUAGES, LAYOUT, SOURCE, WORDS
from paddlenlp_ext.pretraining.shards import HAS_PAIRS, SUFFIXES, VOCABULARY
from paddlenlp_ext.pretraining.whole_words import icu_version
from paddlenlp_ext.pretraining.words import Script
from paddlenlp_ext.pretraining.workers import in_order
from paddlenlp_ext.pretraining.writing import ShardWriter
from paddlenlp_ext.tokenizers.base import Tokenizer

logger = logging.getLogger(__name__)

SUFFIX = ".hdf5"
MOST_CUT = 0.05  # part of the pairs beyond which it is said that they are cut

Target = tuple[str, str]  # a split, and the name of a text


@dataclass
class Created:
    """What was made of the text of a language, or of a pair of languages.

    Attributes:
        rows: By split.
        tokens: Of all rows, special ones included.
        known: Lines that were left out, since a sentence of theirs is held out.
        empty: Lines that were left out, since a sentence of theirs has no token.
        cut: Pairs that were longer than a row.
        script: How the words of the text are parted.
    """

    rows: dict[str, int] = field(default_factory=lambda: {TRAIN: 0, HELD_OUT: 0})
    tokens: int = 0
    known: int = 0
    empty: int = 0
    cut: int = 0
    script: Script = field(default_factory=lambda: Script(0, 0, 0))

    def add(self, block: Block, made: BlockRows) -> None:
        """Count what was made of a block."""
        lengths = made.columns["length"]
        self.rows[block.split] += len(lengths)
        self.tokens += int(lengths.sum(dtype=np.int64))
        self.known += block.known
        self.empty += made.empty
        self.cut += made.cut
        self.script = Script(*map(sum, zip(self.script, made.script, strict=True)))

    def warnings(self, settings: CorporaSettings) -> Iterator[str]:
        """Say what is not as it was asked for."""
        rows = sum(self.rows.values())
        if self.cut > MOST_CUT * rows:
            yield (
                f"{self.cut / rows:.0%} of the pairs were cut, since they are longer than "
                f"`max_seq_length` {settings.max_seq_length}"
            )
        if self.script.unparted > LEAST_UNPARTED * self.script.characters:
            yield (
                f"{self.script.unparted / self.script.characters:.0%} of the text stand in scripts "
                "without spaces, whose words are not known: where whole words are masked, their "
                "tokens are masked one by one; give `segment_words`"
            )


def create_corpora(
    texts: Sequence[LanguageText],
    tokenizer: Tokenizer,
    output_dir: str | Path,
    settings: CorporaSettings,
    *,
    num_shards: int = 1,
    processes: int = 1,
    on_progress: Callable[[int], object] = lambda size: None,
) -> dict[str, Created]:
    """Make the shards of all text: `train.en.hdf5`, `dev.en-de.hdf5` ...

    Args:
        texts: Of all languages and pairs of them.
        tokenizer: The model's.
        output_dir: Folder of the shards.
        settings: How rows are made.
        num_shards: Files for each text to train on.
        processes: That work at once; the result is the same.
        on_progress: Called with the bytes of text that are done since the last call; all are
            read twice.

    Returns:
        What was made, by the name of the text.

    Raises:
        UserError: The text cannot be used, or the shards cannot be written; there are none then.
    """
    words = f"icu {icu_version()}" if settings.segment_words else ""
    if TRAIN not in {_split_of(text) for text in texts}:
        raise DataError("there is nothing to train on; give `text_files`, `parallel_files` or both")
    held_out = choose_held_out(texts, settings.held_out, on_progress=on_progress)
    languages = sorted({code for text in texts for code in text.languages})
    attributes = {
        VOCABULARY: vocabulary_digest(tokenizer),
        LANGUAGES: ",".join(languages),
        WORDS: words,
    }
    numbers = [tuple(map(languages.index, text.languages)) for text in texts]
    maker = RowMaker(tokenizer, settings, numbers)
    created = {text.name: Created() for text in texts}
    with ExitStack() as stack:
        writers = {
            (split, text.name): stack.enter_context(
                ShardWriter(
                    paths,
                    LAYOUT,
                    {"tokens": settings.max_seq_length},
                    {**attributes, SOURCE: text.name, HAS_PAIRS: text.is_pairs},
                )
            )
            for (split, text), paths in _paths(texts, held_out, Path(output_dir), num_shards)
        }
        blocks = text_blocks(texts, held_out, settings.held_out)
        for block, made in stack.enter_context(closing(_made(blocks, maker, processes))):
            name = texts[block.text].name
            created[name].add(block, made)
            if len(made.columns["length"]):
                writers[block.split, name].write(made.columns)
            on_progress(block.size)
        for text in texts:
            if not created[text.name].rows[split := _split_of(text)]:
                raise DataError(
                    f"{text.paths[0]}: no line of {text.name} is left for the split {split}; "
                    "give more text, or hold less out (`held_out_share`)"
                )
    for text in texts:
        for warning in created[text.name].warnings(settings):
            logger.warning("%s: %s", text.name, warning)
    return created


def _made(
    blocks: Iterable[Block], maker: RowMaker, processes: int
) -> Generator[tuple[Block, BlockRows], None, None]:
    """Yield each block with its rows, in the order of the text."""
    if processes == 1:
        return ((block, maker.make(block)) for block in blocks)
    return in_order(maker.make, blocks, processes)


def _split_of(text: LanguageText) -> str:
    return HELD_OUT if text.is_held_out else TRAIN


def _paths(
    texts: Sequence[LanguageText], held_out: HeldOut, folder: Path, num_shards: int
) -> list[tuple[tuple[str, LanguageText], list[Path]]]:
    """Name the shards of each split of each text.

    Raises:
        DataError: An earlier run made others, which would be read along with the new ones.
    """
    found = []
    for text, documents in zip(texts, held_out.documents, strict=True):
        if not text.is_held_out:
            digits = len(str(num_shards - 1))
            numbers = [f"_{number:0{digits}}" for number in range(num_shards)]
            names = [
                f"{TRAIN}.{text.name}{n}{SUFFIX}" for n in (numbers if num_shards > 1 else [""])
            ]
            found.append(((TRAIN, text), [folder / name for name in names]))
        if documents:
            found.append(((HELD_OUT, text), [folder / f"{HELD_OUT}.{text.name}{SUFFIX}"]))
    made = {path for _, paths in found for path in paths}
    before = {path for path in folder.glob("*") if path.suffix in SUFFIXES}
    if others := sorted(before - made):
        raise DataError(
            f"{others[0]}: is of an earlier run with other text or another number of shards; "
            "delete it, or choose another `output_dir`"
        )
    return found
