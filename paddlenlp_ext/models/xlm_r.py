"""XLM-RoBERTa (Conneau et al., 2020, arXiv 1911.02116), InfoXLM and multilingual E5: one shape.

What differs from BERT:

- positions are counted over the tokens that are no padding, and begin with the row after the
  padding token's, so that a table of 514 rows serves texts of 512 tokens; `position_ids` that are
  given are rows of the table, and with `inputs_embeds` all vectors are tokens;
- a classifier of texts is two layers on the first token, with tanh between them, without a pooler;
- the activation of the language-model head is GELU, whatever the config's is.

PaddleNLP has this architecture as RoBERTa: its classes load what is saved here for Paddle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from paddle import Tensor, nn

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.base import Format
from paddlenlp_ext.models.config import NO_PADDING, ModelConfig, takes_keywords
from paddlenlp_ext.models.generation import ForCausalLM
from paddlenlp_ext.models.heads import (
    FirstTokenClassification,
    ForMaskedLM,
    ForMultipleChoice,
    ForQuestionAnswering,
    ForTokenClassification,
    LanguageModel,
    make_lm_head,
)
from paddlenlp_ext.models.transformer import (
    HF_EMBEDDINGS,
    HF_STACK,
    TransformerModel,
    make_stack,
)
from paddlenlp_ext.nn.embeddings import Embeddings, require_rows
from paddlenlp_ext.nn.heads import Pooler, TiedLMHead
from paddlenlp_ext.nn.tracing import is_given
from paddlenlp_ext.presets.xlm_r import ROWS
from paddlenlp_ext.weights.names import NameTable


@takes_keywords
@dataclass(frozen=True)
class XLMRobertaConfig(ModelConfig):
    """Sizes of an XLM-RoBERTa; the defaults are transformers', and those of no published model.

    Attributes:
        max_position_embeddings: Rows of the position table: those of the longest text, and as many
            as the padding token's number and one more.
        type_vocab_size: Kinds of segments.
        bos_token_id: <s>, with which a text begins.
        eos_token_id: </s>, with which it ends.
    """

    model_type: ClassVar[str] = "xlm-roberta"
    other_model_types: ClassVar[tuple[str, ...]] = ("roberta",)  # of PaddleNLP's folders

    type_vocab_size: int = 2
    pad_token_id: int = 1
    bos_token_id: int = 0
    eos_token_id: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pad_token_id == NO_PADDING:
            raise UserError("pad_token_id must be a token's: positions are counted from there")
        if self.max_position_embeddings < self.pad_token_id + 2:
            raise UserError(
                f"max_position_embeddings {self.max_position_embeddings} must be above "
                f"pad_token_id {self.pad_token_id} by 2 at least: positions are counted from there"
            )

    @property
    def max_length(self) -> int:
        """Tokens of the longest text; positions begin after the padding token's."""
        return self.max_position_embeddings - self.pad_token_id - 1


PRESETS = {name: XLMRobertaConfig(**row.config) for name, row in ROWS.items()}

HF_ROWS = (*HF_EMBEDDINGS, *HF_STACK, ("pooler.dense", "pooler.dense"))
# Both libraries name the heads alike, but for one bias that has two names.
HEADS = (
    ("classifier", "classifier"),
    ("classifier.dense", "classifier.dense"),
    ("classifier.out_proj", "classifier.out_proj"),
    ("lm_head.dense", "lm_head.dense"),
    ("lm_head.layer_norm", "lm_head.layer_norm"),
)

NAMES: dict[Format, NameTable] = {
    "huggingface": NameTable(
        HF_ROWS,
        (*HEADS, ("qa_outputs", "qa_outputs"), ("lm_head.bias", "lm_head.bias")),
        prefix="roberta.",
        aliases={  # transformers makes these again, so files need not hold them
            "lm_head.decoder.weight": "backbone.embeddings.word_embeddings.weight",
            "lm_head.decoder.bias": "lm_head.bias",
        },
        ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    ),
    "paddle": NameTable(
        tuple((ours, ours) for ours, _ in HF_ROWS),  # the encoder's names are the same
        (*HEADS, ("lm_head.bias", "lm_head.decoder.bias")),
        prefix="roberta.",
        tied={
            "lm_head.decoder.weight": "backbone.embeddings.word_embeddings.weight",
            "lm_head.bias": "lm_head.bias",
        },
    ),
}


class NamedAsRoberta:
    """What a model of this family is called; a base of it comes after this one."""

    @classmethod
    def foreign_class_name(cls, format: Format) -> str:
        """Name of this class in the library that has the format."""
        name = cls.__name__
        return name.replace("XLMRoberta", "Roberta") if format == "paddle" else name


class XLMRobertaModel(NamedAsRoberta, TransformerModel):
    """Ids to hidden states."""

    config_class = XLMRobertaConfig
    presets = PRESETS
    names = NAMES

    def __init__(self, config: XLMRobertaConfig, *, with_pooler: bool = True) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            config.max_position_embeddings,
            config.type_vocab_size,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.hidden_dropout_prob,
            position_offset=self.first_position_id,
        )
        self.embeddings.least_position = -self.first_position_id  # the table's first row
        self.encoder = make_stack(config)
        self.pooler = Pooler(config.hidden_size) if with_pooler else None
        self.initialize_weights()

    def embed(  # type: ignore[override]
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        *,
        first_position: int = 0,
    ) -> Tensor:
        """Embed tokens; arguments as `Embeddings.forward`, but `position_ids` are rows."""
        if is_given(position_ids):
            require_rows("position_ids", position_ids, self.config.max_position_embeddings)
        elif is_given(input_ids):
            self.embeddings.check_length(first_position + input_ids.shape[1])
            position_ids = self.positions_of(input_ids, first_position)
        if is_given(position_ids):
            position_ids = position_ids - self.first_position_id
        embedded: Tensor = self.embeddings(
            input_ids, token_type_ids, position_ids, inputs_embeds, first_position=first_position
        )
        return embedded

    @property
    def first_position_id(self) -> int:
        """What `position_ids` begin with: the row after the padding token's."""
        return self.config.pad_token_id + 1

    def positions_of(self, input_ids: Tensor, first_position: int = 0) -> Tensor:
        """Return the row of each token, and of padding its own token's; int64 [B, L]."""
        padding = self.config.pad_token_id
        is_token = (input_ids != padding).astype("int64")
        return (is_token.cumsum(axis=-1) + first_position) * is_token + padding


class XLMRobertaForSequenceClassification(NamedAsRoberta, FirstTokenClassification):
    """XLM-RoBERTa for a decision on one text or a pair."""

    backbone_class = XLMRobertaModel
    with_pooler = False
    head_act = "tanh"


class XLMRobertaForTokenClassification(NamedAsRoberta, ForTokenClassification):
    """XLM-RoBERTa for a decision on every token."""

    backbone_class = XLMRobertaModel


class XLMRobertaForQuestionAnswering(NamedAsRoberta, ForQuestionAnswering):
    """XLM-RoBERTa that finds an answer in a text."""

    backbone_class = XLMRobertaModel
    paddle_heads = (("qa_outputs", "classifier"),)


class XLMRobertaForMultipleChoice(NamedAsRoberta, ForMultipleChoice):
    """XLM-RoBERTa that chooses one of several texts."""

    backbone_class = XLMRobertaModel

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__(config)
        # As transformers has it: `classifier_dropout` is of the other heads.
        self.dropout = nn.Dropout(config.hidden_dropout_prob)


class XLMRobertaLanguageModel(NamedAsRoberta, LanguageModel):
    """The head of RoBERTa; a task's base class comes after this one."""

    def make_lm_head(self, config: XLMRobertaConfig) -> TiedLMHead:  # type: ignore[override]
        """Make the head."""
        return make_lm_head(config.replace(hidden_act="gelu"))


class XLMRobertaForMaskedLM(XLMRobertaLanguageModel, ForMaskedLM):
    """XLM-RoBERTa that fills masked tokens."""

    backbone_class = XLMRobertaModel


class XLMRobertaForCausalLM(XLMRobertaLanguageModel, ForCausalLM):
    """XLM-RoBERTa as a decoder: predicts each token from the preceding ones."""

    backbone_class = XLMRobertaModel
