"""What cross-lingual pretraining minimises: four ways to predict the masked tokens of rows.

The loss is the mean over the masked tokens x of an update. With the tokens S of x's sentence, T of
its translation, and s, t those of them that are not masked, it is

- MMLM: -log P(x | s); rows are sentences of one language (Conneau et al., 2019, arXiv 1911.02116,
  section 3);
- TLM: -log P(x | s, t); rows are pairs, and both sentences have masked tokens (Lample and Conneau,
  2019, arXiv 1901.07291, section 3.4);
- CAMLM: -log P(x | t), and of its own sentence only where x stands; pairs (Ouyang et al., 2020,
  arXiv 2012.15674, section 3.1);
- BTMLM: -log P(x | s, u); sentences of one language, and beside them pseudo-tokens u of another
  one, which the model itself predicts first as CAMLM does, by P(u | S) (the same, section 3.2).

Where the papers do not say how, this is how it is here:

- The second sentence counts its positions from the beginning, as in TLM; `continue_positions` lets
  them go on, as in pairs of tasks.
- CAMLM hides tokens of both sentences at once, all of them behind the mask token: one that stayed
  would show its answer. What is masked in one sentence is not seen from the other. The matrix of
  who sees whom is `cross_attention`'s, which lets nothing through by way of further layers.
- BTMLM asks for a language by scoring only words that the corpora have in it. A sentence gets one
  of the languages that its own has pairs with, or of all others where it has none, another one in
  each epoch; `pseudo_share` of its tokens get a pseudo-token each, in their positions, drawn from
  the model's distribution or the most probable one (`pseudo_tokens`). The model writes them without
  dropout, from the whole sentence; no gradient goes through them, and only the sentence's own
  masked tokens are learnt.
- An update has one objective: see `mixture.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import functional as F

from paddlenlp_ext.pretraining.cross_attention import (
    PADDING,
    cross_attention,
    places_of,
    restarted_positions,
)
from paddlenlp_ext.pretraining.language_words import LanguageWords
from paddlenlp_ext.pretraining.masking import Flags, MaskingVocabulary, Numbers, dynamic_masking
from paddlenlp_ext.pretraining.shard_set import Rows
from paddlenlp_ext.tasks.batches import Batch, host_tensors
from paddlenlp_ext.training.language_modeling import (
    TokenPrediction,
    as_tensors,
    listed_labels,
    padded_rows,
)

INPUTS = ("input_ids", "token_type_ids", "position_ids", "attention_mask", "masked_positions")


class Masked(NamedTuple):
    """Rows with hidden tokens.

    Attributes:
        ids: As they were; int [N, L].
        hidden: With tokens replaced as BERT does; int [N, L].
        chosen: Which are to be predicted; bool [N, L].
        places: In which sentence each token is, see `places_of`; int64 [N, L].
    """

    ids: Any
    hidden: Any
    chosen: Flags
    places: Numbers


@dataclass(frozen=True)
class MaskedSentences:
    """Makes the tensors of rows for MMLM and TLM, with other masks in each epoch.

    `input_ids`, `position_ids`, `attention_mask` and, for models that have them, `token_type_ids`
    (1 in the second sentence): int64 [B, L], with the L of the longest row. `masked_positions`,
    places of the masked tokens in the flattened [B · L], and `labels`, what stood there: int64 [M].

    Attributes:
        vocabulary: Of the ids.
        pad_token_id: What fills up shorter rows.
        probability: To be masked.
        seed: Of all choices, together with the epoch and the number of the row.
        opening: Special tokens that begin the second sentence of a pair.
        whole_words: Mask all tokens of a word or none.
        continue_positions: Let the positions of second sentences go on from those of the first.
        token_types: Whether the model has token types.
        pad_to_multiple_of: What L and M are rounded up to; added labels are ignored.
    """

    vocabulary: MaskingVocabulary
    pad_token_id: int
    probability: float = 0.15
    seed: int = 42
    opening: int = 1
    whole_words: bool = False
    continue_positions: bool = False
    token_types: bool = False
    pad_to_multiple_of: int = 1

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows."""
        masked = self.mask(rows, epoch)
        return as_tensors(
            input_ids=masked.hidden,
            attention_mask=masked.places != PADDING,
            **self.listed(masked),
        )

    def mask(self, rows: Rows, epoch: int) -> Masked:
        """Choose tokens, and hide them."""
        ids, real = padded_rows(rows, self.pad_token_id, self.pad_to_multiple_of)
        hidden, chosen = ids, np.zeros_like(real)
        if len(ids):
            continues = None
            if self.whole_words:
                continues = np.zeros(ids.shape, bool)
                flags = rows.columns["continues"][:, : ids.shape[1]] > 0
                continues[:, : flags.shape[1]] = flags
            hidden, chosen = dynamic_masking(
                ids,
                rows.numbers,
                self.vocabulary,
                probability=self.probability,
                seed=self.seed,
                epoch=epoch,
                continues=continues,
            )
        columns = rows.columns
        places = places_of(columns["length"], columns["first_length"], ids.shape[1])
        return Masked(ids, hidden, chosen, places)

    def listed(self, masked: Masked) -> dict[str, Any]:
        """List what is masked, and where the tokens of rows stand."""
        arrays = listed_labels(masked.ids, masked.chosen, self.pad_to_multiple_of)
        arrays["position_ids"] = np.broadcast_to(
            np.arange(masked.places.shape[1]), masked.places.shape
        )
        if not self.continue_positions and masked.places.size:
            arrays["position_ids"] = restarted_positions(masked.places, self.opening)
        if self.token_types:
            arrays["token_type_ids"] = masked.places == 1
        return arrays


@dataclass(frozen=True)
class CrossMasked:
    """Makes the tensors of rows for CAMLM: `attention_mask` is int64 [B, L, L].

    Attributes:
        masks: Chooses what is masked; see there for the other tensors.
    """

    masks: MaskedSentences

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows."""
        masked = self.masks.mask(rows, epoch)
        mask_id = self.masks.vocabulary.mask_id
        return as_tensors(
            input_ids=np.where(masked.chosen, mask_id, masked.ids),
            attention_mask=cross_attention(masked.places, masked.chosen),
            **self.masks.listed(masked),
        )


@dataclass(frozen=True)
class BackTranslated:
    """Makes the tensors of rows for BTMLM: sentences, each with placeholders of a translation.

    Those of `MaskedSentences`, with the mask token where pseudo-tokens will stand; and what it
    takes to write these: `source_ids`, int64 [B, L], with nothing of the sentence hidden;
    `source_mask`, int64 [B, L, L]; `placeholders`, places in the flattened [B · L], and
    `target_languages`, int64 [P]; `draws`, from 0 to 1, float32 [P].

    Attributes:
        masks: Chooses what is masked.
        words: Knows which languages have pairs.
        sep_token_id: Ends sentences.
        share: Of a sentence's tokens that get a pseudo-token; at least one does.
        max_positions: Positions that the model has.
    """

    masks: MaskedSentences
    words: LanguageWords
    sep_token_id: int
    share: float
    max_positions: int

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows."""
        masks, lengths = self.masks, rows.columns["length"].astype(np.int64)
        masked = masks.mask(rows, epoch)
        asked = [
            self._ask(masked.ids[row, :length], int(number), int(language), epoch)
            for row, (length, number, language) in enumerate(
                zip(lengths, rows.numbers, rows.columns["language"], strict=True)
            )
        ]
        opening = masks.opening
        added = [opening + len(one.positions) + 1 for one in asked]
        ends = lengths + np.array(added, np.int64)
        multiple = masks.pad_to_multiple_of
        width = -(-int(ends.max(initial=0)) // multiple) * multiple
        more = ((0, 0), (0, max(0, width - masked.ids.shape[1])))
        ids, hidden = (
            np.pad(one, more, constant_values=masks.pad_token_id)
            for one in (masked.ids, masked.hidden)
        )
        chosen = np.pad(masked.chosen, more)
        is_asked, positions = np.zeros(ids.shape, bool), np.zeros(ids.shape, np.int64)
        for row, (length, one, end) in enumerate(zip(lengths, asked, ends, strict=True)):
            for table in (ids, hidden):
                table[row, length:end] = self.sep_token_id
                table[row, length + opening : end - 1] = masks.vocabulary.mask_id
            is_asked[row, length + opening : end - 1] = True
            positions[row, length + opening : end - 1] = one.positions
        places = places_of(ends, lengths, ids.shape[1])
        listed = masks.listed(Masked(ids, hidden, chosen, places))
        within = np.minimum(listed["position_ids"], self.max_positions - 1)
        listed["position_ids"] = np.where(is_asked, positions, within)
        tensors = as_tensors(
            input_ids=hidden,
            attention_mask=places != PADDING,
            source_ids=ids,
            source_mask=cross_attention(places, is_asked),
            placeholders=np.flatnonzero(is_asked),
            target_languages=np.repeat(
                [one.language for one in asked], [len(one.positions) for one in asked]
            ),
            **listed,
        )
        draws = np.concatenate([np.zeros(0), *(one.draws for one in asked)])
        return tensors | host_tensors({"draws": draws.astype(np.float32)})

    def _ask(self, ids: Any, number: int, language: int, epoch: int) -> Asked:
        """Choose the language of a sentence's pseudo-tokens, their positions, and their draws."""
        sequence = np.random.SeedSequence((self.masks.seed, epoch, number, len(ids)))
        random = np.random.RandomState(np.random.Philox(sequence))
        targets = self.words.targets_of(language)
        target = int(targets[random.randint(len(targets))])
        # Of [CLS] the position is 0, so that a token's position is its place in the row.
        positions = np.flatnonzero(~self.masks.vocabulary.special[ids])
        count = max(1, round(self.share * len(positions)))
        positions = np.sort(random.permutation(positions)[:count])
        if self.masks.continue_positions:
            positions = positions + len(ids) + self.masks.opening - 1
            positions = positions[positions < self.max_positions]
        return Asked(target, positions, random.random_sample(len(positions)))


class Asked(NamedTuple):
    """What is asked for beside a sentence: a language; positions and draws of pseudo-tokens [P]."""

    language: int
    positions: Any
    draws: Any


class CrossLingualPrediction(TokenPrediction):
    """The objective: masked tokens of rows that one of the classes above made.

    Args:
        allowed: Ids that pseudo-tokens may be, by language; bool [K, V]. None without BTMLM.
        samples: Draw pseudo-tokens from their distribution, or take the most probable ones.
    """

    def __init__(self, allowed: Flags | None = None, *, samples: bool = True) -> None:
        self._allowed = allowed
        self._samples = samples
        self._columns: Tensor | None = None

    def pseudo_tokens(self, model: Any, batch: Batch) -> Tensor:
        """Predict what stands in the placeholders, without a gradient; int64 [P]."""
        was_training = model.training
        model.eval()
        with paddle.no_grad():
            inputs = {name: tensor for name, tensor in batch.inputs.items() if name in INPUTS}
            inputs["input_ids"] = batch["source_ids"]
            inputs["attention_mask"] = batch["source_mask"]
            inputs["masked_positions"] = batch.host["placeholders"]
            logits = model.run(**inputs).logits.astype("float32")
            allowed = self._allowed_columns(model, logits.shape[-1])[batch["target_languages"]]
            lowest = paddle.full([], paddle.finfo(paddle.float32).min)
            logits = paddle.where(allowed, logits, lowest)
            found = logits.argmax(-1)
            if self._samples:
                sums = F.softmax(logits, axis=-1).cumsum(-1)
                total = sums[:, -1:]
                found = (sums <= batch["draws"].unsqueeze(1) * total).sum(-1)
                # Rounding may take a draw to the end: there the last word with a chance stands.
                found = paddle.minimum(found, (sums < total).sum(-1))
        if was_training:
            model.train()
        tokens: Tensor = model.words(found)
        return tokens

    def _allowed_columns(self, model: Any, count: int) -> Tensor:
        """Say which of a model's scores are of words that a language has; bool [K, U]."""
        if self._columns is None:
            assert self._allowed is not None
            words = model.words(paddle.arange(count)).numpy()
            self._columns = paddle.to_tensor(self._allowed[:, words])
        return self._columns

    def _logits(self, model: Any, batch: Batch) -> Tensor:
        inputs: Mapping[str, Tensor] = {
            name: tensor for name, tensor in batch.inputs.items() if name in INPUTS
        }
        if "placeholders" in batch and batch["placeholders"].size:
            tokens = self.pseudo_tokens(model, batch)
            ids = batch["input_ids"]
            filled = ids.flatten().scatter(batch["placeholders"], tokens).reshape(ids.shape)
            inputs = {**inputs, "input_ids": filled}
        logits: Tensor = model.run(**inputs).logits
        return logits
