"""ERNIE 1.0 to 3.0 (Sun et al., 2019 to 2021, arXiv 1904.09223, 1907.12412, 2107.02137).

What differs from BERT: some of the models have a fourth embedding, of the task that an input
belongs to (`use_task_id`); without `task_type_ids` it is the config's `task_id` for all tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from paddle import Tensor, nn

from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import ModelConfig, takes_keywords
from paddlenlp_ext.models.extraction import ExtractionOutput, ForExtraction
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.heads import (
    ForMaskedLM,
    ForMultipleChoice,
    ForNextSentencePrediction,
    ForPreTraining,
    ForQuestionAnswering,
    ForSequenceClassification,
    ForTokenClassification,
    HeadModel,
)
from paddlenlp_ext.models.outputs import (
    BaseModelOutput,
    CausalLMOutput,
    DecoderCache,
    HeadOutput,
    KeyValues,
    PreTrainingOutput,
    QuestionAnsweringOutput,
)
from paddlenlp_ext.models.transformer import (
    HF_EMBEDDINGS,
    HF_STACK,
    TransformerModel,
    make_stack,
)
from paddlenlp_ext.nn.embeddings import Embeddings, look_up
from paddlenlp_ext.nn.heads import Pooler
from paddlenlp_ext.nn.positions import Positions
from paddlenlp_ext.nn.tracing import is_given
from paddlenlp_ext.presets.ernie import ROWS
from paddlenlp_ext.weights.names import NameTable


@takes_keywords
@dataclass(frozen=True)
class ErnieConfig(ModelConfig):
    """Sizes of an ERNIE.

    Attributes:
        type_vocab_size: Kinds of segments.
        task_type_vocab_size: Kinds of tasks.
        use_task_id: Whether tokens have an embedding of their task.
        task_id: The task of all tokens, if none is given.
        pool_act: Activation of the pooled vector (PaddleNLP's field; "" for none).
    """

    model_type: ClassVar[str] = "ernie"

    type_vocab_size: int = 2
    task_type_vocab_size: int = 3
    use_task_id: bool = False
    task_id: int = 0
    pool_act: str = "tanh"


PRESETS = {name: ErnieConfig(**row.config) for name, row in ROWS.items()}

# Ours beside transformers'.
HF_ROWS = (
    *HF_EMBEDDINGS,
    *HF_STACK,
    ("embeddings.task_type_embeddings.weight", "embeddings.task_type_embeddings.weight"),
    ("pooler.dense", "pooler.dense"),
)
HF_HEADS = (
    ("classifier", "classifier"),
    ("qa_outputs", "qa_outputs"),
    ("lm_head.dense", "cls.predictions.transform.dense"),
    ("lm_head.layer_norm", "cls.predictions.transform.LayerNorm"),
    ("lm_head.bias", "cls.predictions.bias"),
    ("next_sentence", "cls.seq_relationship"),
    ("linear_start", "linear_start"),  # PaddleNLP's; transformers has no such head
    ("linear_end", "linear_end"),
)

# Ours beside PaddleNLP's: the encoder's names are the same.
PADDLENLP_ROWS = tuple((ours, ours) for ours, _ in HF_ROWS)
PADDLENLP_HEADS = (
    ("classifier", "classifier"),
    ("lm_head.dense", "cls.predictions.transform"),
    ("lm_head.layer_norm", "cls.predictions.layer_norm"),
    ("lm_head.bias", "cls.predictions.decoder.bias"),
    ("next_sentence", "cls.seq_relationship"),
    ("linear_start", "linear_start"),
    ("linear_end", "linear_end"),
)

NAMES: dict[Format, NameTable] = {
    "huggingface": NameTable(
        HF_ROWS,
        HF_HEADS,
        prefix="ernie.",
        aliases={  # transformers makes these again, so files need not hold them
            "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "lm_head.bias",
        },
        ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    ),
    "paddle": NameTable(
        PADDLENLP_ROWS,
        PADDLENLP_HEADS,
        prefix="ernie.",
        tied={
            "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
            "cls.predictions.decoder_bias": "lm_head.bias",
        },
        aliases={
            "cls.predictions.decoder_weight": "backbone.embeddings.word_embeddings.weight"
        },  # of older files
    ),
}


class ErnieModel(TransformerModel):
    """Ids to hidden states; `forward` also takes `task_type_ids`, int64 [B, L]."""

    config_class = ErnieConfig
    presets = PRESETS
    names = NAMES

    def __init__(self, config: ErnieConfig, *, with_pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = ErnieEmbeddings(config)
        self.encoder = make_stack(config)
        self.pooler = Pooler(config.hidden_size, config.pool_act) if with_pooler else None
        self.initialize_weights()

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        task_type_ids: Tensor | None = None,
        past_key_values: DecoderCache | KeyValues | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        read_positions: Positions | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Run the model; see `TransformerModel.run`, and the class."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            task_type_ids=task_type_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            read_positions=read_positions,
        )
        return self.as_asked(output, return_dict)


class ErnieEmbeddings(Embeddings):
    """BERT's embeddings and, in some models, that of the task."""

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
        )
        self.task_id = config.task_id
        self.task_type_embeddings = None
        if config.use_task_id:
            self.task_type_embeddings = nn.Embedding(
                config.task_type_vocab_size, config.hidden_size
            )

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        first_position: int = 0,
        task_type_ids: Tensor | None = None,
    ) -> Tensor:
        """Embed tokens; arguments as `Embeddings.forward`, and the task of each, int64 [B, L].

        A model without tasks pays no attention to them, as in both references.
        """
        words = inputs_embeds
        if not is_given(words):
            words = look_up("input_ids", self.word_embeddings, input_ids)
        if self.task_type_embeddings is not None:
            if not is_given(task_type_ids):
                words = words + self.task_type_embeddings.weight[self.task_id]
            else:
                words = words + look_up("task_type_ids", self.task_type_embeddings, task_type_ids)
        return self.complete(words, token_type_ids, position_ids, first_position)


class ErnieHead(HeadModel):
    """Heads that also take `task_type_ids`; a head's base class comes after this one."""

    def forward(  # type: ignore[override]  # PaddleNLP's order
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
        task_type_ids: Tensor | None = None,
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
            task_type_ids=task_type_ids,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class ErnieForSequenceClassification(ErnieHead, ForSequenceClassification):
    """ERNIE for a decision on one text or a pair."""

    backbone_class = ErnieModel


class ErnieForTokenClassification(ErnieHead, ForTokenClassification):
    """ERNIE for a decision on every token."""

    backbone_class = ErnieModel


class ErnieForQuestionAnswering(ForQuestionAnswering):
    """ERNIE that finds an answer in a text."""

    backbone_class = ErnieModel
    paddle_heads = (("qa_outputs", "classifier"),)

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
        task_type_ids: Tensor | None = None,
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
            task_type_ids=task_type_ids,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class ErnieForMultipleChoice(ErnieHead, ForMultipleChoice):
    """ERNIE that chooses one of several texts."""

    backbone_class = ErnieModel


class ErnieForMaskedLM(ForMaskedLM):
    """ERNIE that fills masked tokens."""

    backbone_class = ErnieModel

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        masked_positions: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        task_type_ids: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> HeadOutput | tuple[Any, ...]:
        """Score the vocabulary; see `ForMaskedLM`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            masked_positions=masked_positions,
            inputs_embeds=inputs_embeds,
            labels=labels,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            task_type_ids=task_type_ids,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class ErnieForCausalLM(ForCausalLM):
    """ERNIE as a decoder: predicts each token from the preceding ones."""

    backbone_class = ErnieModel

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: DecoderCache | KeyValues | None = None,
        use_cache: bool = False,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        task_type_ids: Tensor | None = None,
    ) -> CausalLMOutput | tuple[Any, ...]:
        """Score the next token for each position; see `TransformerModel.run`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            labels=labels,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            task_type_ids=task_type_ids,
        )
        return self.as_asked(output, return_dict)


class ErnieForNextSentencePrediction(ErnieHead, ForNextSentencePrediction):
    """ERNIE that predicts whether the second text follows the first."""

    backbone_class = ErnieModel


class UIE(ForExtraction):
    """Universal information extraction with ERNIE: "[CLS] person [SEP] the text [SEP]"."""

    backbone_class = ErnieModel

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        return_dict: bool | None = None,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        task_type_ids: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> ExtractionOutput | tuple[Any, ...]:
        """Score each token; labels as in the class, the rest as `HeadModel.run`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            start_positions=start_positions,
            end_positions=end_positions,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            task_type_ids=task_type_ids,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class ErnieForPreTraining(ForPreTraining):
    """ERNIE with two heads of its pretraining: masked tokens and next sentence."""

    backbone_class = ErnieModel
    foreign_names: ClassVar[Mapping[Format, str]] = {"paddle": "ErnieForPretraining"}

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        masked_positions: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        task_type_ids: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> PreTrainingOutput | tuple[Any, ...]:
        """Score masked tokens and sentence pairs; see the class and `HeadModel.run`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            masked_positions=masked_positions,
            inputs_embeds=inputs_embeds,
            labels=labels,
            next_sentence_label=next_sentence_label,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            task_type_ids=task_type_ids,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


ErnieForPretraining = ErnieForPreTraining  # PaddleNLP's spelling
