"""The head of universal information extraction: where what is asked for begins, and where it ends.

Lu et al., 2022, arXiv 2203.12277, in the form that PaddleNLP gave it: the text begins with what is
asked for, and any number of tokens may begin or end an answer, so each has its own probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.heads import HeadModel, joined
from paddlenlp_ext.models.outputs import ModelOutput, States
from paddlenlp_ext.nn.tracing import is_given


@dataclass
class ExtractionOutput(ModelOutput):
    """Probability of each token to begin and to end what is asked for; [B, L] each."""

    loss: Tensor | None = None
    start_prob: Tensor | None = None
    end_prob: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class ForExtraction(HeadModel):
    """Two scores of each token: `start_prob, end_prob = model(…).to_tuple()`.

    Labels: float [B, L] `start_positions` and `end_positions`, 1 where an answer begins and ends;
    or both in `labels`, float [B, L, 2]. The loss is the mean of the two binary cross entropies,
    over all tokens, padding too, as in both references.
    """

    with_pooler = True  # no part of the output, but both references keep its weights

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.linear_start = nn.Linear(config.hidden_size, 1)
        self.linear_end = nn.Linear(config.hidden_size, 1)
        self.initialize_weights()

    def run(
        self,
        *,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Any,
    ) -> ExtractionOutput:
        """Score each token; labels in one or two."""
        labelled = joined(labels, start_positions, end_positions)
        return self.apply_head(self.encode(**inputs), labelled)

    def apply_head(self, outputs: States, labels: Tensor | None) -> ExtractionOutput:
        """Score each token as first and as last; see the class."""
        states = outputs.last_hidden_state
        logits = paddle.concat([self.linear_start(states), self.linear_end(states)], axis=-1)
        loss = None
        if is_given(labels):
            loss = F.binary_cross_entropy_with_logits(logits, labels.astype(logits.dtype))
        start, end = F.sigmoid(logits).unbind(axis=-1)  # [B, L] each
        return ExtractionOutput(loss, start, end, outputs.hidden_states, outputs.attentions)
