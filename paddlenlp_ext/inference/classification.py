"""Pipelines that choose: a label of a text, one of several texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from paddlenlp_ext.errors import InputError, UserError, shown
from paddlenlp_ext.inference.base import Pipeline, Row, require_whole, text_of, texts_of
from paddlenlp_ext.inference.runners import Inputs, Outputs
from paddlenlp_ext.tasks.predictions import Kind, best_first, kind_of, probabilities

FUNCTIONS: tuple[Kind, ...] = ("softmax", "sigmoid", "none")


@dataclass(frozen=True, kw_only=True)
class ClassificationOptions:
    """What a call may change.

    Attributes:
        top_k: How many labels an answer has, the most probable ones; None for all of them. Not
            given, an answer is one label and no list.
        function_to_apply: What makes scores of logits: "softmax", "sigmoid" or "none". By default
            as the config's problem type asks for.
    """

    top_k: int | None = 0
    function_to_apply: Kind | None = None

    def __post_init__(self) -> None:
        require_whole("top_k", self.top_k, 0, or_none=True)
        if self.function_to_apply not in (None, *FUNCTIONS):
            raise UserError(
                f"`function_to_apply` {shown(self.function_to_apply)}: expected one of "
                f"{', '.join(FUNCTIONS)}"
            )


class TextClassification(Pipeline[ClassificationOptions]):
    """Labels texts: `{"label": "positive", "score": 0.98}`.

    A sample is a text, a pair of texts as a tuple, or a dict with `text` and `text_pair`. The score
    of a label is its probability: among all labels, or of each label by itself where a text may
    have several; for a regression it is the score. A string alone is answered by a list of one, as
    in transformers.
    """

    head = "ForSequenceClassification"
    options_class = ClassificationOptions

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Label; see `Pipeline.__call__`."""
        found = super().__call__(inputs, **options)
        return [found] if isinstance(inputs, str) and isinstance(found, dict) else found

    def rows(self, samples: Sequence[Any], options: ClassificationOptions) -> list[Row]:
        """Tokenize texts and pairs."""
        features = self.features([texts_of(sample) for sample in samples])
        return [Row(one, number) for number, one in enumerate(features)]

    def read(self, row: Row, outputs: Outputs, options: ClassificationOptions) -> Any:
        """Keep the score of each label; float64 [C]."""
        config = self.config
        kind = options.function_to_apply or kind_of(config.num_labels, config.problem_type)
        return probabilities(outputs[0], kind)

    def answer(self, sample: Any, found: list[Any], options: ClassificationOptions) -> Any:
        """Name the labels."""
        (scores,) = found
        named = [
            {"label": self.config.label_names[place], "score": float(scores[place])}
            for place in best_first(scores, 1 if options.top_k == 0 else options.top_k)
        ]
        return named[0] if options.top_k == 0 else named


@dataclass(frozen=True, kw_only=True)
class ChoiceOptions:
    """What a call may change: nothing."""


class MultipleChoice(Pipeline[ChoiceOptions]):
    """Chooses a text: `{"label": 1, "answer": "the ground was wet", "score": 0.7, "scores": […]}`.

    A sample is a dict with `text`, what the choices follow or answer, and `choices`, texts of any
    number; or a tuple of both. `label` is the place of the chosen one, from 0 on, `score` its
    probability, `scores` those of all.
    """

    head = "ForMultipleChoice"
    options_class = ChoiceOptions

    def rows(self, samples: Sequence[Any], options: ChoiceOptions) -> list[Row]:
        """Tokenize the text with each of its choices."""
        named = [(n, *_choice_of(sample)) for n, sample in enumerate(samples)]
        numbers = [number for number, _, choices in named for _ in choices]
        features = self.features([(text, one) for _, text, choices in named for one in choices])
        return [Row(one, number) for number, one in zip(numbers, features, strict=True)]

    def shaped(self, inputs: Any) -> Inputs:
        """Make of each row a choice among one: scores do not depend on the other choices."""
        return {name: values[:, None] for name, values in inputs.items()}

    def read(self, row: Row, outputs: Outputs, options: ChoiceOptions) -> float:
        """Keep the score of the choice."""
        return float(outputs[0][0])

    def answer(self, sample: Any, found: list[Any], options: ChoiceOptions) -> dict[str, Any]:
        """Choose."""
        _, choices = _choice_of(sample)
        scores = probabilities(np.asarray(found), "softmax").tolist()
        (label,) = best_first(np.asarray(scores), 1)
        return {"label": label, "answer": choices[label], "score": scores[label], "scores": scores}


def _choice_of(sample: Any) -> tuple[str, list[str]]:
    if isinstance(sample, dict) and {*sample} == {"text", "choices"}:
        sample = (sample["text"], sample["choices"])
    if not isinstance(sample, tuple) or len(sample) != 2:
        raise InputError(f"expected a dict with `text` and `choices`, got {shown(sample)}")
    text, choices = sample
    if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
        raise InputError(f"expected `choices` to be a list of texts, got {shown(choices)}")
    return text_of(text), [text_of(one, "a text as choice") for one in choices]
