"""Models with a head: one class a task, one level, shared by all families.

A family's class names its bare model and is done:

    class BertForTokenClassification(ForTokenClassification):
        backbone_class = BertModel

The bare model is always the attribute `backbone`; its foreign prefix (`bert.`) is the business of
the name tables.
"""

from __future__ import annotations

from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.base import Format, Model
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.outputs import (
    HeadOutput,
    KeyValues,
    PreTrainingOutput,
    QuestionAnsweringOutput,
    States,
)
from paddlenlp_ext.models.transformer import TransformerModel
from paddlenlp_ext.nn.encoder import activation
from paddlenlp_ext.nn.heads import TiedLMHead, token_loss
from paddlenlp_ext.nn.positions import FIRST, TOKENS, by_row
from paddlenlp_ext.nn.tracing import is_given, is_traced
from paddlenlp_ext.nn.trimmed_embedding import TrimmedEmbedding
from paddlenlp_ext.weights.names import NameTable

FAMILY = ("config_class", "presets", "names", "optional_modules")  # taken from the bare model


class HeadModel(Model):
    """A bare model and what stands on it.

    Attributes:
        backbone_class: The family's bare model, whose config, presets and tables are also this
            class's.
        with_pooler: Whether the head reads the summary of the whole sequence.
        reads: Positions whose last hidden state `apply_head` reads; all if None, as they are in a
            class with an `apply_head` of its own, unless it says which.
        paddle_heads: Rows of names that PaddleNLP has for this class alone; see
            `NameTable.with_heads`.
    """

    backbone_class: ClassVar[type[TransformerModel]]
    with_pooler: ClassVar[bool] = False
    reads: ClassVar[slice | None] = None
    paddle_heads: ClassVar[tuple[tuple[str, str], ...]] = ()
    head_is_new = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "apply_head" in vars(cls) and "reads" not in vars(cls):
            cls.reads = None
        if "backbone_class" in vars(cls):
            for name in FAMILY:
                if name not in vars(cls):
                    setattr(cls, name, getattr(cls.backbone_class, name))
            setattr(cls, cls.names["paddle"].prefix.rstrip("."), HeadModel.base_model)
            if cls.paddle_heads:
                paddle = cls.names["paddle"].with_heads(cls.paddle_heads)
                cls.names = {**cls.names, "paddle": paddle}

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.backbone = self.backbone_class(config, with_pooler=self.with_pooler)

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
        return_dict: bool | None = None,
        past_key_values: KeyValues | None = None,
    ) -> Any:
        """Run the bare model and the head; see `run` for the arguments."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)

    def run(self, *, labels: Tensor | None = None, **inputs: Any) -> Any:
        """Run the bare model and the head.

        The order in which `forward` takes all of this is PaddleNLP's, and so the family's and the
        class's. What runs in an exported program does not call `super()`, of which Paddle makes a
        call without end, nor a method by its class, which it leaves as it is, sizes unknown: the
        methods that others stand on have names of their own.

        Args:
            labels: What the head should predict; the output then holds the loss. See the class.
            inputs: What the bare model takes by these names; None counts as absent.
                `input_ids`: token ids; int64 [B, L].
                `token_type_ids`: segment of each token; int64 [B, L]; all 0 if absent.
                `position_ids`: int64 [B, L]; in order if absent.
                `attention_mask`: 1 for a token, 0 for padding; int or bool [B, L] or [B, L, L]; if
                absent, all but `pad_token_id`.
                `inputs_embeds`: word embeddings in place of `input_ids`; float [B, L, E].
                `past_key_values`: of each layer a key and a value, float [B, A, P, D], that all
                tokens attend to, too: a prefix.
                `output_hidden_states`, `output_attentions`: return those of every layer.
                And what only this family knows (ERNIE's `task_type_ids`).
        """
        return self.apply_head(self.encode(**inputs), labels)

    def encode(self, **inputs: Any) -> States:
        """Run the bare model on what is given; `inputs` as those of `run`."""
        if inputs.get("past_key_values") is not None and not self.backbone.takes_prefix:
            raise UserError(
                f"{type(self).__name__} takes no `past_key_values`: its convolution reads words "
                "that stand together"
            )
        inputs.setdefault("read_positions", self.reads)
        if inputs["read_positions"] is TOKENS and not self.training:
            inputs["read_positions"] = None  # what stands at padding is compared with others'
        given = {name: value for name, value in inputs.items() if is_given(value)}
        states: States = self.backbone.states(**given)
        return states

    def apply_head(self, outputs: States, labels: Tensor | None) -> Any:
        """Compute the head's output from the bare model's; `labels` as in `forward`."""
        raise NotImplementedError

    @property
    def base_model(self) -> TransformerModel:
        """The bare model; also by the name of its family (`bert`), as in both libraries."""
        return self.backbone

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Take another table of word embeddings, as it is; what scores words by them does too."""
        self.backbone.set_input_embeddings(table)


class ForSequenceClassification(HeadModel):
    """One decision on a whole sequence: dropout and a linear layer on the pooled vector.

    Labels: int64 [B] classes, -100 where none; float [B] values if `num_labels` is 1 (mean squared
    error); float [B, num_labels] of zeros and ones for several labels at once (binary cross
    entropy). Logits: [B, num_labels].
    """

    with_pooler = True
    reads = FIRST

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.initialize_weights()

    def apply_head(self, outputs: States, labels: Tensor | None) -> HeadOutput:
        """Classify; see the class."""
        logits = self.classifier(self.dropout(outputs.pooler_output))
        loss = sequence_loss(logits, labels, self.config) if is_given(labels) else None
        return HeadOutput(loss, logits, outputs.hidden_states, outputs.attentions)


class ClassificationHead(nn.Layer):
    """Two layers on one vector: dropout, dense, activation, dropout, dense.

    Args:
        config: Widths and dropout.
        hidden_act: Activation between the layers.
    """

    def __init__(self, config: ModelConfig, hidden_act: str) -> None:
        super().__init__()
        self.dropout = nn.Dropout(config.head_dropout)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(hidden_act)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, vector: Tensor) -> Tensor:
        """[B, H] -> [B, num_labels]."""
        return self.out_proj(self.dropout(self.activation(self.dense(self.dropout(vector)))))


class FirstTokenClassification(HeadModel):
    """One decision on a whole sequence: two layers on its first token, or on the pooled vector.

    Labels and logits as those of `ForSequenceClassification`.
    """

    with_pooler = True  # of a family and config that has one
    reads = FIRST
    head_act: ClassVar[str | None] = None  # between the layers; the config's `hidden_act` if None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.classifier = ClassificationHead(config, self.head_act or config.hidden_act)
        self.initialize_weights()

    def apply_head(self, outputs: States, labels: Tensor | None) -> HeadOutput:
        """Classify; see the class."""
        pooled = outputs.pooler_output
        logits = self.classifier(pooled if is_given(pooled) else outputs.last_hidden_state[:, 0])
        loss = sequence_loss(logits, labels, self.config) if is_given(labels) else None
        return HeadOutput(loss, logits, outputs.hidden_states, outputs.attentions)


SEQUENCE_CLASSIFIERS = (ForSequenceClassification, FirstTokenClassification)


class ForTokenClassification(HeadModel):
    """A decision on every token.

    Labels: int64 [B, L], -100 where none; logits [B, L, num_labels], in training of no meaning at
    padding.
    """

    reads = TOKENS

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.initialize_weights()

    def apply_head(self, outputs: States, labels: Tensor | None) -> HeadOutput:
        """Classify each token; see the class."""
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        loss = token_loss(logits, labels) if is_given(labels) else None
        return HeadOutput(loss, logits, outputs.hidden_states, outputs.attentions)


class ForQuestionAnswering(HeadModel):
    """Where an answer begins and ends.

    Labels: int64 [B, 2], first and last token; numbers below 0 are the first token of the row, as
    where there is no answer, and those beyond the row no label.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        labels: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> QuestionAnsweringOutput | tuple[Any, ...]:
        """Score each token; labels also as two int64 [B]; see `HeadModel.run`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            start_positions=start_positions,
            end_positions=end_positions,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            labels=labels,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)

    def run(
        self,
        *,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Any,
    ) -> QuestionAnsweringOutput:
        """Score each token; labels in one or two."""
        labelled = joined(labels, start_positions, end_positions)
        return self.apply_head(self.encode(**inputs), labelled)

    def apply_head(self, outputs: States, labels: Tensor | None) -> QuestionAnsweringOutput:
        """Score each token as first and as last; see the class."""
        start, end = self.qa_outputs(outputs.last_hidden_state).unbind(axis=-1)  # [B, L] each
        loss = None
        if is_given(labels):
            labels = labels.reshape([-1, 2])
            labels = labels.clip(min=0)  # as in both libraries, whatever is meant by less
            # A position beyond the (truncated) text is no label.
            inside = labels < start.shape[1]
            labels = paddle.where(inside, labels, paddle.full_like(labels, IGNORED))
            loss = (token_loss(start, labels[:, 0]) + token_loss(end, labels[:, 1])) / 2
        return QuestionAnsweringOutput(loss, start, end, outputs.hidden_states, outputs.attentions)


class ForMultipleChoice(HeadModel):
    """Which of several texts fits.

    Inputs [B, C, L]; labels int64 [B], -100 where none; logits [B, C].
    """

    with_pooler = True
    reads = FIRST

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, 1)
        self.initialize_weights()

    def run(self, *, labels: Tensor | None = None, **inputs: Any) -> HeadOutput:
        """Score each choice; see `HeadModel.run`, inputs with an axis `C` more.

        All choices of a row have its `past_key_values`.
        """
        words = inputs["input_ids"] if is_given(inputs["input_ids"]) else inputs["inputs_embeds"]
        flat = {}
        for name, value in inputs.items():
            is_tensor = is_given(value) and not isinstance(value, (bool, tuple, list))
            flat[name] = value.flatten(0, 1) if is_tensor else value
        if (past := inputs.get("past_key_values")) is not None:
            choices = words.shape[1]
            flat["past_key_values"] = tuple(
                tuple(part.repeat_interleave(choices, axis=0) for part in layer) for layer in past
            )
        return self.choose(self.encode(**flat), words.shape[1], labels)

    def choose(self, outputs: States, choices: int, labels: Tensor | None) -> HeadOutput:
        """Compute the head's output, of so many choices a row; `labels` as in the class.

        In one piece: SOT would take a loss that it translated alone, while the model was evaluated,
        for that of training too, and it has no gradient.
        """
        logits = self.score(outputs).reshape([-1, choices])
        loss = token_loss(logits, labels.reshape([-1])) if is_given(labels) else None
        return HeadOutput(loss, logits, outputs.hidden_states, outputs.attentions)

    def score(self, outputs: States) -> Tensor:
        """Score B·C texts: [B·C, 1]."""
        scores: Tensor = self.classifier(self.dropout(outputs.pooler_output))
        return scores


class ScoringModel(HeadModel):
    """A model that scores the vocabulary, and maybe more; the task classes say what for."""

    head_is_new = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.lm_head = self.make_lm_head(config)

    def make_lm_head(self, config: ModelConfig) -> TiedLMHead:
        """Make the head; a family with another one says so here."""
        return make_lm_head(config)

    def get_output_embeddings(self) -> nn.Embedding:
        """Return what scores words: the word embeddings, or the head's own table."""
        own: nn.Embedding | None = self.lm_head.decoder
        return self.get_input_embeddings() if own is None else own

    def score(self, hidden_states: Tensor) -> Tensor:
        """Scores of the vocabulary, [..., H] -> [..., V]; of a trimmed one [..., U]."""
        table = self.get_output_embeddings()
        words = table.words if isinstance(table, TrimmedEmbedding) else None
        scores: Tensor = self.lm_head(hidden_states, table.weight, words)
        return scores

    def columns(self, labels: Tensor) -> Tensor:
        """Say which of the scores each id has: itself, but of a trimmed table its row.

        Args:
            labels: Ids that have a score, or -100, which stays; int64 [...].
        """
        table = self.get_output_embeddings()
        if not isinstance(table, TrimmedEmbedding):
            return labels
        is_label = labels != IGNORED
        ids = paddle.where(is_label, labels, paddle.zeros_like(labels))
        rows = paddle.gather(table.rows, ids.flatten()).reshape(labels.shape)
        return paddle.where(is_label, rows, labels)

    def words(self, columns: Tensor) -> Tensor:
        """Say which id each of the scores is of; int64 [...]; undoes `columns`."""
        table = self.get_output_embeddings()
        if not isinstance(table, TrimmedEmbedding):
            return columns
        return paddle.gather(table.words, columns.flatten()).reshape(columns.shape)

    def name_table(self, format: Format) -> NameTable:
        """Return the names of a format, where an own table has the name of the repeated one."""
        names = super().name_table(format)
        return names if self.lm_head.decoder is None else names.with_own_table()

    def _resize_vocabulary(self, vocab_size: int) -> None:
        super()._resize_vocabulary(vocab_size)
        if self.lm_head.decoder is not None:
            self._resize_table(self.lm_head.decoder, vocab_size)
        self.lm_head.bias = self._resized(self.lm_head.bias, vocab_size)


class LanguageModel(ScoringModel):
    """A model whose head scores the vocabulary and does nothing else."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.initialize_weights()


class ForMaskedLM(LanguageModel):
    """What stood in the place of each token.

    Labels: int64 [B, L], -100 where none; logits [B, L, V]. With `masked_positions`, places in the
    flattened [B · L], int64 [M], of the families that take them: [M] and [M, V].
    """

    def run(
        self, *, labels: Tensor | None = None, masked_positions: Tensor | None = None, **inputs: Any
    ) -> HeadOutput:
        """Score all tokens, or those that are masked; see `HeadModel.run`."""
        outputs = encode_places(self, masked_positions, inputs)
        return self.apply_head(outputs, labels)

    def apply_head(self, outputs: States, labels: Tensor | None) -> HeadOutput:
        """Score the vocabulary for each token; see the class."""
        logits = self.score(outputs.last_hidden_state)
        loss = token_loss(logits, self.columns(labels)) if is_given(labels) else None
        return HeadOutput(loss, logits, outputs.hidden_states, outputs.attentions)


class ForPreTraining(ScoringModel):
    """Masked tokens and next sentence at once; the loss is the sum of the two.

    Labels: int64 [B, L], -100 where none, or [M] with `masked_positions`; and
    `next_sentence_label`, int64 [B], 1 where the second text is a random one, -100 where none. The
    loss needs both, as in the reference.
    """

    with_pooler = True

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.next_sentence = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def run(
        self,
        *,
        labels: Tensor | None = None,
        masked_positions: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        **inputs: Any,
    ) -> PreTrainingOutput:
        """Score masked tokens and sentence pairs.

        Args:
            labels: See the class.
            masked_positions: Score these tokens only; places in the flattened [B · L], int64 [M].
            next_sentence_label: See the class.
            inputs: As `HeadModel.run`.
        """
        outputs = encode_places(self, masked_positions, inputs, with_first=True)
        scores = self.score(outputs.last_hidden_state)
        relation = self.next_sentence(outputs.pooler_output)
        loss = None
        if is_given(labels) and is_given(next_sentence_label):
            loss = token_loss(scores, self.columns(labels))
            loss = loss + token_loss(relation, next_sentence_label.reshape([-1]))
        return PreTrainingOutput(loss, scores, relation, outputs.hidden_states, outputs.attentions)


class ForNextSentencePrediction(HeadModel):
    """Whether the second text follows the first.

    Labels: int64 [B], 1 if not, -100 where none; logits [B, 2].
    """

    with_pooler = True
    reads = FIRST
    head_is_new = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.next_sentence = nn.Linear(config.hidden_size, 2)
        self.initialize_weights()

    def apply_head(self, outputs: States, labels: Tensor | None) -> HeadOutput:
        """Score "follows" and "random"; see the class."""
        logits = self.next_sentence(outputs.pooler_output)
        loss = token_loss(logits, labels.reshape([-1])) if is_given(labels) else None
        return HeadOutput(loss, logits, outputs.hidden_states, outputs.attentions)


def joined(labels: Tensor | None, starts: Tensor | None, ends: Tensor | None) -> Tensor | None:
    """Put first and last tokens side by side: two [B] or [B, 1] -> [B, 2], two [B, L] -> [B, L, 2].

    Without both, the labels stay as they are.
    """
    if not (is_given(starts) and is_given(ends)):
        return labels
    return paddle.stack([starts, ends], axis=-1)


def encode_places(
    model: HeadModel, places: Tensor | None, inputs: dict[str, Any], *, with_first: bool = False
) -> States:
    """Run the bare model for places of the flattened [B · L] alone; for all if None.

    Args:
        model: Its head reads the last hidden states.
        places: int64 [M].
        inputs: What the bare model takes, by name.
        with_first: Whether the pooled vector is read too.

    Returns:
        The output, with the last hidden states float [M, H].
    """
    if not is_given(places):
        return model.encode(**inputs)
    if not is_traced():  # a program does not know how many there are in a row
        words = inputs["inputs_embeds"] if inputs.get("input_ids") is None else inputs["input_ids"]
        positions, places = by_row(places, *words.shape[:2], with_first=with_first)
        inputs = inputs | {"read_positions": positions}
    else:
        places = places.astype("int64").reshape([-1])
    outputs = model.encode(**inputs)
    outputs.last_hidden_state = outputs.last_hidden_state.flatten(0, 1).index_select(places)
    return outputs


def make_lm_head(config: ModelConfig) -> TiedLMHead:
    """BERT's head: hidden to hidden, then the word embeddings or a table of its own."""
    return TiedLMHead(
        config.hidden_size,
        config.hidden_size,
        config.vocab_size,
        hidden_act=config.hidden_act,
        layer_norm_eps=config.layer_norm_eps,
        tied=config.tie_word_embeddings,
    )


def sequence_loss(logits: Tensor, labels: Tensor, config: ModelConfig) -> Tensor:
    """Mean loss of decisions on sequences, by the kind of problem.

    Args:
        logits: float [B, num_labels].
        labels: As `ForSequenceClassification` takes them.
        config: Says the kind, or leaves it to be found from `num_labels` and the labels' type.

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
        return token_loss(logits, labels.reshape([-1]))
    if problem == "multi_label_classification":
        return F.binary_cross_entropy_with_logits(logits, labels.astype(logits.dtype))
    raise UserError(
        f"unknown problem_type {problem!r}; known: regression, single_label_classification, "
        "multi_label_classification"
    )
