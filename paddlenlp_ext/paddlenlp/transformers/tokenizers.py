"""Tokenizers that answer as PaddleNLP's: `encode` gives columns, a call no attention mask.

Each is one of `paddlenlp_ext.tokenizers` behind `PretrainedTokenizer`, which has PaddleNLP's
defaults, its order of arguments, its overflow and its windows; ids, cutting, padding and saving are
those of the tokenizer behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import NEUTRAL as PLACES
from paddlenlp_ext.files.sources import Source, located
from paddlenlp_ext.paddlenlp.transformers.tokenizers_basic import (
    BasicTokenizer,
    WordpieceTokenizer,
    _is_control,
    _is_punctuation,
    _is_whitespace,
    convert_to_unicode,
    whitespace_tokenize,
)
from paddlenlp_ext.presets.families import all_presets
from paddlenlp_ext.tokenizers import auto, base, bert, ernie_m, rembert, saving, xlm_r
from paddlenlp_ext.tokenizers.encoding import BatchEncoding, Inputs, Span
from paddlenlp_ext.tokenizers.truncation import truncation_strategy

__all__ = [
    "AddedToken",
    "AutoTokenizer",
    "BasicTokenizer",
    "BatchEncoding",
    "BertFastTokenizer",
    "BertTokenizer",
    "ConvBertTokenizer",
    "ElectraTokenizer",
    "ErnieFastTokenizer",
    "ErnieMFastTokenizer",
    "ErnieMTokenizer",
    "ErnieTokenizer",
    "PretrainedTokenizer",
    "PretrainedTokenizerBase",
    "RemBertTokenizer",
    "WordpieceTokenizer",
    "XLMRobertaTokenizer",
    "_is_control",
    "_is_punctuation",
    "_is_whitespace",
    "convert_to_unicode",
    "whitespace_tokenize",
]

Self = TypeVar("Self", bound="PretrainedTokenizer")


class _OfPresets:
    """A table of PaddleNLP's by preset, made of the rows of presets where it is asked for.

    Args:
        setting: What of a preset's settings the table has; None for where its files are.
    """

    def __init__(self, setting: str | None = None) -> None:
        self._setting = setting

    def __get__(self, tokenizer: Any, owner: type[PretrainedTokenizer]) -> dict[str, Any]:
        rows = {n: row for n, row in all_presets().items() if row.tokenizer == owner.__name__}
        if self._setting == "settings":
            return {name: dict(row.settings) for name, row in rows.items()}
        if self._setting:
            return {name: row.settings.get(self._setting) for name, row in rows.items()}
        return {
            argument: {
                name: row.files.get(file) or f"{row.repository}/{file}"
                for name, row in rows.items()
            }
            for argument, file in owner.resource_files_names.items()
        }


class _Segment(NamedTuple):
    ids: list[int]
    spans: list[Span]


def _zeros(rows: Any) -> Any:
    return [_zeros(row) for row in rows] if isinstance(rows, list) else 0


class PretrainedTokenizer(base.Tokenizer):
    """What stands in front of a tokenizer so that it answers as PaddleNLP's does."""

    model_input_names: ClassVar[tuple[str, ...]] = ("input_ids", "token_type_ids")
    odd_token = "first"
    is_fast = False
    logger = logging.getLogger("PaddleNLP")
    resource_files_names: ClassVar[Mapping[str, str]] = {"vocab_file": "vocab.txt"}
    pretrained_resource_files_map = _OfPresets()
    pretrained_init_configuration = _OfPresets("settings")
    max_model_input_sizes = _OfPresets("model_max_length")

    @classmethod
    def from_pretrained(
        cls: type[Self], pretrained_model_name_or_path: str | Path | Source, **overrides: Any
    ) -> Self:
        """Load a tokenizer; arguments that it does not have are kept in `init_kwargs`, as there."""
        known = {*saving.kinds(cls), *PLACES, *base.NEUTRAL, "max_len", "added"}
        known |= {"cache_dir", "subfolder"}
        own = {name: value for name, value in overrides.items() if name in known}
        tokenizer = super().from_pretrained(pretrained_model_name_or_path, **own)
        tokenizer.other_settings |= {n: overrides[n] for n in overrides.keys() - own.keys()}
        return tokenizer

    def __call__(  # type: ignore[override]  # noqa: PLR0913, PLR0917, D417 - those of PaddleNLP
        self,
        text: Any,
        text_pair: Any = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool | str = False,
        padding: bool | str = False,
        truncation: bool | str | None = False,
        return_position_ids: bool | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_length: bool = False,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_dict: bool = True,
        return_offsets_mapping: bool = False,
        add_special_tokens: bool = True,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
        **older: Any,
    ) -> Any:
        """Turn texts into rows of ids, as PaddleNLP does.

        Arguments are those of `paddlenlp_ext.tokenizers`, in PaddleNLP's order. What is other:
        there is no attention mask unless it is asked for; `max_length` cuts unless rows are padded;
        with `return_overflowing_tokens` what was cut off is a column; and a `stride` makes windows
        of the second segments of a list of pairs, each `stride` tokens after the one before.

        Args:
            return_dict: Whether a list of texts gives columns by name; else a list of rows.
            **older: `max_seq_len`, `pad_to_max_seq_len` and `truncation_strategy`.
        """
        if max_length is None and (max_length := older.pop("max_seq_len", None)):
            truncation = truncation or True
        if not truncation:
            limited = max_length is not None and padding is False
            truncation = older.pop("truncation_strategy", limited)
        if older.pop("pad_to_max_seq_len", False) and padding is False:
            padding = "longest" if max_length is None else "max_length"
        inputs = Inputs.gather(text, text_pair, bool(is_split_into_words))
        columns: dict[str, Any] = {
            "return_token_type_ids": return_token_type_ids,
            "return_special_tokens_mask": return_special_tokens_mask,
            "return_position_ids": bool(return_position_ids),
            "return_length": return_length,
            "add_special_tokens": add_special_tokens,
        }
        if stride > 0 and inputs.batched and inputs.second is not None:
            made = self._windows(inputs, max_length or self.model_max_length, stride, columns)
            encoding = self.pad(
                made,
                padding,
                max_length,
                pad_to_multiple_of,
                return_attention_mask,
                verbose=verbose,
            )
        else:
            encoding = super().__call__(
                text,
                text_pair,
                max_length,
                is_split_into_words=bool(is_split_into_words),
                padding=padding,
                truncation=truncation,
                return_offsets_mapping=return_offsets_mapping,
                return_attention_mask=return_attention_mask,
                pad_to_multiple_of=pad_to_multiple_of,
                verbose=verbose,
                **columns,
                **older,
            )
            if return_overflowing_tokens:
                strategy = truncation_strategy(truncation)
                encoding |= self._cut_off(inputs, strategy, max_length, stride, add_special_tokens)
        if not add_special_tokens and "token_type_ids" in encoding:  # without [SEP] no segments
            encoding["token_type_ids"] = _zeros(encoding["token_type_ids"])
        if return_length:
            encoding["seq_len"] = encoding["length"]
        if return_tensors and not inputs.batched:
            encoding.update({name: [value] for name, value in encoding.items()})
        encoding.convert_to_tensors(return_tensors)
        if return_dict or not inputs.batched:
            return encoding
        return [
            dict(zip(encoding, row, strict=True)) for row in zip(*encoding.values(), strict=True)
        ]

    def _bare(self, inputs: Inputs) -> tuple[list[_Segment], list[_Segment] | None]:
        """Cut all segments, without special tokens; with offsets."""

        def cut(segments: list[Any]) -> list[_Segment]:
            if inputs.are_ids:
                return [_Segment(ids, []) for ids in segments]
            made = super(PretrainedTokenizer, self).__call__(
                segments,
                is_split_into_words=inputs.pre_split,
                add_special_tokens=False,
                return_offsets_mapping=True,
                verbose=False,
            )
            return list(map(_Segment, made["input_ids"], made["offset_mapping"]))

        return cut(inputs.first), None if inputs.second is None else cut(inputs.second)

    def _cut_off(
        self, inputs: Inputs, strategy: str, max_length: int | None, stride: int, special: bool
    ) -> dict[str, Any]:
        """Return what truncation has cut off, and how much, as columns.

        Raises:
            ValueError: Both segments of a pair may have been cut.
        """
        firsts, seconds = self._bare(inputs)
        if seconds is not None and strategy == "longest_first":
            raise ValueError(
                "Not possible to return overflowing tokens for pair of sequences with the "
                "`longest_first`. Please select another truncation strategy than `longest_first`, "
                "for instance `only_second` or `only_first`."
            )
        room = self.model_max_length if max_length is None else max_length
        room -= self.num_special_tokens_to_add(seconds is not None) if special else 0
        lost: list[list[int]] = []
        counts: list[int] = []
        for number, first in enumerate(firsts):
            second = _Segment([], []) if seconds is None else seconds[number]
            ids = second.ids if strategy == "only_second" else first.ids
            counts.append(len(first.ids) + len(second.ids) - room)
            many = counts[-1] + stride if counts[-1] > 0 and strategy != "do_not_truncate" else 0
            begin = max(len(ids) - many, 0) if self.truncation_side == "right" else 0
            lost.append(ids[begin : begin + many])
        columns: dict[str, list[Any]] = {"overflowing_tokens": lost, "num_truncated_tokens": counts}
        return columns if inputs.batched else {name: rows[0] for name, rows in columns.items()}

    def _windows(
        self, inputs: Inputs, max_length: int, stride: int, columns: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Make rows of all first segments, each with windows of the second segment.

        Raises:
            UserError: `max_length` has no room for a second segment beside a first one.
        """
        special = columns["add_special_tokens"]
        added = self.num_special_tokens_to_add(pair=True) if special else 0
        rows = []
        firsts, seconds = self._bare(inputs)
        for number, (first, second) in enumerate(zip(firsts, seconds or (), strict=True)):
            room = max_length - len(first.ids) - added
            if room < 1:
                raise UserError(
                    f"max_length={max_length} has no room for a second segment beside the "
                    f"{len(first.ids)} tokens of the first one; give a larger max_length"
                )
            length = len(second.ids)
            step = min(room, stride)
            for start in range(0, max(length - room, 0) + step, step):
                ids, spans = second.ids[start : start + room], second.spans[start : start + room]
                row = super().prepare_for_model(first.ids, ids, verbose=False, **columns)
                row["offset_mapping"] = (
                    self.build_offset_mapping_with_special_tokens(first.spans, spans)
                    if special
                    else [*first.spans, *spans]
                )
                rows.append({**row, "overflow_to_sample": number})
                if start + room >= length:
                    break
        return rows

    def encode(self, text: Any, text_pair: Any = None, *places: Any, **options: Any) -> Any:
        """Turn one text or pair into a row: columns by name; arguments are `encode_plus`'s."""
        return self.encode_plus(text, text_pair, *places, **options)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = True,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """Turn the ids of one row into text; spaces before punctuation are closed up."""
        return super().decode(
            token_ids,
            skip_special_tokens,
            clean_up_tokenization_spaces,
            spaces_between_special_tokens,
        )

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Look up one or several tokens; None is None."""
        return None if tokens is None else super().convert_tokens_to_ids(tokens)

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to text; spaces before punctuation stay."""
        return self.segmenter.join(tokens, False)

    def convert_ids_to_string(self, ids: Sequence[int]) -> str:
        """Join the tokens of ids to text, as `convert_tokens_to_string` does."""
        return self.convert_tokens_to_string(self.convert_ids_to_tokens(ids))

    def build_offset_mapping_with_special_tokens(
        self, offset_mapping_0: list[Span], offset_mapping_1: list[Span] | None = None
    ) -> list[Span]:
        """Frame the offsets of one or two segments with (0, 0) for special tokens."""
        return self.assembly.frame(offset_mapping_0, offset_mapping_1, (0, 0), (0, 0))


PretrainedTokenizerBase = PretrainedTokenizer


class BertTokenizer(PretrainedTokenizer, bert.BertTokenizer):
    """BERT's tokenizer, answering as PaddleNLP's."""


class ConvBertTokenizer(PretrainedTokenizer, bert.ConvBertTokenizer):
    """ConvBERT's tokenizer, answering as PaddleNLP's."""


class ElectraTokenizer(PretrainedTokenizer, bert.ElectraTokenizer):
    """ELECTRA's tokenizer, answering as PaddleNLP's."""


class ErnieTokenizer(PretrainedTokenizer, bert.ErnieTokenizer):
    """ERNIE's tokenizer, answering as PaddleNLP's."""


class ErnieMTokenizer(PretrainedTokenizer, ernie_m.ErnieMTokenizer):
    """ERNIE-M's tokenizer, answering as PaddleNLP's: with its ids, so without lone spaces."""

    model_input_names = ("input_ids",)
    resource_files_names: ClassVar[Mapping[str, str]] = {
        "sentencepiece_model_file": "sentencepiece.bpe.model",
        "vocab_file": "vocab.txt",
    }

    def __init__(
        self,
        vocab_file: str | Path,
        sentencepiece_model_file: str | Path,
        do_lower_case: bool = False,
        *,
        drop_lone_space: bool = True,
        **tokens: Any,
    ) -> None:
        super().__init__(
            vocab_file,
            sentencepiece_model_file,
            do_lower_case,
            drop_lone_space=drop_lone_space,
            **tokens,
        )


class RemBertTokenizer(PretrainedTokenizer, rembert.RemBertTokenizer):
    """RemBERT's tokenizer, answering as PaddleNLP's."""

    resource_files_names: ClassVar[Mapping[str, str]] = {"vocab_file": "sentencepiece.model"}


class XLMRobertaTokenizer(PretrainedTokenizer, xlm_r.XLMRobertaTokenizer):
    """XLM-RoBERTa's tokenizer, which PaddleNLP does not have, answering as its others do."""

    model_input_names = ("input_ids",)
    resource_files_names: ClassVar[Mapping[str, str]] = {
        "vocab_file": "sentencepiece.bpe.model",
        "tokenizer_file": "tokenizer.json",
    }


# PaddleNLP's names of classes that need a package of their own; these are fast themselves.
BertFastTokenizer = BertTokenizer
ErnieFastTokenizer = ErnieTokenizer
ErnieMFastTokenizer = ErnieMTokenizer


class AutoTokenizer:
    """Chooses among the families; has no instances of its own."""

    @staticmethod
    def from_pretrained(
        pretrained_model_name_or_path: str | Path | Source, **overrides: Any
    ) -> PretrainedTokenizer:
        """Load the tokenizer of a folder, a preset or a hub repository."""
        source, overrides = located(pretrained_model_name_or_path, overrides)
        chosen: type[PretrainedTokenizer] = globals()[auto.class_of(source).__name__]
        return chosen.from_pretrained(source, **overrides)
