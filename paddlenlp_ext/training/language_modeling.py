"""Language modelling on plain text: masked tokens (BERT's), or the next token (a decoder's)."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.disk import replacing
from paddlenlp_ext.files.patterns import find_files
from paddlenlp_ext.files.sources import Source
from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.models.auto import family_of, model_class
from paddlenlp_ext.models.base import Model
from paddlenlp_ext.presets.families import FAMILIES
from paddlenlp_ext.pretraining.language_rows import RowSettings, make_rows
from paddlenlp_ext.pretraining.masking import Flags, MaskingVocabulary, dynamic_masking
from paddlenlp_ext.pretraining.reader import ShardReader
from paddlenlp_ext.pretraining.shard_set import Rows, ShardSet
from paddlenlp_ext.pretraining.text_shards import LAYOUT, check_rows
from paddlenlp_ext.pretraining.words import unspaced_tokens
from paddlenlp_ext.process.signals import raise_pending
from paddlenlp_ext.process.streams import progress_bar
from paddlenlp_ext.settings import Settings
from paddlenlp_ext.tasks.batches import Batch, host_tensors
from paddlenlp_ext.tokenizers.base import Tokenizer
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.events import Evaluated
from paddlenlp_ext.training.loaders import FILES
from paddlenlp_ext.training.losses import count_labels, cross_entropy
from paddlenlp_ext.training.objectives import LARGEST_EXPONENT
from paddlenlp_ext.training.pretrain import MakeTensors, ShardBatches, Sums, evaluate
from paddlenlp_ext.training.run import require_positions
from paddlenlp_ext.training.settings import RunSettings

# By `objective`: what the names of the classes that have its head end with.
HEADS = {"masked": "ForMaskedLM", "causal": "ForCausalLM"}


@dataclass(frozen=True)
class MaskedRows:
    """Makes the tensors of rows, with other masks in each epoch.

    `input_ids`, some of them hidden, and `attention_mask`: int64 [B, L], with the L of the longest
    row. `masked_positions`, places of the masked tokens in the flattened [B · L], and `labels`,
    what stood there: int64 [M].

    Attributes:
        vocabulary: Of the ids.
        pad_token_id: What fills up shorter rows.
        probability: To be masked.
        seed: Of the masks, together with the epoch and the number of the row.
        continues: Which ids are masked with the token before or not at all, to mask whole words;
            bool [V]. None: each token alone.
        pad_to_multiple_of: What L and M are rounded up to; added labels are ignored.
    """

    vocabulary: MaskingVocabulary
    pad_token_id: int
    probability: float = 0.15
    seed: int = 42
    continues: Flags | None = None
    pad_to_multiple_of: int = 1

    @classmethod
    def of(
        cls, tokenizer: Tokenizer, settings: RunSettings, *, probability: float, whole_words: bool
    ) -> MaskedRows:
        """Mask with the tokens of a tokenizer, whose pieces say where words begin.

        In scripts without spaces they do not, and each token stands alone.
        """
        vocabulary, continues = MaskingVocabulary.of(tokenizer), None
        if whole_words:
            tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
            continues = vocabulary.continues & ~unspaced_tokens(tokens)
        return cls(
            vocabulary,
            tokenizer.pad_token_id,
            probability,
            settings.seed,
            continues,
            settings.pad_to_multiple_of,
        )

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows."""
        ids, mask = padded_rows(rows, self.pad_token_id, self.pad_to_multiple_of)
        hidden, chosen = ids, np.zeros_like(mask)
        if len(ids):
            hidden, chosen = dynamic_masking(
                ids,
                rows.numbers,
                self.vocabulary,
                probability=self.probability,
                seed=self.seed,
                epoch=epoch,
                continues=None if self.continues is None else self.continues[ids],
            )
        listed = listed_labels(ids, chosen, self.pad_to_multiple_of)
        return as_tensors(input_ids=hidden, attention_mask=mask, **listed)


@dataclass(frozen=True)
class NextTokens:
    """Makes the tensors of rows whose every token is predicted from those before it.

    `input_ids`, `attention_mask`, and `labels`, the next token of each: int64 [B, L].

    Attributes:
        pad_token_id: What fills up shorter rows.
        pad_to_multiple_of: What L is rounded up to.
    """

    pad_token_id: int
    pad_to_multiple_of: int = 1

    def __call__(self, rows: Rows, epoch: int = 0) -> dict[str, Tensor]:
        """Make the tensors of some rows, the same in every epoch."""
        ids, mask = padded_rows(rows, self.pad_token_id, self.pad_to_multiple_of)
        labels = np.full(ids.shape, IGNORED, np.int64)
        labels[:, :-1] = np.where(mask[:, 1:], ids[:, 1:], IGNORED)
        return as_tensors(input_ids=ids, attention_mask=mask, labels=labels)


class TokenPrediction:
    """The objective: the mean loss of the labels that stand beside rows."""

    def count(self, batch: Batch) -> list[int]:
        """Count the labels."""
        return [count_labels(batch.host["labels"])]

    def losses(self, model: Any, batch: Batch) -> list[Tensor]:
        """Compute the losses; float32 [N], with N labels."""
        return [cross_entropy(self._logits(model, batch), model.columns(batch["labels"]))]

    def score(self, model: Any, batch: Batch) -> Sums:
        """Compute sums of losses, right predictions and labels."""
        logits, labels = self._logits(model, batch), model.columns(batch["labels"])
        return {
            "loss": float(cross_entropy(logits, labels).sum()),
            "right": float((logits.argmax(-1) == labels).sum()),
            "labels": count_labels(labels),
        }

    def summarize(self, sums: Sums) -> tuple[float, dict[str, float]]:
        """Turn sums into the loss, the accuracy and the perplexity."""
        count = max(1, sums["labels"])
        loss = sums["loss"] / count
        perplexity = math.exp(min(loss, LARGEST_EXPONENT))
        return loss, {"acc": sums["right"] / count, "perplexity": perplexity}

    def _logits(self, model: Any, batch: Batch) -> Tensor:
        # Not by its `forward`, whose order of arguments is PaddleNLP's: that of some families does
        # not name `masked_positions`.
        logits: Tensor = model.run(**batch.inputs).logits
        return logits


def class_for(objective: str, source: Source) -> type[Model]:
    """Return the class with the head of an objective, of a model's family.

    Args:
        objective: Of `HEADS`.
        source: Of the model.

    Raises:
        UserError: The family has no such class.
    """
    family, head = family_of(source), HEADS[objective]
    having = [name for name, row in FAMILIES.items() if row.prefix + head in row.modules()]
    if family not in having:
        raise UserError(
            f"`objective` {objective}: {family} has no {head}; the families that have one: "
            f"{', '.join(having)}"
        )
    return model_class(family, head)


@dataclass(frozen=True, kw_only=True)
class LanguageSettings(Settings):
    """What is predicted of which text: the flags of the script of the same names."""

    train_file: Sequence[str] | None = None
    validation_file: Sequence[str] | None = None
    test_file: Sequence[str] | None = None
    validation_share: float = 0.0
    objective: str = "masked"
    line_by_line: bool = False
    mlm_probability: float = 0.15
    whole_word_mask: bool = False

    def files(self) -> dict[str, list[Path]]:
        """Find the files of each split that has some.

        Raises:
            DataError: There are none of a name that was given.
        """
        given = {split: getattr(self, setting) for split, setting in FILES.items()}
        return {split: find_files(names, FILES[split]) for split, names in given.items() if names}


@dataclass(frozen=True)
class Text:
    """The text of a run, as rows in the folder of the run: `rows/train.hdf5`, ...

    Attributes:
        files: By the name of the split. Without any of "validation", `form.held_out` of the rows of
            "train" are, if that is above 0.
        form: How rows are made.
        tokenizer: The model's.
        tensors: Makes the tensors of rows.
        settings: Of the run.
    """

    files: Mapping[str, Sequence[Path]]
    form: RowSettings
    tokenizer: Tokenizer
    tensors: MakeTensors
    settings: RunSettings

    @classmethod
    def of(cls, language: LanguageSettings, tokenizer: Tokenizer, settings: RunSettings) -> Text:
        """Say how the text of a run becomes rows, and what of them is predicted."""
        form = RowSettings(
            settings.max_seq_length,
            language.line_by_line,
            language.validation_share,
            settings.seed,
        )
        tensors: MakeTensors = NextTokens(tokenizer.pad_token_id, settings.pad_to_multiple_of)
        if language.objective == "masked":
            tensors = MaskedRows.of(
                tokenizer,
                settings,
                probability=language.mlm_probability,
                whole_words=language.whole_word_mask,
            )
        return cls(language.files(), form, tokenizer, tensors, settings)

    def shards(self, model: Model, splits: Sequence[str]) -> dict[str, ShardSet]:
        """Open the rows of some splits; the first process makes those that are not there yet.

        Raises:
            UserError: The text cannot be used, the model has no positions for it, or the rows
                cannot be written.
        """
        settings, check = self.settings, check_rows(model.config.vocab_size)
        require_positions(model, self.form.max_seq_length, settings.pad_to_multiple_of)
        model.config.require_rows(len(self.tokenizer))
        shards: dict[str, ShardSet] = {}
        for split in splits:
            if split in self.files or (split == "validation" and self.form.held_out):
                path = self._path(split)
                if distributed.rank() == 0:
                    self._make(split)
                distributed.barrier()
                limit = settings.max_train_samples
                limit = limit if split == "train" else settings.max_eval_samples
                shards[split] = ShardSet([path], LAYOUT, check, limit=limit)
        return shards

    def batches(self, shards: ShardSet) -> ShardBatches:
        """Make batches to evaluate on."""
        settings = self.settings
        return ShardBatches(
            ShardReader(shards, shuffle=False),
            self.tensors,
            settings.eval_batch_size or settings.batch_size,
            distributed.rank(),
            distributed.world_size(),
        )

    def _path(self, split: str) -> Path:
        return Path(self.settings.output_dir) / f"rows/{split}.hdf5"

    def _make(self, split: str) -> None:
        """Make the rows of a split, and with those to train on what is held out of them."""
        source = split if split in self.files else "train"
        parts, form = [source], replace(self.form, held_out=0.0, seed=0)
        if source == "train" and self.form.held_out and "validation" not in self.files:
            parts, form = ["train", "validation"], self.form
        files = self.files[source]
        total = sum(path.stat().st_size for path in files)
        with progress_bar(total, desc=source, unit="B", unit_scale=True) as bar:

            def advance(size: int) -> None:
                raise_pending()
                bar.update(size)

            paths = [self._path(part) for part in parts]
            make_rows(files, self.tokenizer, paths, form, on_progress=advance)


def evaluate_text(model: Model, text: Text, rows: ShardSet, split: str) -> Evaluated:
    """Evaluate a model on the rows of a split, every process on its part."""
    return evaluate(model, text.batches(rows), objective=TokenPrediction(), split=split)


def write_losses(model: Model, text: Text, rows: ShardSet, path: Path) -> None:
    """Write a line for each row: its number, its text, and the loss of its predicted tokens.

    Args:
        model: Predicts.
        text: How rows are read.
        rows: Of the split.
        path: A file of JSON lines; "loss" and "perplexity" are null where no token is predicted.
    """
    model.eval()
    losses = (_row_losses(model, text.tokenizer, batch) for batch in text.batches(rows).batches())
    gathered = (row for part in losses for rank in distributed.gather(part) for row in rank)
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in gathered)
    if distributed.rank() == 0:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(lines)
    else:
        deque(lines, maxlen=0)


def _row_losses(model: Model, tokenizer: Tokenizer, batch: Batch) -> list[dict[str, Any]]:
    """Compute the mean loss of the labels of each row."""
    if not len(batch.rows):
        return []
    objective, labels = TokenPrediction(), batch["labels"].numpy().reshape(-1)
    with paddle.no_grad():
        losses = objective.losses(model, batch)[0].numpy().astype(np.float64)
    count, length = batch["input_ids"].shape
    places = np.arange(count * length)
    if "masked_positions" in batch:
        places = batch["masked_positions"].numpy()
    found = labels != IGNORED
    row = places[found] // length
    sums, counts = np.bincount(row, losses[found], count), np.bincount(row, minlength=count)
    ids = batch["input_ids"].numpy().reshape(-1)
    ids[places[found]] = labels[found] if "masked_positions" in batch else ids[places[found]]
    texts = tokenizer.batch_decode(ids.reshape(count, length), skip_special_tokens=True)
    rows = []
    for number, text, total, tokens in zip(batch.rows, texts, sums, counts, strict=True):
        loss = total / tokens if tokens else None
        perplexity = None if loss is None else math.exp(min(loss, LARGEST_EXPONENT))
        rows.append(
            {
                "row": int(number),
                "predicted_tokens": int(tokens),
                "loss": loss,
                "perplexity": perplexity,
                "text": text,
            }
        )
    return rows


def listed_labels(ids: Any, chosen: Flags, multiple: int) -> dict[str, Any]:
    """List masked tokens: `masked_positions` in the flattened [N · L], and `labels`; int64 [M].

    Args:
        ids: What stood there; int [N, L].
        chosen: The masked tokens; bool [N, L].
        multiple: What M is rounded up to, and at least it is; added labels are ignored.
    """
    places = np.flatnonzero(chosen)
    count = -(-max(1, len(places)) // multiple) * multiple
    positions, labels = np.zeros(count, np.int64), np.full(count, IGNORED, np.int64)
    positions[: len(places)] = places
    labels[: len(places)] = ids[chosen]
    return {"masked_positions": positions, "labels": labels}


def padded_rows(rows: Rows, pad_token_id: int, multiple: int) -> tuple[Any, Flags]:
    """Cut rows to the longest one: ids, int32 [B, L], and which are of a row, bool [B, L]."""
    lengths, width = rows.columns["length"], rows.columns["input_ids"].shape[1]
    length = -(-int(lengths.max(initial=0)) // multiple) * multiple
    ids = rows.columns["input_ids"][:, : min(length, width)]
    ids = np.pad(ids, ((0, 0), (0, max(0, length - width))))
    mask = np.arange(length) < lengths[:, None]
    return np.where(mask, ids, pad_token_id), mask


def as_tensors(**arrays: Any) -> dict[str, Tensor]:
    """Make tensors of arrays; int64 all of them."""
    return host_tensors({name: array.astype(np.int64) for name, array in arrays.items()})
