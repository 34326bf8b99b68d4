"""Choose the tokens that a masked language model has to predict, and hide them.

BERT (Devlin et al., 2018, arXiv 1810.04805, section 3.1): 15 % of the tokens of a sequence are
chosen; of these, 80 % are replaced by the mask token, 10 % by a random token, and 10 % stay. With
whole-word masking the pieces of a word are chosen together (google-research/bert, README). All
functions work on many sequences at once.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.base import Tokenizer

Ids = npt.NDArray[np.integer[Any]]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CONTINUATION = "##"  # begins a piece that continues a word, in WordPiece's vocabularies
WORD_START = "▁"  # U+2581, begins a piece that begins a word, in sentencepiece's
MASK_PROBABILITY = 0.8  # of the chosen tokens
RANDOM_PROBABILITY = 0.1
NO_WORD = -1


@dataclass(frozen=True)
class MaskingVocabulary:
    """What masking needs to know of a vocabulary.

    Attributes:
        mask_id: The mask token.
        special: Whether each id is a special token, padding and the unknown token among them:
            never chosen, and never a replacement; bool [V].
        continues: Whether each id is a piece that continues a word; bool [V].
        marks_starts: Whether that is known by the pieces that begin words (sentencepiece), not by
            those that continue them (WordPiece).
        used: Which ids may be replacements, unless they are special; bool [V]. None: all.
    """

    mask_id: int
    special: Flags
    continues: Flags
    marks_starts: bool = False
    used: Flags | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "MaskingVocabulary":
        """Ask a tokenizer, whose pieces say where words begin or go on."""
        if tokenizer.mask_token_id is None:
            raise UserError(
                "the tokenizer has no `mask_token`, which masked texts need; give it one"
            )
        size = len(tokenizer)
        special = np.zeros(size, bool)
        special[list(tokenizer.all_special_ids)] = True
        tokens = tokenizer.convert_ids_to_tokens(list(range(size)))
        continues = np.array([token.startswith(CONTINUATION) for token in tokens])
        starts = np.array([token.startswith(WORD_START) for token in tokens])
        marks_starts = bool(starts.sum() > continues.sum())
        continues = ~starts if marks_starts else continues
        return cls(tokenizer.mask_token_id, special, continues & ~special, marks_starts)

    def among(self, words: Numbers) -> "MaskingVocabulary":
        """Draw replacements from some words only; int64 [U]."""
        used = np.zeros_like(self.special)
        used[words] = True
        return replace(self, used=used)

    @property
    def replacements(self) -> Numbers:
        """Ids that may stand in the place of a token."""
        return np.flatnonzero(~self.special if self.used is None else self.used & ~self.special)


def mask_tokens(
    input_ids: Ids,
    lengths: Numbers,
    vocabulary: MaskingVocabulary,
    random: np.random.RandomState,
    *,
    probability: float,
    max_predictions: int,
    continues: Flags | None = None,
) -> tuple[Ids, Flags]:
    """Choose tokens and hide them.

    Args:
        input_ids: Sequences with their special tokens and padding; int32 [N, L].
        lengths: Tokens of each without padding; int64 [N].
        vocabulary: Of the ids.
        random: Source of all choices.
        probability: Proportion of the tokens of a sequence to choose, special ones counted in; at
            least one is.
        max_predictions: Most chosen tokens of a sequence.
        continues: Tokens that are chosen with the one before or not at all, as pieces of a word;
            bool [N, L]. None: each is chosen alone.

    Returns:
        The sequences with hidden tokens, int32 [N, L]; and which were chosen, bool [N, L].
    """
    alone = np.zeros(input_ids.shape, bool)
    words = word_numbers(vocabulary.special[input_ids], alone if continues is None else continues)
    # As `min(max_predictions, max(1, round(length * probability)))` in create_pretraining_data.py.
    wanted = np.clip(np.rint(lengths * probability), 1, max_predictions).astype(np.int64)
    chosen = choose(words, wanted, random)
    return hide(input_ids, chosen, vocabulary, random), chosen


def word_numbers(closed: Flags, continues: Flags) -> Numbers:
    """Number the words of each sequence from 0.

    Args:
        closed: Tokens that belong to no word; bool [N, L].
        continues: Tokens that belong to the word of the token before; bool [N, L].

    Returns:
        The word of each token, or `NO_WORD`; int64 [N, L].
    """
    return np.where(closed, NO_WORD, np.cumsum(_begins(closed, continues), axis=1) - 1)


def first_of_word(closed: Flags, continues: Flags) -> Numbers:
    """Find the place of the first token of each token's word; int64 [N, L].

    Args:
        closed: As for `word_numbers`.
        continues: Likewise.
    """
    begins = closed | _begins(closed, continues)
    return np.maximum.accumulate(np.where(begins, np.arange(closed.shape[1]), 0), axis=1)


def _begins(closed: Flags, continues: Flags) -> Flags:
    """Say which tokens begin a word; bool [N, L]."""
    after_closed = np.ones_like(closed)
    after_closed[:, 1:] = closed[:, :-1]
    return ~closed & (~continues | after_closed)


def choose(words: Numbers, wanted: Numbers, random: np.random.RandomState) -> Flags:
    """Choose words in random order until the wanted number of tokens is reached.

    A word with more tokens than are still wanted is passed over, as in Google's script.

    Args:
        words: The word of each token, or `NO_WORD`; int64 [N, L].
        wanted: Tokens to choose of each sequence, at most; int64 [N].
        random: Source of the order.

    Returns:
        The chosen tokens; bool [N, L].
    """
    rows, length = words.shape
    row = np.arange(rows)
    # The last column is for `NO_WORD`, of which nothing is chosen.
    places = row[:, None] * (length + 1) + np.where(words == NO_WORD, length, words)
    sizes = np.bincount(places.ravel(), minlength=rows * (length + 1)).reshape(rows, length + 1)
    sizes[:, NO_WORD] = 0
    count = (sizes > 0).sum(1)
    keys = random.random_sample((rows, length))
    keys[np.arange(length) >= count[:, None]] = 1.0  # above all others: there is no such word
    order = np.argsort(keys, axis=1, kind="stable")
    is_chosen = np.zeros((rows, length + 1), bool)
    room = np.minimum(wanted, sizes.sum(1))
    for turn in range(int(count.max(initial=0))):
        word = order[:, turn]
        size = sizes[row, word]
        fits = (size > 0) & (size <= room)
        is_chosen[row, word] = fits
        room = room - size * fits
        if not room.any():
            break
    return np.take_along_axis(is_chosen, words, axis=1)


def hide(
    input_ids: Ids, chosen: Flags, vocabulary: MaskingVocabulary, random: np.random.RandomState
) -> Ids:
    """Replace chosen tokens: 80 % by the mask token, 10 % by a random one, and 10 % stay.

    Args:
        input_ids: int32 [N, L].
        chosen: bool [N, L].
        vocabulary: Of the ids; no special token is a replacement.
        random: Source of the replacements.

    Returns:
        int32 [N, L].
    """
    ordinary = vocabulary.replacements.astype(input_ids.dtype)
    count = int(chosen.sum())
    lot = random.random_sample(count)
    drawn = ordinary[random.randint(0, len(ordinary), count)]
    hidden: Ids = input_ids.copy()
    kept = input_ids[chosen]
    hidden[chosen] = np.select(
        [lot < MASK_PROBABILITY, lot < MASK_PROBABILITY + RANDOM_PROBABILITY],
        [vocabulary.mask_id, drawn],
        kept,
    )
    return hidden


def dynamic_masking(
    input_ids: Ids,
    rows: Numbers,
    vocabulary: MaskingVocabulary,
    *,
    probability: float,
    seed: int,
    epoch: int,
    continues: Flags | None = None,
) -> tuple[Ids, Flags]:
    """Choose each ordinary token, or each word, with one probability, and hide the chosen ones.

    RoBERTa's dynamic masking (Liu et al., 2019, arXiv 1907.11692, section 4.1): other tokens in
    each epoch. The choice follows from the seed, the epoch and the number of the row, so that it
    does not depend on batches and processes, and nothing needs to be saved to continue a run. The
    chosen ones are replaced as by `hide`.

    Args:
        input_ids: Rows with special tokens, and padding, which is one; int [N, L].
        rows: Their numbers in the data; int64 [N].
        vocabulary: Of the ids.
        probability: To be chosen.
        seed: Decides, together with the epoch and the number of the row.
        epoch: From 0.
        continues: Tokens that are chosen with the one before or not at all; bool [N, L]. None: each
            is chosen alone.

    Returns:
        The rows with hidden tokens, int [N, L]; and which were chosen, bool [N, L].
    """
    draws = np.stack([_draws(seed, epoch, int(row), input_ids.shape[1]) for row in rows])
    closed, choice = vocabulary.special[input_ids], draws[..., 0]
    if continues is not None:
        choice = np.take_along_axis(choice, first_of_word(closed, continues), axis=1)
    chosen = ~closed & (choice < probability)
    lot = draws[..., 1]
    ordinary = vocabulary.replacements.astype(input_ids.dtype)
    drawn = ordinary[(draws[..., 2] * len(ordinary)).astype(np.int64)]
    mask_id = input_ids.dtype.type(vocabulary.mask_id)
    hidden = np.select(
        [lot < MASK_PROBABILITY, lot < MASK_PROBABILITY + RANDOM_PROBABILITY],
        [mask_id, drawn],
        input_ids,
    )
    return np.where(chosen, hidden, input_ids), chosen


def _draws(seed: int, epoch: int, row: int, length: int) -> Any:
    """Draw three numbers from 0 to 1 for each token of a row; float64 [L, 3].

    The first tokens get the same ones whatever the length, so padding changes nothing.
    """
    sequence = np.random.SeedSequence((seed, epoch, row))
    # RandomState promises the same numbers in every release of NumPy; Philox is quick to seed.
    return np.random.RandomState(np.random.Philox(sequence)).random_sample((length, 3))
