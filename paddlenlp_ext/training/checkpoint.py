"""Checkpoints: save a run so that nothing is lost, and continue it exactly.

A checkpoint is a folder of `output_dir` under the name that the script chooses (`model_500`). The
script writes the model and the tokenizer into it, so that it is a model folder like any other; here
the state of the optimizer, of the schedule and of the loss scaler is added, and the folder is put
in its place as a whole (`training.folders`). Data order and dropout follow from the seed, the epoch
and the step, so no random state is kept, and continuing is bit for bit what the uninterrupted run
does.
"""

import json
import logging
import os
import socket
import sys
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import paddle
from filelock import FileLock, Timeout
from paddle import nn
from paddle.optimizer import Optimizer

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import UserError, WeightsError
from paddlenlp_ext.files import disk
from paddlenlp_ext.training import distributed, folders
from paddlenlp_ext.training.events import Position
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.training.run_state import restore_state, size_of, write_state

Answer = TypeVar("Answer")

logger = logging.getLogger(__name__)

FORMAT = "paddlenlp_ext checkpoint 1"  # of the manifest and the files below
LATEST = "latest"  # a file with the name of the newest checkpoint
LOCK = ".lock"
OWNER = ".lock-owner"  # who holds the lock, for the message of who does not

FLAG = "--resume_from_checkpoint"
OTHER = "choose another --output_dir"
KEPT = f"checkpoints saved before are whole; free some space, or {OTHER}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that a run can continue from; its files were found to be as written.

    Attributes:
        folder: A model folder, with the state of the run in it.
        position: Where the run was.
    """

    folder: Path
    position: Position

    def restore(
        self, model: nn.Layer, optimizer: Optimizer, precision: MixedPrecision | None = None
    ) -> Position:
        """Bring optimizer, schedule and loss scaler to where they were; return the position.

        Args:
            model: Loaded from `folder` by the caller.
            optimizer: Built as it was in the run that saved.
            precision: Built as it was, too.

        Raises:
            WeightsError: The model or the optimizer is not the one that was saved.
        """
        restore_state(self.folder, model, optimizer, precision)
        return self.position


class Checkpoints:
    """The checkpoints of a run in its output folder; all processes make one and call it alike.

    Args:
        output_dir: The run's folder. It is locked: a second run in it is refused.
        settings: What a run must have in common with the one that it continues (task, batch size,
            learning rate, steps, seed, digest of the data), as JSON values.
        keep: How many of the newest checkpoints are kept, besides the best; 0 keeps all.

    Raises:
        UserError: Another run uses the folder, or it cannot be written to.
    """

    def __init__(self, output_dir: str | Path, settings: Mapping[str, Any], *, keep: int = 0):
        self.output_dir = Path(output_dir)
        self.settings = json.loads(json.dumps(settings))
        self.keep = keep
        self.run = uuid.uuid4().hex  # continued runs share it, so that they prune as one
        self._resumed: Path | None = None
        self._made: list[Path] = []  # folders that were not there before
        self._lock = FileLock(self.output_dir / LOCK)
        self._on_first(self._open)

    def find(self, choice: str | Path | None) -> Checkpoint | None:
        """Find the checkpoint to continue from, check every byte of it, and say which it is.

        Args:
            choice: "latest" for the newest whole one of the output folder; a checkpoint's folder
                or its name; None to begin anew.

        Returns:
            The checkpoint; None to begin anew, also when there is no "latest" one yet.

        Raises:
            UserError: The chosen one is damaged, or its run had other settings.
        """
        if choice is None:
            return None

        def search() -> Path | None:
            folder = self._latest() if choice == LATEST else self._chosen(Path(choice))
            if folder is not None:
                self._require_same_run(folder)
            return folder

        self._resumed = folder = self._on_first(search)
        if folder is None:
            _say(f"no checkpoint in {self.output_dir} to continue from: the run begins anew")
            return None
        manifest = folders.read_manifest(folder)
        assert manifest is not None  # it was just checked
        self.run = manifest["run"]
        _say(f"continues from {folder}, step {manifest['step']}")
        return Checkpoint(folder, Position(**manifest["position"]))

    def save(
        self,
        name: str,
        position: Position,
        model: nn.Layer,
        optimizer: Optimizer,
        *,
        write: Callable[[Path], object],
        precision: MixedPrecision | None = None,
        score: float | None = None,
    ) -> Path:
        """Save the run; all processes call it, and return when the checkpoint is complete.

        Args:
            name: Of the folder in the output folder.
            position: Of the event that the save answers.
            model: What is trained.
            optimizer: Of the model.
            write: Writes the model and the tokenizer into the folder that it is given; called on
                the first process alone.
            precision: Mixed precision of the run.
            score: Higher is better; the best checkpoint is never deleted.

        Raises:
            UserError: It cannot be written; earlier checkpoints are as they were.
        """
        folder = self.output_dir / name

        def write_all(temporary: Path) -> None:
            write(temporary)
            write_state(temporary, model, optimizer, precision)

        def save() -> None:
            try:
                folders.publish(folder, write_all, self._facts(position, score))
            except (OSError, WeightsError) as error:
                raise UserError(
                    f"{_unsaved(error, folder)}; a checkpoint takes about {size_of(model):,} "
                    f"bytes; {KEPT}"
                ) from error
            folders.write_text(self.output_dir / LATEST, name + "\n")
            self._prune()

        self._on_first(save)
        return folder

    def close(self) -> None:
        """Let another run use the output folder; one that was made and stayed empty goes again."""
        if self._made and {path.name for path in self.output_dir.iterdir()} <= {LOCK, OWNER}:
            with suppress(OSError):
                for name in (LOCK, OWNER):
                    (self.output_dir / name).unlink()
                for folder in self._made:
                    folder.rmdir()
        self._lock.release()

    def __enter__(self) -> "Checkpoints":
        """Return itself; the lock is held already."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let another run use the output folder."""
        self.close()

    def _on_first(self, action: Callable[[], Answer]) -> Answer:
        """Do something on the first process; all get its answer, or raise what it raised."""
        answer: Answer | None = None
        message = None
        if distributed.rank() == 0:
            try:
                answer = action()
            except OSError as error:
                message = f"{_unsaved(error, self.output_dir)}; {KEPT}"
            except UserError as error:
                message = str(error)
        answer, message = distributed.gather((answer, message))[0]
        if message is not None:
            raise UserError(message)
        return cast(Answer, answer)

    def _open(self) -> None:
        here, owner = self.output_dir, self.output_dir / OWNER
        try:
            self._made = [folder for folder in (here, *here.parents) if not folder.exists()]
            here.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            folders.write_text(owner, f"process {os.getpid()} on {socket.gethostname()}\n")
            folders.sweep(here)
        except Timeout:
            who = f"another run writes here ({_read(owner)}); wait for it"
            raise UserError(f"{here}: {who}, or {OTHER}") from None
        except OSError as error:
            why = f"{here}: is a file" if os.path.isfile(here) else _unsaved(error, here)
            raise UserError(f"{why}; {OTHER}") from None

    def _chosen(self, choice: Path) -> Path:
        folder = choice if os.path.isdir(choice) else self.output_dir / choice
        problem = _damage(folder)
        if problem is None and folder not in self._manifests(folder.parent):
            problem = f"{folder}: is no checkpoint of a run"
        if problem is not None:
            raise UserError(f"{FLAG}: {problem}; choose another checkpoint, or '{LATEST}'")
        return folder

    def _latest(self) -> Path | None:
        """Return the newest checkpoint that is whole, and warn of newer ones that are not."""
        manifests = self._manifests()
        newest_first = sorted(manifests, key=lambda path: -manifests[path]["step"])
        name = Path(_read(self.output_dir / LATEST)).name  # of a folder here
        for folder in dict.fromkeys([self.output_dir / name, *newest_first][not name :]):
            if (problem := _damage(folder)) is None:
                return folder
            logger.warning("%s; an earlier checkpoint is taken", problem)
        return None

    def _manifests(self, parent: Path | None = None) -> dict[Path, folders.Manifest]:
        """Read the manifests of all checkpoints in a folder, the output folder by default."""
        paths = [path for path in (parent or self.output_dir).glob("[!.]*") if path.is_dir()]
        found = {path: folders.read_manifest(path) or {} for path in paths}
        return {path: facts for path, facts in found.items() if facts.get("format") == FORMAT}

    def _require_same_run(self, folder: Path) -> None:
        manifest = folders.read_manifest(folder) or {}
        saved, now = manifest["settings"], self.settings
        differing = [
            f"{name} {saved.get(name)!r} (now {now.get(name)!r})"
            for name in dict.fromkeys([*now, *saved])
            if saved.get(name) != now.get(name)
        ]
        if differing:
            raise UserError(
                f"{FLAG}: {folder} was saved with {', '.join(differing)}; give the same flags and "
                "data, or begin anew in another --output_dir"
            )
        environment = self._environment()
        for name, was in manifest["environment"].items():
            if was != environment.get(name):
                logger.warning(
                    "%s was saved with %s %s, now %s: the run continues, but not bit for bit",
                    *(folder, name, was, environment.get(name)),
                )

    def _environment(self) -> dict[str, Any]:
        """Return what a run may change when it continues, at the price of exactness."""
        return {
            "processes": distributed.world_size(),
            "device": paddle.device.get_device().partition(":")[0],
            "PaddlePaddle": paddle.__version__,
            "paddlenlp_ext": __version__,
        }

    def _facts(self, position: Position, score: float | None) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "run": self.run,
            "step": position.step,
            "position": asdict(position),
            "score": score,
            "settings": self.settings,
            "environment": self._environment(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }

    def _prune(self) -> None:
        """Delete this run's older checkpoints, but not the best and not where it continued.

        Those into which somebody put something stay, and do not count.
        """
        if self.keep <= 0:
            return
        found = self._manifests()
        own = {
            path: manifest
            for path, manifest in found.items()
            if manifest["run"] == self.run and not folders.holds_more(path)
        }
        by_step = sorted(own, key=lambda path: own[path]["step"])
        scored = [path for path in by_step if own[path]["score"] is not None]
        kept = {*by_step[-self.keep :], self._resumed}
        if scored:
            kept.add(max(scored, key=lambda path: own[path]["score"]))
        for path in by_step:
            if path not in kept:
                folders.remove(path)


def _damage(folder: Path) -> str | None:
    return folders.damage(folder) if os.path.isdir(folder) else f"{folder}: there is no such folder"


def _read(path: Path) -> str:
    """Read a name or the like; empty where there is none."""
    try:
        text = path.read_bytes()[:300].decode().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return text if text.isprintable() else ""


def _say(line: str) -> None:
    """Print on the first process, apart from the log lines of the script's page."""
    if distributed.rank() == 0:
        print(line, file=sys.stderr, flush=True)


def _unsaved(error: OSError | WeightsError, path: Path) -> str:
    """Say what could not be written, and why; of a weight file the error says it already."""
    if isinstance(error, OSError):
        return disk.unwritten(error, Path(error.filename or path))
    return str(error)
