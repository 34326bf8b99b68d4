"""ConvBERT (Jiang et al., 2020, arXiv 2008.02496): half of the attention becomes convolution.

What differs from BERT:

- half of the width of each layer is attention, with fewer heads (`head_ratio`), the other half
  span-based dynamic convolution (`nn/convolution.py`);
- the feed-forward layer may be grouped (`num_groups`), and the embeddings narrower than the
  encoder, which a projection then makes up for;
- no pooler: a classifier is two layers on the first token;
- pretraining by replaced tokens, as ELECTRA's; the published weights are the discriminator's.

The convolution sees padding as it sees any token, so that outputs depend a little on how much there
is of it. The published weights were trained so; `mask_convolution` keeps padding out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import paddle
from paddle import Tensor, nn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import takes_keywords
from paddlenlp_ext.models.generator_discriminator import (
    HF_ALIASES,
    HF_BUFFERS,
    HF_HEADS,
    PADDLENLP_HEADS,
    Discriminator,
    ForReplacedTokens,
    Generator,
    ReplacedTokensConfig,
    joint_names,
)
from paddlenlp_ext.models.heads import (
    FirstTokenClassification,
    ForMultipleChoice,
    ForQuestionAnswering,
    ForTokenClassification,
)
from paddlenlp_ext.models.outputs import BaseModelOutput, States
from paddlenlp_ext.models.transformer import HF_EMBEDDINGS, HF_STACK, TransformerModel
from paddlenlp_ext.nn.attention import Attention
from paddlenlp_ext.nn.convolution import GroupedLinear, MixedAttention
from paddlenlp_ext.nn.cpu.layers import Linear
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from paddlenlp_ext.nn.heads import Pooler
from paddlenlp_ext.nn.positions import FIRST, LAST, Positions
from paddlenlp_ext.nn.tracing import is_given
from paddlenlp_ext.presets.convbert import GENERATORS, MODELS, ROWS
from paddlenlp_ext.weights.names import NameTable, Row
from paddlenlp_ext.weights.states import Array


@takes_keywords
@dataclass(frozen=True)
class ConvBertConfig(ReplacedTokensConfig):
    """Sizes of a ConvBERT; the defaults are convbert-base's.

    Attributes:
        head_ratio: The attention has `num_attention_heads // head_ratio` heads, one at least.
        conv_kernel_size: Positions that the convolution covers, `K`; odd.
        num_groups: Groups of the feed-forward layer's units.
        pool_act: The original has no pooler: None. PaddleNLP has one since 2.5, and its classifiers
            read it: then its activation, "tanh", or "" for none.
        mask_convolution: Keep padding out of the convolution.
        one_head_convolution: What becomes of a model with fewer heads than `head_ratio`: one head
            beside the convolution, as in transformers, or one head and no convolution, as in
            PaddleNLP.
    """

    model_type: ClassVar[str] = "convbert"

    head_ratio: int = 2
    conv_kernel_size: int = 9
    num_groups: int = 1
    pool_act: str | None = None
    mask_convolution: bool = False
    one_head_convolution: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_decoder:
            raise UserError("is_decoder is not for ConvBERT: its convolution looks ahead")
        if self.conv_kernel_size % 2 == 0:
            raise UserError(f"conv_kernel_size must be odd, not {self.conv_kernel_size}")
        heads = 2 * self.attention_heads
        if self.hidden_size % heads:
            raise UserError(
                f"hidden_size {self.hidden_size} must be a multiple of {heads}, the heads of the "
                "attention and of the convolution"
            )
        if self.hidden_size % self.num_groups or self.intermediate_size % self.num_groups:
            raise UserError(
                f"num_groups {self.num_groups} must divide hidden_size {self.hidden_size} and "
                f"intermediate_size {self.intermediate_size}"
            )

    @property
    def attention_heads(self) -> int:
        """Heads of the attention, and as many of the convolution."""
        return max(self.num_attention_heads // self.head_ratio, 1)

    @property
    def convolves(self) -> bool:
        """Whether there is a convolution at all."""
        return self.num_attention_heads >= self.head_ratio or self.one_head_convolution

    def with_sizes_from(self, weights: Mapping[str, Array]) -> ConvBertConfig:
        """See from the weights of which form they are.

        PaddleNLP's config names a pooler, which its older weights do not hold; and it does not say
        that a model with one head has no convolution.
        """
        convolves = any("conv_kernel_layer" in name for name in weights)
        pooled = any(name.endswith("pooler.dense.weight") for name in weights)
        return self.replace(
            one_head_convolution=self.one_head_convolution and convolves,
            pool_act=self.pool_act if pooled else None,
        )


PRESETS = {name: ConvBertConfig(**row.config) for name, row in ROWS.items()}

OURS, THEIRS = "encoder.layers.{}.self_attn", "encoder.layer.{}.attention.self"
# Ours beside transformers', which has no pooler.
HF_ROWS = (
    *HF_EMBEDDINGS,
    ("embeddings.projection", "embeddings_project"),
    *((ours, theirs) for ours, theirs in HF_STACK if "cross" not in ours),
    *(
        (f"{OURS}.key_conv_attn_layer.{part}.weight", f"{THEIRS}.key_conv_attn_layer.{part}.weight")
        for part in ("depthwise", "pointwise")
    ),
    (f"{OURS}.conv_kernel_layer", f"{THEIRS}.conv_kernel_layer"),
    (f"{OURS}.conv_out_layer", f"{THEIRS}.conv_out_layer"),
)
BIAS = Row(f"{OURS}.key_conv_attn_layer.bias", f"{THEIRS}.key_conv_attn_layer.bias", column=True)
# Beside PaddleNLP's: but for the projection, the encoder's names are the same.
PADDLENLP_ROWS = (
    *((ours, "embeddings_project" if "projection" in ours else ours) for ours, _ in HF_ROWS),
    (BIAS.ours, BIAS.ours),
    ("pooler.dense", "pooler.dense"),
)

NAMES: dict[Format, NameTable] = {
    "huggingface": NameTable(
        (*HF_ROWS, BIAS), HF_HEADS, prefix="convbert.", aliases=HF_ALIASES, ignored=HF_BUFFERS
    ),
    "paddle": NameTable(PADDLENLP_ROWS, PADDLENLP_HEADS, prefix="convbert."),
}


class ConvBertModel(TransformerModel):
    """Ids to hidden states, and a pooled vector if the config names a pooler."""

    config_class = ConvBertConfig
    presets = PRESETS
    names = NAMES
    config: ConvBertConfig
    takes_prefix = False

    def __init__(self, config: ConvBertConfig, *, with_pooler: bool = True) -> None:
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
        self.encoder = Encoder(make_layer(config) for _ in range(config.num_hidden_layers))
        self.pooler = None
        if with_pooler and config.pool_act is not None:
            self.pooler = Pooler(config.hidden_size, config.pool_act)
        self.initialize_weights()

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        read_positions: Positions | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Run the model; see `TransformerModel.run`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            read_positions=read_positions,
        )
        return self.as_asked(output, return_dict)

    def _initialize_layer(self, layer: nn.Layer) -> None:
        super()._initialize_layer(layer)
        if isinstance(layer, (nn.Conv1D, GroupedLinear)):
            std = self.config.initializer_range
            layer.weight.set_value(paddle.randn(layer.weight.shape) * std)

    def placeholder_weights(self, format: Format) -> dict[str, Array]:
        """Return a pooler that changes nothing, for PaddleNLP, which would draw one at random.

        Together with `pool_act` None its classifiers read the first token, as ours do.
        """
        if format != "paddle" or self.config.pool_act is not None:
            return {}
        width = self.config.hidden_size
        return {
            "pooler.dense.weight": np.eye(width, dtype="float32"),
            "pooler.dense.bias": np.zeros(width, dtype="float32"),
        }


def make_layer(config: ConvBertConfig) -> EncoderLayer:
    """One layer of a ConvBERT."""

    def linear(width: int, output_width: int) -> nn.Layer:
        if config.num_groups == 1:
            return Linear(width, output_width)
        return GroupedLinear(width, output_width, config.num_groups)

    if config.convolves:
        attention: nn.Layer = MixedAttention(
            config.hidden_size,
            config.attention_heads,
            config.conv_kernel_size,
            config.attention_probs_dropout_prob,
            mask_padding=config.mask_convolution,
        )
    else:
        attention = Attention(config.hidden_size, 1, config.attention_probs_dropout_prob)
    return EncoderLayer(
        attention,
        linear(config.hidden_size, config.intermediate_size),
        linear(config.intermediate_size, config.hidden_size),
        hidden_act=config.hidden_act,
        hidden_size=config.hidden_size,
        layer_norm_eps=config.layer_norm_eps,
        dropout=config.hidden_dropout_prob,
    )


class ConvBertForSequenceClassification(FirstTokenClassification):
    """ConvBERT for a decision on one text or a pair."""

    backbone_class = ConvBertModel


class ConvBertForTokenClassification(ForTokenClassification):
    """ConvBERT for a decision on every token."""

    backbone_class = ConvBertModel


class ConvBertForQuestionAnswering(ForQuestionAnswering):
    """ConvBERT that finds an answer in a text."""

    backbone_class = ConvBertModel
    paddle_heads = (("qa_outputs", "classifier"),)


class ConvBertForMultipleChoice(ForMultipleChoice):
    """ConvBERT that chooses one of several texts.

    As in transformers, it reads the last position, which is padding in all but the longest texts of
    a batch, without dropout; with a pooler, as in PaddleNLP, the pooled vector, with dropout.
    """

    backbone_class = ConvBertModel

    @property
    def reads(self) -> slice:  # type: ignore[override]
        """Position that is read."""
        return LAST if self.backbone.pooler is None else FIRST

    def score(self, outputs: States) -> Tensor:
        """Score B·C texts: [B·C, 1]."""
        if is_given(outputs.pooler_output):
            return self.classifier(self.dropout(outputs.pooler_output))
        return self.classifier(outputs.last_hidden_state[:, -1])


class ConvBertForMaskedLM(Generator):
    """ConvBERT that fills masked tokens: the generator of the pretraining."""

    backbone_class = ConvBertModel


class ConvBertDiscriminator(Discriminator):
    """ConvBERT that predicts which tokens were replaced."""

    backbone_class = ConvBertModel


class ConvBertForPreTraining(ForReplacedTokens):
    """Generator and discriminator of a ConvBERT, trained at once."""

    config_class = ConvBertConfig
    presets: ClassVar[Mapping[str, ConvBertConfig]] = {
        name: PRESETS[name].replace(generator=GENERATORS[name]) for name in MODELS
    }
    names: ClassVar[Mapping[Format, NameTable]] = {
        "huggingface": joint_names((*HF_ROWS, BIAS), HF_HEADS, "convbert."),
        "paddle": joint_names(PADDLENLP_ROWS, PADDLENLP_HEADS, "convbert."),
    }
    generator_class = ConvBertForMaskedLM
    discriminator_class = ConvBertDiscriminator
    # transformers has no such class.
    foreign_names: ClassVar[Mapping[Format, str]] = dict.fromkeys(
        ("paddle", "huggingface"), "ConvBertForTotalPretraining"
    )


# PaddleNLP's other names.
ConvBertGenerator = ConvBertForMaskedLM
ConvBertForPretraining = ConvBertForTotalPretraining = ConvBertForPreTraining
