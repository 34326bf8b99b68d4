"""From pieces of normalized text back to the characters that the user wrote.

sentencepiece cuts not the text itself but its normalized form: NFKC, one "▁" for each run of
spaces and one at the beginning. It can tell from which character each normalized one comes; the
pieces, put together, are the normalized text. So places add up, and nothing is searched.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from paddlenlp_ext.tokenizers.encoding import Span

SPACE = "▁"  # U+2581, what a space becomes


class Piece(NamedTuple):
    """A piece of normalized text.

    Args:
        id: Its id, None for a piece that becomes no token.
        length: Its characters in the normalized text; 0 for all but the last byte of a character
            that the vocabulary can only spell in bytes.
    """

    id: int | None
    length: int


def piece_spans(
    pieces: Iterable[Piece], normal: str, origins: Sequence[int]
) -> tuple[list[Span], list[int]]:
    """Find the characters and the word of each token.

    Args:
        pieces: What the normalized text was cut into.
        normal: The normalized text.
        origins: For each of its characters the place in the text that it comes from; then where
            the last one ends.

    Returns:
        First and one past last character of each token, the spaces before it apart; and the number
        of its word, where words begin at spaces.
    """
    spans, words = [], []
    word, place = -1, 0
    for number, length in pieces:
        if length and (place == 0 or normal[place] == SPACE):
            word += 1
        if number is not None:
            spans.append(_span(place, length, normal, origins))
            words.append(max(word, 0))
        place += length
    return spans, words


def _span(place: int, length: int, normal: str, origins: Sequence[int]) -> Span:
    if length == 1 and normal[place] == SPACE:
        # A space of the text, or the one that stands before every text and has no width.
        return origins[place], origins[place + 1]
    last = place + max(length, 1) - 1
    first = place + 1 if normal[place] == SPACE else place
    # Several normalized characters may come from one ("½" is "1⁄2"): each then covers it.
    after = last + 1
    while after < len(origins) - 1 and origins[after] <= origins[last]:
        after += 1
    return origins[first], origins[after]
