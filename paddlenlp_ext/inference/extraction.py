"""Information extraction with UIE and UIE-M: texts and a schema in, what was found out.

    extract = InformationExtraction.from_pretrained("uie-base", ["时间", {"选手": "赛事名称"}])
    extract("2月8日上午北京冬奥会自由式滑雪女子大跳台决赛中谷爱凌夺得金牌。")
    # {"时间": [{"text": "2月8日上午", "start": 0, "end": 6, "probability": 0.98}],
    #  "选手": [{"text": "谷爱凌", "start": …, "relations": {"赛事名称": [{"text": …}]}}]}

Schemas, prompts and the pairing of probabilities are those of PaddleNLP's Taskflow
(`paddlenlp_ext.tasks.extraction`). Long texts are cut by tokens at ends of sentences, and a text is
tokenized only once, so that places in it are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.models.auto import family_of
from paddlenlp_ext.models.ernie import UIE
from paddlenlp_ext.models.ernie_m import UIEM
from paddlenlp_ext.models.extraction import ForExtraction
from paddlenlp_ext.tasks.batches import pad
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
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.tokenizers.ernie_m import ErnieMTokenizer

CLASSES: dict[str, type[ForExtraction]] = {"ernie": UIE, "ernie_m": UIEM}
TEXTS_AT_ONCE = 256  # of an iterator; rows of like lengths are computed together
Scores = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]
Answer = dict[str, Any]


@dataclass(frozen=True)
class _Text:
    """A text or prompt as tokens, without special ones."""

    text: str
    ids: list[int]
    offsets: list[Span]

    def taken(self, places: Iterable[int]) -> tuple[list[int], list[Span]]:
        """Return ids and offsets of some tokens."""
        places = list(places)
        return [self.ids[place] for place in places], [self.offsets[place] for place in places]

    def answer(self, first: Span, last: Span) -> tuple[str, int, int]:
        """Return what lies between two tokens without the space around it, and where it is."""
        start, end = first[0], last[1]
        text = self.text[start:end]
        start += len(text) - len(text.lstrip())
        text = text.strip()
        return text, start, start + len(text)


@dataclass(frozen=True)
class _Row:
    """A prompt and a window of a text.

    Attributes:
        features: The whole row; its label means nothing.
        prompt: Offsets of the prompt's tokens, which begin after the first special token.
        text: Offsets of the text's tokens, which end before the last special token.
    """

    features: Features
    prompt: list[Span]
    text: list[Span]


@dataclass(frozen=True)
class _Place:
    """Something found, to which more belongs: what to ask for next, and where it goes."""

    number: int  # of the text
    subject: str | None
    schema: Schema
    answer: Answer


class InformationExtraction:
    """Finds in texts what a schema names.

    Args:
        scores: Computes the probability of each token to begin and to end what is asked for,
            float [B, L] each, from `input_ids`, `attention_mask` and `token_type_ids` by name,
            int64 [B, L] each: `model_scores(model)`.
        tokenizer: The model's.
        schema: What to find; see `paddlenlp_ext.tasks.extraction`.
        schema_lang: "en" to ask for "name of subject", "ch" (or "zh") for "subject的name"; by
            default "en" if all names are ASCII.
        position_prob: Probability that the first and the last token of an answer must exceed.
        max_length: Most tokens of a row, prompt and special tokens included.
        batch_size: Rows that are computed at once.
        attend_to_cls: Whether tokens may attend to the first one. Published UIE-M models were
            trained without, so the default is false for ERNIE-M's tokenizer.

    Raises:
        UserError: A setting cannot be used.
    """

    def __init__(
        self,
        scores: Scores,
        tokenizer: Tokenizer,
        schema: object,
        *,
        schema_lang: str | None = None,
        position_prob: float = 0.5,
        max_length: int = 512,
        batch_size: int = 16,
        attend_to_cls: bool | None = None,
    ) -> None:
        if schema_lang not in (None, "ch", "zh", "en"):
            raise UserError(f"`schema_lang` {schema_lang!r}: expected 'ch' or 'en'")
        if not 0 <= position_prob < 1:
            raise UserError(f"`position_prob` {position_prob}: expected 0 or more and less than 1")
        if batch_size < 1:
            raise UserError(f"`batch_size` {batch_size}: expected 1 or more")
        self.room = min(max_length, tokenizer.model_max_length)
        self.room -= tokenizer.num_special_tokens_to_add(pair=True)
        if self.room < 2:
            raise UserError(
                f"`max_length` {max_length} leaves no room for a prompt and a text; give more"
            )
        if attend_to_cls is None:
            attend_to_cls = not isinstance(tokenizer, ErnieMTokenizer)
        self.scores = scores
        self.tokenizer = tokenizer
        self.schema_lang = schema_lang
        self.position_prob = position_prob
        self.batch_size = batch_size
        self.attend_to_cls = attend_to_cls
        self.set_schema(schema)

    @classmethod
    def from_pretrained(
        cls, name_or_folder: str | Path | Source, schema: object, **settings: Any
    ) -> InformationExtraction:
        """Load a model and its tokenizer.

        Args:
            name_or_folder: A preset ("uie-base", "uie-m-base"), a folder or a repository.
            schema: What to find.
            **settings: As for the class. UIE-M gets PaddleNLP's ids, which it was trained with.

        Raises:
            UserError: It is neither ERNIE nor ERNIE-M, or something of it is missing.
        """
        source = resolve(name_or_folder)
        family = family_of(source)
        if family not in CLASSES:
            raise UserError(
                f"{source}: information extraction needs UIE (ERNIE) or UIE-M (ERNIE-M), and this "
                f"is of family {family}; take 'uie-base' or 'uie-m-base'"
            )
        ids = {"drop_lone_space": True} if family == "ernie_m" else {}
        tokenizer = AutoTokenizer.from_pretrained(source, **ids)
        model = CLASSES[family].from_pretrained(source)
        backbone: Any = model.backbone
        settings["max_length"] = min(
            settings.get("max_length", 512), backbone.embeddings.max_length
        )
        return cls(model_scores(model), tokenizer, schema, **settings)

    def set_schema(self, schema: object) -> None:
        """Find other things from now on.

        Raises:
            UserError: It is no schema.
        """
        self.schema = read_schema(schema)
        ascii_only = all(map(str.isascii, all_names(self.schema)))
        self.english = ascii_only if self.schema_lang is None else self.schema_lang == "en"

    def __call__(self, texts: str | Iterable[str]) -> Any:
        """Find what the schema names.

        Args:
            texts: A text, a list of texts, or an iterator of them.

        Returns:
            For a text, its answers by the schema's names, those without an answer left out: dicts
            of `text`, its characters from `start` to before `end`, `probability`, and where the
            schema asks for more of it, `relations`, which is again such a dict. What was chosen
            from options has no place. For a list, a list of these; for others, an iterator.

        Raises:
            UserError: Something is no text.
        """
        if isinstance(texts, str):
            return self._extract([texts])[0]
        answers = self._stream(iter(texts))
        return list(answers) if isinstance(texts, Sequence) else answers

    def _stream(self, texts: Iterator[str]) -> Iterator[Answer]:
        while some := list(islice(texts, TEXTS_AT_ONCE)):
            yield from self._extract(some)

    def _extract(self, texts: Sequence[str]) -> list[Answer]:
        """Ask for the names of the schema, then for what belongs to what was found, and so on."""
        encoded = self._encode(texts)
        found: list[Answer] = [{} for _ in texts]
        places = [_Place(number, None, self.schema, one) for number, one in enumerate(found)]
        while places:
            asked = [(place, name) for place in places for name in place.schema]
            prompts = [make_prompt(name, place.subject, self.english) for place, name in asked]
            numbers = [place.number for place, _ in asked]
            places = []
            for (place, name), answers in zip(
                asked, self._ask(encoded, list(zip(numbers, prompts, strict=True))), strict=True
            ):
                if answers:
                    place.answer.setdefault("relations", {})[name] = answers
                if below := place.schema[name]:
                    places += [_Place(place.number, a["text"], below, a) for a in answers]
        return [one.get("relations", {}) for one in found]

    def _ask(
        self, texts: Sequence[_Text], questions: Sequence[tuple[int, str]]
    ) -> list[list[Answer]]:
        """Answer questions: number of a text and prompt each; the same one is computed once."""
        once = dict.fromkeys(questions)
        prompts = list(dict.fromkeys(prompt for _, prompt in once))
        encoded = dict(zip(prompts, self._encode(prompts), strict=True))
        rows, owners = [], []
        for question in once:
            new = list(self._rows(encoded[question[1]], texts[question[0]]))
            rows += new
            owners += [question] * len(new)
        spans: dict[tuple[int, str], list[Answer]] = {question: [] for question in once}
        options: dict[tuple[int, str], list[tuple[str, float]]] = {q: [] for q in once}
        for question, row, (start, end) in zip(owners, rows, self._compute(rows), strict=True):
            prompt, text = encoded[question[1]], texts[question[0]]
            spans[question] += self._found_in_text(row, text, start, end)
            options[question] += self._chosen(row, prompt, start, end)
        answers = {}
        for question in once:
            choice = choose_option(options[question])
            answers[question] = [choice] if choice else spans[question]
        return [[dict(answer) for answer in answers[question]] for question in questions]

    def _encode(self, texts: Sequence[str]) -> list[_Text]:
        for number, text in enumerate(texts):
            if not isinstance(text, str):
                raise UserError(f"text {number}: expected a string, got {type(text).__name__}")
        columns = self.tokenizer(
            list(texts), add_special_tokens=False, truncation=False, return_offsets_mapping=True
        )
        return list(map(_Text, texts, columns["input_ids"], columns["offset_mapping"]))

    def _rows(self, prompt: _Text, text: _Text) -> Iterator[_Row]:
        """Frame a prompt with each window of a text.

        A prompt has at most half of the room; of a longer one the middle is left out, where the
        subject is, whether it comes first or last.
        """
        longest, length = self.room // 2, len(prompt.ids)
        head = longest // 2 if length > longest else length
        tail = longest - head if length > longest else 0
        asked, asked_offsets = prompt.taken([*range(head), *range(length - tail, length)])
        has_types = "token_type_ids" in self.tokenizer.model_input_names
        for first, last in cut_windows(text.text, text.offsets, self.room - len(asked)):
            window, offsets = text.taken(range(first, last))
            ids = self.tokenizer.build_inputs_with_special_tokens(asked, window)
            types = self.tokenizer.create_token_type_ids_from_sequences(asked, window)
            kept = np.array(types, np.int32) if has_types else None
            yield _Row(Features(np.array(ids, np.int32), kept, 0), asked_offsets, offsets)

    def _compute(self, rows: Sequence[_Row]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return both probabilities of each token of each row, float [L]; longest rows first."""
        order = sorted(range(len(rows)), key=lambda number: -len(rows[number].features))
        results: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for begin in range(0, len(order), self.batch_size):
            numbers = order[begin : begin + self.batch_size]
            start, end = self.scores(self._columns([rows[number] for number in numbers]))
            for place, number in enumerate(numbers):
                length = len(rows[number].features)
                results[number] = start[place, :length], end[place, :length]
        return [results[number] for number in range(len(rows))]

    def _columns(self, rows: Sequence[_Row]) -> dict[str, np.ndarray]:
        """Pad rows; int64 [B, L] each."""
        columns = pad([row.features for row in rows], self.tokenizer.pad_token_id)
        if not self.attend_to_cls:
            columns["attention_mask"][:, 0] = 0
        return {**columns}

    def _found_in_text(
        self, row: _Row, text: _Text, start: np.ndarray, end: np.ndarray
    ) -> Iterator[Answer]:
        """Yield the answers of a row that are in its text."""
        stop = len(row.features) - 1
        window = slice(stop - len(row.text), stop)
        for first, last, probability in find_spans(start[window], end[window], self.position_prob):
            found, begin, after = text.answer(row.text[first], row.text[last])
            if found:
                yield {"text": found, "start": begin, "end": after, "probability": probability}

    def _chosen(
        self, row: _Row, prompt: _Text, start: np.ndarray, end: np.ndarray
    ) -> list[tuple[str, float]]:
        """Return the option that a row chooses and its probability, if it has options."""
        begin = options_at(prompt.text)
        part = slice(1, 1 + len(row.prompt))
        found = [
            (prompt.answer(row.prompt[first], row.prompt[last])[0].strip("[], "), probability)
            for first, last, probability in find_spans(start[part], end[part], self.position_prob)
            if row.prompt[first][0] >= begin
        ]
        return sorted(filter(itemgetter(0), found), key=itemgetter(1))[-1:]


def model_scores(model: ForExtraction) -> Scores:
    """Return the function that computes a model's probabilities of arrays."""

    def scores(columns: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        tensors = {name: paddle.to_tensor(column) for name, column in columns.items()}
        with paddle.no_grad():
            start, end = model(**tensors).to_tuple()[:2]
        return start.astype("float32").numpy(), end.astype("float32").numpy()

    return scores
