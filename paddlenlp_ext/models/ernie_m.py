"""ERNIE-M (Ouyang et al., 2020, arXiv 2012.15674): one encoder for 96 languages.

What differs from BERT:

- no token types, and so `forward` has none: its arguments are PaddleNLP's, `input_ids,
  position_ids, attention_mask, …`;
- the first position is row 2 of the position table, so that a table of 514 rows serves texts of 512
  tokens; the padding token is 1, and LayerNorm adds 1e-5;
- a dropout after the activation of the feed-forward layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from paddle import Tensor

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import ModelConfig, takes_keywords
from paddlenlp_ext.models.extraction import ExtractionOutput, ForExtraction
from paddlenlp_ext.models.heads import (
    ForMaskedLM,
    ForMultipleChoice,
    ForQuestionAnswering,
    ForSequenceClassification,
    ForTokenClassification,
    HeadModel,
)
from paddlenlp_ext.models.outputs import (
    BaseModelOutput,
    DecoderCache,
    KeyValues,
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
from paddlenlp_ext.nn.tracing import is_given
from paddlenlp_ext.presets.ernie_m import ROWS
from paddlenlp_ext.weights.names import NameTable
from paddlenlp_ext.weights.states import Array

FIRST_POSITION = 2  # row of the position table: the original counts on from the padding token's 1


@takes_keywords
@dataclass(frozen=True)
class ErnieMConfig(ModelConfig):
    """Sizes of an ERNIE-M; the defaults are ernie-m-base's.

    Attributes:
        max_position_embeddings: Rows of the position table, two more than the longest text.
        act_dropout: Dropout probability of the feed-forward layer's activations.
        paddlenlp_default_mask: Without a mask, attend to all but token 0 ([CLS]) instead of all but
            the padding token, as PaddleNLP does by mistake: for its outputs to the digit.
    """

    model_type: ClassVar[str] = "ernie_m"
    unread: ClassVar[tuple[str, ...]] = ("type_vocab_size",)

    vocab_size: int = 250002
    max_position_embeddings: int = 514
    layer_norm_eps: float = 1e-5
    pad_token_id: int = 1
    act_dropout: float = 0.0
    paddlenlp_default_mask: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_decoder:
            raise UserError("ERNIE-M is an encoder only; is_decoder must be false")

    @property
    def max_length(self) -> int:
        """Tokens of the longest text; positions begin after the padding token's."""
        return self.max_position_embeddings - FIRST_POSITION

    def with_sizes_from(self, weights: Mapping[str, Array]) -> ErnieMConfig:
        """Take the feed-forward width from the weights.

        PaddleNLP builds four times the hidden size whatever its config says; the config.json that
        it saves for ernie-m-large says 3072 where the weights have 4096.
        """
        for name, array in weights.items():
            if name.endswith("encoder.layers.0.linear1.bias") and array.ndim == 1:
                return self.replace(intermediate_size=len(array))
        return self


PRESETS = {name: ErnieMConfig(**row.config) for name, row in ROWS.items()}

# Ours beside PaddleNLP's: the encoder's names are the same.
PADDLENLP_ROWS = (
    *((ours, ours) for ours, _ in HF_EMBEDDINGS if "token_type" not in ours),
    *((ours, ours) for ours, _ in HF_STACK if "cross" not in ours),
    ("pooler.dense", "pooler.dense"),
)
# Beside transformers': three of the four projections lie one level deeper.
HF_DEEPER = {
    "encoder.layers.{}.self_attn.q_proj": "encoder.layers.{}.self_attn.self_attn.q_proj",
    "encoder.layers.{}.self_attn.k_proj": "encoder.layers.{}.self_attn.self_attn.k_proj",
    "encoder.layers.{}.self_attn.v_proj": "encoder.layers.{}.self_attn.self_attn.v_proj",
}
HF_ROWS = tuple((ours, HF_DEEPER.get(ours, ours)) for ours, _ in PADDLENLP_ROWS)
# Neither library has a language-model head for this family; ours has the names of BERT's there.
PADDLENLP_HEADS = (
    ("classifier", "classifier"),
    ("linear_start", "linear_start"),
    ("linear_end", "linear_end"),
    ("lm_head.dense", "cls.predictions.transform"),
    ("lm_head.layer_norm", "cls.predictions.layer_norm"),
    ("lm_head.bias", "cls.predictions.decoder.bias"),
    ("lm_head.decoder.weight", "cls.predictions.decoder.weight"),
)
HF_HEADS = (
    ("classifier", "classifier"),
    ("qa_outputs", "qa_outputs"),
    ("linear_start", "linear_start"),
    ("linear_end", "linear_end"),
    ("lm_head.dense", "cls.predictions.transform.dense"),
    ("lm_head.layer_norm", "cls.predictions.transform.LayerNorm"),
    ("lm_head.bias", "cls.predictions.bias"),
    ("lm_head.decoder.weight", "cls.predictions.decoder.weight"),
)

NAMES: dict[Format, NameTable] = {
    "huggingface": NameTable(HF_ROWS, HF_HEADS, prefix="ernie_m."),
    "paddle": NameTable(PADDLENLP_ROWS, PADDLENLP_HEADS, prefix="ernie_m."),
}


class ErnieMModel(TransformerModel):
    """Ids to hidden states."""

    config_class = ErnieMConfig
    presets = PRESETS
    names = NAMES
    config: ErnieMConfig

    def __init__(self, config: ErnieMConfig, *, with_pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            type_vocab_size=0,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            position_offset=FIRST_POSITION,
        )
        self.encoder = make_stack(config, activation_dropout=config.act_dropout)
        self.pooler = Pooler(config.hidden_size) if with_pooler else None
        self.initialize_weights()

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: DecoderCache | KeyValues | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        read_positions: Positions | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Run the model; see `TransformerModel.run`."""
        output = self.run(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            read_positions=read_positions,
        )
        return self.as_asked(output, return_dict)

    def attention_mask(
        self, attention_mask: Tensor | None, input_ids: Tensor | None, embedded: Tensor
    ) -> Tensor:
        """As for all families, but for `config.paddlenlp_default_mask`."""
        if is_given(attention_mask) or not self.config.paddlenlp_default_mask:
            return TransformerModel.attention_mask(self, attention_mask, input_ids, embedded)
        if is_given(input_ids):
            return (input_ids != 0).astype("int64")
        return TransformerModel.attention_mask(self, attention_mask, input_ids, embedded)


class WithoutTokenTypes(HeadModel):
    """PaddleNLP's order of arguments for this family; a head's base class comes after this one."""

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        past_key_values: KeyValues | None = None,
    ) -> Any:
        """Run the bare model and the head; see `HeadModel.run` for the arguments."""
        output = self.run(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            labels=labels,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class ErnieMForSequenceClassification(WithoutTokenTypes, ForSequenceClassification):
    """ERNIE-M for a decision on one text or a pair."""

    backbone_class = ErnieMModel


class ErnieMForTokenClassification(WithoutTokenTypes, ForTokenClassification):
    """ERNIE-M for a decision on every token."""

    backbone_class = ErnieMModel


class ErnieMForQuestionAnswering(ForQuestionAnswering):
    """ERNIE-M that finds an answer in a text."""

    backbone_class = ErnieMModel
    paddle_heads = (("qa_outputs", "classifier"),)

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        labels: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> QuestionAnsweringOutput | tuple[Any, ...]:
        """Score each token; see `ForQuestionAnswering`."""
        output = self.run(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            start_positions=start_positions,
            end_positions=end_positions,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            labels=labels,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class ErnieMForMultipleChoice(WithoutTokenTypes, ForMultipleChoice):
    """ERNIE-M that chooses one of several texts."""

    backbone_class = ErnieMModel


class ErnieMForMaskedLM(WithoutTokenTypes, ForMaskedLM):
    """ERNIE-M that fills masked tokens, with BERT's head; no published weights hold one."""

    backbone_class = ErnieMModel


class UIEM(ForExtraction):
    """Universal information extraction with ERNIE-M.

    The text begins with what is asked for ("[CLS] person [SEP] [SEP] …"). transformers'
    ErnieMForInformationExtraction returns logits in place of probabilities.
    """

    backbone_class = ErnieMModel
    foreign_names: ClassVar[Mapping[Format, str]] = {
        "huggingface": "ErnieMForInformationExtraction"
    }

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        past_key_values: KeyValues | None = None,
    ) -> ExtractionOutput | tuple[Any, ...]:
        """Score each token; see `ForExtraction`."""
        output = self.run(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            start_positions=start_positions,
            end_positions=end_positions,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)
