"""Pretraining by replaced tokens that leaves the loss to the script, as PaddleNLP's does."""

from __future__ import annotations

import paddle
from paddle import Tensor

from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.generator_discriminator import ForReplacedTokens, sample


class ForTotalPretraining(ForReplacedTokens):
    """Generator and discriminator at once; a family's classes come after this one."""

    def forward(  # type: ignore[override]  # what PaddleNLP's criteria take
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        raw_input_ids: Tensor | None = None,
        generator_labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fill, then find what was filled in.

        Args:
            input_ids: Tokens, some of them masked; int64 [B, L].
            token_type_ids: Segment of each token; int64 [B, L]; all 0 if absent.
            position_ids: int64 [B, L]; in order if absent.
            attention_mask: 1 for a token, 0 for padding; [B, L]; if absent, all but `pad_token_id`.
            raw_input_ids: Not read: the labels say the same.
            generator_labels: The original of each masked token, -100 elsewhere; int64 [B, L].

        Returns:
            What a `…PretrainingCriterion` takes: the generator's scores, float [B, L, V], and the
            discriminator's, float [B, L]; where the generator's word is not the original, int64
            [B, L]; and the mask, bool [B, L].

        Raises:
            ValueError: There are no labels.
        """
        if generator_labels is None:
            raise ValueError("generator_labels are needed: the masked tokens are where they are")
        context = (token_type_ids, position_ids, attention_mask)
        scores = self.generator(input_ids, *context, return_dict=False)
        filled = sample(scores.detach().astype("float32").flatten(0, 1)).reshape(input_ids.shape)
        masked = generator_labels != IGNORED
        corrupted = paddle.where(masked, filled.astype(input_ids.dtype), input_ids)
        found = self.discriminator(corrupted, *context, return_dict=False)
        replaced = (masked & (corrupted != generator_labels)).astype(input_ids.dtype)
        real = input_ids != self.config.pad_token_id if attention_mask is None else attention_mask
        return scores, found, replaced, real.astype("bool")
