"""Make training examples of a block of documents: pairs, packed into rows, with masked tokens."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import LAYOUT
from paddlenlp_ext.pretraining.corpus import Block
from paddlenlp_ext.pretraining.hdf5 import Columns
from paddlenlp_ext.pretraining.masking import Flags, Ids, MaskingVocabulary, mask_tokens
from paddlenlp_ext.pretraining.pairs import (
    Pair,
    TokenDocument,
    divided,
    passages,
    sentence_pairs,
)
from paddlenlp_ext.pretraining.words import Script, adjoining, script_of
from paddlenlp_ext.tokenizers.base import Tokenizer


@dataclass(frozen=True)
class InstanceSettings:
    """How examples are made of a corpus.

    Attributes:
        max_seq_length: Tokens of a row, special ones and padding included.
        max_predictions_per_seq: Most masked tokens of a row.
        masked_lm_prob: Proportion of a row's tokens to mask.
        short_seq_prob: Probability that a row is to be shorter.
        dupe_factor: How many times the corpus is gone through, each time with other choices.
        whole_word_masking: Whether the pieces of a word are masked together.
        next_sentence: Whether rows are pairs, half of them random, or single texts.
        random_seed: Decides every choice, together with the place in the corpus.
    """

    max_seq_length: int = 128
    max_predictions_per_seq: int = 20
    masked_lm_prob: float = 0.15
    short_seq_prob: float = 0.1
    dupe_factor: int = 10
    whole_word_masking: bool = False
    next_sentence: bool = True
    random_seed: int = 12345

    @property
    def max_tokens(self) -> int:
        """Tokens of a row that are not special: `[CLS] A [SEP] B [SEP]` or `[CLS] A [SEP]`."""
        return self.max_seq_length - (3 if self.next_sentence else 2)


class Examples(NamedTuple):
    """What was made of a block.

    Attributes:
        columns: The rows.
        tokens: Of the text.
        used: Of these, in at least one row.
        script: Of the text; only if whole words are masked.
    """

    columns: Columns
    tokens: int
    used: int
    script: Script


class _Text(NamedTuple):
    """The tokens of a block; a document is known by the places of its tokens.

    Attributes:
        ids: Behind the text stand padding, the first token and the separator; int32 [T + 3].
        continues: Whether each is a further piece of a word; bool [T + 3].
        documents: Their sentences, each a range of places.
        script: See `Examples`.
    """

    ids: Ids
    continues: Flags | None
    documents: list[TokenDocument]
    script: Script

    @property
    def size(self) -> int:
        """How many tokens the text has: the place of the padding behind it."""
        return len(self.ids) - 3


class InstanceMaker:
    """Makes examples.

    Args:
        tokenizer: Cuts sentences into tokens.
        settings: How.
    """

    def __init__(self, tokenizer: Tokenizer, settings: InstanceSettings):
        self.tokenizer = tokenizer
        self.settings = settings
        self.vocabulary = MaskingVocabulary.of(tokenizer)

    def make(self, block: Block) -> Examples:
        """Make the examples of a block, of all rounds together, in random order.

        Every choice follows from the seed, the round and the number of the block, so it does not
        matter which process makes which block.

        Raises:
            DataError: There is a single document, and pairs need another one.
        """
        settings = self.settings
        text = self._tokenize(block)
        if settings.next_sentence and len(text.documents) == 1:
            raise DataError(
                "the corpus is a single document, and random next sentences come from other ones; "
                "put an empty line between documents, or give `no_next_sentence`"
            )
        used = np.zeros(len(text.ids), bool)
        rounds = [
            self._round(text, used, self._random(turn, block.number))
            for turn in range(settings.dupe_factor)
        ]
        columns = {name: np.concatenate([one[name] for one in rounds]) for name in LAYOUT}
        random = self._random(settings.dupe_factor, block.number)
        order = random.permutation(len(columns["input_ids"]))
        columns = {name: values[order] for name, values in columns.items()}
        return Examples(columns, text.size, int(used[: text.size].sum()), text.script)

    def _random(self, turn: int, block: int) -> np.random.RandomState:
        # RandomState promises the same numbers in every release of NumPy.
        sequence = np.random.SeedSequence((self.settings.random_seed, turn, block))
        return np.random.RandomState(np.random.MT19937(sequence))

    def _tokenize(self, block: Block) -> _Text:
        """Cut sentences into tokens; what has no token is dropped."""
        tokenizer, whole_words = self.tokenizer, self.settings.whole_word_masking
        sentences = [sentence for document in block.documents for sentence in document]
        script = script_of(sentences) if whole_words else Script(0, 0, 0)
        encoded = tokenizer(
            sentences,
            add_special_tokens=False,
            return_offsets_mapping=bool(script.unspaced),
            verbose=False,
        )
        tokens = [number for ids in encoded["input_ids"] for number in ids]
        special = [tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id]
        ids = np.array([*tokens, *special], np.int32)
        continues = self.vocabulary.continues[ids] if whole_words else None
        if continues is not None and script.unspaced:
            parted = script.unparted == 0
            joined, unspaced = adjoining(sentences, encoded["offset_mapping"], parted=parted)
            text = continues[:-3]
            if not parted:  # a clause is no word: each of its tokens stands alone
                text &= ~unspaced
            elif not self.vocabulary.marks_starts:
                text |= joined
        lengths = map(len, encoded["input_ids"])
        return _Text(ids, continues, self._places(block, lengths), script)

    def _places(self, block: Block, lengths: Iterator[int]) -> list[TokenDocument]:
        """List the places of the tokens of each sentence.

        A sentence that is longer than a row is cut, so that nothing of it is lost: into halves of
        rows if rows are pairs, since one part follows another.
        """
        longest = self.settings.max_tokens
        part = -(-longest // 2) if self.settings.next_sentence else longest
        documents: list[TokenDocument] = []
        at = 0
        for document in block.documents:
            sentences: list[Sequence[int]] = []
            for _ in document:
                sentence = range(at, at := at + next(lengths))
                sentences += divided(sentence, part if len(sentence) > longest else longest)
            if sentences:
                documents.append(sentences)
        return documents

    def _round(self, text: _Text, used: Flags, random: np.random.RandomState) -> dict[str, Ids]:
        """Go through the documents once, and mark the tokens that are in a row."""
        settings = self.settings
        pairs: list[Pair] = []
        for number, document in enumerate(text.documents):
            if settings.next_sentence:
                pairs += sentence_pairs(
                    text.documents, number, settings.max_tokens, settings.short_seq_prob, random
                )
            else:
                pairs += passages(document, settings.max_tokens, settings.short_seq_prob, random)
        columns = self._pack(pairs, text.size)
        tokens = columns.pop("tokens")
        used[tokens] = True
        originals = text.ids[tokens]
        input_ids, chosen = mask_tokens(
            originals,
            columns["input_mask"].sum(1, dtype=np.int64),
            self.vocabulary,
            random,
            probability=settings.masked_lm_prob,
            max_predictions=settings.max_predictions_per_seq,
            continues=None if text.continues is None else text.continues[tokens],
        )
        places = positions(chosen, settings.max_predictions_per_seq)
        columns |= {
            "input_ids": input_ids,
            "masked_lm_positions": places,
            "masked_lm_ids": np.where(places > 0, np.take_along_axis(originals, places, axis=1), 0),
        }
        return {name: columns[name].astype(LAYOUT[name].dtype) for name in LAYOUT}

    def _pack(self, pairs: Sequence[Pair], size: int) -> dict[str, Ids]:
        """Put each pair into a row, between special tokens and before padding; see `_Text`."""
        pad, cls, sep = range(size, size + 3)
        shape = (len(pairs), self.settings.max_seq_length)
        places = np.full(shape, pad, np.int64)
        input_mask, segment_ids = np.zeros(shape, np.int8), np.zeros(shape, np.int8)
        for row, (first, second, _) in enumerate(pairs):
            tokens = [cls, *first, sep, *second, *([sep] if second else [])]
            places[row, : len(tokens)] = tokens
            input_mask[row, : len(tokens)] = 1
            segment_ids[row, len(first) + 2 : len(tokens)] = 1
        labels = np.array([pair.is_random for pair in pairs], np.int8)
        return {
            "tokens": places,
            "input_mask": input_mask,
            "segment_ids": segment_ids,
            "next_sentence_labels": labels,
        }


def positions(chosen: Flags, width: int) -> Ids:
    """List the chosen places of each row, then zeros: the first token is never chosen.

    Args:
        chosen: bool [N, L].
        width: Columns of the list; no row has more chosen places.

    Returns:
        int64 [N, width].
    """
    rows, places = np.nonzero(chosen)
    counts = chosen.sum(1)
    listed = np.zeros((len(chosen), width), np.int64)
    listed[rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)] = places
    return listed
