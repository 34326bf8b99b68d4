"""Checkpoints that are damaged, or whose save is interrupted at each of its operations."""

from __future__ import annotations

import _pyio
import builtins
import errno
import io
import itertools
import logging
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import paddle

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.training import checkpoint, folders
from paddlenlp_ext.training.checkpoint import Checkpoints
from paddlenlp_ext.training.events import Progress
from paddlenlp_ext.training.folders import LATEST
from paddlenlp_ext.training.optimization import adamw
from paddlenlp_ext.transformers import AutoModelForSequenceClassification, AutoTokenizer
from tests.faults.runs import STEPS, encoder, unbroken
from tests.faults.table import Fault, Measured, Scale, all_of, joined

OPERATIONS = ("open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "close")
CUTS = 11
FLIPS = 200
KILLED = 9


def saves(scale: Scale) -> Measured:
    """Kill a save, and let it fail, at each operation on files; a write is done by half before."""
    run = _Run(scale.folder / "runs", encoder(scale.folder))
    run.save("model_1", 1)
    whole = scale.folder / "whole"
    shutil.copytree(run.output, whole)
    count = run.count()
    chosen = range(0, count, scale.of(1, 7))
    kept = [_whole_after_kill(run, whole, number) for number in chosen]
    parts = [all_of(sum(kept), len(kept), "kills left a whole checkpoint")]
    for code in (errno.ENOSPC, errno.EIO):
        kept = [_whole_after_error(run, whole, number, code) for number in chosen]
        parts.append(all_of(sum(kept), len(kept), f"{errno.errorcode[code]}s, too"))
    return joined(*parts)


@dataclass
class _Run:
    """A run with a checkpoint of step 1 in its folder, which saves one of step 2."""

    output: Path
    source: Path

    def __post_init__(self) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(self.source)
        self.model = AutoModelForSequenceClassification.from_pretrained(self.source, num_labels=2)
        self.optimizer = adamw(self.model, 0.01)
        ids = paddle.to_tensor([[5, 6, 7]])
        self.model(ids, labels=paddle.to_tensor([1])).loss.backward()
        self.optimizer.step()
        self.optimizer.clear_grad()

    def save(self, name: str, step: int) -> None:
        with Checkpoints(self.output, {}, keep=1) as checkpoints:
            checkpoints.save(name, Progress(step), self.model, self.optimizer, write=self._write)

    def _write(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def count(self) -> int:
        """Count the operations of a save."""
        numbers: list[int] = []
        with _intercepted(lambda number, half: numbers.append(number)):
            self.save("model_2", 2)
        return len(numbers)

    def reset(self, whole: Path) -> None:
        shutil.rmtree(self.output)
        shutil.copytree(whole, self.output)

    def newest(self) -> int | None:
        """The step of the checkpoint that a run would continue from; it was found whole."""
        with Checkpoints(self.output, {}) as checkpoints:
            found = checkpoints.find(LATEST)
        hidden = [p for p in self.output.iterdir() if p.name.startswith(".tmp-")]
        return found.progress.step if found and not hidden else None


@contextmanager
def _intercepted(before: Callable[[int, Callable[[], object]], None]) -> Iterator[None]:
    """Call `before` ahead of every operation on files, with its number and what does it by half.

    Python's own files are opened by its implementation in Python, whose operations are all calls
    of `os`.
    """
    numbers = itertools.count()

    def wrap(name: str, original: Callable[..., object]) -> Callable[..., object]:
        def half(*args: object) -> object:
            if name == "write":
                return original(args[0], bytes(args[1])[: len(args[1]) // 2])
            return None

        def wrapped(*args: object, **options: object) -> object:
            before(next(numbers), lambda: half(*args))
            return original(*args, **options)

        return wrapped

    with ExitStack() as patches:
        for name in OPERATIONS:
            patches.enter_context(mock.patch.object(os, name, wrap(name, getattr(os, name))))
        for module in (io, builtins):
            patches.enter_context(mock.patch.object(module, "open", _pyio.open))
        yield


def _whole_after_kill(run: _Run, whole: Path, number: int) -> bool:
    run.reset(whole)

    def kill(current: int, half: Callable[[], object]) -> None:
        if current == number:
            half()
            os._exit(KILLED)

    child = os.fork()
    if child == 0:
        with _intercepted(kill):
            run.save("model_2", 2)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ended == KILLED and run.newest() in (1, 2)


def _whole_after_error(run: _Run, whole: Path, number: int, code: int) -> bool:
    """Whether a failed save says what could not be written; one that did not fail is whole."""
    run.reset(whole)

    def fail(current: int, half: Callable[[], object]) -> None:
        if current == number:
            half()
            raise OSError(code, os.strerror(code))

    message = None
    try:
        with _intercepted(fail):
            run.save("model_2", 2)
    except UserError as error:
        message = str(error)
    except OSError as error:  # before or after the save: of the lock
        message = str(error)
    newest = run.newest()
    return newest == 2 if message is None else newest in (1, 2) and os.strerror(code) in message


def damages(scale: Scale) -> Measured:
    """Cut each file of the newest checkpoint, delete it, and add a byte; and that of `latest`."""
    output = _output(scale)
    good = count = 0
    for path in _files(output / f"model_{STEPS}"):
        content = path.read_bytes()
        for cut in sorted({len(content) * part // CUTS for part in range(CUTS)}):
            good += _noticed(output, path, content[:cut])
            count += 1
        for spoilt in (None, content + b"x"):
            good += _noticed(output, path, spoilt)
            count += 1
    # A file that names no checkpoint is as if there was none: the newest whole one is taken.
    names = (None, b"", b"model_\xff", b"model_7", b"../elsewhere", b"model_10\0")
    right = sum(_taken(output, output / LATEST, name)[0] == STEPS for name in names)
    return joined(
        all_of(good, count, "detected, named, and the checkpoint before taken"),
        all_of(right, len(names), "damaged `latest` files lead to the newest"),
    )


def flips(scale: Scale) -> Measured:
    """Flip bits of each file of a checkpoint, one at a time."""
    output = _output(scale)
    choose = random.Random(5)
    good = files = 0
    each = scale.of(FLIPS, 20)
    for path in _files(output / f"model_{STEPS}"):
        content = path.read_bytes()
        for _ in range(each):
            spoilt = bytearray(content)
            spoilt[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
            good += _noticed(output, path, bytes(spoilt))
        files += 1
    return all_of(good, files * each, f"detected and named ({each} in each of {files} files)")


def _output(scale: Scale) -> Path:
    unbroken(scale.folder, 1)
    return scale.folder / "unbroken-1" / "out"


def _files(folder: Path) -> list[Path]:
    """List the files that a run continues from; the card is its owner's to edit."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if path.name != folders.CARD]


def _noticed(output: Path, path: Path, content: bytes | None) -> bool:
    """Whether one warning line names the file, and the checkpoint before is taken."""
    step, lines = _taken(output, path, content)
    named = len(lines) == 1 and str(path.parent) in lines[0] and path.name in lines[0]
    return step == STEPS - 1 and named


def _taken(output: Path, path: Path, content: bytes | None) -> tuple[int | None, list[str]]:
    """Say which step a run would continue from, and what it warns of, with a file replaced."""
    before = path.read_bytes()
    message = io.StringIO()
    logger = logging.Logger("of this call alone")
    logger.addHandler(logging.StreamHandler(message))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    manifest = folders.read_manifest(output / f"model_{STEPS - 1}")
    assert manifest is not None
    try:
        with (
            mock.patch.object(checkpoint, "logger", logger),
            Checkpoints(output, manifest["settings"]) as checkpoints,
        ):
            found = checkpoints.find(LATEST)
    finally:
        path.write_bytes(before)
    return found.progress.step if found else None, message.getvalue().splitlines()


FAULTS = (
    Fault(
        2,
        "a kill, ENOSPC and EIO at each open, write, fsync, rename ... of a save, writes done by "
        "half",
        "the previous or the new checkpoint is whole, never none",
        saves,
    ),
    Fault(
        3,
        "each file of a checkpoint cut at eleven places, deleted, and with a byte too many",
        "detected, the file named, the previous checkpoint taken with one warning line",
        damages,
    ),
    Fault(
        4,
        "200 random bit flips in each file of a checkpoint",
        "all detected, the file named, the previous checkpoint taken",
        flips,
    ),
)
