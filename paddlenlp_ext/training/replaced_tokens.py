"""Pretraining by replaced tokens: a generator fills masked tokens, a discriminator finds them.

Clark et al., 2020, arXiv 2003.10555, section 2: the loss is the generator's mean over the masked
tokens plus fifty times the discriminator's mean over all tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.nn import functional as F
from tqdm import tqdm

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.models.config import ModelConfig
from paddlenlp_ext.models.generator_discriminator import ReplacedTokensOutput
from paddlenlp_ext.nn.heads import IGNORED
from paddlenlp_ext.pretraining.masking import MaskingVocabulary, dynamic_masking
from paddlenlp_ext.pretraining.shard_set import Rows, ShardSet
from paddlenlp_ext.pretraining.text_shards import LAYOUT, TextSettings, check_rows, make_shard
from paddlenlp_ext.process.signals import raise_pending
from paddlenlp_ext.tasks.batches import Batch
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.losses import count_labels, cross_entropy
from paddlenlp_ext.training.pretrain import Sums


@dataclass(frozen=True)
class MaskedTexts:
    """Makes the tensors of rows of text, with other masks in each epoch.

    `input_ids`: some of them hidden; `attention_mask`; `generator_labels`: what stood there. All
    int64 [B, L], with the L of the longest row.

    Attributes:
        vocabulary: Of the ids.
        pad_token_id: What fills up shorter rows.
        probability: To be masked.
        seed: Of the masks.
        pad_to_multiple_of: What L is rounded up to.
    """

    vocabulary: MaskingVocabulary
    pad_token_id: int
    probability: float = 0.15
    seed: int = 42
    pad_to_multiple_of: int = 1

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, probability: float, seed: int, pad_to_multiple_of: int
    ) -> MaskedTexts:
        """Mask with the tokens of a tokenizer."""
        vocabulary = MaskingVocabulary.of(tokenizer)
        return cls(vocabulary, tokenizer.pad_token_id, probability, seed, pad_to_multiple_of)

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows."""
        lengths = rows.columns["length"]
        longest = -(-int(lengths.max(initial=0)) // self.pad_to_multiple_of)
        length = min(longest * self.pad_to_multiple_of, rows.columns["input_ids"].shape[1])
        mask = np.arange(length) < lengths[:, None]
        ids = np.where(mask, rows.columns["input_ids"][:, :length], self.pad_token_id)
        hidden, chosen = ids, np.zeros_like(mask)
        if len(ids):
            hidden, chosen = dynamic_masking(
                ids,
                rows.numbers,
                self.vocabulary,
                probability=self.probability,
                seed=self.seed,
                epoch=epoch,
            )
        arrays = {
            "input_ids": hidden,
            "attention_mask": mask,
            "generator_labels": np.where(chosen, ids, IGNORED),
        }
        return {name: paddle.to_tensor(array.astype(np.int64)) for name, array in arrays.items()}


def open_corpus(
    corpus: Mapping[str, Sequence[Path]],
    folder: Path,
    settings: TextSettings,
    tokenizer: Tokenizer,
    config: ModelConfig,
    limits: Mapping[str, int | None],
) -> dict[str, ShardSet]:
    """Open the shards of a corpus; the first process makes those that are not there yet.

    Args:
        corpus: Files by the name of the split.
        folder: Where the shards are: `train.hdf5`, ...
        settings: How rows are made.
        tokenizer: The model's.
        config: The model's.
        limits: Use the first rows of a split only.

    Raises:
        UserError: Rows are longer than the model takes, the corpus cannot be used, or the shards
            cannot be written.
    """
    longest = config.max_position_embeddings
    if settings.max_seq_length > longest:
        raise UserError(
            f"`max_seq_length` {settings.max_seq_length}: the model takes {longest} at most"
        )
    paths = {split: folder / f"{split}.hdf5" for split in corpus}
    for split, files in corpus.items() if distributed.rank() == 0 else ():
        total = sum(file.stat().st_size for file in files)
        with tqdm(total=total, desc=split, unit="B", unit_scale=True, disable=None) as bar:

            def advance(size: int, bar: Any = bar) -> None:
                raise_pending()
                bar.update(size)

            make_shard(files, tokenizer, paths[split], settings, on_progress=advance)
    distributed.barrier()
    check = check_rows(config.vocab_size)
    return {
        split: ShardSet([path], LAYOUT, check, limit=limits.get(split))
        for split, path in paths.items()
    }


@dataclass(frozen=True)
class ReplacedTokens:
    """The objective: both nets at once, on one batch.

    Attributes:
        generator_weight: Of the generator's loss; a model's `config.gen_weight`.
        discriminator_weight: Of the discriminator's; `config.disc_weight`.
        seed: Of the generator's tokens when it is judged; in training the update seeds them.
    """

    generator_weight: float = 1.0
    discriminator_weight: float = 50.0
    seed: int = 42

    def count(self, batch: Batch) -> list[int]:
        """Count masked tokens, and all tokens."""
        return [count_labels(batch["generator_labels"]), int(batch["attention_mask"].numpy().sum())]

    def losses(self, model: nn.Layer, batch: Batch) -> list[Tensor]:
        """Compute the weighted losses of masked tokens, float32 [M], and of all, float32 [B, L]."""
        generator, discriminator = _losses(model(**batch), batch)
        return [self.generator_weight * generator, self.discriminator_weight * discriminator]

    def score(self, model: nn.Layer, batch: Batch) -> Sums:
        """Compute sums of losses, right predictions and labels of both nets."""
        distributed.seed_everything(self.seed, 0, int(batch.rows[0]))
        output = model(**batch)
        generator, discriminator = _losses(output, batch)
        real = batch["attention_mask"].numpy() == 1
        replaced = output.discriminator_labels.numpy() == 1
        found = output.logits.numpy() > 0
        labels = output.generator_labels.numpy()
        filled = output.generator_logits.argmax(-1).numpy()
        return {
            "generator loss": float(generator.sum()),
            "discriminator loss": float(discriminator.sum()),
            "masked": int((labels != IGNORED).sum()),
            "masked right": int((filled == labels).sum()),
            "tokens": int(real.sum()),
            "tokens right": int((real & (found == replaced)).sum()),
            "replaced": int(replaced.sum()),
            "replaced right": int((found & replaced).sum()),
        }

    def summarize(self, sums: Sums) -> tuple[float, dict[str, float]]:
        """Turn sums into the loss and the metrics; a model is judged by `discriminator acc`.

        `generator loss` is that of a masked token in nats, without its weight; `discriminator acc`
        counts all tokens, and `always original acc` is what calling every token original achieves.
        """
        masked, tokens = max(1, sums["masked"]), max(1, sums["tokens"])
        generator, discriminator = (
            sums["generator loss"] / masked,
            sums["discriminator loss"] / tokens,
        )
        return self.generator_weight * generator + self.discriminator_weight * discriminator, {
            "discriminator acc": sums["tokens right"] / tokens,
            "always original acc": 1 - sums["replaced"] / tokens,
            "replaced acc": sums["replaced right"] / max(1, sums["replaced"]),
            "generator acc": sums["masked right"] / masked,
            "generator loss": generator,
            "discriminator loss": discriminator,
        }


def _losses(output: ReplacedTokensOutput, batch: Batch) -> tuple[Tensor, Tensor]:
    """Losses of masked tokens, float32 [M], and of all tokens, float32 [B, L], 0 for padding."""
    return cross_entropy(output.generator_logits, output.generator_labels), (
        F.binary_cross_entropy_with_logits(
            output.logits.astype("float32"),
            output.discriminator_labels.astype("float32"),
            batch["attention_mask"].astype("float32"),
            reduction="none",
        )
    )
