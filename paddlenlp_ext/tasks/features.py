"""Turn texts into the ids that a model reads, unpadded, one entry an example."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from paddlenlp_ext.process.streams import progress_bar
from paddlenlp_ext.tasks.task import TextExample
from paddlenlp_ext.tasks.token_cache import Ids, TokenCache, TokenRows

if TYPE_CHECKING:
    from paddlenlp_ext.tokenizers.base import Tokenizer

# What one example is labelled with; see `Features`.
Label = int | float | tuple[int, int] | npt.NDArray[np.int32] | npt.NDArray[np.float32]

CHUNK = 1_000  # examples; enough for the tokenizer to use all cores, little enough for memory


@dataclass(frozen=True, slots=True)
class Features:
    """What a model reads of one example. Arrays, because a list of ids takes four times the memory.

    Attributes:
        input_ids: Token ids with the special tokens; int32 [L].
        token_type_ids: 0 for the first text, 1 for the second; int32 [L]. None for a model that
            has no token types.
        label: A class number or a score, as in `TextExample`; several labels at once, float32
            [C]; a class number for each token, or `IGNORED`, int32 [L]; or the first and the last
            token of a span. All examples of a task have the same kind.
    """

    input_ids: npt.NDArray[np.int32]
    token_type_ids: npt.NDArray[np.int32] | None
    label: Label

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class ChoiceFeatures(Features):
    """What a model reads of a text with several choices: a row of tokens for each.

    `input_ids` and `token_type_ids` are those of all choices, one after the other; the label is the
    place of the right choice.

    Attributes:
        lengths: Tokens of each choice; 0 where it is lacking because other examples have more.
    """

    lengths: tuple[int, ...]

    @classmethod
    def of(cls, choices: Sequence[Features], label: int, width: int) -> "ChoiceFeatures":
        """Put the features of choices together.

        Args:
            choices: Of one example.
            label: Place of the right one.
            width: How many choices there should be.
        """
        types = [one.token_type_ids for one in choices if one.token_type_ids is not None]
        return cls(
            np.concatenate([one.input_ids for one in choices]),
            np.concatenate(types) if types else None,
            label,
            (*map(len, choices), *[0] * (width - len(choices))),
        )

    def __len__(self) -> int:
        """Return the number of tokens of the longest choice."""
        return max(self.lengths)

    def choices(self, pad_token_id: int) -> list[Features]:
        """Return the features of each choice; a lacking one is a single token of padding.

        By its length alone a lacking choice is known: others have special tokens.
        """
        ends = np.cumsum(self.lengths)
        types = self.token_type_ids
        found = []
        for end, length in zip(ends.tolist(), self.lengths, strict=True):
            place = slice(end - length, end)
            ids = self.input_ids[place] if length else np.array([pad_token_id], np.int32)
            own = None if types is None else types[place] if length else np.zeros(1, np.int32)
            found.append(Features(ids, own, self.label))
        return found


def make_features(
    examples: Sequence[TextExample],
    tokenizer: "Tokenizer",
    max_length: int,
    *,
    cache: TokenCache | None = None,
) -> list[Features]:
    """Tokenize examples.

    A pair that is too long loses tokens from its longer text until it fits. That happens here,
    before padding, so that an example's features do not depend on its batch.

    Args:
        examples: All single texts, or all pairs.
        tokenizer: The model's tokenizer.
        max_length: Most tokens of an example, special tokens included.
        cache: Where ids of many texts are kept for the next run; None keeps none.

    Returns:
        One entry an example, in order.
    """

    def tokenize() -> TokenRows:
        return _tokenize(examples, tokenizer, max_length)

    rows = cache.rows(examples, tokenizer, max_length, tokenize) if cache else tokenize()
    no_types: list[Ids | None] = [None] * len(examples)
    type_ids = no_types if rows.token_type_ids is None else rows.token_type_ids
    labels = [example.label for example in examples]
    return [*map(Features, rows.input_ids, type_ids, labels)]


def _tokenize(
    examples: Sequence[TextExample], tokenizer: "Tokenizer", max_length: int
) -> TokenRows:
    """Tokenize examples chunk by chunk; within a chunk the libraries use all cores by themselves.

    Processes of our own would gain little: handing rows over costs what the rest takes.
    """
    input_ids: list[Ids] = []
    type_ids: list[Ids] = []
    with progress_bar(len(examples), desc="tokenizing", unit="row", leave=False) as bar:
        for start in range(0, len(examples), CHUNK):
            chunk = examples[start : start + CHUNK]
            second = [example.text_b for example in chunk if example.text_b is not None]
            encoded = tokenizer(
                [example.text_a for example in chunk],
                second or None,
                truncation=True,
                max_length=max_length,
                return_attention_mask=False,  # the batch makes it, from lengths
            )
            input_ids += [np.asarray(ids, np.int32) for ids in encoded["input_ids"]]
            type_ids += [np.asarray(ids, np.int32) for ids in encoded.get("token_type_ids", ())]
            bar.update(len(chunk))
    return TokenRows(input_ids, type_ids or None)
