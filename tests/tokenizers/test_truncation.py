"""Which tokens stay, and what windows the overflow makes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.truncation import Row, Truncation


def kept(row: Row) -> tuple[int, int]:
    return row.first_stop - row.first_start, row.second_stop - row.second_start


@pytest.mark.parametrize(
    ("first", "second", "room", "longer", "first_rule"),
    [
        (4, 3, 4, (2, 2), (2, 2)),
        (5, 9, 7, (3, 4), (4, 3)),
        (9, 5, 7, (4, 3), (4, 3)),
        (5, 5, 7, (3, 4), (4, 3)),
        (2, 9, 7, (2, 5), (2, 5)),
        (9, 1, 7, (6, 1), (6, 1)),
        (9, 0, 7, (7, 0), (7, 0)),
        (3, 4, 7, (3, 4), (3, 4)),
        (3, 4, 0, (0, 0), (0, 0)),
    ],
)
def test_longest_first(
    first: int, second: int, room: int, longer: tuple[int, int], first_rule: tuple[int, int]
) -> None:
    (row,) = Truncation("longest_first", room).rows(0, first, second)
    assert kept(row) == longer
    (row,) = Truncation("longest_first", room, odd_token="first").rows(0, first, second)
    assert kept(row) == first_rule


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 60))
def test_the_first_rule_is_popping_one_token_at_a_time(first: int, second: int, room: int) -> None:
    (row,) = Truncation("longest_first", room, odd_token="first").rows(0, first, second)
    while first + second > room:  # PaddleNLP's and transformers' loop
        if first > second:
            first -= 1
        else:
            second -= 1
    assert kept(row) == (first, second)


def test_one_segment_gives_way() -> None:
    (row,) = Truncation("only_first", 7).rows(0, 9, 3)
    assert row == Row(0, 0, 4, 0, 3)
    (row,) = Truncation("only_second", 7).rows(0, 3, 9)
    assert row == Row(0, 0, 3, 0, 4)
    (row,) = Truncation("only_second", 7, side="left").rows(0, 3, 9)
    assert row == Row(0, 0, 3, 5, 9)
    with pytest.raises(UserError, match="'only_second' would have to remove 5 of the 3 tokens"):
        Truncation("only_second", 7).rows(0, 9, 3)


def test_windows_repeat_the_stride() -> None:
    rows = Truncation("longest_first", 5, stride=2, overflow=True).rows(3, 11, 0)
    assert [row[:3] for row in rows] == [(3, 0, 5), (3, 3, 8), (3, 6, 11)]
    rows = Truncation("longest_first", 5, stride=2, side="left", overflow=True).rows(3, 10, 0)
    assert [row[1:3] for row in rows] == [(5, 10), (2, 7), (0, 4)]
    with pytest.raises(UserError, match="stride=5 must be smaller than the 5 tokens"):
        Truncation("longest_first", 5, stride=5, overflow=True).rows(0, 11, 0)


def test_windows_of_both_segments_are_combined_in_the_library_order() -> None:
    rows = Truncation("longest_first", 4, overflow=True).rows(0, 4, 4)
    assert [row[1:] for row in rows] == [
        (0, 2, 0, 2),
        (2, 4, 0, 2),
        (2, 4, 2, 4),
        (0, 2, 2, 4),
    ]


@settings(deadline=None, derandomize=True)
@given(
    first=st.integers(0, 60),
    second=st.integers(0, 60),
    room=st.integers(4, 50),
    stride=st.integers(0, 1),
    left=st.booleans(),
)
def test_overflow_shows_every_token_in_rows_that_fit(
    first: int, second: int, room: int, stride: int, left: bool
) -> None:
    side = "left" if left else "right"
    rows = Truncation("longest_first", room, stride, side, overflow=True).rows(0, first, second)
    assert all(sum(kept(row)) <= room for row in rows)
    assert {i for r in rows for i in range(r.first_start, r.first_stop)} == set(range(first))
    assert {i for r in rows for i in range(r.second_start, r.second_stop)} == set(range(second))
