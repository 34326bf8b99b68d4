"""What every tokenizer does: texts in, rows of ids out.

A family says only how a text falls into pieces (`_segment`), what its vocabulary is, and how
special tokens frame its rows (`layout`). Truncation, overflow, padding, masks, offsets and tensors
are the same for all, whether the pieces come from the `tokenizers` or the `sentencepiece` library.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.hub import fetch
from paddlenlp_ext.presets.families import find_preset
from paddlenlp_ext.tokenizers import saving
from paddlenlp_ext.tokenizers.encoding import Alignment, BatchEncoding
from paddlenlp_ext.tokenizers.inputs import Inputs
from paddlenlp_ext.tokenizers.options import (
    UNLIMITED,
    Options,
    padding_strategy,
    side,
    truncation_strategy,
)
from paddlenlp_ext.tokenizers.padding import gather_columns, pad_columns, padded_length
from paddlenlp_ext.tokenizers.rows import RowColumns, Segments
from paddlenlp_ext.tokenizers.sequences import SequenceBuilding
from paddlenlp_ext.tokenizers.truncation import Truncation

Self = TypeVar("Self", bound="Tokenizer")


class Tokenizer(SequenceBuilding):
    """Base of all tokenizers.

    Args:
        unk_token: Stands for what the vocabulary cannot spell.
        sep_token: Ends every segment.
        pad_token: Fills rows.
        cls_token: Begins every row.
        mask_token: Hides a token from a masked language model.
        bos_token: Begins a text, if the family has such a token.
        eos_token: Ends a text, if the family has such a token.
        additional_special_tokens: Further tokens that are kept whole and that `decode` can skip.
        added: Added tokens by id, as a saved tokenizer lists them.
        model_max_length: Tokens that the model has positions for.
        padding_side: Where padding goes, "right" or "left".
        truncation_side: Where tokens are cut off, "right" or "left".
    """

    vocab_files: ClassVar[tuple[str, ...]]
    model_input_names: ClassVar[tuple[str, ...]] = (
        "input_ids",
        "token_type_ids",
        "attention_mask",
    )
    odd_token: ClassVar[Literal["longer", "first"]] = "longer"

    def __init__(
        self,
        *,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        pad_token: str | AddedToken = "[PAD]",
        cls_token: str | AddedToken = "[CLS]",
        mask_token: str | AddedToken = "[MASK]",
        bos_token: str | AddedToken | None = None,
        eos_token: str | AddedToken | None = None,
        additional_special_tokens: Iterable[str | AddedToken] | None = None,
        added: Mapping[int, AddedToken] | None = None,
        model_max_length: int = UNLIMITED,
        padding_side: str = "right",
        truncation_side: str = "right",
    ) -> None:
        self.model_max_length = model_max_length
        self.padding_side = side("padding_side", padding_side)
        self.truncation_side = side("truncation_side", truncation_side)
        roles = {
            "bos_token": bos_token,
            "eos_token": eos_token,
            "unk_token": unk_token,
            "sep_token": sep_token,
            "pad_token": pad_token,
            "cls_token": cls_token,
            "mask_token": mask_token,
        }
        super().__init__(roles, additional_special_tokens or (), added)

    # What a family provides.

    @abstractmethod
    def _segment(self, texts: list[Any], pre_split: bool, spans: bool) -> Segments:
        """Cut texts into pieces.

        Args:
            texts: Texts, or lists of words if `pre_split`.
            pre_split: Whether word numbers and offsets refer to given words.
            spans: Whether offsets and word numbers are needed.
        """

    @abstractmethod
    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the vocabulary files into a folder and return their paths."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the constructor needs besides vocabulary files and tokens."""

    # Loading and saving.

    @classmethod
    def from_pretrained(
        cls: type[Self], pretrained_model_name_or_path: str | Path, **overrides: Any
    ) -> Self:
        """Load a tokenizer from a folder, a preset or a hub repository.

        Args:
            pretrained_model_name_or_path: Folder written by this library, PaddleNLP or
                transformers; else the name of a preset or repository.
            **overrides: Settings that win over the saved ones.

        Raises:
            UserError: A file is missing or broken.
        """
        source = str(pretrained_model_name_or_path)
        files = [fetch(source, name) for name in cls.vocab_files]
        preset = None if Path(source).is_dir() else find_preset(source)
        saved = saving.read_settings(source) if preset is None else preset.settings
        # Saved settings of other libraries that mean nothing here are left out; an override that
        # nobody knows is a mistake, and Python says so.
        return cls(*files, **{**saving.known_settings(saved, cls), **overrides})

    def save_pretrained(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write everything that `from_pretrained` needs, here, in PaddleNLP and transformers.

        Returns:
            The files written.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "tokenizer_class": type(self).__name__.removesuffix("Fast"),  # unknown to PaddleNLP
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            **self.settings,
        }
        return *self.save_vocabulary(folder), *saving.write_settings(folder, settings, self)

    # Text to ids.

    def __call__(  # noqa: PLR0913 - the call surface that users of both libraries know
        self,
        text: Any,
        text_pair: Any = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        max_seq_len: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_position_ids: bool = False,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Turn texts into rows of ids.

        Defaults are those of transformers: `input_ids`, `token_type_ids` and `attention_mask`
        (`model_input_names`). PaddleNLP leaves the attention mask out.

        Args:
            text: A text, a list of texts, or a list of pairs of texts; with
                `is_split_into_words` the words of a text, or a list of such lists.
            text_pair: The second segment, or one for each text.
            add_special_tokens: Whether rows are framed as in pretraining.
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False. Not given,
                it is "longest_first" if there is a `max_length` and no padding.
            max_length: Largest number of tokens of a row; `model_max_length` if not given.
            max_seq_len: PaddleNLP's older name of `max_length`; always truncates.
            stride: Tokens that an overflow row repeats of the row before it.
            is_split_into_words: Whether texts are lists of words; offsets then are within words.
            pad_to_multiple_of: Rounds the padded length up.
            return_tensors: "np" for arrays, "pd" for paddle tensors, both int64 [B, L].
            return_token_type_ids: Whether to give 0 and 1 for the segments.
            return_attention_mask: Whether to give 1 for tokens and 0 for padding.
            return_position_ids: Whether to give 0, 1, 2 ...
            return_overflowing_tokens: Whether cut-off tokens become further rows;
                `overflow_to_sample_mapping` then has the sample of each row.
            return_special_tokens_mask: Whether to give 1 for special tokens and padding.
            return_offsets_mapping: Whether to give the characters of each token.
            return_length: Whether to give the number of tokens of each row, padding apart.

        Returns:
            Lists or tensors by name, in rows; without rows if only one text was given.

        Raises:
            ValueError: An argument has none of the values above.
            UserError: `max_length` or `stride` leaves no room.
        """
        if max_seq_len is not None and max_length is None:
            max_length = max_seq_len
            truncation = True if truncation is None else truncation
        if truncation is None:
            truncation = max_length is not None and padding is False
        asked = {
            "input_ids": True,
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "position_ids": return_position_ids,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
            "overflow_to_sample_mapping": return_overflowing_tokens,
        }
        options = Options(
            columns=tuple(
                name
                for name, wanted in asked.items()
                if (name in self.model_input_names if wanted is None else wanted)
            ),
            add_special_tokens=add_special_tokens,
            truncation=truncation_strategy(truncation),
            max_length=self.model_max_length if max_length is None else max_length,
            stride=stride,
            overflow=return_overflowing_tokens,
            padding=padding_strategy(padding),
            pad_to_multiple_of=pad_to_multiple_of,
            tensors=return_tensors,
        )
        inputs = Inputs.gather(text, text_pair, is_split_into_words)
        columns: dict[str, Any] = self._columns(inputs, options)
        if not (inputs.batched or options.overflow or return_tensors):
            columns = {name: rows[0] for name, rows in columns.items()}
        encoding = BatchEncoding(columns, lambda: self._alignments(inputs, options))
        return encoding.convert_to_tensors(return_tensors)

    def _columns(self, inputs: Inputs, options: Options) -> dict[str, list[Any]]:
        """Segment, cut, frame and pad; the heart of the call."""
        spans = "offset_mapping" in options.columns
        texts = inputs.first if inputs.second is None else [*inputs.first, *inputs.second]
        segments = self._segment(texts, inputs.pre_split, spans)
        pair = inputs.second is not None
        layout = self.layout if options.add_special_tokens else replace(self.layout, special=False)
        room = options.max_length - layout.added(pair)
        if room < 0 and options.truncation != "do_not_truncate":
            raise UserError(
                f"max_length={options.max_length} has no room for the {layout.added(pair)} "
                f"special tokens of a row; give a larger max_length"
            )
        truncation = Truncation(
            options.truncation,
            room,
            options.stride,
            self.truncation_side,
            options.overflow,
            self.odd_token,
        )
        lengths = [len(ids) for ids in segments.ids]
        seconds = lengths[len(inputs.first) :] if pair else [0] * len(lengths)
        rows = [
            row
            for sample, (first, second) in enumerate(zip(lengths, seconds, strict=False))
            for row in truncation.rows(sample, first, second)
        ]
        made = RowColumns(segments, rows, pair, layout, self.cls_token_id, self.sep_token_id)
        columns = {name: made.column(name) for name in options.columns}
        length = padded_length(
            map(len, columns["input_ids"]),
            options.padding,
            options.max_length,
            options.pad_to_multiple_of,
        )
        if length:
            columns = pad_columns(columns, length, self.pad_token_id, self.padding_side)
        return columns

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Bring rows that were encoded before to one length.

        Args:
            encoded_inputs: Columns by name, or a list of rows, each with its values by name.
            padding: As in a call.
            max_length: As in a call.
            pad_to_multiple_of: As in a call.
            return_attention_mask: Whether to add the mask if it is not there.
            return_tensors: As in a call.
        """
        columns, batched = gather_columns(encoded_inputs)
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        if return_attention_mask and "attention_mask" not in columns:
            columns["attention_mask"] = [[1] * len(row) for row in columns["input_ids"]]
        length = padded_length(
            map(len, columns["input_ids"]),
            padding_strategy(padding),
            self.model_max_length if max_length is None else max_length,
            pad_to_multiple_of,
        )
        columns = pad_columns(columns, length, self.pad_token_id, self.padding_side)
        if not (batched or return_tensors):
            columns = {name: rows[0] for name, rows in columns.items()}
        return BatchEncoding(columns).convert_to_tensors(return_tensors)

    def _alignments(self, inputs: Inputs, options: Options) -> list[Alignment]:
        """Repeat a call for the origin of its tokens."""
        names = ("input_ids", "offset_mapping", "word_ids", "sequence_ids")
        columns = self._columns(inputs, replace(options, columns=names))
        return [
            Alignment(self.convert_ids_to_tokens(ids), *origin)
            for ids, *origin in zip(*columns.values(), strict=True)
        ]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False
    ) -> list[str]:
        """Cut a text into tokens."""
        return self.convert_ids_to_tokens(
            self.encode(text, pair, add_special_tokens=add_special_tokens)
        )

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> list[int]:
        """Turn a text into ids; options are those of a call.

        Gives a list, as transformers does; PaddleNLP's `encode` is the call itself here.
        """
        ids: list[int] = self(text, text_pair, **options).input_ids
        return ids
