"""Losses of pretraining as PaddleNLP's scripts compute them from bare scores."""

from __future__ import annotations

from typing import Any

from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.metrics import IGNORED

NO_LABEL = -1  # in the pretraining of BERT and ERNIE


class BertPretrainingCriterion(nn.Layer):
    """Masked tokens, each divided by a scale, and the next sentence.

    Args:
        vocab_size: Not needed; PaddleNLP's callers give it.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size

    def forward(
        self,
        prediction_scores: Tensor,
        seq_relationship_score: Tensor,
        masked_lm_labels: Tensor,
        next_sentence_labels: Tensor,
        masked_lm_scale: Tensor | float,
    ) -> Tensor:
        """Add the two losses.

        Args:
            prediction_scores: float [M, V] or [B, L, V].
            seq_relationship_score: float [B, 2].
            masked_lm_labels: int64, as the scores without their last axis, or with one of 1; -1
                where none.
            next_sentence_labels: int64 [B] or [B, 1].
            masked_lm_scale: What the losses of tokens are divided by, mostly their number.
        """
        tokens = F.cross_entropy(
            prediction_scores, masked_lm_labels, reduction="none", ignore_index=NO_LABEL
        )
        sentences = F.cross_entropy(seq_relationship_score, next_sentence_labels.reshape([-1]))
        return (tokens / masked_lm_scale).sum() + sentences


class ErniePretrainingCriterion(nn.Layer):
    """Masked tokens, by a mean over all of them, and the next sentence.

    Args:
        with_nsp_loss: Whether to return the loss of the next sentence too.
    """

    def __init__(self, with_nsp_loss: bool = True) -> None:
        super().__init__()
        self.with_nsp_loss = with_nsp_loss

    def forward(
        self,
        prediction_scores: Tensor,
        seq_relationship_score: Tensor,
        masked_lm_labels: Tensor,
        next_sentence_labels: Any = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return the loss of tokens, or both; arguments as in `BertPretrainingCriterion`."""
        tokens = F.cross_entropy(
            prediction_scores, masked_lm_labels, reduction="none", ignore_index=NO_LABEL
        ).mean()
        if not self.with_nsp_loss:
            return tokens
        return tokens, F.cross_entropy(seq_relationship_score, next_sentence_labels.reshape([-1]))


class ConvBertPretrainingCriterion(nn.Layer):
    """The weighted sum of a generator's and a discriminator's loss.

    Args:
        vocab_size: `V`.
        gen_weight: Weight of the generator's loss.
        disc_weight: Weight of the discriminator's.
    """

    def __init__(self, vocab_size: int, gen_weight: float, disc_weight: float) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.gen_weight = gen_weight
        self.disc_weight = disc_weight

    def forward(
        self,
        generator_prediction_scores: Tensor,
        discriminator_prediction_scores: Tensor,
        generator_labels: Tensor,
        discriminator_labels: Tensor,
        attention_mask: Tensor | None,
    ) -> Tensor:
        """Add the two losses; nothing masked gives the generator's 0.

        Args:
            generator_prediction_scores: float [B, L, V].
            discriminator_prediction_scores: float [B, L].
            generator_labels: int64 [B, L], -100 where none.
            discriminator_labels: int64 [B, L], 1 for a replaced token.
            attention_mask: True for a token; bool [B, L]; all tokens if None.
        """
        tokens = F.cross_entropy(
            generator_prediction_scores.reshape([-1, self.vocab_size]),
            generator_labels.reshape([-1]),
            reduction="sum",
            ignore_index=IGNORED,
        )
        masked = (generator_labels != IGNORED).astype("float32").sum()
        replaced = F.binary_cross_entropy_with_logits(
            discriminator_prediction_scores.reshape(discriminator_labels.shape),
            discriminator_labels.astype(discriminator_prediction_scores.dtype),
            reduction="none",
        )
        real = replaced * 0 + 1 if attention_mask is None else attention_mask.astype(replaced.dtype)
        return (
            self.gen_weight * tokens / masked.clip(min=1.0)
            + self.disc_weight * (replaced * real).sum() / real.sum()
        )


class ElectraPretrainingCriterion(ConvBertPretrainingCriterion):
    """As ConvBERT's, with the sizes and weights of a config."""

    def __init__(self, config: Any) -> None:
        super().__init__(config.vocab_size, config.gen_weight, config.disc_weight)
