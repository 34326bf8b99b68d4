"""What every tokenizer does: texts in, rows of ids out.

A tokenizer is put together of parts that it holds: a segmenter, which cuts texts into the pieces of
a vocabulary (segmentation.py), its special and added tokens (special_tokens.py), and an assembly,
the template of a row (assembly.py). A family says which segmenter, which settings it has, which
special tokens and which template. Truncation, overflow, padding, masks, offsets, tensors and saving
are the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, overload

from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve, without_neutral
from paddlenlp_ext.tokenizers import saving
from paddlenlp_ext.tokenizers.assembly import Assembly, RowColumns
from paddlenlp_ext.tokenizers.encoding import Alignment, BatchEncoding, Inputs, plain
from paddlenlp_ext.tokenizers.segmentation import Segmenter
from paddlenlp_ext.tokenizers.special_tokens import SpecialTokens, Token
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

Self = TypeVar("Self", bound="Tokenizer")


class _RoleToken:
    """The text of the token that plays a role, None if there is none; may be assigned."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name

    def __get__(self, tokenizer: "Tokenizer", owner: type) -> Any:
        token = tokenizer.special.roles.get(self.role)
        return None if token is None else token.content

    def __set__(self, tokenizer: "Tokenizer", token: str | AddedToken) -> None:
        tokenizer.add_special_tokens({self.role: token})


class _RoleId:
    """The id of the token that plays a role, None if there is none."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.role = name.removesuffix("_id")

    def __get__(self, tokenizer: "Tokenizer", owner: type) -> Any:
        return (
            tokenizer.special.id_of_role(self.role)
            if self.role in tokenizer.special.roles
            else None
        )


# Whether the `tokenizers` library cuts is no choice here: there is one class for each tokenizer.
NEUTRAL: dict[str, tuple[Any, ...]] = dict.fromkeys(("use_fast", "fast"), (True, False, None))


class Tokenizer(ABC):
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

    unk_token, unk_token_id = _RoleToken(), _RoleId()
    sep_token, sep_token_id = _RoleToken(), _RoleId()
    pad_token, pad_token_id = _RoleToken(), _RoleId()
    cls_token, cls_token_id = _RoleToken(), _RoleId()
    mask_token, mask_token_id = _RoleToken(), _RoleId()

    vocab_files: ClassVar[tuple[str, ...]]
    model_input_names: ClassVar[tuple[str, ...]] = (
        "input_ids",
        "token_type_ids",
        "attention_mask",
    )
    assembly: ClassVar[Assembly] = Assembly()
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
        self.segmenter = segmenter
        self.vocabulary = segmenter.vocabulary
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
        self.special = SpecialTokens(segmenter, roles, additional_special_tokens or (), added)
        self.added_tokens_encoder = self.special.added_tokens_encoder
        self.added_tokens_decoder = self.special.added_tokens_decoder
        self.other_settings: dict[str, Any] = {}  # of its files, of no meaning here

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
            **overrides: Settings that win over the saved ones. Arguments of PaddleNLP's and
                transformers' that ask for what is done anyway (`use_fast`) are taken.

        Raises:
            UserError: A file is missing or broken, or an argument asks for what is not done here.
        """
        source = resolve(pretrained_model_name_or_path)
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
        return tokenizer

    @classmethod
    def _find_files(cls, source: Source) -> list[Any]:
        """Return the files that the constructor takes."""
        return [source.fetch(name) for name in cls.vocab_files]

    @classmethod
    def _with_settings_of(cls, files: Sequence[Any], known: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return settings with those that the files of the constructor have besides."""
        return known

    def save_pretrained(self, save_directory: str | Path) -> tuple[Path, ...]:
        """Write everything that `from_pretrained` needs, here, in PaddleNLP and transformers.

        Returns:
            The files written.
        """
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

    # Special and added tokens.

    @property
    def vocab_size(self) -> int:
        """Size of the vocabulary without added tokens."""
        return len(self.vocabulary)

    def __len__(self) -> int:
        return len(self.special)

    @property
    def bos_token_id(self) -> int | None:
        """Id of the token that begins a text; None in a family without one."""
        return self.special.id_of_role("bos_token") if "bos_token" in self.special.roles else None

    @property
    def eos_token_id(self) -> int | None:
        """Id of the token that ends a text; None in a family without one."""
        return self.special.id_of_role("eos_token") if "eos_token" in self.special.roles else None

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """Special tokens by role."""
        return self.special.by_role

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a role."""
        return [token.content for token in self.special.additional]

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token once."""
        return self.special.all

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of `all_special_tokens`."""
        return [self.added_tokens_encoder[token] for token in self.special.all]

    def add_tokens(self, new_tokens: Token | Iterable[Token], special_tokens: bool = False) -> int:
        """Add tokens that are never split; see `SpecialTokens.add_tokens`."""
        return self.special.add_tokens(new_tokens, special_tokens)

    def add_special_tokens(self, tokens: Mapping[str, Any]) -> int:
        """Set the tokens of roles, and add others; see `SpecialTokens.add_special_tokens`."""
        return self.special.add_special_tokens(tokens)

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
            pad_to_max_seq_len: PaddleNLP's older way to say `padding="max_length"`.
            return_dict: PaddleNLP's; True is what is returned.
            verbose: PaddleNLP's and transformers'; without effect.

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
        padding = padding or ("max_length" if pad_to_max_seq_len else False)
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
        names = [
            name
            for name, wanted in asked.items()
            if (name in self.model_input_names if wanted is None else wanted)
        ]
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
        pad_to = (padding_strategy(padding), max_length, pad_to_multiple_of)
        if cut.strategy != "do_not_truncate" and max_length < UNLIMITED:
            padded_length([max_length], *pad_to)  # whatever the texts are, it is known now
        make = partial(self._columns, inputs, assembly, cut, pad_to)
        columns: dict[str, Any] = make(names)
        if not (inputs.batched or return_overflowing_tokens or return_tensors):
            columns = {name: rows[0] for name, rows in columns.items()}
        encoding = BatchEncoding(columns, lambda: self._alignments(make))
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
        segments = self.segmenter.segment(texts, inputs.pre_split, "offset_mapping" in names)
        pair = inputs.second is not None
        lengths = [len(ids) for ids in segments.ids]
        seconds = lengths[len(inputs.first) :] if pair else [0] * len(lengths)
        rows = [
            row
            for sample, (first, second) in enumerate(zip(lengths, seconds, strict=False))
            for row in cut.rows(sample, first, second)
        ]
        made = RowColumns(segments, rows, pair, assembly, *self._ends())
        columns = {name: made.column(name) for name in names}
        if length := padded_length(map(len, columns["input_ids"]), *pad_to):
            fillers = {"input_ids": self.pad_token_id, "tokens": self.pad_token}
            columns = pad_columns(columns, length, fillers, self.padding_side)
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
        fillers = {"input_ids": self.pad_token_id}
        columns = pad_columns(columns, length, fillers, self.padding_side)
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
        return self(text, pair, add_special_tokens=add_special_tokens).tokens()

    def encode(self, text: Any, text_pair: Any = None, **options: Any) -> list[int]:
        """Turn a text into ids; options are those of a call.

        Gives a list, as transformers does; PaddleNLP's `encode` is the call itself here.
        """
        ids: list[int] = self(text, text_pair, **options).input_ids
        return ids

    # Tokens to ids, and ids back to tokens and text.

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str] | tuple[str, ...]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str] | tuple[str, ...]) -> int | list[int]:
        """Look up one or several tokens; unknown ones get the id of the unknown token."""
        if isinstance(tokens, str):
            return self.special.id_of(tokens)
        return [self.special.id_of(token) for token in tokens]

    @overload
    def convert_ids_to_tokens(self, ids: int, skip_special_tokens: bool = False) -> str: ...
    @overload
    def convert_ids_to_tokens(
        self, ids: Iterable[int], skip_special_tokens: bool = False
    ) -> list[str]: ...
    def convert_ids_to_tokens(
        self, ids: int | Iterable[int], skip_special_tokens: bool = False
    ) -> str | list[str]:
        """Return the tokens of one or several ids.

        Args:
            ids: An id, or ids [L]; int64 arrays and tensors too.
            skip_special_tokens: Whether to leave special tokens out.

        Raises:
            ValueError: An id is not of this vocabulary.
        """
        ids = plain(ids)
        if isinstance(ids, int):
            return self._token(ids)
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self._token(number) for number in ids if number not in skipped]

    def _token(self, number: int) -> str:
        if number in self.added_tokens_decoder:
            return str(self.added_tokens_decoder[number].content)
        if 0 <= number < self.vocab_size:
            return self.vocabulary.tokens[number]
        if 0 <= number < len(self):  # nothing has the id, but the model may predict it
            return str(self.unk_token)
        raise ValueError(f"id {number} is not one of the {len(self)} ids of this tokenizer")

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Join tokens to readable text."""
        return self.segmenter.join(tokens)

    def decode(self, token_ids: int | Iterable[int], skip_special_tokens: bool = False) -> str:
        """Turn the ids of one row into text.

        Args:
            token_ids: Ids [L], as a list, an array or a tensor.
            skip_special_tokens: Whether to leave special tokens out.
        """
        ids = plain(token_ids)
        tokens = self.convert_ids_to_tokens([ids] if isinstance(ids, int) else ids)
        if skip_special_tokens:
            special = {t.content for t in self.added_tokens_decoder.values() if t.special}
            tokens = [token for token in tokens if token not in special]
        return self.convert_tokens_to_string(tokens)

    def batch_decode(
        self, sequences: Iterable[Iterable[int]], skip_special_tokens: bool = False
    ) -> list[str]:
        """Turn the ids of several rows into texts.

        Args:
            sequences: Ids [B, L], as lists, an array or a tensor.
            skip_special_tokens: Whether to leave special tokens out.
        """
        return [self.decode(row, skip_special_tokens) for row in plain(sequences)]

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token, added ones too."""
        return {**self.vocabulary.ids, **self.added_tokens_encoder}

    # Rows as the models were pretrained on, built from ids by hand.

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Count the special tokens of a row."""
        return self.assembly.added(pair)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Frame one or two segments with special tokens.

        Args:
            token_ids_0: Ids of the first segment, without special tokens.
            token_ids_1: Ids of the second segment.
        """
        return self.assembly.frame(token_ids_0, token_ids_1, self.cls_token_id, self.sep_token_id)

    def create_token_type_ids_from_sequences(
        self, token_ids_0: Sequence[int], token_ids_1: Sequence[int] | None = None
    ) -> list[int]:
        """Return the token types of the row that `build_inputs_with_special_tokens` builds."""
        return self.assembly.token_types(
            len(token_ids_0), None if token_ids_1 is None else len(token_ids_1)
        )

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Mark special tokens with 1 and other ones with 0.

        Args:
            token_ids_0: Ids of the first segment; of a whole row if `already_has_special_tokens`.
            token_ids_1: Ids of the second segment.
            already_has_special_tokens: Whether `token_ids_0` is a row with its special tokens.

        Raises:
            ValueError: A second segment was given besides a whole row.
        """
        if already_has_special_tokens:
            if token_ids_1 is not None:
                raise ValueError("a row with special tokens is one list; token_ids_1 must be None")
            special = set(self.all_special_ids)
            return [int(number in special) for number in token_ids_0]
        second = None if token_ids_1 is None else [0] * len(token_ids_1)
        return self.assembly.frame([0] * len(token_ids_0), second, 1, 1)

    def _post_processor(self) -> TemplateProcessing:
        """Write the template of a row for the `tokenizers` library."""
        return self.assembly.post_processor(*self._ends())

    def _ends(self) -> tuple[tuple[str, int], tuple[str, int]]:
        """Return the first special token of a row and its id, and the other ones."""
        return (self.cls_token, self.cls_token_id), (self.sep_token, self.sep_token_id)
