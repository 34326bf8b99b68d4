"""Encoders with a head: one class a task, one level, shared by all families.

A family's class names its encoder and is done:

    class BertForTokenClassification(ForTokenClassification):
        encoder_class = BertModel

The bare model is always the attribute `encoder`; its foreign prefix (`bert.`) is the business of
the name tables.
"""

from __future__ import annotations

from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.outputs import BaseModelOutput, HeadOutput, QuestionAnsweringOutput
from paddlenlp_ext.nn.heads import IGNORED, TiedLMHead, token_loss

# What `HeadModel.forward` takes after `input_ids`, in PaddleNLP's order.
FORWARD_ORDER = (
    "token_type_ids",
    "position_ids",
    "attention_mask",
    "inputs_embeds",
    "labels",
    "output_hidden_states",
    "output_attentions",
)
FAMILY = ("config_class", "presets", "names", "optional_modules")  # told by the bare model


class BaseModel(Model):
    """A model without a head: ids to hidden states. Each family has one.

    Args:
        config: The sizes.
        with_pooler: Whether to answer a pooled vector too, where the family has one.
    """

    def __init__(self, config: ModelConfig, *, with_pooler: bool = True) -> None:
        super().__init__(config)

    def get_input_embeddings(self) -> nn.Embedding:
        """The word table."""
        table: nn.Embedding = self.embeddings.word_embeddings
        return table

    def attention_mask(
        self, attention_mask: Tensor | None, input_ids: Tensor | None, embedded: Tensor
    ) -> Tensor:
        """The given mask, or 1 for all but padding; int64 [B, L], or as given.

        Args:
            attention_mask: 1 for a token, 0 for padding; [B, L] or [B, L, L].
            input_ids: int64 [B, L].
            embedded: The embedded tokens, for their shape; float [B, L, E].
        """
        if attention_mask is not None:
            return attention_mask
        if input_ids is not None:
            return (input_ids != self.config.pad_token_id).astype("int64")
        return paddle.ones(embedded.shape[:2], dtype="int64")


class HeadModel(Model):
    """An encoder and what stands on it.

    Attributes:
        encoder_class: The family's bare model; its config, presets and tables are this class's too.
        with_pooler: Whether the head reads the summary of the whole sequence.
    """

    encoder_class: ClassVar[type[BaseModel]]
    with_pooler: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "encoder_class" in vars(cls):
            for name in FAMILY:
                if name not in vars(cls):
                    setattr(cls, name, getattr(cls.encoder_class, name))

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.encoder = self.encoder_class(config, with_pooler=self.with_pooler)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        **encoder_inputs: Tensor,
    ) -> Any:
        """Run the encoder and the head.

        Args:
            input_ids: Token ids; int64 [B, L].
            token_type_ids: Segment of each token; int64 [B, L]; all 0 if absent.
            position_ids: int64 [B, L]; in order if absent.
            attention_mask: 1 for a token, 0 for padding; int or bool [B, L] or [B, L, L]; if
                absent, all but `pad_token_id`.
            inputs_embeds: Word embeddings in place of `input_ids`; float [B, L, E].
            labels: What the head should have said; the answer then holds the loss. See the class.
            output_hidden_states: Answer the hidden states of every layer.
            output_attentions: Answer the attention weights of every layer.
            encoder_inputs: What only this family's encoder knows (ERNIE's `task_type_ids`).
        """
        if token_type_ids is not None:
            encoder_inputs["token_type_ids"] = token_type_ids
        encoded = self.encoder(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            **encoder_inputs,
        )
        return self.decide(encoded, labels)

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None) -> Any:
        """Read the head's answer off the encoder's; `labels` as in `forward`."""
        raise NotImplementedError

    def get_input_embeddings(self) -> nn.Embedding:
        """The word table."""
        return self.encoder.get_input_embeddings()


class ForSequenceClassification(HeadModel):
    """One decision on a whole sequence: dropout and a linear layer on the pooled vector.

    Labels: int64 [B] classes; float [B] values if `num_labels` is 1 (mean squared error); float
    [B, num_labels] of zeros and ones for several labels at once (binary cross entropy). Logits:
    [B, num_labels].
    """

    with_pooler = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.initialize_weights()

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None) -> HeadOutput:
        """Classify; see the class."""
        logits = self.classifier(self.dropout(encoded.pooler_output))
        loss = None if labels is None else sequence_loss(logits, labels, self.config)
        return HeadOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ForTokenClassification(HeadModel):
    """A decision on every token.

    Labels: int64 [B, L], -100 where none; logits [B, L, num_labels].
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.initialize_weights()

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None) -> HeadOutput:
        """Classify each token; see the class."""
        logits = self.classifier(self.dropout(encoded.last_hidden_state))
        loss = None if labels is None else token_loss(logits, labels)
        return HeadOutput(loss, logits, encoded.hidden_states, encoded.attentions)


class ForQuestionAnswering(HeadModel):
    """Where an answer begins and ends. Labels: int64 [B, 2], first and last token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def forward(
        self,
        *args: Any,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Any,
    ) -> QuestionAnsweringOutput:
        """Score each token; arguments as `HeadModel.forward`, labels also as two int64 [B]."""
        if start_positions is not None and end_positions is not None:
            positions = [start_positions.reshape([-1]), end_positions.reshape([-1])]
            inputs["labels"] = paddle.stack(positions, axis=1)
        output: QuestionAnsweringOutput = super().forward(*args, **inputs)
        return output

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None) -> QuestionAnsweringOutput:
        """Score each token as first and as last; see the class."""
        start, end = self.qa_outputs(encoded.last_hidden_state).unbind(axis=-1)  # [B, L] each
        loss = None
        if labels is not None:
            # A position outside the (truncated) text is no label.
            inside = (labels >= 0) & (labels < start.shape[1])
            labels = paddle.where(inside, labels, paddle.full_like(labels, IGNORED))
            loss = (token_loss(start, labels[:, 0]) + token_loss(end, labels[:, 1])) / 2
        return QuestionAnsweringOutput(loss, start, end, encoded.hidden_states, encoded.attentions)


class ForMultipleChoice(HeadModel):
    """Which of several texts fits. Inputs [B, C, L]; labels int64 [B]; logits [B, C]."""

    with_pooler = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.initialize_weights()

    def forward(self, input_ids: Tensor | None = None, *args: Any, **inputs: Any) -> HeadOutput:
        """Score each choice; arguments as `HeadModel.forward`, inputs with an axis `C` more."""
        inputs.update(zip(FORWARD_ORDER, args, strict=False), input_ids=input_ids)
        words = input_ids if input_ids is not None else inputs["inputs_embeds"]
        batch, choices = words.shape[:2]
        for name, value in inputs.items():
            if isinstance(value, Tensor) and name != "labels":
                inputs[name] = value.flatten(0, 1)
        labels = inputs.pop("labels", None)
        flat: HeadOutput = super().forward(**inputs)
        logits = flat.logits.reshape([batch, choices])
        loss = None if labels is None else F.cross_entropy(logits, labels.reshape([-1]))
        return HeadOutput(loss, logits, flat.hidden_states, flat.attentions)

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None = None) -> HeadOutput:
        """Score B·C texts: logits [B·C, 1]."""
        logits = self.classifier(self.dropout(encoded.pooler_output))
        return HeadOutput(None, logits, encoded.hidden_states, encoded.attentions)


class LanguageModel(HeadModel):
    """An encoder that scores the vocabulary; the task classes say what for."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.lm_head = self.make_lm_head(config)
        self.initialize_weights()

    def make_lm_head(self, config: ModelConfig) -> TiedLMHead:
        """Make the head; a family with another one says so here."""
        return make_lm_head(config)

    def get_output_embeddings(self) -> nn.Embedding:
        """The table that scores the words: the word table; a family with another says so here."""
        return self.get_input_embeddings()

    def score(self, hidden_states: Tensor) -> Tensor:
        """Scores of the vocabulary, [..., H] -> [..., V]."""
        scores: Tensor = self.lm_head(hidden_states, self.get_output_embeddings().weight)
        return scores

    def _resize_vocabulary(self, vocab_size: int) -> None:
        super()._resize_vocabulary(vocab_size)
        if self.get_output_embeddings() is not self.get_input_embeddings():
            self._resize_table(self.get_output_embeddings(), vocab_size)
        self.lm_head.bias = self._resized(self.lm_head.bias, vocab_size)


class ForMaskedLM(LanguageModel):
    """What stood in the place of each token.

    Labels: int64 [B, L], -100 where none; logits [B, L, V].
    """

    def decide(self, encoded: BaseModelOutput, labels: Tensor | None) -> HeadOutput:
        """Score the vocabulary for each token; see the class."""
        logits = self.score(encoded.last_hidden_state)
        loss = None if labels is None else token_loss(logits, labels)
        return HeadOutput(loss, logits, encoded.hidden_states, encoded.attentions)


def make_lm_head(config: ModelConfig) -> TiedLMHead:
    """BERT's head: hidden to hidden, then the word embeddings."""
    return TiedLMHead(
        config.hidden_size,
        config.hidden_size,
        config.vocab_size,
        hidden_act=config.hidden_act,
        layer_norm_eps=config.layer_norm_eps,
    )


def sequence_loss(logits: Tensor, labels: Tensor, config: ModelConfig) -> Tensor:
    """Mean loss of decisions on sequences, by the kind of problem.

    Args:
        logits: float [B, num_labels].
        labels: As `ForSequenceClassification` takes them.
        config: Says the kind, or leaves it to be told from `num_labels` and the labels' type.

    Raises:
        UserError: The config names an unknown kind.
    """
    problem = config.problem_type
    if problem is None:
        if config.num_labels == 1:
            problem = "regression"
        elif labels.is_floating_point():
            problem = "multi_label_classification"
        else:
            problem = "single_label_classification"
    if problem == "regression":
        values = labels.reshape(logits.shape).astype(logits.dtype)
        return F.mse_loss(logits, values)
    if problem == "single_label_classification":
        return F.cross_entropy(logits, labels.reshape([-1]))
    if problem == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels.astype(logits.dtype))
    raise UserError(
        f"unknown problem_type {problem!r}; known: regression, single_label_classification, "
        "multi_label_classification"
    )
