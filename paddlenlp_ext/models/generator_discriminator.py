"""What ELECTRA and ConvBERT have in common: pretraining by replaced tokens, heads without a pooler.

A small generator fills masked tokens with what it finds likely; a discriminator, the model that is
kept, predicts for every token whether it was replaced (Clark et al., 2020, arXiv 2003.10555).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.config import ModelConfig, takes_keywords
from paddlenlp_ext.models.heads import ForMaskedLM, HeadModel
from paddlenlp_ext.models.outputs import HeadOutput, KeyValues, ModelOutput, States
from paddlenlp_ext.nn.encoder import activation
from paddlenlp_ext.nn.heads import TiedLMHead, token_loss
from paddlenlp_ext.nn.positions import TOKENS, by_row
from paddlenlp_ext.nn.tracing import is_given
from paddlenlp_ext.weights.names import NameTable, Row
from paddlenlp_ext.weights.states import LoadReport, require_fit

# The heads of both families, ours beside transformers' and PaddleNLP's.
_SAME = (
    ("classifier", "classifier"),
    ("classifier.dense", "classifier.dense"),
    ("classifier.out_proj", "classifier.out_proj"),
    ("discriminator_predictions.dense", "discriminator_predictions.dense"),
    ("discriminator_predictions.dense_prediction", "discriminator_predictions.dense_prediction"),
)
# Of a generator that does not score by its word embeddings.
OWN_TABLE = ("lm_head.decoder.weight", "generator_lm_head.weight")
HF_HEADS = (
    *_SAME,
    ("qa_outputs", "qa_outputs"),
    ("lm_head.dense", "generator_predictions.dense"),
    ("lm_head.layer_norm", "generator_predictions.LayerNorm"),
    ("lm_head.bias", "generator_lm_head.bias"),
)
# transformers makes these again, so files need not hold them.
HF_ALIASES = {"generator_lm_head.weight": "backbone.embeddings.word_embeddings.weight"}
HF_BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
PADDLENLP_HEADS = (
    *_SAME,
    ("lm_head.dense", "generator_predictions.dense"),
    ("lm_head.layer_norm", "generator_predictions.layer_norm"),
    ("lm_head.bias", "generator_lm_head_bias"),
    OWN_TABLE,
)


@takes_keywords
@dataclass(frozen=True)
class ReplacedTokensConfig(ModelConfig):
    """Sizes that both families have besides those of all.

    Attributes:
        embedding_size: Width of words, positions and token types, `E`.
        type_vocab_size: Kinds of segments.
        gen_weight: Weight of the generator's loss in the joint pretraining.
        disc_weight: Weight of the discriminator's.
        generator: In the joint pretraining: the fields in which the generator differs from the
            discriminator, whose fields all others are; none if None.
    """

    # Single numbers, which PaddleNLP's Trainer cannot put together for all batches.
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["generator_loss", "discriminator_loss"]

    embedding_size: int = 768
    type_vocab_size: int = 2
    gen_weight: float = 1.0
    disc_weight: float = 50.0
    generator: Mapping[str, Any] | None = None


class AttentionsFirst(HeadModel):
    """PaddleNLP's order for ELECTRA and generators; a head's base class comes after this one."""

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool | None = None,
        past_key_values: KeyValues | None = None,
    ) -> Any:
        """Run the bare model and the head; see `HeadModel.run` for the arguments."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            labels=labels,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            past_key_values=past_key_values,
        )
        return self.as_asked(output, return_dict)


class Generator(AttentionsFirst, ForMaskedLM):
    """What stood in the place of each token.

    Labels: int64 [B, L], -100 where none; logits [B, L, V]. The head is as wide as the embeddings.
    """

    def make_lm_head(self, config: ReplacedTokensConfig) -> TiedLMHead:  # type: ignore[override]
        """Make the head."""
        return generator_head(config)


def generator_head(config: ReplacedTokensConfig) -> TiedLMHead:
    """Hidden to embedding width, always with GELU, then the word embeddings or its own table."""
    return TiedLMHead(
        config.hidden_size,
        config.embedding_size,
        config.vocab_size,
        hidden_act="gelu",
        layer_norm_eps=config.layer_norm_eps,
        tied=config.tie_word_embeddings,
    )


class DiscriminatorHead(nn.Layer):
    """One score for each token: dense, activation, dense."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.dense_prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[B, L, H] -> [B, L]."""
        scores = self.dense_prediction(self.activation(self.dense(hidden_states)))
        return scores.squeeze(-1)


class Discriminator(HeadModel):
    """Which tokens were replaced: logits [B, L], above 0 where one was.

    Labels: int64 [B, L], 1 for a replaced token, 0 for an original one, -100 where none is wanted.
    The loss is the mean over the labels of real tokens, 0 if there are none; padding is left out,
    as the mask has it. In a mask with a row for each token it is what no token attends to, and all
    `pad_token_id`.
    """

    reads = TOKENS
    head_is_new = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.discriminator_predictions = DiscriminatorHead(config)
        self.initialize_weights()

    def run(self, *, labels: Tensor | None = None, **inputs: Any) -> HeadOutput:
        """Score each token; see `HeadModel.run`."""
        wanted = self._without_padding(labels, **inputs) if is_given(labels) else None
        return self.apply_head(self.encode(**inputs), wanted)

    def _without_padding(
        self,
        labels: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        past_key_values: KeyValues | None = None,
        **_: Any,
    ) -> Tensor:
        real = self.backbone.attention_mask(attention_mask, input_ids, labels).astype("bool")
        if past_key_values is not None:
            real = real[..., -labels.shape[1] :]  # it may begin with the prefix
        if real.ndim == 3:
            # Padding may see itself, so that no row of the mask is empty.
            words = self.backbone.attention_mask(None, input_ids, labels).astype("bool")
            real = real.any(axis=1) & words
        return paddle.where(real, labels, paddle.full_like(labels, IGNORED))

    def apply_head(self, outputs: States, labels: Tensor | None) -> HeadOutput:
        """Score each token; see the class."""
        logits = self.discriminator_predictions(outputs.last_hidden_state)
        loss = None
        if is_given(labels):
            wanted = (labels != IGNORED).astype("float32")
            losses = F.binary_cross_entropy_with_logits(
                logits.astype("float32"), labels.astype("float32"), wanted, reduction="sum"
            )
            loss = losses / wanted.sum().clip(min=1.0)
        return HeadOutput(loss, logits, outputs.hidden_states, outputs.attentions)


@dataclass
class ReplacedTokensOutput(ModelOutput):
    """Output of the joint pretraining; `M` masked tokens in the batch's order, one at least.

    Attributes:
        loss: The weighted sum of the next two.
        generator_loss: Mean over the masked tokens; 0 if there are none.
        discriminator_loss: Mean over all real tokens.
        generator_logits: float [M, V].
        generator_labels: What stood there, -100 if nothing is masked; int64 [M].
        logits: The discriminator's; float [B, L].
        discriminator_input_ids: The text with the generator's words; int64 [B, L].
        discriminator_labels: 1 where the generator's word is not the original; int64 [B, L].
    """

    loss: Tensor = None
    generator_loss: Tensor = None
    discriminator_loss: Tensor = None
    generator_logits: Tensor = None
    generator_labels: Tensor = None
    logits: Tensor = None
    discriminator_input_ids: Tensor = None
    discriminator_labels: Tensor = None


class ForReplacedTokens(Model):
    """Generator and discriminator, trained at once on one table of word embeddings.

    Args:
        config: The discriminator's sizes; `config.generator` says in what the generator differs.

    Attributes:
        generator: Fills masked tokens.
        discriminator: Finds what was filled in; `discriminator.save_pretrained(folder)` writes the
            model to fine-tune.
    """

    generator_class: ClassVar[type[Generator]]
    discriminator_class: ClassVar[type[Discriminator]]
    config: ReplacedTokensConfig

    def __init__(self, config: ReplacedTokensConfig) -> None:
        super().__init__(config)
        alone = config.replace(generator=None)
        self.generator = self.generator_class(alone.replace(**(config.generator or {})))
        self.discriminator = self.discriminator_class(alone)
        words = self.generator.get_input_embeddings()
        self.discriminator.backbone.embeddings.word_embeddings = words

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        raw_input_ids: Tensor | None = None,
        generator_labels: Tensor | None = None,
        return_dict: bool | None = None,
    ) -> ReplacedTokensOutput | tuple[Any, ...]:
        """Fill, then find what was filled in; see `run` for the arguments.

        `raw_input_ids` are as PaddleNLP's callers give them, and not read: the labels say the same.
        """
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            generator_labels=generator_labels,
        )
        return self.as_asked(output, return_dict)

    def run(
        self,
        *,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        generator_labels: Tensor | None = None,
    ) -> ReplacedTokensOutput:
        """Fill, then find what was filled in.

        Args:
            input_ids: Tokens, some of them masked; int64 [B, L].
            token_type_ids: Segment of each token; int64 [B, L]; all 0 if absent.
            position_ids: int64 [B, L]; in order if absent.
            attention_mask: As of `HeadModel.run`; if absent, all but `pad_token_id`.
            generator_labels: The original of each masked token, -100 elsewhere; int64 [B, L].

        Raises:
            ValueError: There are no labels.
        """
        if not is_given(generator_labels):
            raise ValueError("generator_labels are needed: the masked tokens are where they are")
        context = (token_type_ids, position_ids, attention_mask)
        labels = generator_labels.flatten()
        masked = (labels != IGNORED).nonzero().flatten()  # places in [B · L], int64 [M]
        if masked.shape[0] == 0:  # Paddle 2.6 cannot select nothing: take a place without a label
            masked = paddle.zeros([1], dtype="int64")
        labels = labels.index_select(masked)
        positions, places = by_row(masked, *input_ids.shape)
        outputs = self.generator.backbone(
            input_ids, *context, read_positions=positions, return_dict=True
        )
        states = outputs.last_hidden_state.flatten(0, 1).index_select(places)
        scores = self.generator.score(states).astype("float32")  # [M, V]
        generator_loss = token_loss(scores, labels)
        given = input_ids.flatten()
        filled = sample(scores.detach()).astype(given.dtype)
        filled = paddle.where(labels == IGNORED, given.index_select(masked), filled)
        wrong = paddle.logical_and(filled != labels, labels != IGNORED).astype(given.dtype)
        corrupted = given.scatter(masked, filled).reshape(input_ids.shape)
        replaced = paddle.zeros_like(given).scatter(masked, wrong).reshape(input_ids.shape)
        found = self.discriminator(corrupted, *context, labels=replaced, return_dict=True)
        return ReplacedTokensOutput(
            self.config.gen_weight * generator_loss + self.config.disc_weight * found.loss,
            generator_loss,
            found.loss,
            scores,
            labels,
            found.logits,
            corrupted,
            replaced,
        )

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings, one table for both."""
        return self.generator.get_input_embeddings()

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Take another table of word embeddings for both."""
        self.generator.set_input_embeddings(table)
        self.discriminator.set_input_embeddings(table)

    def _resize_vocabulary(self, vocab_size: int) -> None:
        self.generator._resize_vocabulary(vocab_size)

    def _check_load_report(self, report: LoadReport, source: str, head_may_differ: bool) -> None:
        """Refuse every hole: nothing here is a new head."""
        require_fit(report, source, lambda _: False)
        self.load_report = report


def sample(scores: Tensor) -> Tensor:
    """Draw one class for each row by its probability, as the best after adding Gumbel noise.

    Args:
        scores: float32 [M, V].

    Returns:
        int64 [M].
    """
    noise = -paddle.log(-paddle.log(paddle.rand(scores.shape) + 1e-9) + 1e-9)
    return (scores + noise).argmax(axis=-1)


def joint_names(
    rows: Sequence[Row | tuple[str, str]],
    heads: Sequence[Row | tuple[str, str]],
    prefix: str,
) -> NameTable:
    """Make the table of a joint model: under `generator.` and `discriminator.` a model with a head.

    Args:
        rows: The bare model's, as for `NameTable`.
        heads: The heads', in full.
        prefix: What the bare model's names begin with in a model with a head.
    """
    one = [_moved(row, "backbone.", prefix) for row in rows] + [
        _moved(row, "", "") for row in {**dict.fromkeys(heads), OWN_TABLE: None}
    ]
    nets = ("generator.", "discriminator.")
    words = "backbone.embeddings.word_embeddings.weight"
    their_words = next(row.theirs for row in one if row.ours == words)
    both = [
        _moved(row, net, net) for net in nets for row in one if (net, row.ours) != (nets[1], words)
    ]
    tied = {nets[1] + their_words: nets[0] + words}
    return NameTable((), both, prefix=nets[0], tied=tied)


def _moved(row: Row | tuple[str, str], ours: str, theirs: str) -> Row:
    row = row if isinstance(row, Row) else Row(*row)
    return Row(ours + row.ours, theirs + row.theirs, row.column)
