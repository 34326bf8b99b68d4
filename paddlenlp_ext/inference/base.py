"""What all pipelines share: from samples to rows, to batches by length, to answers in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from paddlenlp_ext.errors import InputError, UserError, shown
from paddlenlp_ext.inference.runners import Loaded, Outputs
from paddlenlp_ext.tasks.batches import pad
from paddlenlp_ext.tasks.features import Features

WINDOW = 16  # batches whose rows are read and sorted by length together

Options = TypeVar("Options")
Texts = tuple[str, str | None]  # a text, and the second one of a pair


@dataclass(frozen=True)
class Row:
    """What a model reads at once.

    Attributes:
        features: Its ids.
        sample: Number of its sample in the window.
        origin: What the pipeline has to know to understand what the model says of it.
    """

    features: Features
    sample: int
    origin: Any = None


class Pipeline(ABC, Generic[Options]):
    """Answers questions of one kind about texts.

    Args:
        loaded: What computes.
        batch_size: Rows that are computed together.
        max_length: Most tokens of a row; as many as the model reads if None.
        options: What a call may change, by name.

    Raises:
        UserError: The model reads no rows of this length, or there is no such option.
    """

    head: ClassVar[str]  # what the names of the model's classes end with
    options_class: Callable[..., Options]

    def __init__(
        self, loaded: Loaded, *, batch_size: int = 32, max_length: int | None = None, **options: Any
    ) -> None:
        self.loaded = loaded
        self.config, self.tokenizer = loaded.config, loaded.tokenizer
        require_whole("batch_size", batch_size, 1)
        self.batch_size = batch_size
        require_whole("max_length", max_length, 1, or_none=True)
        if max_length is not None and not 2 < max_length <= loaded.config.max_length:
            raise UserError(
                f"`max_length` {max_length}: {loaded.name} reads rows of 3 to "
                f"{loaded.config.max_length} tokens"
            )
        self.max_length = max_length or loaded.max_length
        self.defaults = options
        self._options(options)  # a wrong one is refused at once

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Answer.

        Args:
            inputs: One sample; a list of them; or any other iterable, from which a window of
                samples at a time is read, so that it may be endless.
            options: What the pipeline's own options are changed to.

        Returns:
            The answer; a list of answers; or an iterator of answers. In the order of the samples.

        Raises:
            UserError: There is no such option, or a sample cannot be answered.
        """
        chosen = self._options(self.defaults | options)
        if self.is_sample(inputs):
            return next(self._answers([inputs], chosen))
        if isinstance(inputs, list):
            return [*self._answers(inputs, chosen)]
        if isinstance(inputs, Iterable):
            return self._answers(inputs, chosen)
        raise InputError(f"expected a sample, a list or an iterator, got {shown(inputs)}")

    def is_sample(self, inputs: Any) -> bool:
        """Return whether this is one sample and not several."""
        return isinstance(inputs, (str, dict, tuple))

    @abstractmethod
    def rows(self, samples: Sequence[Any], options: Options) -> list[Row]:
        """Make the rows of samples, one or several each."""

    @abstractmethod
    def read(self, row: Row, outputs: Outputs, options: Options) -> Any:
        """Keep of what the model says of a row what is needed; tensors without the axis B."""

    @abstractmethod
    def answer(self, sample: Any, found: list[Any], options: Options) -> Any:
        """Make the answer of what was kept of a sample's rows."""

    def compute(self, rows: Sequence[Row], options: Options) -> list[Any]:
        """Run the model on a batch, and keep what is needed of each row."""
        padded = pad([row.features for row in rows], self.tokenizer.pad_token_id)
        outputs = self.loaded.runner(self.shaped(padded))
        return [
            self.read(row, [tensor[number] for tensor in outputs], options)
            for number, row in enumerate(rows)
        ]

    def shaped(self, inputs: Any) -> Any:
        """Give inputs [B, L] the axes that the model expects."""
        return inputs

    def features(self, texts: Sequence[Texts]) -> list[Features]:
        """Tokenize texts and pairs as `tasks.features` does."""
        found: list[Features | None] = [None] * len(texts)
        for is_pair in (False, True):
            numbers = [n for n, (_, second) in enumerate(texts) if (second is not None) == is_pair]
            if not numbers:
                continue
            encoded = self.tokenizer(
                [texts[number][0] for number in numbers],
                [texts[number][1] for number in numbers] if is_pair else None,
                truncation=True,
                max_length=self.max_length,
                return_attention_mask=False,
            )
            types = encoded.get("token_type_ids") or [None] * len(numbers)
            for number, ids, kinds in zip(numbers, encoded["input_ids"], types, strict=True):
                own = None if kinds is None else np.asarray(kinds, np.int32)
                found[number] = Features(np.asarray(ids, np.int32), own, 0)
        return [one for one in found if one is not None]

    def answers(self, samples: Sequence[Any], options: Options) -> Iterator[Any]:
        """Answer a window of samples, in order."""
        rows = self.rows(samples, options)
        order = sorted(range(len(rows)), key=lambda number: -len(rows[number].features))
        found: list[Any] = [None] * len(rows)
        for start in range(0, len(order), self.batch_size):
            numbers = order[start : start + self.batch_size]
            kept = self.compute([rows[number] for number in numbers], options)
            for number, one in zip(numbers, kept, strict=True):
                found[number] = one
        of_samples: list[list[Any]] = [[] for _ in samples]
        for row, one in zip(rows, found, strict=True):
            of_samples[row.sample].append(one)
        for sample, kept in zip(samples, of_samples, strict=True):
            yield self.answer(sample, kept, options)

    def _answers(self, samples: Iterable[Any], options: Options) -> Iterator[Any]:
        waiting = iter(samples)
        while window := [*islice(waiting, self.batch_size * WINDOW)]:
            yield from self.answers(window, options)

    def _options(self, options: dict[str, Any]) -> Options:
        try:
            return self.options_class(**options)
        except TypeError as error:
            names = ", ".join(self.options_class.__annotations__)
            raise UserError(f"{type(self).__name__}: {error}; it has {names}") from error


def require_whole(name: str, value: object, least: int, *, or_none: bool = False) -> None:
    """Refuse a setting that is no whole number, or too small; some may be None.

    Raises:
        UserError: It is that.
    """
    if or_none and value is None:
        return
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
        raise UserError(f"`{name}` {shown(value, 40)}: expected a whole number of at least {least}")


def text_of(sample: Any, what: str = "a text") -> str:
    """Return a text; anything else is refused.

    Raises:
        InputError: It is something else.
    """
    if not isinstance(sample, str):
        raise InputError(f"expected {what}, got {shown(sample)}")
    return sample


def texts_of(sample: Any) -> Texts:
    """Return the text or the pair of a sample: a string, two of them, or `text` and `text_pair`.

    Raises:
        InputError: It is something else.
    """
    if isinstance(sample, dict) and "text" in sample and {*sample} <= {"text", "text_pair"}:
        sample = (sample["text"], sample.get("text_pair"))
    elif isinstance(sample, str):
        sample = (sample, None)
    match sample:
        case (str(text), None) | [str(text)]:
            return text, None
        case (str(text), str(second)):
            return text, second
    raise InputError(
        f"expected a text, a pair of texts, or a dict with `text` and `text_pair`, got "
        f"{shown(sample)}"
    )
