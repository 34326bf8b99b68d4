"""What every tokenizer does: texts in, rows of ids out.

A tokenizer is put together of parts that it holds: a segmenter, which cuts texts into the pieces of
a vocabulary (segmentation.py), its special and added tokens (special_tokens.py), and an assembly,
the template of a row (assembly.py). A family says which segmenter, which settings it has, which
special tokens and which template. Truncation, overflow, padding, masks, offsets, tensors and saving
are the same for all.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, located, without_neutral
from paddlenlp_ext.tokenizers import saving
from paddlenlp_ext.tokenizers.assembly import Assembly, RowColumns
from paddlenlp_ext.tokenizers.encoding import Alignment, BatchEncoding, Ids, Inputs, Span
from paddlenlp_ext.tokenizers.segmentation import Segmenter, Segments
from paddlenlp_ext.tokenizers.special_tokens import ROLES, SpecialTokens, Token
from paddlenlp_ext.tokenizers.tokens import Tokens
from paddlenlp_ext.tokenizers.truncation import (
    UNLIMITED,
    Padding,
    Side,
    Truncation,
    gather_columns,
    pad_columns,
    padded_length,
    padding_strategy,
    side,
    truncation_strategy,
)

NO_TOKEN = ("", -1)  # where rows have no special tokens
Self = TypeVar("Self", bound="Tokenizer")


# Whether the `tokenizers` library cuts is no choice here: there is one class for each tokenizer.
NEUTRAL: dict[str, tuple[Any, ...]] = dict.fromkeys(("use_fast", "fast"), (True, False, None))
# Of `save_pretrained`: names of files and their form are the known ones.
NEUTRAL_SAVING: dict[str, tuple[Any, ...]] = {
    "filename_prefix": (None, ""),
    "legacy_format": (None, True, False),
    "push_to_hub": (None, False),
}


class Tokenizer(Tokens, ABC):
    """Base of all tokenizers; the families are one level below it.

    Args:
        segmenter: Cuts texts into the pieces of the vocabulary.
        unk_token: Stands for what the vocabulary cannot spell.
        sep_token: Ends every segment.
        pad_token: Fills rows.
        cls_token: Begins every row.
        mask_token: Hides a token from a masked language model; None if there is no such token.
        bos_token: Begins a text, if the family has such a token.
        eos_token: Ends a text, if the family has such a token.
        additional_special_tokens: Further tokens that are kept whole and that `decode` can skip.
        added: Added tokens by id, as a saved tokenizer lists them.
        model_max_length: Tokens that the model has positions for.
        padding_side: Where padding goes, "right" or "left".
        truncation_side: Where tokens are cut off, "right" or "left".
    """

    is_fast = True  # every tokenizer here knows offsets and words, which is what is asked with it
    init_inputs = ()
    logger: ClassVar[logging.Logger] = logging.getLogger(__name__)

    vocab_files: ClassVar[tuple[str, ...]]
    model_input_names: ClassVar[tuple[str, ...]] = (
        "input_ids",
        "token_type_ids",
        "attention_mask",
    )
    odd_token: ClassVar[Literal["longer", "first"]] = "longer"

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        unk_token: Token = "[UNK]",
        sep_token: Token = "[SEP]",
        pad_token: Token = "[PAD]",
        cls_token: Token = "[CLS]",
        mask_token: Token | None = "[MASK]",
        bos_token: Token | None = None,
        eos_token: Token | None = None,
        additional_special_tokens: Iterable[Token] | None = None,
        added: Mapping[int, AddedToken] | None = None,
        model_max_length: int = UNLIMITED,
        padding_side: Side = "right",
        truncation_side: Side = "right",
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
        special = SpecialTokens(segmenter, roles, additional_special_tokens or (), added)
        super().__init__(segmenter, special)
        self.other_settings: dict[str, Any] = {}  # of its files, of no meaning here
        self.name_or_path = ""
        self.deprecation_warnings: dict[str, bool] = {}  # what was warned of; once is enough

    @abstractmethod
    def save_vocabulary(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write the vocabulary files into a folder and return their paths."""

    # Loading and saving.

    @classmethod
    def from_pretrained(
        cls: type[Self], pretrained_model_name_or_path: str | Path | Source, **overrides: Any
    ) -> Self:
        """Load a tokenizer from a folder, a preset or a hub repository.

        Args:
            pretrained_model_name_or_path: Folder written by this library, PaddleNLP or
                transformers; else the name of a preset or repository.
            **overrides: Settings that win over the saved ones; `subfolder`, where the files are
                there; `cache_dir`, where downloads are kept. Arguments of PaddleNLP's and
                transformers' that ask for what is done anyway (`use_fast`) are taken.

        Raises:
            UserError: A file is missing or broken, or an argument asks for what is not done here.
        """
        source, overrides = located(pretrained_model_name_or_path, overrides)
        overrides = without_neutral(overrides, NEUTRAL)
        if "max_len" in overrides:  # PaddleNLP's name
            overrides.setdefault("model_max_length", overrides.pop("max_len"))
        files = cls._find_files(source)
        row = source.preset
        known, others = (row.settings, {}) if row else saving.read_settings(source, cls)
        known = cls._with_settings_of(files, known)
        # Saved settings of other libraries that mean nothing here are only kept; an override that
        # nobody knows is a mistake, and Python says so.
        tokenizer = cls(*files, **{**known, **overrides})
        tokenizer.other_settings = others
        tokenizer.name_or_path = str(source)
        return tokenizer

    @classmethod
    def _find_files(cls, source: Source) -> list[Any]:
        """Return the files that the constructor takes."""
        return [source.fetch(name) for name in cls.vocab_files]

    @classmethod
    def _with_settings_of(cls, files: Sequence[Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return settings with those that the files of the constructor have besides."""
        return known

    def save_pretrained(self, save_directory: str | Path, **neutral: Any) -> tuple[Path, ...]:
        """Write everything that `from_pretrained` needs, here, in PaddleNLP and transformers.

        Args:
            save_directory: The folder; made if it is not there.
            **neutral: Arguments of the other libraries that ask for what is done anyway
                (`legacy_format`, `push_to_hub=False`).

        Returns:
            The files written.

        Raises:
            UserError: An argument asks for what is not done here.
        """
        if unknown := [*without_neutral(neutral, NEUTRAL_SAVING)]:
            raise TypeError(f"save_pretrained() got an unexpected keyword argument {unknown[0]!r}")
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            **self.other_settings,
            "tokenizer_class": type(self).__name__.removesuffix("Fast"),  # unknown to PaddleNLP
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            **self.settings,
        }
        vocabulary = self.save_vocabulary(folder)
        return *vocabulary, *saving.write_settings(folder, settings, self.special, self.vocabulary)

    @property
    def settings(self) -> dict[str, Any]:
        """What the constructor of the family takes besides vocabulary files and what all take."""
        own = saving.kinds(type(self)).keys() - saving.kinds(Tokenizer).keys()
        return {name: getattr(self, name) for name in sorted(own)}

    def save_resources(self, save_directory: str | Path) -> None:
        """Write the vocabulary files into a folder, as `save_vocabulary` does."""
        self.save_vocabulary(save_directory)

    @property
    def init_kwargs(self) -> dict[str, Any]:
        """What `from_pretrained` would read of this tokenizer: all settings and special tokens."""
        roles = dict.fromkeys(ROLES)
        return {
            **self.other_settings,
            "additional_special_tokens": [],
            **roles,
            **self.special_tokens_map,
            "model_max_length": self.model_max_length,
            "padding_side": self.padding_side,
            "truncation_side": self.truncation_side,
            **self.settings,
        }

    # Text to ids.

    def __call__(  # noqa: PLR0913 - the call surface that users of both libraries know
        self,
        text: Any,
        text_pair: Any = None,
        max_length: int | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
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
        pad_to_max_seq_len: bool | None = None,
        return_dict: bool = True,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Turn texts into rows of ids.

        Defaults are those of transformers: `input_ids`, `token_type_ids` and `attention_mask`
        (`model_input_names`). PaddleNLP leaves the attention mask out.

        Args:
            text: A text, a list of texts, or a list of pairs of texts; with
                `is_split_into_words` the words of a text, or a list of such lists.
            text_pair: The second segment, or one for each text.
            max_length: Largest number of tokens of a row; `model_max_length` if not given.
            add_special_tokens: Whether rows are framed as in pretraining.
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False. Not given,
                it is "longest_first" if there is a `max_length` and no padding.
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
            pad_to_max_seq_len: PaddleNLP's older way to pad, and cut, to `max_length`; without one
                to the longest row.
            return_dict: PaddleNLP's; True is what is returned.
            verbose: Whether to warn, once, of rows longer than `model_max_length` that are not
                cut, and of `padding="max_length"` where there is no length.

        Returns:
            Lists or tensors by name, in rows; without rows if only one text was given.

        Raises:
            ValueError: An argument has none of the values above, or `pad_to_multiple_of` makes rows
                longer than `max_length`.
            UserError: `max_length` or `stride` leaves no room.
        """
        if not return_dict:
            raise ValueError(
                "return_dict=False is not offered; take the columns of what is returned"
            )
        if max_seq_len is not None and max_length is None:
            max_length = max_seq_len
            truncation = True if truncation is None else truncation
        if truncation is None:
            truncation = max_length is not None and padding is False
        if padding is False and pad_to_max_seq_len:
            padding = "longest" if max_length is None else "max_length"
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
        names = [
            name
            for name, wanted in asked.items()
            if (name in self.model_input_names if wanted is None else wanted)
        ]
        unlimited = max_length is None
        if max_length is None:
            max_length = self.model_max_length
        inputs = Inputs.gather(text, text_pair, is_split_into_words)
        pair = inputs.second is not None
        assembly = self.assembly if add_special_tokens else replace(self.assembly, special=False)
        cut = Truncation(
            truncation_strategy(truncation),
            max_length - assembly.added(pair),
            stride,
            self.truncation_side,
            return_overflowing_tokens,
            self.odd_token,
        )
        if cut.room < 0 and cut.strategy != "do_not_truncate":
            raise UserError(
                f"max_length={max_length} has no room for the {assembly.added(pair)} special "
                "tokens of a row; give a larger max_length"
            )
        pad_to = (self._padding(padding, max_length, verbose), max_length, pad_to_multiple_of)
        if cut.strategy != "do_not_truncate" and max_length < UNLIMITED:
            padded_length([max_length], *pad_to)  # whatever the texts are, it is known now
        make = partial(self._columns, inputs, assembly, cut, pad_to)
        columns: dict[str, Any] = make(names)
        if unlimited and verbose and cut.strategy == "do_not_truncate":
            self._warn_of_length(columns["input_ids"])
        if not (inputs.batched or return_overflowing_tokens or return_tensors):
            columns = {name: rows[0] for name, rows in columns.items()}
        align = None if inputs.are_ids else lambda: self._alignments(make)
        encoding = BatchEncoding(columns, align)
        return encoding.convert_to_tensors(return_tensors)

    def _columns(
        self,
        inputs: Inputs,
        assembly: Assembly,
        cut: Truncation,
        pad_to: tuple[Padding, int, int | None],
        names: Sequence[str],
    ) -> dict[str, list[Any]]:
        """Segment, cut, frame and pad; the heart of the call."""
        texts = inputs.first if inputs.second is None else [*inputs.first, *inputs.second]
        if not inputs.are_ids:
            segments = self.segmenter.segment(texts, inputs.pre_split, "offset_mapping" in names)
        elif "offset_mapping" in names:
            raise ValueError("ids have no offsets; give the text")
        else:
            segments = Segments(texts)
        pair = inputs.second is not None
        lengths = [len(ids) for ids in segments.ids]
        seconds = lengths[len(inputs.first) :] if pair else [0] * len(lengths)
        rows = [
            row
            for sample, (first, second) in enumerate(zip(lengths, seconds, strict=False))
            for row in cut.rows(sample, first, second)
        ]
        ends = self._ends() if assembly.special else (NO_TOKEN, NO_TOKEN)
        made = RowColumns(segments, rows, pair, assembly, *ends)
        columns = {name: made.column(name) for name in names}
        if length := padded_length(map(len, columns["input_ids"]), *pad_to):
            columns = pad_columns(columns, length, self._fillers(), self.padding_side)
        return columns

    def _fillers(self) -> dict[str, Any]:
        """Return what stands in a padded place.

        Raises:
            ValueError: Nothing does.
        """
        if self.pad_token is None:
            raise ValueError("padding needs a `pad_token`, and this tokenizer has none; set one")
        return {
            "input_ids": self.pad_token_id,
            "tokens": self.pad_token,
            "token_type_ids": self.pad_token_type_id,
        }

    def _padding(self, padding: bool | str, max_length: int, verbose: bool) -> Padding:
        """Turn `padding` into a strategy; without a length, "max_length" pads nothing."""
        strategy = padding_strategy(padding)
        if strategy != "max_length" or max_length < UNLIMITED:
            return strategy
        if verbose:
            self._warn_once(
                "Asking-to-pad-to-max_length",
                "padding='max_length' pads nothing: no max_length is given, and this tokenizer has "
                "no model_max_length",
            )
        return "do_not_pad"

    def _warn_of_length(self, rows: Iterable[Sequence[int]]) -> None:
        longest = max(map(len, rows), default=0)
        if longest > self.model_max_length:
            self._warn_once(
                "sequence-length-is-longer-than-the-specified-maximum",
                "Token indices sequence length is longer than the specified maximum sequence "
                f"length for this model ({longest} > {self.model_max_length}), which has no "
                "positions for it; give truncation=True",
            )

    def _warn_once(self, subject: str, message: str) -> None:
        if not self.deprecation_warnings.get(subject):
            self.deprecation_warnings[subject] = True
            self.logger.warning(message)

    def pad(
        self,
        encoded_inputs: Any,
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
        verbose: bool = True,
    ) -> BatchEncoding:
        """Bring rows that were encoded before to one length.

        Args:
            encoded_inputs: Columns by name, or a list of rows, each with its values by name.
            padding: As in a call.
            max_length: As in a call.
            pad_to_multiple_of: As in a call.
            return_attention_mask: Whether to add the mask if it is not there.
            return_tensors: As in a call.
            verbose: As in a call.
        """
        columns, batched = gather_columns(encoded_inputs)
        if return_attention_mask is None:
            return_attention_mask = "attention_mask" in self.model_input_names
        if return_attention_mask and "attention_mask" not in columns:
            columns["attention_mask"] = [[1] * len(row) for row in columns["input_ids"]]
        if max_length is None:
            max_length = self.model_max_length
        strategy = self._padding(padding, max_length, verbose)
        lengths = map(len, columns["input_ids"])
        if length := padded_length(lengths, strategy, max_length, pad_to_multiple_of):
            columns = pad_columns(columns, length, self._fillers(), self.padding_side)
        if not (batched or return_tensors):
            columns = {name: rows[0] for name, rows in columns.items()}
        return BatchEncoding(columns).convert_to_tensors(return_tensors)

    def _alignments(self, make: Callable[[Sequence[str]], dict[str, Any]]) -> list[Alignment]:
        """Repeat a call to find where its tokens come from."""
        columns = make(("input_ids", "tokens", "offset_mapping", "word_ids", "sequence_ids"))
        # Ids only say how long padded rows are.
        return [Alignment(*origin) for _, *origin in zip(*columns.values(), strict=True)]

    def tokenize(
        self, text: str, pair: str | None = None, add_special_tokens: bool = False
    ) -> list[str]:
        """Cut a text into tokens; a piece that the model cannot spell keeps its text."""
        return self(text, pair, add_special_tokens=add_special_tokens, verbose=False).tokens()

    def encode(self, text: Any, text_pair: Any = None, *places: Any, **options: Any) -> list[int]:
        """Turn a text into ids; arguments are those of `encode_plus`.

        Gives a list, as transformers does; PaddleNLP's `encode` is `encode_plus` here.
        """
        ids: list[int] = self.encode_plus(text, text_pair, *places, **options).input_ids
        return ids

    def encode_plus(
        self,
        text: Any,
        text_pair: Any = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        **options: Any,
    ) -> BatchEncoding:
        """Turn one text or pair into a row of ids.

        Args:
            text: The text; or its tokens, or their ids, where `is_split_into_words` is not given.
            text_pair: The second segment.
            add_special_tokens: As in a call.
            padding: As in a call.
            truncation: As in a call.
            max_length: As in a call.
            **options: Others of a call.
        """
        are_texts = all(part is None or isinstance(part, str) for part in (text, text_pair))
        if not (are_texts or options.get("is_split_into_words")):
            text = self._ids(text)
            text_pair = None if text_pair is None else self._ids(text_pair)
        return self(
            text,
            text_pair,
            max_length,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            **options,
        )

    def _ids(self, segment: str | Sequence[str] | Sequence[int]) -> Ids:
        """Return the ids of a text, of tokens, or the ids themselves."""
        if isinstance(segment, str):
            return Ids(self(segment, add_special_tokens=False, verbose=False).input_ids)
        return Ids(self.special.id_of(one) if isinstance(one, str) else one for one in segment)

    def batch_encode(
        self,
        batch_text_or_text_pairs: Sequence[Any],
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        **options: Any,
    ) -> BatchEncoding:
        """Turn a list of texts, or of pairs, into rows of ids; PaddleNLP's way to call.

        Args:
            batch_text_or_text_pairs: Texts, or pairs; with `is_split_into_words` lists of words,
                or pairs of them.
            max_length: As in a call.
            stride: As in a call.
            is_split_into_words: As in a call.
            **options: Others of a call.

        Raises:
            ValueError: It is one text.
        """
        if not isinstance(batch_text_or_text_pairs, (list, tuple)):
            raise ValueError(f"expected a list of texts, got {batch_text_or_text_pairs!r:.80}")
        return self(
            batch_text_or_text_pairs,
            None,
            max_length,
            stride=stride,
            is_split_into_words=is_split_into_words,
            **options,
        )

    def batch_encode_plus(
        self,
        batch_text_or_text_pairs: Sequence[Any],
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        **options: Any,
    ) -> BatchEncoding:
        """Turn a list of texts, or of pairs, into rows of ids; transformers' way to call."""
        return self.batch_encode(
            batch_text_or_text_pairs,
            max_length,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            **options,
        )

    def prepare_for_model(
        self, ids: Sequence[int], pair_ids: Sequence[int] | None = None, **options: Any
    ) -> BatchEncoding:
        """Make a row of ids that were found before: cut, frame and pad them.

        Args:
            ids: Those of the first segment, without special tokens.
            pair_ids: Those of the second segment.
            **options: Those of a call.
        """
        return self(Ids(ids), None if pair_ids is None else Ids(pair_ids), **options)

    def get_offset_mapping(
        self, text: str | None, split_tokens: Sequence[str] | None = None
    ) -> list[Span] | None:
        """Return the characters of each token of a text, without special tokens.

        Args:
            text: The text; None has none.
            split_tokens: Its tokens, as PaddleNLP takes them; they are known here.
        """
        if text is None:
            return None
        encoding = self(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return list(encoding.offset_mapping)

    @property
    def max_len_single_sentence(self) -> int:
        """Most tokens that a text may have, special ones apart."""
        return self.model_max_length - self.num_special_tokens_to_add()

    @property
    def max_len_sentences_pair(self) -> int:
        """Most tokens that the texts of a pair may have together, special ones apart."""
        return self.model_max_length - self.num_special_tokens_to_add(pair=True)
