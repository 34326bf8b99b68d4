"""Pipelines that write: words for masks, what follows a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle

from paddlenlp_ext.errors import InputError, UserError, shown
from paddlenlp_ext.inference.base import Pipeline, Row, require_whole, text_of
from paddlenlp_ext.inference.runners import Loaded, Outputs
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.heads import ForMaskedLM
from paddlenlp_ext.tasks.batches import pad
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.tasks.predictions import best_first, probabilities


@dataclass(frozen=True, kw_only=True)
class FillMaskOptions:
    """What a call may change.

    Attributes:
        top_k: Words of each mask, the most probable ones.
        targets: Choose among these words only; each must be one token.
    """

    top_k: int = 5
    targets: Sequence[str] | str | None = None

    def __post_init__(self) -> None:
        require_whole("top_k", self.top_k, 1)


class FillMask(Pipeline[FillMaskOptions]):
    """Finds words for masks: `[{"score": 0.4, "token": 3000, "token_str": …, "sequence": …}, …]`.

    A sample is a text with the tokenizer's mask token in it; several masks are answered by a list
    for each of them, in which the other masks stay.
    """

    head = "ForMaskedLM"
    options_class = FillMaskOptions

    def rows(self, samples: Sequence[Any], options: FillMaskOptions) -> list[Row]:
        """Tokenize, and find the masks."""
        texts = [text_of(sample) for sample in samples]
        rows = []
        for number, one in enumerate(self.features([(text, None) for text in texts])):
            masks = np.flatnonzero(one.input_ids == self.tokenizer.mask_token_id)
            if not len(masks):
                raise InputError(
                    f"expected {self.tokenizer.mask_token} within {self.max_length} tokens, got "
                    f"{shown(texts[number])}"
                )
            rows.append(Row(one, number, masks))
        return rows

    def compute(self, rows: Sequence[Row], options: FillMaskOptions) -> list[Any]:
        """Score the vocabulary for the masks; a program can do it for all tokens only."""
        model = self.loaded.model
        if not isinstance(model, ForMaskedLM):
            return super().compute(rows, options)
        inputs = pad([row.features for row in rows], self.tokenizer.pad_token_id)
        length = inputs["input_ids"].shape[1]
        places = [number * length + row.origin for number, row in enumerate(rows)]
        with paddle.no_grad():
            logits = model.run(
                masked_positions=paddle.to_tensor(np.concatenate(places)),
                **{name: paddle.to_tensor(values) for name, values in inputs.items()},
            ).logits.astype("float32")
        ends = np.cumsum([len(row.origin) for row in rows])[:-1]
        of_rows = np.split(logits.numpy(), ends)
        return [self._words(row, one, options) for row, one in zip(rows, of_rows, strict=True)]

    def read(self, row: Row, outputs: Outputs, options: FillMaskOptions) -> list[Any]:
        """Keep the best words of each mask."""
        return self._words(row, outputs[0][row.origin], options)

    def _words(self, row: Row, logits: Any, options: FillMaskOptions) -> list[Any]:
        """Choose the best words of each mask; logits [M, V]."""
        among = self._targets(options)
        answers = []
        for place, one in zip(row.origin, logits, strict=True):
            scores = probabilities(one, "softmax")
            chosen = np.arange(len(scores)) if among is None else among
            best = [int(chosen[n]) for n in best_first(scores[chosen], options.top_k)]
            answers.append(
                [self._filled(row, place, token, float(scores[token])) for token in best]
            )
        return answers

    def answer(self, sample: Any, found: list[Any], options: FillMaskOptions) -> list[Any]:
        """Return the words of the mask, or a list of them for each mask."""
        of_masks: list[Any] = found[0]
        return of_masks if len(of_masks) > 1 else of_masks[0]

    def _filled(self, row: Row, place: int, token: int, score: float) -> dict[str, Any]:
        ids = row.features.input_ids.copy()
        ids[place] = token
        return {
            "score": score,
            "token": token,
            "token_str": self.tokenizer.decode([token]),
            "sequence": self.tokenizer.decode(ids, skip_special_tokens=len(row.origin) == 1),
        }

    def _targets(self, options: FillMaskOptions) -> Any:
        """Return the ids of the words to choose among; None for all."""
        if options.targets is None:
            return None
        words = [options.targets] if isinstance(options.targets, str) else options.targets
        found: list[int] = []
        for word in words:
            number = self.tokenizer.get_vocab().get(word)
            ids = [number] if number is not None else self.tokenizer(
                word, add_special_tokens=False, verbose=False
            ).input_ids  # fmt: skip
            if len(ids) != 1:
                raise UserError(f"`targets` {shown(word)}: expected one token, got {len(ids)}")
            found += ids
        return np.unique(found)


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """What a call may change; the rest as `ForCausalLM.generate` has it.

    Attributes:
        max_new_tokens: At most so many tokens are added.
        do_sample: Draw by probability; else the most probable token each time.
        temperature: Divides the scores before drawing.
        top_k: Draw among the best k only; 0 for all.
        top_p: Draw among the fewest that have this probability together.
        eos_token_id: Ends a text; -1 for none.
        return_full_text: Whether the text to continue is a part of the answer.
    """

    max_new_tokens: int = 20
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    eos_token_id: int | None = None
    return_full_text: bool = True

    def __post_init__(self) -> None:
        require_whole("top_k", self.top_k, 0)
        require_whole("max_new_tokens", self.max_new_tokens, 1)


class TextGeneration(Pipeline[GenerationOptions]):
    """Continues texts: `[{"generated_text": "…"}]`.

    A sample is a text. It is begun as in pretraining and not ended: without the separator that a
    whole row has. A text that is too long to be continued loses its beginning.
    """

    head = "ForCausalLM"
    options_class = GenerationOptions

    def __init__(self, loaded: Loaded, **options: Any) -> None:
        if not isinstance(loaded.model, ForCausalLM):
            raise UserError(
                f"{loaded.name}: an exported program cannot continue texts; give the folder of a "
                "model with a head for it"
            )
        super().__init__(loaded, **options)
        self.model = loaded.model

    def rows(self, samples: Sequence[Any], options: GenerationOptions) -> list[Row]:
        """Tokenize, leaving room for what is to come."""
        room = self.max_length - options.max_new_tokens
        if room < 1:
            raise UserError(
                f"`max_new_tokens` {options.max_new_tokens}: expected 1 to {self.max_length - 1}, "
                f"as {self.loaded.name} has {self.max_length} positions"
            )
        texts = [text_of(sample) for sample in samples]
        encoded = self.tokenizer(
            texts, add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        first = [self.tokenizer.cls_token_id]
        return [
            Row(Features(np.asarray([*first, *ids[max(len(ids) - room + 1, 0) :]]), None, 0), n)
            for n, ids in enumerate(encoded["input_ids"])
        ]

    def compute(self, rows: Sequence[Row], options: GenerationOptions) -> list[Any]:
        """Continue a batch; padding is in front, where it shifts nothing."""
        length = max(len(row.features) for row in rows)
        ids = np.full((len(rows), length), self.tokenizer.pad_token_id, np.int64)
        mask = np.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, length - len(row.features) :] = row.features.input_ids
            mask[number, length - len(row.features) :] = 1
        generated = self.model.generate(
            paddle.to_tensor(ids),
            paddle.to_tensor(mask),
            max_new_tokens=options.max_new_tokens,
            do_sample=options.do_sample,
            temperature=options.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            eos_token_id=options.eos_token_id,
        ).numpy()
        return [self._texts(row, one[length:]) for row, one in zip(rows, generated, strict=True)]

    def read(self, row: Row, outputs: Outputs, options: GenerationOptions) -> Any:
        """Never called: `compute` reads by itself."""
        raise NotImplementedError

    def answer(self, sample: Any, found: list[Any], options: GenerationOptions) -> list[Any]:
        """Put the text and its continuation together."""
        (new,) = found
        return [{"generated_text": sample + new if options.return_full_text else new}]

    def _texts(self, row: Row, new: Any) -> str:
        """Write what was added, as it reads behind the text."""
        before = self.tokenizer.decode(row.features.input_ids, skip_special_tokens=True)
        ids = [*row.features.input_ids.tolist(), *new.tolist()]
        return self.tokenizer.decode(ids, skip_special_tokens=True)[len(before) :]
