"""Which tokens of a pair of sentences see which, and the positions that they have.

A row is `[CLS] a [SEP]` and, in a pair, what follows: the second sentence with its special tokens.
"""

import numpy as np

from paddlenlp_ext.pretraining.masking import Flags, Ids, Numbers

FIRST, SECOND, PADDING = 0, 1, 2  # where a token is


def places_of(lengths: Ids, first_lengths: Ids, width: int) -> Numbers:
    """Say of which sentence each token is, `FIRST` or `SECOND`, or `PADDING`; int64 [N, L].

    Args:
        lengths: Tokens of each row; int [N].
        first_lengths: Of these, those of the first sentence; int [N].
        width: `L`.
    """
    at = np.arange(width)
    ends = np.stack([first_lengths, lengths])[..., None]
    found: Numbers = np.sum(at >= ends, axis=0, dtype=np.int64)
    return found


def cross_attention(places: Numbers, hidden: Flags) -> Flags:
    """Let hidden tokens see the other sentence and not their own; [N, L] -> bool [N, L, L].

    Through any number of layers a hidden token learns nothing of its own sentence: a token that is
    not hidden sees those of its own sentence only, so that it cannot bring over what it saw of the
    other; nobody sees a hidden token but itself, which knows its position and no more.

    Args:
        places: As of `places_of`; int64 [N, L].
        hidden: Masked tokens; bool [N, L].

    Returns:
        Whether a token, the middle axis, sees another, the last one.
    """
    real = places != PADDING
    is_own = places[:, :, None] == places[:, None, :]
    seen = (real & ~hidden)[:, None, :] & real[:, :, None] & (is_own ^ hidden[:, :, None])
    allowed: Flags = seen | (np.eye(places.shape[1], dtype=bool) & real[:, None, :])
    return allowed


def restarted_positions(places: Numbers, opening: int) -> Numbers:
    """Count the positions of the second sentence from the beginning, too; int64 [N, L].

    Its first word gets position 1, as that of a sentence alone does after [CLS].

    Args:
        places: As of `places_of`; int64 [N, L].
        opening: Special tokens that begin the second sentence: 1 in ERNIE-M and XLM-R, whose pairs
            have two separators in the middle, and which takes [CLS]'s position 0; else 0.
    """
    at = np.arange(places.shape[1])
    is_second = places == SECOND
    starts = np.where(is_second.any(1), is_second.argmax(1), 0)
    found: Numbers = np.where(is_second, at - starts[:, None] + 1 - opening, at)
    return found
