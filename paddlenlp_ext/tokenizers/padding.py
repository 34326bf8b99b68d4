"""Rows of one length."""

from collections.abc import Iterable, Mapping
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.encoding import plain
from paddlenlp_ext.tokenizers.options import UNLIMITED, Padding
from paddlenlp_ext.tokenizers.truncation import Side

# What stands in a padded place; the id of [PAD] for input_ids. Other columns have no such places.
FILLERS: dict[str, Any] = {
    "token_type_ids": 0,
    "attention_mask": 0,
    "position_ids": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
    "word_ids": None,
    "sequence_ids": None,
}


def padded_length(
    lengths: Iterable[int], padding: Padding, max_length: int, multiple: int | None
) -> int:
    """Find the length of padded rows, 0 if nothing is to be padded.

    Raises:
        UserError: Rows shall be padded to a maximum length, and there is none.
    """
    if padding == "do_not_pad":
        return 0
    if padding == "max_length" and max_length >= UNLIMITED:
        raise UserError("padding='max_length' needs a max_length: this tokenizer has no limit")
    length = max_length if padding == "max_length" else max(lengths, default=0)
    return -(-length // multiple) * multiple if multiple else length


def gather_columns(encoded: Any) -> tuple[dict[str, list[Any]], bool]:
    """Bring rows, columns or one row into columns of lists.

    Returns:
        The columns, and whether there was more than one bare row.
    """
    if isinstance(encoded, Mapping):
        columns = {name: plain(values) for name, values in encoded.items()}
    else:
        columns = {name: [plain(row[name]) for row in encoded] for name in encoded[0]}
    if "input_ids" not in columns:
        raise ValueError(f"expected a column input_ids to pad, got {', '.join(columns)}")
    ids = columns["input_ids"]
    batched = not ids or isinstance(ids[0], list)
    return columns if batched else {name: [row] for name, row in columns.items()}, batched


def pad_columns(
    columns: dict[str, list[Any]], length: int, pad_token_id: int, side: Side
) -> dict[str, list[Any]]:
    """Bring all rows that hold something for each token to `length`; longer ones stay."""
    fillers = {"input_ids": pad_token_id, **FILLERS}
    return {
        name: _pad(rows, length, fillers[name], side) if name in fillers else rows
        for name, rows in columns.items()
    }


def _pad(rows: list[list[Any]], length: int, filler: Any, side: Side) -> list[list[Any]]:
    if side == "left":
        return [[filler] * (length - len(row)) + row for row in rows]
    return [row + [filler] * (length - len(row)) for row in rows]
