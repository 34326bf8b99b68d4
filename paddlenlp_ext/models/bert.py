"""BERT (Devlin et al., 2018, arXiv 1810.04805): the model that the other five vary.

Words, positions and token types of one width; a post-LayerNorm transformer; a pooled vector from
the first token; a language-model head that uses the word embeddings as its matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.heads import (
    ForMaskedLM,
    ForMultipleChoice,
    ForNextSentencePrediction,
    ForPreTraining,
    ForQuestionAnswering,
    ForSequenceClassification,
    ForTokenClassification,
)
from paddlenlp_ext.models.transformer import TransformerModel, make_stack
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.nn.heads import Pooler
from paddlenlp_ext.presets.bert import ROWS
from paddlenlp_ext.weights.names import NameTable


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

# Ours beside transformers'. A decoder with a memory has the `cross_` rows.
HF_ROWS = (
    ("embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
    ("embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight"),
    ("embeddings.token_type_embeddings.weight", "embeddings.token_type_embeddings.weight"),
    ("embeddings.layer_norm", "embeddings.LayerNorm"),
    ("encoder.layers.{}.self_attn.q_proj", "encoder.layer.{}.attention.self.query"),
    ("encoder.layers.{}.self_attn.k_proj", "encoder.layer.{}.attention.self.key"),
    ("encoder.layers.{}.self_attn.v_proj", "encoder.layer.{}.attention.self.value"),
    ("encoder.layers.{}.self_attn.out_proj", "encoder.layer.{}.attention.output.dense"),
    ("encoder.layers.{}.norm1", "encoder.layer.{}.attention.output.LayerNorm"),
    ("encoder.layers.{}.cross_attn.q_proj", "encoder.layer.{}.crossattention.self.query"),
    ("encoder.layers.{}.cross_attn.k_proj", "encoder.layer.{}.crossattention.self.key"),
    ("encoder.layers.{}.cross_attn.v_proj", "encoder.layer.{}.crossattention.self.value"),
    ("encoder.layers.{}.cross_attn.out_proj", "encoder.layer.{}.crossattention.output.dense"),
    ("encoder.layers.{}.cross_norm", "encoder.layer.{}.crossattention.output.LayerNorm"),
    ("encoder.layers.{}.linear1", "encoder.layer.{}.intermediate.dense"),
    ("encoder.layers.{}.linear2", "encoder.layer.{}.output.dense"),
    ("encoder.layers.{}.norm2", "encoder.layer.{}.output.LayerNorm"),
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
HF_NAMES = NameTable(
    HF_ROWS,
    HF_HEADS,
    prefix="bert.",
    aliases={  # transformers makes these again, so files need not hold them
        "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "lm_head.bias",
    },
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
)

# Ours beside PaddleNLP's: the encoder's names are the same.
PADDLENLP_ROWS = tuple((ours, ours) for ours, _ in HF_ROWS)
PADDLENLP_HEADS = (
    ("lm_head.dense", "cls.predictions.transform"),
    ("lm_head.layer_norm", "cls.predictions.layer_norm"),
    ("lm_head.bias", "cls.predictions.decoder.bias"),
    ("next_sentence", "cls.seq_relationship"),
)
PADDLENLP_TIED = {
    "cls.predictions.decoder.weight": "backbone.embeddings.word_embeddings.weight",
    "cls.predictions.decoder_bias": "lm_head.bias",
}
PADDLENLP_OLD = {"cls.predictions.decoder_weight": "backbone.embeddings.word_embeddings.weight"}


def paddlenlp_names(*heads: tuple[str, str]) -> NameTable:
    """PaddleNLP's table, with the row of one classifier: it has one name for two of ours."""
    return NameTable(
        PADDLENLP_ROWS,
        (*PADDLENLP_HEADS, *heads),
        prefix="bert.",
        tied=PADDLENLP_TIED,
        aliases=PADDLENLP_OLD,
    )


NAMES: dict[Format, NameTable] = {
    "huggingface": HF_NAMES,
    "paddle": paddlenlp_names(("classifier", "classifier")),
}


class BertModel(TransformerModel):
    """Ids to hidden states.

    Args:
        config: The sizes.
        with_pooler: Whether to return a pooled vector too.
    """

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


class BertForSequenceClassification(ForSequenceClassification):
    """BERT for a decision on one text or a pair."""

    backbone_class = BertModel


class BertForTokenClassification(ForTokenClassification):
    """BERT for a decision on every token."""

    backbone_class = BertModel


class BertForQuestionAnswering(ForQuestionAnswering):
    """BERT that finds an answer in a text."""

    backbone_class = BertModel
    names: ClassVar[Mapping[Format, NameTable]] = {
        "huggingface": HF_NAMES,
        "paddle": paddlenlp_names(("qa_outputs", "classifier")),
    }


class BertForMultipleChoice(ForMultipleChoice):
    """BERT that chooses one of several texts."""

    backbone_class = BertModel


class BertForMaskedLM(ForMaskedLM):
    """BERT that fills masked tokens."""

    backbone_class = BertModel


class BertForCausalLM(ForCausalLM):
    """BERT as a decoder: predicts each token from the preceding ones."""

    backbone_class = BertModel

    @classmethod
    def foreign_class_name(cls, format: Format) -> str:
        """Name of this class in the library that has the format."""
        return "BertLMHeadModel" if format == "huggingface" else cls.__name__


class BertForNextSentencePrediction(ForNextSentencePrediction):
    """BERT that predicts whether the second text follows the first."""

    backbone_class = BertModel


class BertForPreTraining(ForPreTraining):
    """BERT with both heads of its pretraining: masked tokens and next sentence."""

    backbone_class = BertModel

    @classmethod
    def foreign_class_name(cls, format: Format) -> str:
        """Name of this class in the library that has the format."""
        return "BertForPretraining" if format == "paddle" else cls.__name__


BertForPretraining = BertForPreTraining  # PaddleNLP's spelling
