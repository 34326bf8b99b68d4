"""Heads of BERT's and ERNIE's pretraining: next sentence, alone or beside masked tokens."""

from __future__ import annotations

from typing import Any

from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.heads import HeadModel, make_lm_head
from paddlenlp_ext.models.outputs import BaseModelOutput, HeadOutput, PreTrainingOutput
from paddlenlp_ext.nn.heads import token_loss


class ForPreTraining(HeadModel):
    """Masked tokens and next sentence at once; the loss is the sum of the two.

    Labels: int64 [B, L], -100 where none, or [M] with `masked_positions`; and
    `next_sentence_label`, int64 [B], 1 where the second text is a random one. The loss needs both,
    as in the reference.
    """

    with_pooler = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.lm_head = make_lm_head(config)
        self.next_sentence = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def forward(
        self,
        *args: Any,
        masked_positions: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Any,
    ) -> PreTrainingOutput:
        """Score masked tokens and sentence pairs.

        Args:
            args: As `HeadModel.forward`, up to `inputs_embeds`.
            masked_positions: Score these tokens only; places in the flattened [B · L], int64 [M].
            next_sentence_label: See the class.
            labels: See the class.
            inputs: As `HeadModel.forward`.
        """
        encoded: BaseModelOutput = super().forward(*args, **inputs)
        states = encoded.last_hidden_state
        if masked_positions is not None:
            states = states.flatten(0, 1).index_select(masked_positions.reshape([-1]))
        scores = self.lm_head(states, self.get_input_embeddings().weight)
        relation = self.next_sentence(encoded.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = token_loss(scores, labels)
            loss = loss + F.cross_entropy(relation, next_sentence_label.reshape([-1]))
        return PreTrainingOutput(loss, scores, relation, encoded.hidden_states, encoded.attentions)

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None) -> BaseModelOutput:
        """Leave the encoder's answer to `forward`, which has the masked positions."""
        return encoded

    def _resize_vocabulary(self, vocab_size: int) -> None:
        super()._resize_vocabulary(vocab_size)
        self.lm_head.bias = self._resized(self.lm_head.bias, vocab_size)


class ForNextSentencePrediction(HeadModel):
    """Whether the second text follows the first. Labels int64 [B], 1 if not; logits [B, 2]."""

    with_pooler = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.next_sentence = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None) -> HeadOutput:
        """Score "follows" and "random"; see the class."""
        logits = self.next_sentence(encoded.pooler_output)
        loss = None if labels is None else F.cross_entropy(logits, labels.reshape([-1]))
        return HeadOutput(loss, logits, encoded.hidden_states, encoded.attentions)
