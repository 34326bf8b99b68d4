"""Put features into batches: in which order, on which rank, and padded to one length.

The order of training is a function of (seed, epoch) alone, so a position in it is two small
numbers, the epoch and the batch, and a resumed run jumps there without reading what came before.
Paddle's own samplers repeat rows to fill up ranks, and their order changes with the number of
workers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import paddle
from paddle import Tensor

from paddlenlp_ext.metrics import IGNORED
from paddlenlp_ext.process import devices
from paddlenlp_ext.tasks.features import ChoiceFeatures, Features, Label

Item = TypeVar("Item")
RowNumbers = npt.NDArray[np.int64]

# How many of a row there are decides sizes, which are numbers of the host.
READ_ON_HOST = ("masked_positions",)
WINDOW = 50  # updates whose rows are sorted by length together


class Batch(dict[str, Tensor]):
    """Tensors of B examples, padded to a common length L, by the names that models take.

    `input_ids`, `attention_mask` (1 token, 0 padding) and, where the model has them,
    `token_type_ids` are int64 [B, L]. `labels` is, as `Features.label` is, int64 [B] for classes,
    float32 [B] for scores, float32 [B, C] for several labels at once, int64 [B, L] for a class of
    each token, with `IGNORED` at padding, or int64 [B, 2] for spans. Of texts with C choices the
    inputs are int64 [B, C, L], and `labels` is the place of the right one, int64 [B].

    Args:
        tensors: Of the host, as `host_tensors` makes them; the batch has them on the device.
        rows: Numbers of the examples in their list; int64 [B].

    Attributes:
        host: The tensors on the host, where reading them waits for no device.
        rows: Numbers of the examples in their list; int64 [B].
    """

    def __init__(self, tensors: dict[str, Tensor], rows: RowNumbers):
        # Kept beside the copies, which may not have been made before the first is computed with.
        self.host = {name: devices.pinned(tensor) for name, tensor in tensors.items()}
        super().__init__({name: devices.on_current(tensor) for name, tensor in self.host.items()})
        self.rows = rows

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What the model is called with: everything but the labels; what it reads, on the host."""
        inputs = {name: tensor for name, tensor in self.items() if name != "labels"}
        return inputs | {name: self.host[name] for name in READ_ON_HOST if name in self}


class Order(Protocol):
    """Which rows make up this rank's batches."""

    def __len__(self) -> int:
        """Return the number of batches of an epoch, equal on all ranks."""

    def rows(self, epoch: int = 0, start: int = 0) -> Iterator[RowNumbers]:
        """Yield the row numbers of each batch of an epoch, from batch `start` on."""


class BatchOrder:
    """The order of training: every row once an epoch, batch by batch over all ranks.

    An update takes the next `batch_size * world_size * accumulate` rows, so 2 ranks with 16 rows, 1
    rank with 32 and 1 rank with 2 batches of 16 train on the same rows. Of each of its batches a
    rank takes a contiguous part; of the last, short batch parts differ by at most one row, and some
    may be empty.

    Args:
        num_examples: Rows of an epoch.
        batch_size: Rows of a full batch on one rank.
        seed: Of the order; at least 0.
        rank: Number of this process.
        world_size: Number of processes.
        shuffle: Whether each epoch has its own order, or always that of the list.
        lengths: Number of tokens of each row. With it, an update has rows of similar length,
            which saves padding: shuffled rows are sorted by length within windows of 50 updates,
            and the updates are shuffled.
        accumulate: Batches of an update; an epoch's last update may have fewer.
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        shuffle: bool = True,
        lengths: Sequence[int] | None = None,
        accumulate: int = 1,
    ):
        self.num_examples = num_examples
        self.global_size = batch_size * world_size
        self.update_size = self.global_size * accumulate
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.lengths = None if lengths is None else np.asarray(lengths)

    def __len__(self) -> int:
        """Return the number of batches of an epoch, equal on all ranks."""
        return -(-self.num_examples // self.global_size)

    def rows(self, epoch: int = 0, start: int = 0) -> Iterator[RowNumbers]:
        """Yield the row numbers of each batch of an epoch, from batch `start` on; int64 [B]."""
        for batch in self._global_batches(epoch)[start:]:
            yield batch[_part(len(batch), self.rank, self.world_size)]

    def _global_batches(self, epoch: int) -> list[RowNumbers]:
        updates = self._updates(epoch)
        return [batch for update in updates for batch in _chunks(update, self.global_size)]

    def _updates(self, epoch: int) -> list[RowNumbers]:
        """Return the rows of each update, which do not depend on how an update is divided."""
        rows = np.arange(self.num_examples)
        if not self.shuffle:
            return _chunks(rows, self.update_size)
        # RandomState, unlike Generator, promises the same numbers in every release of NumPy, so a
        # run can be resumed after an upgrade.
        random = np.random.RandomState(
            np.random.MT19937(np.random.SeedSequence((self.seed, epoch)))
        )
        random.shuffle(rows)
        updates = _chunks(rows, self.update_size)
        if self.lengths is None:
            return updates
        for window in _chunks(rows, WINDOW * self.update_size):
            window[:] = window[np.argsort(-self.lengths[window], kind="stable")]
        full = self.num_examples // self.update_size  # the short update stays the last one
        return [updates[k] for k in random.permutation(full)] + updates[full:]


class EvaluationOrder:
    """The order of evaluation: each rank has a contiguous part of the rows, none twice.

    Parts differ by at most one row, so ranks may have different numbers of batches; results are
    gathered by row number.

    Args:
        num_examples: Rows to evaluate on.
        batch_size: Rows of a full batch on one rank.
        rank: Number of this process.
        world_size: Number of processes.
        lengths: Number of tokens of each row. With it, a rank takes its longest rows first, so
            that batches hold little padding and the one that needs most memory comes first.
    """

    def __init__(
        self,
        num_examples: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        lengths: Sequence[int] | None = None,
    ):
        rows = np.arange(num_examples)[_part(num_examples, rank, world_size)]
        if lengths is not None:
            rows = rows[np.argsort(-np.asarray(lengths)[rows], kind="stable")]
        self.batches = _chunks(rows, batch_size)

    def __len__(self) -> int:
        """Return the number of this rank's batches."""
        return len(self.batches)

    def rows(self, epoch: int = 0, start: int = 0) -> Iterator[RowNumbers]:
        """Yield the row numbers of each batch from batch `start` on, whatever the epoch."""
        yield from self.batches[start:]


class Loader:
    """Features in the batches of an order; iterating gives one epoch.

    Args:
        features: All examples, on every rank.
        order: Which of them make up this rank's batches.
        pad_token_id: What fills up `input_ids`.
        pad_to_multiple_of: Lengths are rounded up to a multiple of it (8 suits a GPU).
    """

    def __init__(
        self,
        features: Sequence[Features],
        order: Order,
        *,
        pad_token_id: int,
        pad_to_multiple_of: int = 1,
    ):
        self.features = features
        self.order = order
        self.pad_token_id = pad_token_id
        self.pad_to_multiple_of = pad_to_multiple_of

    @property
    def num_rows(self) -> int:
        """Rows of an epoch, of all processes."""
        return len(self.features)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of the first epoch."""
        return self.batches()

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on."""
        for rows in self.order.rows(epoch, start):
            chosen = [self.features[row] for row in rows]
            tensors = collate(chosen, self.pad_token_id, self.pad_to_multiple_of)
            yield Batch(tensors, rows)


class Ahead(Iterator[Item]):
    """Items of which the next one can be made before it is its turn.

    By the same thread, while a device computes: a second one would take turns with it at Python's
    lock, and the order in which things end stays what it is.

    Args:
        items: The items.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        self._made: list[Item] = []
        self._error: BaseException | None = None

    def make(self) -> None:
        """Make the next item, if there is one; what that raises comes when it is its turn."""
        try:
            self._made.append(next(self._items))
        except Exception as error:
            self._error = error

    def __next__(self) -> Item:
        """Return the next item."""
        if self._made:
            return self._made.pop(0)
        if self._error is not None:
            raise self._error
        return next(self._items)


def collate(
    features: Sequence[Features], pad_token_id: int, pad_to_multiple_of: int = 1
) -> dict[str, Tensor]:
    """Pad examples to their longest one and make tensors of them.

    Args:
        features: B examples of one task; none gives tensors without rows.
        pad_token_id: What fills up `input_ids`; masks and token types are filled with 0.
        pad_to_multiple_of: The length L is rounded up to a multiple of it.

    Returns:
        The tensors of a `Batch`.
    """
    arrays: dict[str, npt.NDArray[Any]] = {**pad(features, pad_token_id, pad_to_multiple_of)}
    length = arrays["input_ids"].shape[-1]
    arrays["labels"] = _labels([one.label for one in features], length)
    return host_tensors(arrays)


def host_tensors(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
    """Make tensors of arrays, in the memory of the host whatever the device."""
    cpu = paddle.CPUPlace()
    return {name: paddle.to_tensor(array, place=cpu) for name, array in arrays.items()}


def pad(
    features: Sequence[Features], pad_token_id: int, pad_to_multiple_of: int = 1
) -> dict[str, npt.NDArray[np.int64]]:
    """Pad examples as `collate` does; what a model is called with, int64 [B, L] each.

    Of texts with choices int64 [B, C, L].
    """
    if of_choices := [one for one in features if isinstance(one, ChoiceFeatures)]:
        rows = [choice for one in of_choices for choice in one.choices(pad_token_id)]
        shape = (len(features), len(of_choices[0].lengths), -1)
        padded = pad(rows, pad_token_id, pad_to_multiple_of)
        return {name: array.reshape(shape) for name, array in padded.items()}
    longest = max(map(len, features), default=0)
    length = -(-longest // pad_to_multiple_of) * pad_to_multiple_of
    arrays = {
        "input_ids": np.full((len(features), length), pad_token_id, np.int64),
        "attention_mask": np.zeros((len(features), length), np.int64),
    }
    if features and features[0].token_type_ids is not None:
        arrays["token_type_ids"] = np.zeros((len(features), length), np.int64)
    for row, one in enumerate(features):
        arrays["input_ids"][row, : len(one)] = one.input_ids
        arrays["attention_mask"][row, : len(one)] = 1
        if one.token_type_ids is not None:
            arrays["token_type_ids"][row, : len(one)] = one.token_type_ids
    return arrays


def _labels(labels: Sequence[Label], length: int) -> npt.NDArray[Any]:
    """Make one array of labels, those of tokens padded to `length`."""
    if labels and isinstance(labels[0], np.ndarray) and labels[0].dtype == np.int32:
        padded = np.full((len(labels), length), IGNORED, np.int64)
        for row, label in zip(padded, labels, strict=True):
            row[: np.size(label)] = label
        return padded
    is_float = any(isinstance(label, float | np.ndarray) for label in labels)
    return np.array(labels, np.float32 if is_float else np.int64)


def _part(num_rows: int, rank: int, world_size: int) -> slice:
    """Return a rank's contiguous part of `num_rows` rows; parts differ by at most one row."""
    return slice(num_rows * rank // world_size, num_rows * (rank + 1) // world_size)


def _chunks(rows: RowNumbers, size: int) -> list[RowNumbers]:
    """Cut rows into views of `size` rows, the last one shorter."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]
