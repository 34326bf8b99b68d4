"""From the documents of a text to rows: a block of them at a time, in any process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from paddlenlp_ext.pretraining.hdf5 import Columns
from paddlenlp_ext.pretraining.held_out_text import HeldOut, HeldOutSettings
from paddlenlp_ext.pretraining.language_texts import LanguageText, Line
from paddlenlp_ext.pretraining.multilingual_rows import pair_rows, sentence_rows
from paddlenlp_ext.pretraining.whole_words import Tokens, WordFinder, words_by_icu
from paddlenlp_ext.pretraining.words import Script
from paddlenlp_ext.tokenizers.base import Tokenizer

BLOCK_BYTES = 1 << 20  # of text that is worked on together
TRAIN, HELD_OUT = SPLITS = ("train", "dev")


@dataclass(frozen=True)
class CorporaSettings:
    """How rows are made of text.

    Attributes:
        max_seq_length: Tokens of a row at most, special ones included.
        pack_lines: Join sentences that follow one another in a document, for as long as they fit
            into a row; pairs are never joined.
        segment_words: Find words in scripts without spaces.
        held_out: What is held out.
    """

    max_seq_length: int = 128
    pack_lines: bool = False
    segment_words: bool = False
    held_out: HeldOutSettings = field(default_factory=HeldOutSettings)


class Block(NamedTuple):
    """Documents of a text that are worked on together.

    Attributes:
        text: Its number.
        split: Of `SPLITS`.
        documents: Their lines.
        known: Lines that were left out, since a sentence of theirs is held out.
        size: Bytes that they were read from.
    """

    text: int
    split: str
    documents: list[list[Line]]
    known: int
    size: int


class BlockRows(NamedTuple):
    """What was made of a block.

    Attributes:
        columns: The rows.
        script: How the words of the text are parted.
        empty: Lines that have no row, since a sentence of theirs has no token.
        cut: Pairs that were longer than a row.
    """

    columns: Columns
    script: Script
    empty: int
    cut: int


@dataclass(frozen=True)
class RowMaker:
    """Makes rows of blocks; can be sent to other processes.

    Attributes:
        tokenizer: The model's.
        settings: How.
        languages: Of each text, their numbers.
    """

    tokenizer: Tokenizer
    settings: CorporaSettings
    languages: Sequence[tuple[int, ...]]

    @cached_property
    def finder(self) -> WordFinder:
        """Tokenizes, and knows words."""
        segmenter = words_by_icu if self.settings.segment_words else None
        return WordFinder.of(self.tokenizer, segmenter)

    def make(self, block: Block) -> BlockRows:
        """Make the rows of a block."""
        languages = self.languages[block.text]
        if len(languages) == 2:
            return self._pairs(block, (languages[0], languages[1]))
        return self._sentences(block, languages[0])

    def _sentences(self, block: Block, language: int) -> BlockRows:
        sentences = [line[0] for document in block.documents for line in document]
        tokens, script = self.finder.tokenize(sentences)
        found = iter(tokens)
        rows: list[Tokens] = []
        for document in block.documents:
            rows += self._rows([next(found) for _ in document])
        columns = sentence_rows(rows, self.tokenizer, self.settings.max_seq_length, language)
        return BlockRows(columns, script, sum(not one.ids for one in tokens), 0)

    def _rows(self, sentences: Sequence[Tokens]) -> Iterator[Tokens]:
        """Cut the sentences of a document into rows, special tokens not yet in."""
        room = self.settings.max_seq_length - self.tokenizer.num_special_tokens_to_add()
        ids, continues = list[int](), list[bool]()
        for sentence in [*sentences, None]:
            if sentence is None or not (
                self.settings.pack_lines and len(ids) + len(sentence.ids) <= room
            ):
                for start in range(0, len(ids), room):
                    yield Tokens(ids[start : start + room], continues[start : start + room])
                ids, continues = [], []
            if sentence is not None:
                ids += sentence.ids
                continues += sentence.continues

    def _pairs(self, block: Block, languages: tuple[int, int]) -> BlockRows:
        lines = [line for document in block.documents for line in document]
        (firsts, one), (seconds, two) = (
            self.finder.tokenize([line[side] for line in lines]) for side in (0, 1)
        )
        script = Script(*map(sum, zip(one, two, strict=True)))
        whole = [pair for pair in zip(firsts, seconds, strict=True) if pair[0].ids and pair[1].ids]
        width = self.settings.max_seq_length
        room = width - self.tokenizer.num_special_tokens_to_add(pair=True)
        cut = sum(len(first.ids) + len(second.ids) > room for first, second in whole)
        firsts, seconds = [pair[0] for pair in whole], [pair[1] for pair in whole]
        columns = pair_rows(firsts, seconds, self.tokenizer, width, languages)
        return BlockRows(columns, script, len(lines) - len(whole), cut)


def text_blocks(
    texts: Sequence[LanguageText], held_out: HeldOut, settings: HeldOutSettings
) -> Iterator[Block]:
    """Cut all text into blocks, without the lines that neither split may have.

    Args:
        texts: All text.
        held_out: What of it is held out.
        settings: With which that was chosen.

    Raises:
        DataError: A line of the text cannot be used.
    """
    for number, text in enumerate(texts):
        waiting = {split: Block(number, split, [], 0, 0) for split in SPLITS}
        for place, document in enumerate(text.documents(settings.longest_document)):
            split = HELD_OUT if place in held_out.documents[number] else TRAIN
            lines = document.lines
            if split == TRAIN:
                lines = [line for line in lines if not held_out.has(line)]
            _, _, documents, known, size = waiting[split]
            documents.append(lines)
            known += len(document.lines) - len(lines)
            block = Block(number, split, documents, known, size + document.size)
            if block.size >= BLOCK_BYTES:
                yield block
                block = Block(number, split, [], 0, 0)
            waiting[split] = block
        yield from (block for block in waiting.values() if block.documents)
