"""How well a model aligns languages: sentences found by translations, masked tokens filled in.

Retrieval is Tatoeba's task in XTREME (Hu et al., 2020, arXiv 2003.11080): a sentence is the mean of
a layer's states over its tokens, special ones among them, and is found by the sentence of the other
language whose mean has the greatest cosine with its own, in both directions. What is found is right
if it reads as the translation does, wherever in the file it stands: some sentences are there twice.

Masked tokens: some tokens of a sentence are all replaced by the mask token, and are predicted from
the sentence alone, then from the sentence and its translation behind it. What the translation adds
is what the model knows of both languages at once (Lample and Conneau, 2019, arXiv 1901.07291).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.inference.runners import exported_path
from paddlenlp_ext.models.auto import family_of, model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.heads import ForMaskedLM, HeadModel
from paddlenlp_ext.presets.families import FAMILIES
from paddlenlp_ext.pretraining.cross_attention import places_of, restarted_positions
from paddlenlp_ext.process.devices import check_device
from paddlenlp_ext.process.streams import progress_bar
from paddlenlp_ext.settings import Settings
from paddlenlp_ext.tasks.batches import pad
from paddlenlp_ext.tasks.features import Features
from paddlenlp_ext.tokenizers.auto import AutoTokenizer
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.weights import folders

Vectors = NDArray[np.float32]  # [N, H]
Sentences = Sequence[str]

BLOCK = 1024  # sentences whose cosines with all others are in memory at once
SCORING = ("ForMaskedLM", "ForPreTraining", "ForPretraining")  # classes with a head for words
PREFIX = "lm_head."  # of its weights


@dataclass(frozen=True, kw_only=True)
class AlignmentSettings(Settings):
    """How it is measured.

    Attributes:
        layers: Whose states are compared: 0 for the embeddings, 1 for the first; None for all.
        batch_size: Sentences that are computed together.
        max_length: Tokens of a sentence that are read; as many as the model reads if None.
        mlm_probability: Part of a sentence's tokens that is masked, at least one; 0 for no masks.
        seed: Of the masks.
        continue_positions: Whether a translation counts its positions on from the sentence before
            it, or from the beginning again, as pretraining on pairs does.
    """

    layers: Sequence[int] | None = None
    batch_size: int = 32
    max_length: int | None = None
    mlm_probability: float = 0.15
    seed: int = 42
    continue_positions: bool = False


@dataclass(frozen=True)
class Retrieval:
    """Parts of the sentences that are found by their translation.

    Attributes:
        forward: Of the second language, by a sentence of the first.
        backward: Of the first, by a sentence of the second.
    """

    forward: float
    backward: float

    @property
    def mean(self) -> float:
        """Of both directions."""
        return (self.forward + self.backward) / 2


@dataclass(frozen=True)
class Masked:
    """Masked tokens of one language.

    Attributes:
        tokens: How many there are.
        alone: Part that is filled in right from the sentence itself.
        beside: Part that is, with the translation behind it.
    """

    tokens: int
    alone: float
    beside: float


@dataclass(frozen=True)
class Alignment:
    """What a model achieves on some pairs.

    Attributes:
        pairs: How many there are.
        retrieval: By layer.
        masked: Of the first and of the second language; empty without a trained head.
        too_long: Pairs that are too long for the masks together.
    """

    pairs: int
    retrieval: Mapping[int, Retrieval]
    masked: tuple[Masked, ...] = ()
    too_long: int = 0


class Aligner:
    """A model whose alignment is measured.

    Args:
        model: A folder, a preset or a repository.
        settings: How it is measured.
        device: "cpu", "gpu", ...; by default Paddle's choice.

    Attributes:
        layers: Whose states are compared.
        fills: Whether the model has a trained head for masked tokens.

    Raises:
        UserError: There is no such model, or it has no such layers or not as many positions.
        DeviceError: The device is not there.
    """

    def __init__(
        self,
        model: str | Path | Source,
        settings: AlignmentSettings | None = None,
        device: str | None = None,
    ) -> None:
        if device is not None:
            check_device(device)
            paddle.set_device(device)
        self.settings = settings = settings or AlignmentSettings()
        self.model = _load(model)
        self.tokenizer: Tokenizer = AutoTokenizer.from_pretrained(model)
        config, name = self.model.config, str(model)
        config.require_rows(len(self.tokenizer))
        self.backbone = self.model.backbone if isinstance(self.model, HeadModel) else self.model
        longest = min(config.max_length, self.tokenizer.model_max_length)
        if settings.max_length is not None and not 2 < settings.max_length <= longest:
            raise UserError(
                f"`max_length` {settings.max_length}: {name} reads 3 to {longest} tokens"
            )
        self.max_length = settings.max_length or longest
        last = config.num_hidden_layers
        self.layers = [*range(last + 1)] if settings.layers is None else [*settings.layers]
        for layer in self.layers:
            if not 0 <= layer <= last:
                raise UserError(
                    f"`layers` {layer}: {name} has the layers 1 to {last}, and 0 for the embeddings"
                )
        report = self.model.load_report
        self.fills = (
            settings.mlm_probability > 0
            and isinstance(self.model, ForMaskedLM)
            and self.tokenizer.mask_token_id is not None
            and not any(one.startswith(PREFIX) for one in (report.missing if report else ()))
        )

    def measure(self, first: Sentences, second: Sentences) -> Alignment:
        """Measure on pairs.

        Args:
            first: Sentences of a language.
            second: Their translations, one for each.
        """
        passes = 2 + 2 * self.fills
        with progress_bar(passes * len(first), desc="aligning", unit="sentence") as bar:
            ours, theirs = (self._vectors(one, bar) for one in (first, second))
            retrieval = {
                layer: Retrieval(
                    accuracy(ours[at], theirs[at], second), accuracy(theirs[at], ours[at], first)
                )
                for at, layer in enumerate(self.layers)
            }
            if not self.fills:
                return Alignment(len(first), retrieval)
            ahead, too_long = self._masked(first, second, 0, bar)
            back, _ = self._masked(second, first, 1, bar)
        return Alignment(len(first), retrieval, (ahead, back), too_long)

    def _vectors(self, sentences: Sentences, bar: Any) -> NDArray[np.float32]:
        """Compute the means of all layers that are asked for; float32 [layers, N, H]."""
        width = self.model.config.hidden_size
        means = np.empty((len(self.layers), len(sentences), width), np.float32)
        features = self._features(sentences)
        for numbers in self._batches(features):
            inputs = self._tensors([features[number] for number in numbers])
            mask = inputs["attention_mask"].astype("float32")
            weights = (mask / mask.sum(1, keepdim=True)).unsqueeze(1)  # [B, 1, L]
            with paddle.no_grad():
                states = self.backbone.run(**inputs, output_hidden_states=True).hidden_states
                for at, layer in enumerate(self.layers):
                    mean = paddle.bmm(weights, states[layer].astype("float32"))
                    means[at, numbers] = mean.squeeze(1).numpy()
            bar.update(len(numbers))
        return means

    def _masked(
        self, sentences: Sentences, others: Sentences, side: int, bar: Any
    ) -> tuple[Masked, int]:
        """Fill in masked tokens of sentences; also say how many pairs are too long."""
        alone, beside = self._features(sentences), self._features(sentences, others)
        fits = [number for number, one in enumerate(beside) if len(one) <= self.max_length]
        places = {
            number: self._choose(alone[number].input_ids, (self.settings.seed, side, number))
            for number in fits
        }
        right = [0, 0]
        for numbers in self._batches([beside[number] for number in fits]):
            of_batch = [fits[number] for number in numbers]
            chosen = [places[number] for number in of_batch]
            lengths = np.array([len(alone[number]) for number in of_batch])
            for form, features in enumerate((alone, beside)):
                rows = [features[number] for number in of_batch]
                right[form] += self._right(rows, chosen, lengths)
            bar.update(len(numbers))
        tokens = sum(map(len, places.values()))
        part = max(1, tokens)
        return Masked(tokens, right[0] / part, right[1] / part), len(sentences) - len(fits)

    def _choose(self, ids: NDArray[np.int32], seed: tuple[int, ...]) -> NDArray[np.int64]:
        """Choose tokens of a sentence, the same ones in every run and whatever is beside it."""
        ordinary = np.flatnonzero(~np.isin(ids, self.tokenizer.all_special_ids))
        count = min(len(ordinary), max(1, round(len(ordinary) * self.settings.mlm_probability)))
        # RandomState promises the same numbers in every release of NumPy.
        random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed)))
        return np.sort(random.permutation(ordinary)[:count])

    def _right(
        self,
        features: Sequence[Features],
        places: Sequence[NDArray[np.int64]],
        lengths: NDArray[np.int64],
    ) -> int:
        """Mask places of rows, and count those that are filled in right.

        Args:
            features: Sentences, alone or with another behind them.
            places: What is masked.
            lengths: Tokens of the sentences; int64 [N].
        """
        inputs = self._tensors(features)
        length = inputs["input_ids"].shape[1]
        if not self.settings.continue_positions:
            sides = places_of(np.array([*map(len, features)]), lengths, length)
            positions = restarted_positions(sides, self.tokenizer.assembly.separators - 1)
            inputs["position_ids"] = paddle.to_tensor(positions + self.backbone.first_position_id)
        flat = np.concatenate([row * length + one for row, one in enumerate(places)])
        if not len(flat):
            return 0
        ids = inputs["input_ids"].numpy().reshape(-1)
        labels = ids[flat]
        ids[flat] = self.tokenizer.mask_token_id
        inputs["input_ids"] = paddle.to_tensor(ids.reshape(-1, length))
        with paddle.no_grad():
            logits = self.model.run(**inputs, masked_positions=paddle.to_tensor(flat)).logits
        return int((logits.argmax(-1).numpy() == labels).sum())

    def _features(self, sentences: Sentences, others: Sentences | None = None) -> list[Features]:
        """Tokenize sentences, cut to what is read; pairs are not cut."""
        encoded = self.tokenizer(
            [*sentences],
            None if others is None else [*others],
            truncation=others is None,
            max_length=self.max_length if others is None else None,
            return_attention_mask=False,
            verbose=False,
        )
        kinds = encoded.get("token_type_ids") or [None] * len(sentences)
        return [
            Features(np.asarray(ids, np.int32), None if kind is None else np.asarray(kind), 0)
            for ids, kind in zip(encoded["input_ids"], kinds, strict=True)
        ]

    def _batches(self, features: Sequence[Features]) -> list[list[int]]:
        """Number rows of like length together, the longest first."""
        order = sorted(range(len(features)), key=lambda number: -len(features[number]))
        size = self.settings.batch_size
        return [order[start : start + size] for start in range(0, len(order), size)]

    def _tensors(self, features: Sequence[Features]) -> dict[str, paddle.Tensor]:
        padded = pad(features, self.tokenizer.pad_token_id)
        return {name: paddle.to_tensor(array) for name, array in padded.items()}


def accuracy(queries: Vectors, answers: Vectors, sentences: Sentences) -> float:
    """Return the part of the queries whose nearest answer, by cosine, is the right sentence.

    Args:
        queries: float32 [N, H].
        answers: float32 [N, H]; the right one has the number of its query.
        sentences: What the answers stand for.
    """
    known: dict[str, int] = {}
    numbers = np.array([known.setdefault(one.strip(), len(known)) for one in sentences])
    answers = _unit(answers)
    right = 0
    for start in range(0, len(queries), BLOCK):
        block = slice(start, start + BLOCK)
        nearest = (_unit(queries[block]) @ answers.T).argmax(axis=1)
        right += int((numbers[nearest] == numbers[block]).sum())
    return right / max(1, len(queries))


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return unit


def _load(model: str | Path | Source) -> Model:
    """Load a model with its head for masked tokens, where its folder does not say it has none."""
    if not isinstance(model, Source) and (exported := exported_path(model)):
        raise UserError(
            f"{exported}: is an exported program, which has no states of layers; give the folder "
            "of its model"
        )
    source = resolve(model)
    family = family_of(source)
    row = FAMILIES[family]
    classes = [] if source.preset else folders.read_config(source).get("architectures") or []
    scores = row.prefix + "ForMaskedLM" in row.modules()
    scores = scores and (not classes or str(classes[0]).endswith(SCORING))
    found = model_class(family, "ForMaskedLM" if scores else "Model").from_pretrained(source)
    found.eval()
    return found
