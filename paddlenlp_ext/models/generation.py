"""Decoders with a language-model head: the loss of the next token, and generation."""

from __future__ import annotations

import math
from typing import Any

import paddle
from paddle import Tensor
from paddle.nn import functional as F

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.config import NO_PADDING, ModelConfig
from paddlenlp_ext.models.heads import LanguageModel
from paddlenlp_ext.models.outputs import CausalLMOutput, DecoderCache, KeyValues, States
from paddlenlp_ext.nn.heads import next_token_loss
from paddlenlp_ext.nn.tracing import is_given


class ForCausalLM(LanguageModel):
    """A decoder that predicts the next token.

    Labels: the sequence itself, int64 [B, L]; logits [B, L, V]. Always causal, whatever the weights
    were trained for: `config.is_decoder` is set.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config.replace(is_decoder=True))

    def forward(  # type: ignore[override]  # PaddleNLP's order
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: DecoderCache | KeyValues | None = None,
        use_cache: bool = False,
        labels: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        return_dict: bool | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
    ) -> CausalLMOutput | tuple[Any, ...]:
        """Score the next token for each position; see `TransformerModel.run`."""
        output = self.run(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            past_key_values=past_key_values,
            use_cache=use_cache,
            labels=labels,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            encoder_hidden_states=encoder_hidden_states,
            encoder_attention_mask=encoder_attention_mask,
        )
        return self.as_asked(output, return_dict)

    def apply_head(self, outputs: States, labels: Tensor | None) -> CausalLMOutput:
        """Score the next token for each position; see the class."""
        logits = self.score(outputs.last_hidden_state)
        return CausalLMOutput(
            next_token_loss(logits, self.columns(labels)) if is_given(labels) else None,
            logits,
            outputs.past_key_values,
            outputs.hidden_states,
            outputs.attentions,
            outputs.cross_attentions,
        )

    @paddle.no_grad()  # type: ignore[untyped-decorator]
    def generate(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        max_new_tokens: int = 20,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        eos_token_id: int | None = None,
        **memory_inputs: Any,
    ) -> Tensor:
        """Continue sequences, one token at a time.

        Padding stands before the text, not after it: new tokens are put at the end.

        Args:
            input_ids: What to continue; int64 [B, L].
            attention_mask: 1 for a token, 0 for padding; [B, L]; if absent, all but `pad_token_id`.
            max_new_tokens: At most so many tokens are added.
            do_sample: Draw by probability (from Paddle's generator: `paddle.seed`); else the best.
            temperature: Divides the scores before drawing; above 0.
            top_k: Draw among the best k only; 0 for all.
            top_p: Draw among the fewest that have this probability together, the best at least.
            eos_token_id: Ends a sequence; what follows it is padding. If None, that of the config,
                if it has one; -1 lets no token end a sequence.
            memory_inputs: `encoder_hidden_states` and `encoder_attention_mask` of a memory.

        Returns:
            The sequences and their continuations; int64 [B, L + new].

        Raises:
            UserError: A sequence would get longer than the model has positions for, or with
                `do_sample` an option has no meaning.
        """
        ids, pad = input_ids, self.config.pad_token_id
        mask = attention_mask if attention_mask is not None else (ids != pad).astype("int64")
        begin = self.prepare_inputs_for_generation(ids, attention_mask=mask, past_key_values=None)
        self._check_length(int(begin["attention_mask"].sum(axis=1).max()), max_new_tokens)
        if do_sample:
            _check_drawing(temperature, top_k, top_p)
        if eos_token_id is None:
            eos_token_id = getattr(self.config, "eos_token_id", None)
        filler = pad if pad != NO_PADDING else eos_token_id or 0  # as transformers does
        unfinished = paddle.ones([ids.shape[0], 1], dtype="bool")
        cache, newest = None, ids
        for _ in range(max_new_tokens):
            inputs = self.prepare_inputs_for_generation(
                newest, attention_mask=mask, past_key_values=cache
            )
            # Positions count tokens only, so that padding in front shifts nothing.
            positions = (inputs["attention_mask"].cumsum(axis=1) - 1).clip(min=0)
            output: CausalLMOutput = self(
                position_ids=positions[:, -newest.shape[1] :] + self.backbone.first_position_id,
                **inputs,
                use_cache=True,
                return_dict=True,
                **memory_inputs,
            )
            logits = output.logits[:, -1].astype("float32")
            if do_sample:
                probabilities = _candidates(logits / temperature, top_k, top_p)
                chosen = paddle.multinomial(probabilities, 1)
            else:
                chosen = logits.argmax(axis=-1, keepdim=True)
            newest = paddle.where(unfinished, chosen, paddle.full_like(chosen, filler))
            ids = paddle.concat([ids, newest], axis=1)
            mask = paddle.concat([mask, unfinished.astype(mask.dtype)], axis=1)
            cache = output.past_key_values
            if eos_token_id is not None:
                unfinished = paddle.logical_and(unfinished, newest != eos_token_id)
                if not bool(unfinished.any()):
                    break
        return ids

    def _check_length(self, tokens: int, max_new_tokens: int) -> None:
        places = self.backbone.embeddings.max_length
        room = places - tokens + 1  # the last new token is not read any more
        if max_new_tokens > max(room, 0):
            raise UserError(
                f"max_new_tokens={max_new_tokens}: the longest sequence has {tokens} tokens, and "
                f"the model has {places} positions; expected at most {max(room, 0)} new tokens, or "
                "a shorter sequence"
            )


def _check_drawing(temperature: float, top_k: int, top_p: float) -> None:
    if not 0 < temperature < math.inf:
        raise UserError(
            f"temperature={temperature}: expected a number above 0; for the best token each time "
            "leave do_sample out"
        )
    if top_k < 0:
        raise UserError(f"top_k={top_k}: expected a number of tokens, or 0 for all of them")
    if not 0 <= top_p <= 1:
        raise UserError(f"top_p={top_p}: expected a probability from 0 to 1")


def _candidates(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Probabilities of the tokens to draw from; float32 [B, V], zero for all others."""
    if 0 < top_k < logits.shape[-1]:
        weakest = logits.topk(top_k, axis=-1)[0][:, -1:]
        logits = paddle.where(logits < weakest, paddle.full_like(logits, -1e30), logits)
    probabilities = F.softmax(logits)
    if top_p < 1.0:
        ordered = probabilities.sort(axis=-1, descending=True)
        before = ordered.cumsum(axis=-1) - ordered
        # The smallest probability whose better ones do not reach top_p yet still counts.
        weakest = paddle.where(before < top_p, ordered, ordered[:, :1]).min(-1, True)
        probabilities = paddle.where(
            probabilities < weakest, paddle.zeros_like(probabilities), probabilities
        )
    return probabilities
