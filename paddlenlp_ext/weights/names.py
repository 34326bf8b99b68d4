"""Name tables: our tensor names and those of a foreign format, one table for both directions.

A row is a pair of module paths, ours and theirs, with `{}` for a layer number:

    ("encoder.layers.{}.norm1", "encoder.layer.{}.attention.output.LayerNorm")

Names are compared as whole paths, never as parts of paths, so the order of the rows means nothing
and a name is either in the table or reported as unknown.

Rows of the encoder are written as the bare model has them. In a model with a head, our names begin
with `backbone.` and theirs with the table's `prefix`; the table adds and takes off both. Rows of
heads are written in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from paddlenlp_ext.errors import WeightsError, one_line, shown

BACKBONE = "backbone."  # the attribute of every model with a head that holds its bare model
WORD_EMBEDDINGS = "backbone.embeddings.word_embeddings.weight"
OWN_TABLE = "lm_head.decoder.weight"  # of a head that does not score words by them
LEAVES = ("weight", "bias")  # carried over from a module to the same module of the other side
# Files converted from TensorFlow name the parameters of LayerNorm so (bert-base-uncased does).
LAYER_NORM_LEAVES = {"gamma": "weight", "beta": "bias"}
LONGEST_NAME = 80  # characters of a name, or of several as one, that a line writes out


@dataclass(frozen=True)
class Row:
    """One module, or one tensor, under its two names.

    Attributes:
        ours: Path in our model; `{}` stands for a layer number.
        theirs: Path in their file, with as many `{}`.
        column: Theirs is [n, 1] where ours is [n] (ConvBERT's separable convolution).
    """

    ours: str
    theirs: str
    column: bool = False

    def tensors(self) -> list[tuple[str, str]]:
        """Return the pairs of tensor paths: two for a module, one for a whole tensor name.

        A side whose last word ends with `weight` or `bias` is the name of a tensor.
        """
        if self.ours.endswith(LEAVES) or self.theirs.endswith(LEAVES):
            return [(self.ours, self.theirs)]
        return [(f"{self.ours}.{leaf}", f"{self.theirs}.{leaf}") for leaf in LEAVES]


@dataclass(frozen=True)
class Renaming:
    """What a table makes of the names in a file.

    Attributes:
        names: Theirs to ours.
        repeats: Theirs to the tensor of ours that they repeat (tied and aliased tensors).
        ignored: Theirs that no model needs (buffers).
        unknown: Theirs that are not in the table.
    """

    names: dict[str, str]
    repeats: dict[str, str]
    ignored: tuple[str, ...]
    unknown: tuple[str, ...]


class NameTable:
    """Names of one foreign format of one model family, read in both directions.

    Args:
        rows: Modules of the bare model; pairs (ours, theirs) or `Row`.
        heads: Modules of the heads, in full on both sides.
        prefix: What their names of the bare model begin with in a model with a head ("bert.").
        tied: Their tensors that repeat one of ours; may be absent in a file, written on export.
            Both names as in a model with a head, theirs outside the bare model.
        aliases: As `tied`, but never written: older names, and what Hugging Face leaves out.
        ignored: Their buffers that hold nothing learned, written as in the bare model.
        position_buffers: Their buffers 0, 1, 2, … with a number for each row of one of our tensors:
            dropped on reading, made again on export. Theirs to ours, both as in the bare model.

    Raises:
        ValueError: Two rows have the same name on one side, so the table is no bijection.
    """

    def __init__(
        self,
        rows: Sequence[Row | tuple[str, str]],
        heads: Sequence[Row | tuple[str, str]] = (),
        *,
        prefix: str,
        tied: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
        ignored: Iterable[str] = (),
        position_buffers: Mapping[str, str] | None = None,
    ) -> None:
        if not prefix.endswith("."):
            raise ValueError(f"a prefix ends with a dot, got {prefix!r}")
        self.prefix = prefix
        self._tied = dict(tied or {})
        self._aliases = dict(aliases or {})
        self._repeats = self._tied | self._aliases
        self._position_buffers = dict(position_buffers or {})
        self._ignored = frozenset(ignored) | self._position_buffers.keys()
        self._rows = _rows(rows)
        self._heads = _rows(heads)
        bare = [pair for row in self._rows for pair in row.tensors()]
        full = [(BACKBONE + ours, prefix + theirs) for ours, theirs in bare]
        full += [pair for row in self._heads for pair in row.tensors()]
        # Two vocabularies of each side: a bare model, and a model with a head.
        self._bare_to_theirs = dict(bare)
        self._bare_to_ours = {theirs: ours for ours, theirs in bare}
        self._full_to_theirs = dict(full)
        self._full_to_ours = {theirs: ours for ours, theirs in full}
        self._columns = {
            name
            for row in (*self._rows, *self._heads)
            if row.column
            for ours, _ in row.tensors()
            for name in (ours, BACKBONE + ours)
        }
        self._check(bare, full)

    def with_heads(self, heads: Sequence[Row | tuple[str, str]]) -> NameTable:
        """Return the table of a task whose head is named otherwise than those of other tasks.

        PaddleNLP's `classifier` is our `classifier` in one class and our `qa_outputs` in another.

        Args:
            heads: Rows that take the place of the rows that share a name with them.
        """
        new = _rows(heads)
        taken = {name for row in new for name in (row.ours, row.theirs)}
        kept = [row for row in self._heads if not taken & {row.ours, row.theirs}]
        return NameTable(
            self._rows,
            [*kept, *new],
            prefix=self.prefix,
            tied=self._tied,
            aliases=self._aliases,
            ignored=self._ignored,
            position_buffers=self._position_buffers,
        )

    def with_own_table(self) -> NameTable:
        """Return the table of a model whose head scores words by a table of its own.

        What repeats the word embeddings in other models is that table in this one.
        """
        if OWN_TABLE in self._full_to_theirs:
            return self
        found = [theirs for theirs, ours in self._repeats.items() if ours == WORD_EMBEDDINGS]
        theirs, older = found[0], found[1:]

        def others(names: Mapping[str, str]) -> dict[str, str]:
            kept = {name: ours for name, ours in names.items() if name not in found}
            return kept | {name: OWN_TABLE for name in older if name in names}

        return NameTable(
            self._rows,
            [*self._heads, Row(OWN_TABLE, theirs)],
            prefix=self.prefix,
            tied=others(self._tied),
            aliases=others(self._aliases),
            ignored=self._ignored,
            position_buffers=self._position_buffers,
        )

    def to_ours(self, names: Iterable[str], *, bare: bool = False) -> Renaming:
        """Translate all names of one file.

        The file is a bare model's if none of its names has the prefix.

        Args:
            names: Tensor names of a file.
            bare: Whether our model is the bare model; names of heads then stay as in a full one.

        Raises:
            WeightsError: Two tensors of the file are the same tensor of the model.
        """
        theirs = list(names)
        bare_file = not any(name.startswith(self.prefix) for name in theirs)
        renamed: dict[str, str] = {}
        sources: dict[str, str] = {}
        repeats: dict[str, str] = {}
        ignored: list[str] = []
        unknown: list[str] = []
        for name in theirs:
            full = self.prefix + name if bare_file and self._in_bare_file(name) else name
            ours = _translate(self._full_to_ours, _modern_leaf(full))
            if ours is not None:
                ours = self._as_in_bare_model(ours) if bare else ours
                if ours in sources:
                    raise WeightsError(
                        f"the file holds {ours!r} twice, as {shown(sources[ours])} and as "
                        f"{shown(name)}; remove one of them"
                    )
                renamed[name], sources[ours] = ours, name
            elif full in self._repeats:
                repeated = self._repeats[full]
                repeats[name] = self._as_in_bare_model(repeated) if bare else repeated
            elif full.removeprefix(self.prefix) in self._ignored:
                ignored.append(name)
            else:
                unknown.append(name)
        return Renaming(renamed, repeats, tuple(ignored), tuple(unknown))

    def to_theirs(self, names: Iterable[str]) -> dict[str, str]:
        """Return ours to theirs for all names of one model, bare or with a head.

        Raises:
            WeightsError: The table has no row for some of the names.
        """
        ours = list(names)
        table = self._bare_to_theirs if self.is_bare(ours) else self._full_to_theirs
        theirs = {name: _translate(table, name) for name in ours}
        unknown = sorted(name for name, found in theirs.items() if found is None)
        if unknown:
            raise WeightsError(
                f"the table of {self.prefix!r} has no row for {', '.join(unknown)}; add one"
            )
        return {name: found for name, found in theirs.items() if found is not None}

    def tied_to(self, names: Iterable[str]) -> dict[str, str]:
        """Return the tied tensors that a file of this model holds too: theirs to ours.

        One that repeats a tensor of the bare model belongs to the file if its module does: a
        classifier has no `cls.predictions.decoder.weight`, although it has word embeddings.

        Args:
            names: All our tensor names of one model.
        """
        ours = set(names)
        modules = {_module(theirs) for theirs in self.to_theirs(ours).values()}
        return {
            theirs: repeated
            for theirs, repeated in self._tied.items()
            if repeated in ours
            and (not repeated.startswith(BACKBONE) or _module(theirs) in modules)
        }

    def position_buffers_in(self, names: Iterable[str]) -> dict[str, str]:
        """Return the buffers that a file of this model holds too: theirs to what they count."""
        ours = set(names)
        theirs_begin, ours_begin = ("", "") if self.is_bare(ours) else (self.prefix, BACKBONE)
        buffers = {theirs_begin + k: ours_begin + v for k, v in self._position_buffers.items()}
        return {theirs: rows for theirs, rows in buffers.items() if rows in ours}

    def is_bare(self, names: Iterable[str]) -> bool:
        """Return whether these names of ours are a bare model's."""
        return any(_translate(self._bare_to_theirs, name) is not None for name in names)

    def is_column(self, ours: str) -> bool:
        """Return whether theirs has one more axis, of length one, at the end."""
        pattern, _ = _split(ours)
        return pattern in self._columns

    def _in_bare_file(self, name: str) -> bool:
        known = _translate(self._bare_to_ours, _modern_leaf(name)) is not None
        return known or name in self._ignored

    def _as_in_bare_model(self, ours: str) -> str:
        bare = ours.removeprefix(BACKBONE)
        return bare if _translate(self._bare_to_theirs, bare) is not None else ours

    def _check(self, bare: list[tuple[str, str]], full: list[tuple[str, str]]) -> None:
        for pairs in (bare, full):
            for side in (0, 1):
                names = [pair[side] for pair in pairs]
                twice = sorted({name for name in names if names.count(name) > 1})
                if twice:
                    raise ValueError(f"{', '.join(twice)}: more than one row has this name")
        for ours, theirs in full:
            if ours.count("{}") != theirs.count("{}"):
                raise ValueError(f"{ours!r} and {theirs!r} differ in their layer numbers")
        # A head must not have the name of a part of the bare model.
        both = {ours for ours, _ in bare} & {ours for ours, _ in full}
        both |= {theirs for _, theirs in bare} & {theirs for _, theirs in full}
        both |= self._repeats.keys() & self._full_to_ours.keys()
        if both:
            raise ValueError(f"{', '.join(sorted(both))}: two meanings for one name")
        lost = set(self._repeats.values()) - self._full_to_theirs.keys()
        lost |= set(self._position_buffers.values()) - self._bare_to_theirs.keys()
        if lost:
            raise ValueError(f"{', '.join(sorted(lost))}: repeated, but no row has it")


def collapse(names: Iterable[str], most: int | None = None) -> str:
    """Write names in one line, those that differ in their layer numbers as one.

    `layers.0.bias`, `layers.1.bias`, `layers.2.bias` become `layers.{0-2}.bias`.

    Args:
        names: In any order.
        most: How many are written out; of the others only their number. None writes all.
    """
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name in sorted(names):
        pattern, numbers = _split(name)
        groups.setdefault(pattern, []).append(numbers)
    shown = []
    for pattern, found in groups.items():
        if len(found) == 1 or len(found[0]) != 1:
            shown += [_fill(pattern, numbers) for numbers in found]
        else:
            shown.append(pattern.replace("{}", f"{{{_ranges(int(one) for (one,) in found)}}}"))
    return shorten(shown, most)


def shorten(shown: Sequence[str], most: int | None) -> str:
    """Write the first in one line, and how many more there are; all if `most` is None."""
    kept = [one_line(one, LONGEST_NAME) for one in shown[:most]]
    more = len(shown) - len(kept)
    return ", ".join(kept) + (f" and {more} more" if more else "")


def _rows(rows: Sequence[Row | tuple[str, str]]) -> list[Row]:
    return [row if isinstance(row, Row) else Row(*row) for row in rows]


def _ranges(numbers: Iterable[int]) -> str:
    """Write numbers as ranges: 0, 1, 2, 5 become `0-2,5`."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ",".join("-".join(map(str, run)) for run in runs)


def _split(name: str) -> tuple[str, tuple[str, ...]]:
    """Take the layer numbers out of a name: its path with `{}`, and the numbers."""
    parts = name.split(".")
    numbers = tuple(part for part in parts if _is_number(part))
    return ".".join("{}" if _is_number(part) else part for part in parts), numbers


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) < 10


def _fill(pattern: str, numbers: Iterable[str]) -> str:
    """Put the numbers back into a path."""
    left = iter(numbers)
    return ".".join(next(left) if part == "{}" else part for part in pattern.split("."))


def _translate(table: Mapping[str, str], name: str) -> str | None:
    pattern, numbers = _split(name)
    found = table.get(pattern)
    # A name that has `{}` of its own is nobody's.
    return None if found is None or "{}" in name else _fill(found, numbers)


def _modern_leaf(name: str) -> str:
    """Return `weight` and `bias` for the older `gamma` and `beta` of a LayerNorm."""
    module, _, leaf = name.rpartition(".")
    if leaf in LAYER_NORM_LEAVES and module.endswith(("LayerNorm", "layer_norm")):
        return f"{module}.{LAYER_NORM_LEAVES[leaf]}"
    return name


def _module(name: str) -> str:
    return name.rpartition(".")[0]
