"""BERT (Devlin et al., 2018, arXiv 1810.04805): the model that the other five vary.

Words, positions and token types of one width; a post-LayerNorm transformer; a pooled vector from
the first token; a language-model head that uses the word embeddings as its matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from paddle import Tensor

from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import ModelConfig, takes_keywords
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
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.nn.heads import Pooler
from paddlenlp_ext.nn.positions import Positions
from paddlenlp_ext.presets.bert import ROWS
from paddlenlp_ext.weights.names import NameTable


@takes_keywords
@dataclass(frozen=True)
class BertConfig(ModelConfig):
    """Sizes of a BERT; the defaults are bert-base-uncased's.

    Attributes:
        type_vocab_size: Kinds of segments.
        pool_act: Activation of the pooled vector (PaddleNLP's field; "" for none).
    """

    model_type: ClassVar[str] = "bert"

    type_vocab_size: int = 2
    pool_act: str = "tanh"


PRESETS = {name: BertConfig(**row.config) for name, row in ROWS.items()}

# Ours beside transformers'.
HF_ROWS = (
    *HF_EMBEDDINGS,
    *HF_STACK,
    ("pooler.dense", "pooler.dense"),
)
HF_HEADS = (
    ("classifier", "classifier"),
    ("qa_outputs", "qa_outputs"),
    ("lm_head.dense", "cls.predictions.transform.dense"),
    ("lm_head.layer_norm", "cls.predictions.transform.LayerNorm"),
    ("lm_head.bias", "cls.predictions.bias"),
    ("next_sentence", "cls.seq_relationship"),
)

# Ours beside PaddleNLP's: the encoder's names are the same.
PADDLENLP_ROWS = tuple((ours, ours) for ours, _ in HF_ROWS)
PADDLENLP_HEADS = (
    ("classifier", "classifier"),
    ("lm_head.dense", "cls.predictions.transform"),
    ("lm_head.layer_norm", "cls.predictions.layer_norm"),
    ("lm_head.bias", "cls.predictions.decoder.bias"),
    ("next_sentence", "cls.seq_relationship"),
)

NAMES: dict[Format, NameTable] = {
    "huggingface": NameTable(
        HF_ROWS,
        HF_HEADS,
        prefix="bert.",
        aliases={  # transformers makes these again, so files need not hold them
            "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "lm_head.bias",
        },
        ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    ),
    "paddle": NameTable(
        PADDLENLP_ROWS,
        PADDLENLP_HEADS,
        prefix="bert.",
        tied={
            "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
            "cls.predictions.decoder_bias": "lm_head.bias",
        },
        aliases={
            "cls.predictions.decoder_weight": "backbone.embeddings.word_embeddings.weight"
        },  # of older files
    ),
}


class BertModel(TransformerModel):
    """Ids to hidden states."""

    config_class = BertConfig
    presets = PRESETS
    names = NAMES

    def __init__(self, config: BertConfig, *, with_pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
        )
        self.encoder = make_stack(config)
        self.pooler = Pooler(config.hidden_size, config.pool_act) if with_pooler else None
        self.initialize_weights()

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: DecoderCache | KeyValues | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        read_positions: Positions | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Run the model; see `TransformerModel.run`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            inputs_embeds=inputs_embeds,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            read_positions=read_positions,
        )
        return self.as_asked(output, return_dict)


class BertHead(HeadModel):
    """PaddleNLP's order of arguments for BERT; a head's base class comes after this one."""

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> Any:
        """Run the bare model and the head; see `HeadModel.run` for the arguments."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            labels=labels,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class BertForSequenceClassification(BertHead, ForSequenceClassification):
    """BERT for a decision on one text or a pair."""

    backbone_class = BertModel


class BertForTokenClassification(BertHead, ForTokenClassification):
    """BERT for a decision on every token."""

    backbone_class = BertModel


class BertForQuestionAnswering(ForQuestionAnswering):
    """BERT that finds an answer in a text."""

    backbone_class = BertModel
    paddle_heads = (("qa_outputs", "classifier"),)

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> QuestionAnsweringOutput | tuple[Any, ...]:
        """Score each token; see `ForQuestionAnswering`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            start_positions=start_positions,
            end_positions=end_positions,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            inputs_embeds=inputs_embeds,
            labels=labels,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class BertForMultipleChoice(BertHead, ForMultipleChoice):
    """BERT that chooses one of several texts."""

    backbone_class = BertModel


class BertForMaskedLM(ForMaskedLM):
    """BERT that fills masked tokens."""

    backbone_class = BertModel

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        masked_positions: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> HeadOutput | tuple[Any, ...]:
        """Score the vocabulary; see `ForMaskedLM`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            masked_positions=masked_positions,
            labels=labels,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class BertForCausalLM(ForCausalLM):
    """BERT as a decoder: predicts each token from the preceding ones."""

    backbone_class = BertModel
    foreign_names: ClassVar[Mapping[Format, str]] = {"huggingface": "BertLMHeadModel"}


class BertForNextSentencePrediction(BertHead, ForNextSentencePrediction):
    """BERT that predicts whether the second text follows the first."""

    backbone_class = BertModel


class BertForPreTraining(ForPreTraining):
    """BERT with both heads of its pretraining: masked tokens and next sentence."""

    backbone_class = BertModel
    foreign_names: ClassVar[Mapping[Format, str]] = {"paddle": "BertForPretraining"}

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        masked_positions: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> PreTrainingOutput | tuple[Any, ...]:
        """Score masked tokens and sentence pairs; see `ForPreTraining`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            masked_positions=masked_positions,
            labels=labels,
            next_sentence_label=next_sentence_label,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


BertForPretraining = BertForPreTraining  # PaddleNLP's spelling
