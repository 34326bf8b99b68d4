"""RemBERT (Chung et al., 2020, arXiv 2010.12821): BERT in 110 languages, embeddings decoupled.

What differs from BERT:

- words, positions and token types are 256 wide, and the encoder begins with a projection to its
  own width, so that `hidden_states[0]` is the projected sum;
- the language-model head has a table of its own, 1664 wide, that no other part shares: a wide one
  is for pretraining alone and costs nothing in fine-tuning, which leaves it out. The
  published weights do not hold it: a head on them is newly initialized, and loading says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from paddle import Tensor

from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import ModelConfig, takes_keywords
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.heads import (
    ForMaskedLM,
    ForMultipleChoice,
    ForQuestionAnswering,
    ForSequenceClassification,
    ForTokenClassification,
    LanguageModel,
)
from paddlenlp_ext.models.transformer import (
    HF_EMBEDDINGS,
    HF_STACK,
    TransformerModel,
    make_stack,
)
from paddlenlp_ext.nn.cpu.layers import Linear
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.nn.heads import Pooler, TiedLMHead
from paddlenlp_ext.presets.rembert import ROWS
from paddlenlp_ext.weights.names import NameTable


@takes_keywords
@dataclass(frozen=True)
class RemBertConfig(ModelConfig):
    """Sizes of a RemBERT; the defaults are the published model's.

    Attributes:
        input_embedding_size: Width of words, positions and token types, `E`.
        output_embedding_size: Width of the language-model head's table.
        classifier_dropout_prob: Dropout probability before a classifier; `classifier_dropout`, the
            other families' name for it, wins if it is given.
        type_vocab_size: Kinds of segments.
        bos_token_id: [CLS], with which a sequence begins.
        eos_token_id: [SEP], with which it ends.
        tie_word_embeddings: Without effect: the head's table is wider than the word embeddings.
    """

    model_type: ClassVar[str] = "rembert"

    vocab_size: int = 250300
    hidden_size: int = 1152
    num_hidden_layers: int = 32
    num_attention_heads: int = 18
    intermediate_size: int = 4608
    hidden_dropout_prob: float = 0.0
    attention_probs_dropout_prob: float = 0.0
    input_embedding_size: int = 256
    output_embedding_size: int = 1664
    classifier_dropout_prob: float = 0.1
    type_vocab_size: int = 2
    bos_token_id: int = 312
    eos_token_id: int = 313
    tie_word_embeddings: bool = False

    @property
    def head_dropout(self) -> float:
        """Dropout probability before a classifier."""
        dropout = self.classifier_dropout
        return self.classifier_dropout_prob if dropout is None else dropout

    def to_dict(self) -> dict[str, Any]:
        """As for all families, with the dropout before a classifier under RemBERT's name only."""
        values = super().to_dict() | {"classifier_dropout_prob": self.head_dropout}
        del values["classifier_dropout"]
        return values


PRESETS = {name: RemBertConfig(**row.config) for name, row in ROWS.items()}

# Ours beside transformers'.
HF_ROWS = (
    *HF_EMBEDDINGS,
    *HF_STACK,
    ("encoder.projection", "encoder.embedding_hidden_mapping_in"),
    ("pooler.dense", "pooler.dense"),
)
HF_HEADS = (
    ("classifier", "classifier"),
    ("qa_outputs", "qa_outputs"),
    ("lm_head.dense", "cls.predictions.dense"),
    ("lm_head.layer_norm", "cls.predictions.LayerNorm"),
    ("lm_head.decoder.weight", "cls.predictions.decoder.weight"),
    ("lm_head.bias", "cls.predictions.decoder.bias"),
)

# PaddleNLP has transformers' names but for the LayerNorms, and keeps a buffer of positions.
# Its language-model head is as wide as the encoder and scores hidden units instead of words
# (`cls.predictions.{transform,layer_norm,decoder}`), so neither side can use the other's: the rows
# here share no name with it. PaddleNLP finds the encoder in our folder and draws a head of its own;
# we find the encoder in its folder and do the same. Either side reports that.
PADDLENLP_ROWS = tuple(
    (ours, theirs.replace("LayerNorm", "layer_norm")) for ours, theirs in HF_ROWS
)
PADDLENLP_HEADS = (
    ("classifier", "classifier"),
    ("qa_outputs", "qa_outputs"),
    ("lm_head.dense", "lm_head.dense"),
    ("lm_head.layer_norm", "lm_head.layer_norm"),
    ("lm_head.decoder.weight", "lm_head.decoder.weight"),
    ("lm_head.bias", "lm_head.bias"),
)
POSITIONS = {"embeddings.position_ids": "embeddings.position_embeddings.weight"}

NAMES: dict[Format, NameTable] = {
    # Older files of transformers hold the positions too.
    "huggingface": NameTable(HF_ROWS, HF_HEADS, prefix="rembert.", ignored=POSITIONS),
    "paddle": NameTable(
        PADDLENLP_ROWS, PADDLENLP_HEADS, prefix="rembert.", position_buffers=POSITIONS
    ),
}


class RemBertModel(TransformerModel):
    """Ids to hidden states."""

    config_class = RemBertConfig
    presets = PRESETS
    names = NAMES

    def __init__(self, config: RemBertConfig, *, with_pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(
            config.vocab_size,
            config.input_embedding_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
        )
        self.encoder = make_stack(config)
        self.encoder.projection = Linear(config.input_embedding_size, config.hidden_size)
        self.pooler = Pooler(config.hidden_size) if with_pooler else None
        self.initialize_weights()

    def embed(self, *inputs: Tensor | None, **more: Any) -> Tensor:
        """Embed tokens, and bring them to the width of the layers; [B, L, H]."""
        projected: Tensor = self.encoder.projection(self.embeddings(*inputs, **more))
        return projected


class WithOwnTable(LanguageModel):
    """A language model whose head has a table of its own; a task's base class comes after this one.

    `from_pretrained(…, output_embedding_size=512)` begins a new head on a checkpoint that has none,
    or one of another width.
    """

    sizes_of_head = ("output_embedding_size",)

    def make_lm_head(self, config: RemBertConfig) -> TiedLMHead:  # type: ignore[override]
        """Make the head."""
        return TiedLMHead(
            config.hidden_size,
            config.output_embedding_size,
            config.vocab_size,
            hidden_act=config.hidden_act,
            layer_norm_eps=config.layer_norm_eps,
            tied=False,
        )


class RemBertForMaskedLM(WithOwnTable, ForMaskedLM):
    """RemBERT that fills masked tokens; on the published weights its head is newly initialized."""

    backbone_class = RemBertModel


class RemBertForCausalLM(WithOwnTable, ForCausalLM):
    """RemBERT as a decoder: predicts each token from the preceding ones."""

    backbone_class = RemBertModel


class RemBertForSequenceClassification(ForSequenceClassification):
    """RemBERT for a decision on one text or a pair."""

    backbone_class = RemBertModel
    paddle_heads = (("classifier", "dense"),)


class RemBertForTokenClassification(ForTokenClassification):
    """RemBERT for a decision on every token."""

    backbone_class = RemBertModel


class RemBertForQuestionAnswering(ForQuestionAnswering):
    """RemBERT that finds an answer in a text."""

    backbone_class = RemBertModel


class RemBertForMultipleChoice(ForMultipleChoice):
    """RemBERT that chooses one of several texts."""

    backbone_class = RemBertModel
