"""BERT's pretraining: predict masked tokens, and whether the second text follows the first.

Devlin et al., 2018, arXiv 1810.04805, section 3.1: the loss is the sum of the mean over the masked
tokens and the mean over the pairs.
"""

import math
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import Tensor, nn

from paddlenlp_ext.nn.heads import IGNORED
from paddlenlp_ext.pretraining.bert_shards import NO_LABEL
from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.training.losses import count_labels, cross_entropy
from paddlenlp_ext.training.pretrain import Sums

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
        return {name: paddle.to_tensor(array) for name, array in arrays.items()}

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
        return [count_labels(labels) for labels in self._labels(batch)]

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

    def _labels(self, batch: Batch) -> list[Tensor]:
        return [batch["labels"], batch["next_sentence_label"]][: 1 + self.pairs]

    def _logits(self, model: nn.Layer, batch: Batch) -> list[Tensor]:
        output = model(**{name: batch[name] for name in INPUTS})
        logits = [output.prediction_logits, output.seq_relationship_logits]
        return logits[: 1 + self.pairs]
