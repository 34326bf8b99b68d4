"""Which rows of a training file are held out to evaluate on; those that belong together stay so."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.errors import DataError


def hold_out(
    rows: Sequence[tuple[Hashable, ...]],
    share: float,
    seed: int,
    kinds: Sequence[Hashable] | None = None,
) -> npt.NDArray[np.bool_]:
    """Choose a part of the rows at random.

    Args:
        rows: What each belongs to, from the largest to the smallest: its article and its passage.
            Rows of one article are chosen together, if that gives about the share; else those of
            one passage; and if that does not either, each by itself.
        share: The part of all rows.
        seed: Of the choice.
        kinds: Of each row, if every kind is to have its part: its language.

    Returns:
        Whether each row is held out; bool [N].

    Raises:
        DataError: One of the parts would be empty.
    """
    wanted = round(len(rows) * share)
    if not 0 < wanted < len(rows):
        raise DataError(
            f"`validation_share` {share:g}: of {len(rows)} rows that is {wanted}; give another "
            "one, or a `validation_file`"
        )
    places: dict[Hashable, list[int]] = {}
    for place in range(len(rows)):
        places.setdefault(kinds and kinds[place], []).append(place)
    # RandomState promises the same numbers in every release of NumPy.
    random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
    chosen = np.zeros(len(rows), np.bool_)
    for of_kind in places.values():
        chosen[_choose([rows[place] for place in of_kind], of_kind, share, random)] = True
    return chosen


def _choose(
    rows: Sequence[tuple[Hashable, ...]],
    places: Sequence[int],
    share: float,
    random: np.random.RandomState,
) -> list[int]:
    """Choose among the rows of a kind; return their places."""
    wanted = min(max(round(len(rows) * share), 1), len(rows) - 1)
    depth = len(rows[0])
    for level in range(depth + 1):
        groups: dict[Hashable, list[int]] = {}
        for place, row in zip(places, rows, strict=True):
            groups.setdefault(row[: level + 1] if level < depth else place, []).append(place)
        members = [*groups.values()]
        chosen: list[int] = []
        for number in random.permutation(len(members)):
            if len(chosen) + len(members[number]) <= wanted:
                chosen += members[number]
        if 2 * len(chosen) > wanted:
            break
    return chosen
