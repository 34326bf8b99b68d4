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
from typing import Any, ClassVar

from paddle import Tensor, nn

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import takes_keywords
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.generator_discriminator import (
    HF_ALIASES,
    HF_BUFFERS,
    HF_HEADS,
    PADDLENLP_HEADS,
    AttentionsFirst,
    Discriminator,
    ForReplacedTokens,
    Generator,
    ReplacedTokensConfig,
    generator_head,
    joint_names,
)
from paddlenlp_ext.models.heads import (
    FirstTokenClassification,
    ForMultipleChoice,
    ForQuestionAnswering,
    ForTokenClassification,
)
from paddlenlp_ext.models.outputs import (
    BaseModelOutput,
    DecoderCache,
    KeyValues,
    QuestionAnsweringOutput,
    States,
)
from paddlenlp_ext.models.transformer import (
    HF_EMBEDDINGS,
    HF_STACK,
    TransformerModel,
    make_stack,
)
from paddlenlp_ext.nn.embeddings import Embeddings
from paddlenlp_ext.nn.encoder import activation
from paddlenlp_ext.nn.heads import TiedLMHead
from paddlenlp_ext.nn.positions import FIRST, Positions
from paddlenlp_ext.presets.electra import GENERATORS, MODELS, ROWS
from paddlenlp_ext.weights.names import NameTable


@takes_keywords
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

# Ours beside transformers'.
HF_ROWS = (
    *HF_EMBEDDINGS,
    *HF_STACK,
    ("embeddings.projection", "embeddings_project"),
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
    """Ids to hidden states; the family has no pooler, with or without `with_pooler`."""

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

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: DecoderCache | KeyValues | None = None,
        use_cache: bool = False,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool | None = None,
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
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
            read_positions=read_positions,
        )
        return self.as_asked(output, return_dict)


class ElectraForSequenceClassification(AttentionsFirst, FirstTokenClassification):
    """ELECTRA for a decision on one text or a pair."""

    backbone_class = ElectraModel
    head_act = "gelu"


class ElectraForTokenClassification(AttentionsFirst, ForTokenClassification):
    """ELECTRA for a decision on every token."""

    backbone_class = ElectraModel


class ElectraForQuestionAnswering(ForQuestionAnswering):
    """ELECTRA that finds an answer in a text."""

    backbone_class = ElectraModel
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
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool | None = None,
        labels: Tensor | None = None,
        past_key_values: KeyValues | None = None,
    ) -> QuestionAnsweringOutput | tuple[Any, ...]:
        """Score each token; see `ForQuestionAnswering`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            start_positions=start_positions,
            end_positions=end_positions,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            labels=labels,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class ElectraForMultipleChoice(AttentionsFirst, ForMultipleChoice):
    """ELECTRA that chooses one of several texts, by a dense layer on the first token of each."""

    backbone_class = ElectraModel
    reads = FIRST

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        if config.summary_type != "first" or not config.summary_use_proj:
            raise UserError(
                f"summary_type {shown(config.summary_type)} with summary_use_proj "
                f"{config.summary_use_proj} is not built here, only 'first' with True"
            )
        self.summary = nn.Linear(config.hidden_size, config.hidden_size)
        name = config.summary_activation
        self.activation = activation(name) if name else nn.Identity()
        self.dropout = nn.Dropout(config.summary_last_dropout)
        self.initialize_weights()

    def score(self, outputs: States) -> Tensor:
        """Score B·C texts: [B·C, 1]."""
        summary = self.activation(self.summary(outputs.last_hidden_state[:, 0]))
        return self.classifier(self.dropout(summary))


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
    foreign_names: ClassVar[Mapping[Format, str]] = {"huggingface": "ElectraForPreTraining"}


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
    # transformers has no such class.
    foreign_names: ClassVar[Mapping[Format, str]] = dict.fromkeys(
        ("paddle", "huggingface"), "ElectraForTotalPretraining"
    )


# PaddleNLP's other names.
ElectraGenerator = ElectraForMaskedLM
ElectraForPretraining = ElectraForTotalPretraining = ElectraForPreTraining
