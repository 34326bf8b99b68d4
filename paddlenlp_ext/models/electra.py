"""ELECTRA (Clark et al., 2020, arXiv 2003.10555): BERT pretrained by finding replaced tokens.

What differs from BERT:

- the embeddings may be narrower than the encoder, which a projection then makes up for;
- no pooler: a classifier is two layers on the first token, with GELU between them;
- pretraining: a small generator fills masked tokens, and the model that is kept, the discriminator,
  finds them. transformers calls the discriminator `ElectraForPreTraining`; here, as in PaddleNLP,
  that is the two of them, trained at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from paddle import Tensor, nn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.generator_discriminator import (
    HF_ALIASES,
    HF_BUFFERS,
    HF_HEADS,
    PADDLENLP_HEADS,
    Discriminator,
    FirstTokenClassification,
    ForReplacedTokens,
    Generator,
    ReplacedTokensConfig,
    generator_head,
    joint_names,
)
from paddlenlp_ext.models.heads import (
    ForMultipleChoice,
    ForQuestionAnswering,
    ForTokenClassification,
)
from paddlenlp_ext.models.outputs import BaseModelOutput, HeadOutput
from paddlenlp_ext.models.transformer import TransformerModel, make_stack
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.nn.encoder import activation
from paddlenlp_ext.nn.heads import TiedLMHead
from paddlenlp_ext.presets.electra import GENERATORS, MODELS, ROWS
from paddlenlp_ext.weights.names import NameTable


@dataclass(frozen=True)
class ElectraConfig(ReplacedTokensConfig):
    """Sizes of an ELECTRA; the defaults are electra-small's.

    Attributes:
        summary_type: Which vector stands for a text in a choice; only `first` is built here.
        summary_use_proj: Whether a dense layer follows it; only that is built here.
        summary_activation: Activation of that layer; none if None.
        summary_last_dropout: Dropout probability of its output.
    """

    model_type: ClassVar[str] = "electra"

    embedding_size: int = 128
    hidden_size: int = 256
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    summary_type: str = "first"
    summary_use_proj: bool = True
    summary_activation: str | None = "gelu"
    summary_last_dropout: float = 0.1


PRESETS = {name: ElectraConfig(**row.config) for name, row in ROWS.items()}

# Ours beside transformers'. A decoder with a memory has the `cross_` rows.
HF_ROWS = (
    ("embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
    ("embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight"),
    ("embeddings.token_type_embeddings.weight", "embeddings.token_type_embeddings.weight"),
    ("embeddings.layer_norm", "embeddings.LayerNorm"),
    ("embeddings.projection", "embeddings_project"),
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
)
# Beside PaddleNLP's: but for the projection, the encoder's names are the same.
PADDLENLP_ROWS = tuple(
    (ours, "embeddings_project" if "projection" in ours else ours) for ours, _ in HF_ROWS
)

NAMES: dict[Format, NameTable] = {
    "huggingface": NameTable(
        HF_ROWS,
        (*HF_HEADS, ("summary", "sequence_summary.summary")),
        prefix="electra.",
        aliases=HF_ALIASES,
        ignored=HF_BUFFERS,
    ),
    "paddle": NameTable(
        PADDLENLP_ROWS,
        (*PADDLENLP_HEADS, ("summary", "sequence_summary.dense")),
        prefix="electra.",
    ),
}


class ElectraModel(TransformerModel):
    """Ids to hidden states.

    Args:
        config: The sizes.
        with_pooler: Of no effect: the family has none.
    """

    config_class = ElectraConfig
    presets = PRESETS
    names = NAMES

    def __init__(self, config: ElectraConfig, *, with_pooler: bool = False) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(
            config.vocab_size,
            config.embedding_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            output_width=config.hidden_size,
        )
        self.encoder = make_stack(config)
        self.pooler = None
        self.initialize_weights()


class ElectraForSequenceClassification(FirstTokenClassification):
    """ELECTRA for a decision on one text or a pair."""

    backbone_class = ElectraModel
    head_act = "gelu"


class ElectraForTokenClassification(ForTokenClassification):
    """ELECTRA for a decision on every token."""

    backbone_class = ElectraModel


class ElectraForQuestionAnswering(ForQuestionAnswering):
    """ELECTRA that finds an answer in a text."""

    backbone_class = ElectraModel
    names: ClassVar[Mapping[Format, NameTable]] = {
        "huggingface": NAMES["huggingface"],
        "paddle": NAMES["paddle"].with_heads([("qa_outputs", "classifier")]),
    }


class ElectraForMultipleChoice(ForMultipleChoice):
    """ELECTRA that chooses one of several texts, by a dense layer on the first token of each."""

    backbone_class = ElectraModel

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        if config.summary_type != "first" or not config.summary_use_proj:
            raise UserError(
                f"summary_type {config.summary_type!r} with summary_use_proj "
                f"{config.summary_use_proj} is not built here, only 'first' with True"
            )
        self.summary = nn.Linear(config.hidden_size, config.hidden_size)
        name = config.summary_activation
        self.activation = activation(name) if name else nn.Identity()
        self.dropout = nn.Dropout(config.summary_last_dropout)
        self.initialize_weights()

    def apply_head(self, outputs: BaseModelOutput, labels: Tensor | None = None) -> HeadOutput:
        """Score B·C texts: logits [B·C, 1]."""
        summary = self.activation(self.summary(outputs.last_hidden_state[:, 0]))
        logits = self.classifier(self.dropout(summary))
        return HeadOutput(None, logits, outputs.hidden_states, outputs.attentions)


class ElectraForMaskedLM(Generator):
    """ELECTRA that fills masked tokens: the generator of the pretraining."""

    backbone_class = ElectraModel


class ElectraForCausalLM(ForCausalLM):
    """ELECTRA as a decoder: predicts each token from the preceding ones."""

    backbone_class = ElectraModel

    def make_lm_head(self, config: ElectraConfig) -> TiedLMHead:  # type: ignore[override]
        """Make the head, the generator's."""
        return generator_head(config)


class ElectraDiscriminator(Discriminator):
    """ELECTRA that predicts which tokens were replaced (transformers' ElectraForPreTraining)."""

    backbone_class = ElectraModel

    @classmethod
    def foreign_class_name(cls, format: Format) -> str:
        """Name of this class in the library that has the format."""
        return "ElectraForPreTraining" if format == "huggingface" else cls.__name__


class ElectraForPreTraining(ForReplacedTokens):
    """Generator and discriminator of an ELECTRA, trained at once."""

    config_class = ElectraConfig
    presets: ClassVar[Mapping[str, ElectraConfig]] = {
        name: PRESETS[name].replace(generator=GENERATORS.get(name)) for name in MODELS
    }
    names: ClassVar[Mapping[Format, NameTable]] = {
        "huggingface": joint_names(HF_ROWS, HF_HEADS, "electra."),
        "paddle": joint_names(PADDLENLP_ROWS, PADDLENLP_HEADS, "electra."),
    }
    generator_class = ElectraForMaskedLM
    discriminator_class = ElectraDiscriminator

    @classmethod
    def foreign_class_name(cls, format: Format) -> str:
        """PaddleNLP's name in either format: transformers has no such class."""
        return "ElectraForTotalPretraining"


# PaddleNLP's other names.
ElectraGenerator = ElectraForMaskedLM
ElectraForPretraining = ElectraForTotalPretraining = ElectraForPreTraining
