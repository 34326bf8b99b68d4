"""Where the tokens of each text are among those of a batch, for the kernels in C."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Keys:
    """The tokens that each text's queries attend to.

    Attributes:
        tokens: In the flattened batch, text after text.
        starts: Where each text's begin in `tokens`, and where the last one's end; [B + 1].
        most: Of one text.
    """

    tokens: Indices
    starts: Indices
    most: int

    @classmethod
    def of_rows(cls, allowed: npt.NDArray[np.bool_]) -> Keys | None:
        """Find them in rows of a padded batch, bool [B, L]; None if a text has none."""
        counts = allowed.sum(axis=1)
        if not counts.size or not counts.min():
            return None
        starts = np.concatenate([[0], counts.cumsum()]).astype(np.int32)
        return cls(np.flatnonzero(allowed).astype(np.int32), starts, int(counts.max()))

    @classmethod
    def of_length(cls, batch: int, length: int) -> Keys:
        """All tokens of texts of one length."""
        return cls(np.arange(batch * length, dtype=np.int32), starts_of(batch, length), length)


def starts_of(batch: int, length: int) -> Indices:
    """Return where texts of one length begin, and where the last one ends; [B + 1]."""
    return np.arange(0, (batch + 1) * length, length, dtype=np.int32)
