"""Examples in a list or a stream, with functions to apply to each: `MapDataset(rows).map(encode)`.

The number of workers that PaddleNLP's `map` and `filter` take is taken here too; one process does
it, and the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from paddle import distributed
from paddle.io import Dataset, IterableDataset

from paddlenlp_ext.errors import DataError

Apply = Callable[[Any], Any]
AnyMap = TypeVar("AnyMap", bound="MapDataset")
AnyIter = TypeVar("AnyIter", bound="IterDataset")


class MapDataset(Dataset):  # type: ignore[misc]
    """A list of examples.

    Args:
        data: Anything with a length and numbered items.
        label_list: The labels by their numbers.
        vocab_info: Kept for the script.
        info: More that is kept.

    Attributes:
        data: As it was given.
        new_data: As it is now, without what `map` is to do when an example is asked for.
    """

    def __init__(
        self, data: Any, label_list: Any = None, vocab_info: Any = None, **info: Any
    ) -> None:
        super().__init__()
        self.data = data
        self.new_data = data
        self.label_list = label_list
        self.vocab_info = vocab_info
        self.info = info
        self._functions: list[Apply] = []

    def __getitem__(self, idx: Any) -> Any:
        example = self.new_data[idx]
        for function in self._functions:
            example = function(example)
        return example

    def __len__(self) -> int:
        return len(self.new_data)

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def map(
        self: AnyMap, fn: Apply, lazy: bool = True, batched: bool = False, num_workers: int = 0
    ) -> AnyMap:
        """Apply a function to each example, or to all in one call (`batched`).

        Args:
            fn: What an example becomes; with `batched`, what the list of all becomes.
            lazy: Whether to do it when an example is asked for, each time again.
            batched: Whether the function takes all examples.
            num_workers: Without effect; above 1, nothing is lazy, as in PaddleNLP.
        """
        if batched:
            self.new_data = fn(self.new_data)
        elif lazy and num_workers < 2:
            self._functions.append(fn)
        else:
            self.new_data = [fn(example) for example in self._plain()]
        return self

    def filter(self: AnyMap, fn: Apply, num_workers: int = 0) -> AnyMap:
        """Keep the examples for which a function is true; it sees them before a lazy `map`."""
        self.new_data = [example for example in self._plain() if fn(example)]
        return self

    def shard(
        self: AnyMap,
        num_shards: int | None = None,
        index: int | None = None,
        contiguous: bool = False,
    ) -> AnyMap:
        """Keep this process's part, or another one.

        Args:
            num_shards: How many parts; as many as processes if None.
            index: Which; this process's if None.
            contiguous: Whether a part is a run of examples, rather than every n-th.
        """
        count, place = _part(num_shards, index)
        rows = [*self._plain()]
        if contiguous:
            size, more = divmod(len(rows), count)
            begin = size * place + min(place, more)
            self.new_data = rows[begin : begin + size + (place < more)]
        else:
            self.new_data = rows[place::count]
        return self

    def _plain(self) -> Iterator[Any]:
        return (self.new_data[index] for index in range(len(self.new_data)))


class IterDataset(IterableDataset):  # type: ignore[misc]
    """A stream of examples.

    Args:
        data: Examples, or a function that returns them and is called for each pass.
        label_list: The labels by their numbers.
        vocab_info: Kept for the script.
    """

    def __init__(self, data: Any, label_list: Any = None, vocab_info: Any = None) -> None:
        super().__init__()
        self.data = data
        self.label_list = label_list
        self.vocab_info = vocab_info
        self._functions: list[Apply] = []
        self._filters: list[Apply] = []
        self._shards = (1, 0)
        self._skipped = 0

    def __iter__(self) -> Iterator[Any]:
        data = self.data() if callable(self.data) else self.data
        count, place = self._shards
        for number, example in enumerate(islice(data, self._skipped, None)):
            # PaddleNLP asks the filters about themselves, and so keeps everything or nothing.
            if number % count != place or not all(keep(example) for keep in self._filters):
                continue
            for function in self._functions:
                example = function(example)
            yield example

    __len__ = None  # type: ignore[assignment]  # a stream has none, though Paddle's class says so

    def map(self: AnyIter, fn: Apply) -> AnyIter:
        """Apply a function to each example."""
        self._functions.append(fn)
        return self

    def filter(self: AnyIter, fn: Apply) -> AnyIter:
        """Keep the examples for which a function is true; it sees them before `map`."""
        self._filters.append(fn)
        return self

    def shard(self: AnyIter, num_shards: int | None = None, index: int | None = None) -> AnyIter:
        """Keep every n-th example: this process's, or another part."""
        self._shards = _part(num_shards, index)
        return self

    def skip(self: AnyIter, n: int) -> AnyIter:
        """Leave out the first examples of each pass."""
        self._skipped += n
        return self


class DatasetBuilder:
    """Reads files as examples; a user's class says how by `_read`, and may say more.

    Args:
        lazy: Whether to return streams.
        name: Which of several data sets; for the user's class.
        config: More for it.
    """

    lazy = False

    def __init__(self, lazy: bool | None = None, name: str | None = None, **config: Any) -> None:
        if lazy is not None:
            self.lazy = lazy
        self.name = name
        self.config = config

    def _read(self, filename: str, *args: Any) -> Iterable[dict[str, Any]]:
        """Return the examples of a file; a second argument would be the split."""
        raise NotImplementedError

    def _get_data(self, mode: str) -> str:
        """Return the file of a split."""
        raise NotImplementedError

    def get_labels(self) -> Any:
        """Return the labels, in place of which examples get numbers; None if they have numbers."""
        return None

    def get_vocab(self) -> Any:
        """Return what the data sets' `vocab_info` is."""
        return None

    def read_datasets(self, splits: Any = None, data_files: Any = None) -> Any:
        """Read splits, or files as splits, all of `SPLITS` without either.

        Returns:
            The data set; if there are several, all of them by number and by split.

        Raises:
            DataError: There are more files than splits, or fewer.
        """
        names = [splits] if isinstance(splits, str) else splits
        if data_files is None:
            names = [*(names or self.SPLITS)]  # type: ignore[attr-defined]
            files = [self._get_data(name) for name in names]
        else:
            files = [data_files] if isinstance(data_files, str) else [*data_files]
            names = [*(names or ["train"] * len(files))]
        if len(names) != len(files):
            raise DataError(f"there are {len(files)} `data_files` for {len(names)} `splits`")
        return in_splits(names, [self.read(*one) for one in zip(files, names, strict=True)])

    def read(self, filename: str, split: str = "train") -> MapDataset | IterDataset:
        """Read a file as a list of examples, or as a stream.

        Raises:
            DataError: There are none.
        """
        options = {"label_list": self.get_labels(), "vocab_info": self.get_vocab()}
        if self.lazy:
            return IterDataset(lambda: self._examples(filename, split), **options)
        examples = [*self._examples(filename, split)]
        if not examples:
            raise DataError(f"{filename} has no examples")
        return MapDataset(examples, **options)

    def _examples(self, filename: str, split: str) -> Iterator[dict[str, Any]]:
        takes_split = self._read.__code__.co_argcount > 2
        labels = self.get_labels()
        for example in self._read(filename, split) if takes_split else self._read(filename):
            column = "labels" if "labels" in example else "label"
            if labels is None or example.get(column) in (None, "", []):
                yield example
            else:
                yield example | {column: _numbers(example[column], labels)}


def _numbers(label: Any, labels: Sequence[Any]) -> Any:
    """Return the number of a label; of each one in a list, by its own list where there are more."""
    if isinstance(labels[0], (list, tuple)):
        return [_numbers(one, own) for one, own in zip(label, labels, strict=True)]
    if isinstance(label, (list, tuple)):
        return [labels.index(one) for one in label]
    return labels.index(label)


def _part(num_shards: int | None, index: int | None) -> tuple[int, int]:
    count = distributed.get_world_size() if num_shards is None else num_shards
    return count, distributed.get_rank() if index is None else index


class Splits(list[Any]):
    """Data sets in their order, and by the names of their splits.

    Args:
        names: Of the splits.
        datasets: Of each.
    """

    def __init__(self, names: Sequence[str], datasets: Iterable[Any]) -> None:
        super().__init__(datasets)
        self.names = [*names]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names.index(key) if isinstance(key, str) else key)


def in_splits(names: Sequence[str], datasets: Sequence[Any]) -> Any:
    """Return the only data set, or all of them."""
    return datasets[0] if len(datasets) == 1 else Splits(names, datasets)
