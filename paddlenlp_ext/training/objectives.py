"""What pretraining minimises: masked tokens with sentence pairs, or replaced tokens.

Masked tokens (Devlin et al., 2018, arXiv 1810.04805, section 3.1): the loss is the sum of the mean
over the masked tokens and the mean over the pairs.

Replaced tokens (Clark et al., 2020, arXiv 2003.10555, section 2): a generator fills masked tokens,
and a discriminator finds them; the loss is the generator's mean over the masked tokens plus fifty
times the discriminator's mean over all tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.generator_discriminator import ReplacedTokensOutput
from paddlenlp_ext.pretraining.bert_shards import NO_LABEL
from paddlenlp_ext.pretraining.masking import MaskingVocabulary, dynamic_masking
from paddlenlp_ext.pretraining.shard_set import Rows, ShardSet
from paddlenlp_ext.pretraining.text_shards import LAYOUT, TextSettings, check_rows, make_shard
from paddlenlp_ext.process.signals import raise_pending
from paddlenlp_ext.process.streams import progress_bar
from paddlenlp_ext.tasks.batches import Batch, host_tensors
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.losses import count_labels, cross_entropy
from paddlenlp_ext.training.pretrain import Sums
from paddlenlp_ext.training.settings import RunSettings

PARTS = ("mlm", "nsp")  # masked tokens, next sentence
LARGEST_EXPONENT = 700.0  # whose power of e is a float
INPUTS = ("input_ids", "token_type_ids", "attention_mask", "masked_positions")


@dataclass(frozen=True)
class MaskedTensors:
    """Makes the tensors of rows of BERT's shards, under the names that models take.

    `input_ids`, `token_type_ids`, `attention_mask`: int64 [B, L], with the L of the longest row.
    `masked_positions`: places of masked tokens in the flattened [B · L]; int64 [M]. `labels`: what
    stood there; int64 [M]. `next_sentence_label`: 1 where the second text is random; int64 [B].

    Attributes:
        max_predictions: Masked tokens of a row that are used, at most; the others stay hidden.
        pad_to_multiple_of: What L and M are rounded up to; added labels are ignored.
    """

    max_predictions: int
    pad_to_multiple_of: int = 1

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows; the masks are those of the shard in every epoch."""
        columns = rows.columns
        mask = columns["input_mask"]
        length = min(self._rounded(int(mask.sum(1).max(initial=0))), mask.shape[1])
        places = columns["masked_lm_positions"][:, : self.max_predictions]
        # The list of a row ends at the first 0, which is the place of the first special token.
        listed = np.logical_and.accumulate(places > 0, axis=1)
        row = np.nonzero(listed)[0]
        count = self._rounded(max(1, len(row)))  # never none: Paddle has no loss of nothing
        positions, labels = np.zeros(count, np.int64), np.full(count, IGNORED, np.int64)
        positions[: len(row)] = row * length + places[listed]
        labels[: len(row)] = columns["masked_lm_ids"][:, : self.max_predictions][listed]
        pairs = columns["next_sentence_labels"].astype(np.int64)
        arrays = {
            "input_ids": columns["input_ids"][:, :length].astype(np.int64),
            "token_type_ids": columns["segment_ids"][:, :length].astype(np.int64),
            "attention_mask": mask[:, :length].astype(np.int64),
            "masked_positions": positions,
            "labels": labels,
            "next_sentence_label": np.where(pairs == NO_LABEL, IGNORED, pairs),
        }
        return host_tensors(arrays)

    def _rounded(self, size: int) -> int:
        return -(-size // self.pad_to_multiple_of) * self.pad_to_multiple_of


@dataclass(frozen=True)
class MaskedLM:
    """The objective of BERT's pretraining.

    Attributes:
        pairs: Whether rows are pairs of texts; otherwise masked tokens are all that is predicted.
    """

    pairs: bool = True

    def count(self, batch: Batch) -> list[int]:
        """Count masked tokens, and pairs."""
        return [count_labels(labels) for labels in self._labels(batch.host)]

    def losses(self, model: nn.Layer, batch: Batch) -> list[Tensor]:
        """Compute the losses of masked tokens, float32 [M], and of pairs, float32 [B]."""
        pairs = zip(self._logits(model, batch), self._labels(batch), strict=True)
        return [cross_entropy(logits, labels) for logits, labels in pairs]

    def score(self, model: nn.Layer, batch: Batch) -> Sums:
        """Compute sums of losses, right predictions and labels."""
        sums = {}
        parts = zip(self._parts, self._logits(model, batch), self._labels(batch), strict=True)
        for name, logits, labels in parts:
            sums[f"{name} loss"] = float(cross_entropy(logits, labels).sum())
            sums[f"{name} right"] = float((logits.argmax(-1) == labels).sum())
            sums[f"{name} labels"] = count_labels(labels)
        return sums

    def summarize(self, sums: Sums) -> tuple[float, dict[str, float]]:
        """Turn sums into the loss, the accuracies and the perplexity of masked tokens.

        A model is judged by the first metric, the accuracy of masked tokens.
        """
        counts = {part: max(1, sums[f"{part} labels"]) for part in self._parts}
        losses = {part: sums[f"{part} loss"] / count for part, count in counts.items()}
        metrics = {f"{part} acc": sums[f"{part} right"] / count for part, count in counts.items()}
        metrics["perplexity"] = math.exp(min(losses["mlm"], LARGEST_EXPONENT))
        return sum(losses.values()), metrics

    @property
    def _parts(self) -> tuple[str, ...]:
        return PARTS[: 1 + self.pairs]

    def _labels(self, batch: Mapping[str, Tensor]) -> list[Tensor]:
        return [batch["labels"], batch["next_sentence_label"]][: 1 + self.pairs]

    def _logits(self, model: nn.Layer, batch: Batch) -> list[Tensor]:
        output = model(**{name: batch.inputs[name] for name in INPUTS})
        logits = [output.prediction_logits, output.seq_relationship_logits]
        return logits[: 1 + self.pairs]


@dataclass(frozen=True)
class MaskedTexts:
    """Makes the tensors of rows of text, with other masks in each epoch.

    `input_ids`: some of them hidden; `attention_mask`; `generator_labels`: what stood there. All
    int64 [B, L], with the L of the longest row.

    Attributes:
        vocabulary: Of the ids.
        pad_token_id: What fills up shorter rows.
        probability: To be masked.
        seed: Of the masks.
        pad_to_multiple_of: What L is rounded up to.
    """

    vocabulary: MaskingVocabulary
    pad_token_id: int
    probability: float = 0.15
    seed: int = 42
    pad_to_multiple_of: int = 1

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, probability: float, seed: int, pad_to_multiple_of: int
    ) -> MaskedTexts:
        """Mask with the tokens of a tokenizer."""
        vocabulary = MaskingVocabulary.of(tokenizer)
        return cls(vocabulary, tokenizer.pad_token_id, probability, seed, pad_to_multiple_of)

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows."""
        lengths = rows.columns["length"]
        longest = -(-int(lengths.max(initial=0)) // self.pad_to_multiple_of)
        length = min(longest * self.pad_to_multiple_of, rows.columns["input_ids"].shape[1])
        mask = np.arange(length) < lengths[:, None]
        ids = np.where(mask, rows.columns["input_ids"][:, :length], self.pad_token_id)
        hidden, chosen = ids, np.zeros_like(mask)
        if len(ids):
            hidden, chosen = dynamic_masking(
                ids,
                rows.numbers,
                self.vocabulary,
                probability=self.probability,
                seed=self.seed,
                epoch=epoch,
            )
        arrays = {
            "input_ids": hidden,
            "attention_mask": mask,
            "generator_labels": np.where(chosen, ids, IGNORED),
        }
        return host_tensors({name: array.astype(np.int64) for name, array in arrays.items()})


def open_corpus(
    corpus: Mapping[str, Sequence[Path]],
    form: TextSettings,
    tokenizer: Tokenizer,
    config: ModelConfig,
    settings: RunSettings,
) -> dict[str, ShardSet]:
    """Open the shards of a corpus; the first process makes those that are not there yet.

    Args:
        corpus: Files by the name of the split.
        form: How rows are made.
        tokenizer: The model's.
        config: The model's.
        settings: Of the run, in whose folder the shards are: `shards/train.hdf5`, ...

    Raises:
        UserError: Rows are longer than the model takes, the corpus cannot be used, or the shards
            cannot be written.
    """
    if form.max_seq_length > (longest := config.max_position_embeddings):
        raise UserError(
            f"`max_seq_length` {form.max_seq_length}: the model takes {longest} at most"
        )
    paths = {split: Path(settings.output_dir) / f"shards/{split}.hdf5" for split in corpus}
    for split, files in corpus.items() if distributed.rank() == 0 else ():
        total = sum(file.stat().st_size for file in files)
        with progress_bar(total, desc=split, unit="B", unit_scale=True) as bar:

            def advance(size: int, bar: Any = bar) -> None:
                raise_pending()
                bar.update(size)

            make_shard(files, tokenizer, paths[split], form, on_progress=advance)
    distributed.barrier()
    check = check_rows(config.vocab_size)
    limits = {"train": settings.max_train_samples}
    return {
        split: ShardSet([path], LAYOUT, check, limit=limits.get(split, settings.max_eval_samples))
        for split, path in paths.items()
    }


@dataclass(frozen=True)
class ReplacedTokens:
    """The objective: both nets at once, on one batch.

    Attributes:
        generator_weight: Of the generator's loss; a model's `config.gen_weight`.
        discriminator_weight: Of the discriminator's; `config.disc_weight`.
        seed: Of the generator's tokens when it is judged; in training the update seeds them.
    """

    generator_weight: float = 1.0
    discriminator_weight: float = 50.0
    seed: int = 42

    def count(self, batch: Batch) -> list[int]:
        """Count masked tokens, and all tokens."""
        tokens = batch.host["attention_mask"].numpy()
        return [count_labels(batch.host["generator_labels"]), int(tokens.sum())]

    def losses(self, model: nn.Layer, batch: Batch) -> list[Tensor]:
        """Compute the weighted losses of masked tokens, float32 [M], and of all, float32 [B, L]."""
        generator, discriminator = _losses(model(**batch), batch)
        return [self.generator_weight * generator, self.discriminator_weight * discriminator]

    def score(self, model: nn.Layer, batch: Batch) -> Sums:
        """Compute sums of losses, right predictions and labels of both nets."""
        distributed.seed_everything(self.seed, 0, int(batch.rows[0]))
        output = model(**batch)
        generator, discriminator = _losses(output, batch)
        real = batch["attention_mask"].numpy() == 1
        replaced = output.discriminator_labels.numpy() == 1
        found = output.logits.numpy() > 0
        labels = output.generator_labels.numpy()
        filled = output.generator_logits.argmax(-1).numpy()
        return {
            "generator loss": float(generator.sum()),
            "discriminator loss": float(discriminator.sum()),
            "masked": int((labels != IGNORED).sum()),
            "masked right": int((filled == labels).sum()),
            "tokens": int(real.sum()),
            "tokens right": int((real & (found == replaced)).sum()),
            "replaced": int(replaced.sum()),
            "replaced right": int((found & replaced).sum()),
        }

    def summarize(self, sums: Sums) -> tuple[float, dict[str, float]]:
        """Turn sums into the loss and the metrics; a model is judged by `discriminator acc`.

        `generator loss` is that of a masked token in nats, without its weight; `discriminator acc`
        counts all tokens, and `always original acc` is what calling every token original achieves.
        """
        masked, tokens = max(1, sums["masked"]), max(1, sums["tokens"])
        generator, discriminator = (
            sums["generator loss"] / masked,
            sums["discriminator loss"] / tokens,
        )
        return self.generator_weight * generator + self.discriminator_weight * discriminator, {
            "discriminator acc": sums["tokens right"] / tokens,
            "always original acc": 1 - sums["replaced"] / tokens,
            "replaced acc": sums["replaced right"] / max(1, sums["replaced"]),
            "generator acc": sums["masked right"] / masked,
            "generator loss": generator,
            "discriminator loss": discriminator,
        }


def _losses(output: ReplacedTokensOutput, batch: Batch) -> tuple[Tensor, Tensor]:
    """Losses of masked tokens, float32 [M], and of all tokens, float32 [B, L], 0 for padding."""
    return cross_entropy(output.generator_logits, output.generator_labels), (
        F.binary_cross_entropy_with_logits(
            output.logits.astype("float32"),
            output.discriminator_labels.astype("float32"),
            batch["attention_mask"].astype("float32"),
            reduction="none",
        )
    )
