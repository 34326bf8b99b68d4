"""Information extraction with UIE and UIE-M: texts and a schema in, what was found out.

    extract = pipeline("information-extraction", "uie-base", schema=["时间", {"选手": "赛事名称"}])
    extract("2月8日上午北京冬奥会自由式滑雪女子大跳台决赛中谷爱凌夺得金牌。")
    # {"时间": [{"text": "2月8日上午", "start": 0, "end": 6, "probability": 0.98}],
    #  "选手": [{"text": "谷爱凌", "start": …, "relations": {"赛事名称": [{"text": …}]}}]}

Schemas, prompts and the pairing of probabilities are those of PaddleNLP's Taskflow
(`paddlenlp_ext.tasks.extraction`). Long texts are cut by tokens at ends of sentences, and a text is
tokenized only once, so that places in it are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.inference.base import Pipeline, Row, text_of
from paddlenlp_ext.inference.runners import Loaded, Outputs
from paddlenlp_ext.tasks.extraction import (
    Schema,
    Span,
    all_names,
    choose_option,
    cut_windows,
    find_spans,
    make_prompt,
    options_at,
    read_schema,
)
from paddlenlp_ext.tasks.features import Features

LONGEST = 512  # tokens of a row, as in Taskflow, for models that have more positions
Answer = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ExtractionOptions:
    """What a call may change.

    Attributes:
        schema: What to find; see `paddlenlp_ext.tasks.extraction`.
        schema_lang: "en" to ask for "name of subject", "ch" (or "zh") for "subject的name"; by
            default "en" if all names are ASCII.
        position_prob: Probability that the first and the last token of an answer must exceed.
    """

    schema: object = None
    schema_lang: str | None = None
    position_prob: float = 0.5

    def __post_init__(self) -> None:
        if self.schema_lang not in (None, "ch", "zh", "en"):
            raise UserError(f"`schema_lang` {self.schema_lang!r}: expected 'ch' or 'en'")
        if not 0 <= self.position_prob < 1:
            raise UserError(f"`position_prob` {self.position_prob}: expected from 0 to below 1")
        read_schema(self.schema)

    @property
    def english(self) -> bool:
        """Whether prompts are worded as in English."""
        if self.schema_lang is not None:
            return self.schema_lang == "en"
        return all(map(str.isascii, all_names(read_schema(self.schema))))


@dataclass(frozen=True)
class _Tokens:
    """A text or a prompt as tokens, without special ones."""

    text: str
    ids: list[int]
    offsets: list[Span]

    def take(self, places: Iterable[int]) -> _Tokens:
        """Return some of the tokens, in the same text."""
        places = list(places)
        offsets = [self.offsets[place] for place in places]
        return _Tokens(self.text, [self.ids[place] for place in places], offsets)

    def between(self, first: int, last: int) -> tuple[str, int, int]:
        """Return what two tokens begin and end, without the space around it, and its place."""
        start, end = self.offsets[first][0], self.offsets[last][1]
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        text = text.strip()
        return text, start, start + len(text)


@dataclass(frozen=True, eq=False)
class _Question:
    """A text and what is asked of it."""

    text: _Tokens
    prompt: str


@dataclass(frozen=True)
class _Place:
    """Something found, to which more belongs: what to ask for next, and where it goes."""

    number: int  # of the text
    subject: str | None
    schema: Schema
    answer: Answer


class InformationExtraction(Pipeline[ExtractionOptions]):
    """Finds in texts what a schema names: `{"时间": [{"text": "2月8日", "start": 0, …}]}`.

    A sample is a text. Its answers are by the schema's names, those without an answer left out:
    dicts of `text`, its characters from `start` to before `end`, `probability`, and where the
    schema asks for more of it and there is more, `relations`, which is again such a dict. What was
    chosen from options has no place.

    Args:
        loaded: What computes: a UIE or a UIE-M.
        max_length: Most tokens of a row, prompt and special tokens included; 512 if None, or fewer
            if the model reads fewer. Longer texts are cut into several rows.
        attend_to_cls: Whether tokens may attend to the first one. Published UIE-M models were
            trained without, so the default is false for ERNIE-M.
        settings: See `Pipeline` and `ExtractionOptions`.

    Raises:
        UserError: A setting cannot be used.
    """

    head = "ForExtraction"
    options_class = ExtractionOptions

    def __init__(
        self,
        loaded: Loaded,
        *,
        max_length: int | None = None,
        attend_to_cls: bool | None = None,
        **settings: Any,
    ) -> None:
        if max_length is None:
            max_length = min(LONGEST, loaded.max_length)
        super().__init__(loaded, max_length=max_length, **settings)
        self.room = max_length - self.tokenizer.num_special_tokens_to_add(pair=True)
        if self.room < 2:
            raise UserError(
                f"`max_length` {max_length} leaves no room for a prompt and a text; give more"
            )
        if attend_to_cls is None:
            attend_to_cls = self.config.model_type != "ernie_m"
        self.attend_to_cls = attend_to_cls

    def set_schema(self, schema: object) -> None:
        """Find other things from now on.

        Raises:
            UserError: It is no schema.
        """
        read_schema(schema)
        self.defaults = self.defaults | {"schema": schema}

    def answers(self, samples: Sequence[Any], options: ExtractionOptions) -> Iterator[Answer]:
        """Ask for the names of the schema, then for what belongs to what was found, and so on."""
        texts = self._tokenize([text_of(sample) for sample in samples])
        schema, english = read_schema(options.schema), options.english
        found: list[Answer] = [{} for _ in texts]
        places = [_Place(number, None, schema, one) for number, one in enumerate(found)]
        while places:
            asked = [(place, name) for place in places for name in place.schema]
            keys = [(p.number, make_prompt(name, p.subject, english)) for p, name in asked]
            once = dict.fromkeys(keys)  # subjects may be equal
            questions = [_Question(texts[number], prompt) for number, prompt in once]
            known = dict(zip(once, super().answers(questions, options), strict=True))
            places = []
            for (place, name), key in zip(asked, keys, strict=True):
                answers = [dict(answer) for answer in known[key]]
                if answers:
                    place.answer.setdefault("relations", {})[name] = answers
                if below := place.schema[name]:
                    places += [_Place(place.number, one["text"], below, one) for one in answers]
        yield from (one.get("relations", {}) for one in found)

    def rows(self, samples: Sequence[_Question], options: ExtractionOptions) -> list[Row]:
        """Frame each question's prompt with each window of its text.

        A prompt has at most half of the room; of a longer one the middle is left out, where the
        subject is, whether it comes first or last.
        """
        prompts = list(dict.fromkeys(question.prompt for question in samples))
        tokens = dict(zip(prompts, self._tokenize(prompts), strict=True))
        has_types = "token_type_ids" in self.tokenizer.model_input_names
        rows = []
        for number, question in enumerate(samples):
            prompt = _shorten(tokens[question.prompt], self.room // 2)
            text = question.text
            for first, last in cut_windows(text.text, text.offsets, self.room - len(prompt.ids)):
                window = text.take(range(first, last))
                both = prompt.ids, window.ids
                ids = np.array(self.tokenizer.build_inputs_with_special_tokens(*both), np.int32)
                types = self.tokenizer.create_token_type_ids_from_sequences(*both)
                features = Features(ids, np.array(types, np.int32) if has_types else None, 0)
                rows.append(Row(features, number, (prompt, window)))
        return rows

    def shaped(self, inputs: Any) -> Any:
        """Hide the first token from the others where the model was trained so."""
        if not self.attend_to_cls:
            inputs["attention_mask"][:, 0] = 0
        return inputs

    def read(
        self, row: Row, outputs: Outputs, options: ExtractionOptions
    ) -> tuple[list[Answer], list[tuple[str, float]]]:
        """Keep the answers in a row's text, and the option in its prompt that it chooses, if any.

        Nothing begins or ends at special tokens, and nothing reaches from the prompt to the text.
        """
        prompt, window = row.origin
        start, end = outputs  # [L] each
        found = []
        begin = len(row.features) - 1 - len(window.ids)
        part = slice(begin, begin + len(window.ids))
        for first, last, probability in find_spans(start[part], end[part], options.position_prob):
            text, place, after = window.between(first, last)
            if text:
                found.append({"text": text, "start": place, "end": after})
                found[-1]["probability"] = probability
        part = slice(1, 1 + len(prompt.ids))
        chosen = [
            (prompt.between(first, last)[0].strip("[], "), probability)
            for first, last, probability in find_spans(
                start[part], end[part], options.position_prob
            )
            if prompt.offsets[first][0] >= options_at(prompt.text)
        ]
        return found, sorted(filter(itemgetter(0), chosen), key=itemgetter(1))[-1:]

    def answer(self, sample: Any, found: list[Any], options: ExtractionOptions) -> list[Answer]:
        """Join what the windows of a question's text say: one option, or else all answers."""
        choice = choose_option([one for _, chosen in found for one in chosen])
        return [choice] if choice else [one for answers, _ in found for one in answers]

    def _tokenize(self, texts: Sequence[str]) -> list[_Tokens]:
        columns = self.tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return list(map(_Tokens, texts, columns["input_ids"], columns["offset_mapping"]))


def _shorten(prompt: _Tokens, longest: int) -> _Tokens:
    """Leave out the middle of a prompt that is too long."""
    length = len(prompt.ids)
    if length <= longest:
        return prompt
    head = longest // 2
    return prompt.take([*range(head), *range(length - (longest - head), length)])
