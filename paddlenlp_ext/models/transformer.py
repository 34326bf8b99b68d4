"""The bare model of every family: embed tokens, run the layers, pool the first token."""

from __future__ import annotations

from typing import Any, ClassVar

import paddle
from paddle import Tensor, nn

from paddlenlp_ext.errors import InputError, UserError
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.outputs import (
    BaseModelOutput,
    DecoderCache,
    KeyValues,
    States,
    cache_of,
    key_values_of,
)
from paddlenlp_ext.nn.attention import Attention, mask_of
from paddlenlp_ext.nn.cpu.layers import Linear
from paddlenlp_ext.nn.decoder import Decoder, DecoderLayer, encode_after
from paddlenlp_ext.nn.encoder import Encoder, EncoderLayer
from paddlenlp_ext.nn.positions import Positions
from paddlenlp_ext.nn.tracing import is_given, is_traced

LEAST = -1e3  # a mask that is added to scores forbids attention below it

# Names of the parts, ours beside those that transformers has in all families of BERT's kind: of
# `nn.embeddings.Embeddings`, and of `make_stack`, where only a decoder has the `cross_` rows.
HF_EMBEDDINGS = (
    ("embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"),
    ("embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight"),
    ("embeddings.token_type_embeddings.weight", "embeddings.token_type_embeddings.weight"),
    ("embeddings.layer_norm", "embeddings.LayerNorm"),
)
HF_STACK = (
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


class TransformerModel(Model):
    """A model without a head: ids to hidden states.

    It sees whole sequences, or as a decoder (`config.is_decoder`) only what came before.

    Args:
        config: The sizes.
        with_pooler: Whether to return a pooled vector too, where the family has one.

    Attributes:
        embeddings: Given by the family, as the next two.
        encoder: See `make_stack`.
        pooler: [B, L, H] -> [B, H]; may be None.
    """

    takes_prefix: ClassVar[bool] = True  # whether its layers attend to keys and values in front

    def __init__(self, config: ModelConfig, *, with_pooler: bool = True) -> None:
        super().__init__(config)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
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
        """Run the model; see `run` for the arguments."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
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

    def run(self, **inputs: Any) -> BaseModelOutput:
        """Run the model on the arguments of `states`."""
        states = self.states(**inputs)
        return BaseModelOutput(
            states.last_hidden_state,
            states.pooler_output,
            states.past_key_values,
            states.hidden_states,
            states.attentions,
            states.cross_attentions,
        )

    def states(
        self,
        *,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        past_key_values: DecoderCache | KeyValues | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        read_positions: Positions | None = None,
        **embedding_inputs: Any,
    ) -> States:
        """Run the model; `forward` has the same arguments in PaddleNLP's order for the family.

        Args:
            input_ids: Token ids; int64 [B, L].
            token_type_ids: Segment of each token; int64 [B, L]; all 0 if absent.
            position_ids: int64 [B, L]; in order if absent, after those of the cache.
            attention_mask: 1 for a token, 0 for padding; int or bool [B, L] with the tokens of the
                cache in front, or [B, Lq, L]; if absent, all but `pad_token_id`. See
                `mask_of_tokens` for other forms.
            inputs_embeds: Word embeddings in place of `input_ids`; float [B, L, E].
            encoder_hidden_states: Another model's output to attend to; float [B, Lm, H].
            encoder_attention_mask: Mask of it; [B, Lm]; all 1 if absent.
            past_key_values: A decoder's cache of the tokens before; or of each layer a key and a
                value that all tokens attend to, as of a prefix, float [B, A, P, D]. Texts go on
                after them in `position_ids`; an `attention_mask` of the text alone has 1 for them.
            use_cache: Return a cache for the tokens after: a decoder's, or of an encoder keys and
                values as above.
            output_hidden_states: Return the hidden states of every layer.
            output_attentions: Return the attention weights of every layer.
            read_positions: Which the last hidden state is read at, the first one among them if the
                pooled vector is: it then is float [B, R, H], and others are not computed.
            embedding_inputs: What only this family's embeddings know (ERNIE's `task_type_ids`).

        Raises:
            InputError: There are neither `input_ids` nor `inputs_embeds`, or both.
            UserError: A memory is given to a model without cross-attention.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError(
                "a model takes `input_ids` or `inputs_embeds`, one of the two: the embeddings "
                "stand in the place of the ids"
            )
        past = self._cache_of(
            past_key_values, input_ids if inputs_embeds is None else inputs_embeds
        )
        self._check_memory(encoder_hidden_states)
        if past is not None:
            embedding_inputs["first_position"] = past.length
        embedded = self.embed(
            input_ids, token_type_ids, position_ids, inputs_embeds, **embedding_inputs
        )
        tokens = self.attention_mask(attention_mask, input_ids, embedded)
        options: dict[str, Any] = {
            "output_hidden_states": output_hidden_states,
            "output_attentions": output_attentions,
            "positions": read_positions,
        }
        if past is not None and tokens.shape[-1] == embedded.shape[1]:
            tokens = _joined(past.attention_mask, tokens)
        cache: DecoderCache | KeyValues | None = None
        cross_attentions = None
        if self.config.is_decoder:
            memory_mask = (
                mask_of(encoder_attention_mask) if is_given(encoder_attention_mask) else None
            )
            stacked = self.encoder(
                embedded,
                # A mask with a row for each query is taken as it is, as in transformers.
                mask_of(
                    tokens,
                    causal=tokens.ndim == 2,
                    first_query=0 if past is None else past.length,
                ),
                memory=encoder_hidden_states,
                memory_mask=memory_mask,
                past=None if past is None else past.key_values,
                use_cache=use_cache,
                **options,
            )
            cross_attentions = stacked.cross_attentions
            cache = DecoderCache(stacked.key_values, tokens) if stacked.key_values else None
        elif past is not None or use_cache:
            earlier = None if past is None else past.key_values
            stacked = encode_after(self.encoder, embedded, mask_of(tokens), earlier, **options)
            if use_cache and stacked.key_values:
                cache = key_values_of(stacked.key_values)
        else:
            stacked = self.encoder(embedded, mask_of(tokens), **options)
        states = stacked.last_hidden_state
        return States(
            last_hidden_state=states,
            pooler_output=self.pooler(states) if self.pooler is not None else None,
            past_key_values=cache,
            hidden_states=stacked.hidden_states,
            attentions=stacked.attentions,
            cross_attentions=cross_attentions,
        )

    def embed(self, *inputs: Tensor | None, **more: Any) -> Tensor:
        """Embed tokens as the layers take them: arguments as `Embeddings.forward`, [B, L, H]."""
        embedded: Tensor = self.embeddings(*inputs, **more)
        return embedded

    @property
    def first_position_id(self) -> int:
        """What `position_ids` begin with."""
        return 0

    def positions_of(self, input_ids: Tensor) -> Tensor:
        """Return the `position_ids` of texts of any length; int64 [B, L].

        For exported programs, which do not know the length that a call checks.
        """
        # Added and not expanded: what Paddle2ONNX makes of `expand_as` has no sizes.
        return paddle.arange(input_ids.shape[-1]) + input_ids * 0

    def get_input_embeddings(self) -> nn.Embedding:
        """Return the word embeddings."""
        words: nn.Embedding = self.embeddings.word_embeddings
        return words

    def set_input_embeddings(self, table: nn.Embedding) -> None:
        """Take another table of word embeddings, as it is."""
        self.embeddings.word_embeddings = table

    def attention_mask(
        self, attention_mask: Tensor | None, input_ids: Tensor | None, embedded: Tensor
    ) -> Tensor:
        """Return the given mask, or 1 for all but padding; int64 [B, L], or as `mask_of_tokens`.

        Args:
            attention_mask: As `mask_of_tokens`.
            input_ids: int64 [B, L].
            embedded: The embedded tokens, for their shape; float [B, L, E].
        """
        if is_given(attention_mask):
            return mask_of_tokens(attention_mask)
        if is_given(input_ids):
            return (input_ids != self.config.pad_token_id).astype("int64")
        return paddle.ones(embedded.shape[:2], dtype="int64")

    def _cache_of(self, past: DecoderCache | KeyValues | None, words: Any) -> DecoderCache | None:
        if past is None or isinstance(past, DecoderCache):
            return past
        heads = self.config.num_attention_heads
        sizes = (words.shape[0], heads, self.config.hidden_size // heads)
        return cache_of(past, self.config.num_hidden_layers, sizes)

    def _check_memory(self, memory: Tensor | None) -> None:
        if memory is not None and not self.config.add_cross_attention:
            raise UserError(
                "encoder_hidden_states need a decoder with cross-attention: "
                "is_decoder=True, add_cross_attention=True"
            )


def mask_of_tokens(attention_mask: Tensor) -> Tensor:
    """Bring a mask as callers of both libraries make it to integers or booleans.

    Args:
        attention_mask: 1 for a token, 0 for padding: int or bool [B, L], [B, Lq, L] or
            [B, 1, 1 or Lq, L], or float [B, L]. Floats of four axes are added to scores in both
            libraries: 0 for a token, something very negative for padding.

    Returns:
        int or bool [B, L] or [B, Lq, L].

    Raises:
        InputError: Floats are others than these, or [B, Lq, L], which transformers takes for ones
            and zeros and PaddleNLP adds; or each head has a mask of its own.
    """
    mask, shape = attention_mask, [*attention_mask.shape]
    is_added = len(shape) == 4
    if is_added:
        if mask.shape[1] != 1:
            raise InputError(
                f"`attention_mask` {shape}: expected [B, L], [B, L, L] or [B, 1, 1 or L, L]; "
                "all heads have the same mask here"
            )
        mask = mask.squeeze(1)
        mask = mask.squeeze(1) if mask.shape[1] == 1 else mask
    if not mask.is_floating_point():
        return mask
    is_token = mask == (0 if is_added else 1)
    if len(shape) == 3 or not _all(is_token | (mask < LEAST if is_added else mask == 0)):
        raise InputError(
            f"`attention_mask` {shape} of {attention_mask.dtype}: expected 1 for a "
            "token and 0 for padding, as floats [B, L] alone, or [B, 1, 1 or L, L] of floats that "
            f"are added to scores, 0 or less than {LEAST:g}"
        )
    return is_token


def _all(flags: Tensor) -> bool:
    """Return whether all are true; in a program, which cannot see them, they are taken to be."""
    return is_traced() or bool(flags.all())


def _joined(earlier: Tensor, tokens: Tensor) -> Tensor:
    """Put the mask of earlier tokens, [B, P], in front of others': [B, L] or [B, Lq, L]."""
    earlier = earlier.astype(tokens.dtype)
    if tokens.ndim == 3:
        earlier = earlier.unsqueeze(1).expand([-1, tokens.shape[1], -1])
    return paddle.concat([earlier, tokens], axis=-1)


def make_stack(config: ModelConfig, *, activation_dropout: float = 0.0) -> Encoder:
    """Build the layers of all families but ConvBERT: an encoder, or a decoder.

    Args:
        config: The sizes.
        activation_dropout: Dropout probability between the two linear layers of each layer.
    """

    def attention() -> Attention:
        return Attention(
            config.hidden_size, config.num_attention_heads, config.attention_probs_dropout_prob
        )

    def layer() -> EncoderLayer:
        parts = (
            attention(),
            Linear(config.hidden_size, config.intermediate_size),
            Linear(config.intermediate_size, config.hidden_size),
        )
        options: dict[str, Any] = {
            "hidden_act": config.hidden_act,
            "hidden_size": config.hidden_size,
            "layer_norm_eps": config.layer_norm_eps,
            "dropout": config.hidden_dropout_prob,
            "activation_dropout": activation_dropout,
        }
        if not config.is_decoder:
            return EncoderLayer(*parts, **options)
        cross_attn = attention() if config.add_cross_attention else None
        return DecoderLayer(*parts, cross_attn=cross_attn, **options)

    stack = Decoder if config.is_decoder else Encoder
    return stack(layer() for _ in range(config.num_hidden_layers))
