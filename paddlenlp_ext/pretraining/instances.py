"""Make training examples of a block of documents: pairs, packed into rows, with masked tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from paddlenlp_ext.errors import DataError
from paddlenlp_ext.pretraining.bert_shards import LAYOUT
from paddlenlp_ext.pretraining.corpus import Block
from paddlenlp_ext.pretraining.hdf5 import Columns
from paddlenlp_ext.pretraining.masking import Flags, Ids, MaskingVocabulary, mask_tokens
from paddlenlp_ext.pretraining.pairs import Pair, TokenDocument, passages, sentence_pairs
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

    def make(self, block: Block) -> Columns:
        """Make the examples of a block, of all rounds together, in random order.

        Every choice follows from the seed, the round and the number of the block, so it does not
        matter which process makes which block.

        Raises:
            DataError: There is a single document, and pairs need another one.
        """
        settings = self.settings
        documents = self._tokenize(block)
        if settings.next_sentence and len(documents) == 1:
            raise DataError(
                "the corpus is a single document, and random next sentences come from other ones; "
                "put an empty line between documents, or give `no_next_sentence`"
            )
        rounds = [
            self._round(documents, self._random(turn, block.number))
            for turn in range(settings.dupe_factor)
        ]
        columns = {name: np.concatenate([one[name] for one in rounds]) for name in LAYOUT}
        random = self._random(settings.dupe_factor, block.number)
        order = random.permutation(len(columns["input_ids"]))
        return {name: values[order] for name, values in columns.items()}

    def _random(self, turn: int, block: int) -> np.random.RandomState:
        # RandomState promises the same numbers in every release of NumPy.
        sequence = np.random.SeedSequence((self.settings.random_seed, turn, block))
        return np.random.RandomState(np.random.MT19937(sequence))

    def _tokenize(self, block: Block) -> list[TokenDocument]:
        """Cut sentences into token ids; what has no token is dropped."""
        sentences = [sentence for document in block.documents for sentence in document]
        ids = iter(self.tokenizer(sentences, add_special_tokens=False)["input_ids"])
        documents = [[next(ids) for _ in document] for document in block.documents]
        filled = ([tokens for tokens in document if tokens] for document in documents)
        return [document for document in filled if document]

    def _round(
        self, documents: Sequence[TokenDocument], random: np.random.RandomState
    ) -> dict[str, Ids]:
        """Go through the documents once."""
        settings = self.settings
        pairs: list[Pair] = []
        for number, document in enumerate(documents):
            if settings.next_sentence:
                pairs += sentence_pairs(
                    documents, number, settings.max_tokens, settings.short_seq_prob, random
                )
            else:
                pairs += passages(document, settings.max_tokens, settings.short_seq_prob, random)
        columns = self._pack(pairs)
        input_ids, chosen = mask_tokens(
            columns["input_ids"],
            columns["input_mask"].sum(1, dtype=np.int64),
            self.vocabulary,
            random,
            probability=settings.masked_lm_prob,
            max_predictions=settings.max_predictions_per_seq,
            whole_words=settings.whole_word_masking,
        )
        places = positions(chosen, settings.max_predictions_per_seq)
        originals = np.take_along_axis(columns["input_ids"], places, axis=1)
        columns |= {
            "input_ids": input_ids,
            "masked_lm_positions": places,
            "masked_lm_ids": np.where(places > 0, originals, 0),
        }
        return {name: columns[name].astype(LAYOUT[name].dtype) for name in LAYOUT}

    def _pack(self, pairs: Sequence[Pair]) -> dict[str, Ids]:
        """Put each pair into a row, between special tokens and before padding."""
        tokenizer = self.tokenizer
        cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
        shape = (len(pairs), self.settings.max_seq_length)
        input_ids = np.full(shape, tokenizer.pad_token_id, np.int32)
        input_mask, segment_ids = np.zeros(shape, np.int8), np.zeros(shape, np.int8)
        for row, (first, second, _) in enumerate(pairs):
            tokens = [cls, *first, sep, *second, *([sep] if second else [])]
            input_ids[row, : len(tokens)] = tokens
            input_mask[row, : len(tokens)] = 1
            segment_ids[row, len(first) + 2 : len(tokens)] = 1
        labels = np.array([pair.is_random for pair in pairs], np.int8)
        return {
            "input_ids": input_ids,
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
