"""Checkpoints: save a run so that nothing is lost, and continue it exactly.

A checkpoint is a folder of `output_dir` under the name that the script chooses (`model_500`). The
script writes the model and the tokenizer into it, so that it is a model folder like any other; here
the state of the optimizer, of the schedule and of the loss scaler is added, and the folder is put
in its place as a whole (`training.folders`). Data order and dropout follow from the seed, the epoch
and the step, so no random state is kept, and continuing is bit for bit what the uninterrupted run
does.
"""

import hashlib
import logging
import math
import os
import re
import socket
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, cast

import paddle
from filelock import FileLock, Timeout
from paddle import nn
from paddle.optimizer import Optimizer

from paddlenlp_ext import __version__
from paddlenlp_ext.errors import UserError, WeightsError, shown
from paddlenlp_ext.files import disk
from paddlenlp_ext.process import devices, machines
from paddlenlp_ext.reporting.scores import best
from paddlenlp_ext.training import distributed, folders
from paddlenlp_ext.training.events import DataPosition, Progress
from paddlenlp_ext.training.folders import BEST, LATEST
from paddlenlp_ext.training.identity import BATCH, LENGTH, RunIdentity
from paddlenlp_ext.training.precision import MixedPrecision
from paddlenlp_ext.training.run_state import restore_state, size_of, write_state

Result = TypeVar("Result")
Labels = tuple[Sequence[str], bool]  # names, and whether a row may have several

logger = logging.getLogger(__name__)

FORMAT = "paddlenlp_ext checkpoint 1"  # of the manifest and the files below
LOCK = ".lock"
OWNER = ".lock-owner"  # who holds the lock, for the message of who does not

_LOCK_BYTES = re.compile(rb"(\d+\n.*)?", re.DOTALL)  # empty; a process where files cannot be locked
_OWNER_TEXT = re.compile(r"process \d+ on .*\n")
OTHER = "choose another `output_dir`"
KEPT = f"checkpoints saved before are whole; make room, or {OTHER}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder that a run can continue from; its files were found to be as written.

    Attributes:
        folder: A model folder, with the state of the run in it.
        progress: Where the run was.
        identity: By what the run is recognised.
    """

    folder: Path
    progress: Progress
    identity: RunIdentity

    @classmethod
    def read(cls, folder: Path) -> "Checkpoint":
        """Read the manifest of a folder that was found whole."""
        manifest = folders.read_manifest(folder)
        assert manifest is not None  # it was just checked
        place = manifest["position"]
        data = DataPosition(place["epoch"], place["row"]) if "epoch" in place else None
        mixture = tuple(DataPosition(**one) for one in place.get("mixture", ()))
        progress = Progress(place["step"], place["evaluations"], data, mixture)
        return cls(folder, progress, RunIdentity.of_saved(manifest))

    def restore(
        self, model: nn.Layer, optimizer: Optimizer, precision: MixedPrecision | None = None
    ) -> Progress:
        """Bring optimizer, schedule and loss scaler to where they were; return the progress.

        Args:
            model: Loaded from `folder` by the caller.
            optimizer: Built as it was in the run that saved.
            precision: Built as it was, too.

        Raises:
            WeightsError: The model or the optimizer is not the one that was saved.
        """
        restore_state(self.folder, model, optimizer, precision)
        return self.progress


class Checkpoints:
    """The checkpoints of a run in its output folder; all processes make one and call it alike.

    Args:
        output_dir: The run's folder. It is locked: a second run in it is refused.
        settings: What its result depends on, as JSON values by their names.
        data: Digest of the training data, if it is known before they are read.
        keep: How many of the newest checkpoints are kept, besides the best; 0 keeps all.

    Raises:
        UserError: Another run uses the folder, or it cannot be written to.
    """

    def __init__(
        self,
        output_dir: str | Path,
        settings: Mapping[str, Any],
        *,
        data: str = "",
        keep: int = 0,
    ):
        self.output_dir = Path(output_dir)
        self.identity = RunIdentity.of_run(settings, distributed.world_size(), data)
        self.keep = keep
        self.run = uuid.uuid4().hex  # continued runs have it in common, so that they prune as one
        self.grown_from = 0  # updates of the run that is continued, if it was complete with them
        self.lengths: list[int] = []  # all with which it was, before it got more
        self._labels: Labels = ((), False)
        self._resumed: Checkpoint | None = None
        self._left: set[Path] = set()  # checkpoints of another course of the run
        self._made: list[Path] = []  # folders that were not there before
        self._lock = FileLock(self.output_dir / LOCK)
        self._on_first(self._open)
        if machines.count(os.environ) > 1:
            self._mention_own_folders()

    def find(self, choice: str | Path | None) -> Checkpoint | None:
        """Find the checkpoint to continue from, check every byte of it, and say which it is.

        Args:
            choice: "latest" for the newest whole one of the output folder; a checkpoint's folder
                or its name; None to start from the beginning.

        Returns:
            The checkpoint; None to start from the beginning, also when there is no "latest" one.

        Raises:
            UserError: The chosen one is damaged, or its run had other settings.
        """
        if choice is None:
            self._on_first(self._mention_earlier)
            self.identity = self.identity.continuing(None)
            return None

        def search() -> Path | None:
            folder = self._latest() if choice == LATEST else self._chosen(Path(choice))
            if folder is not None:
                saved = Checkpoint.read(folder).identity
                _refuse(folder, self.identity.continuing(saved).differences(saved))
                self._warn_of_inexactness(folder, saved)
            return folder

        if (folder := self._on_first(search)) is None:
            where = f"no checkpoint in {self.output_dir} to continue from"
            _say(f"{where}: the run starts from the beginning")
            self.identity = self.identity.continuing(None)
            return None
        require_everywhere(folder)
        self._resumed = found = Checkpoint.read(folder)
        self.identity = self.identity.continuing(found.identity)
        manifest = folders.read_manifest(folder) or {}
        self.run, self.lengths = manifest["run"], [*manifest.get("lengths", ())]
        _say(f"continues from {folder}, step {found.progress.step}")
        return found

    def settle(self, data: str, steps_per_epoch: int, labels: Labels = ((), False)) -> int:
        """Take note of the data, which are read by now, and count the updates of the run.

        Args:
            data: Digest of the training data; empty where it was given at the beginning.
            steps_per_epoch: Updates that the data make up.
            labels: By whose places the rows are numbered, if they are, and whether a row may have
                several.

        Returns:
            How many updates the run makes in all.

        Raises:
            UserError: The run that is continued had other data or another number of updates, unless
                it was complete and gets more; or nothing says how long to train; or machines have
                other data.
        """
        self.identity = replace(self.identity, data=data or self.identity.data)
        self._labels = labels
        if other := _other_than_first(self.identity.data):
            raise UserError(
                f"the training data of {other}; give all machines the same files and settings"
            )
        total = self.identity.total_steps(steps_per_epoch)
        if found := self._resumed:
            step = found.progress.step
            _refuse(
                found.folder,
                self.identity.differences(found.identity, steps_per_epoch, step=step),
            )
            was = found.identity.total_steps(steps_per_epoch)
            self.grown_from = was if was < total else 0
            self.lengths += [was] * (was < total)
            self._on_first(lambda: self._leave_later(found))
        return total

    def save(
        self,
        name: str,
        progress: Progress,
        model: nn.Layer,
        optimizer: Optimizer,
        *,
        write: Callable[[Path], object],
        precision: MixedPrecision | None = None,
        scores: Mapping[int, float] | None = None,
    ) -> Path:
        """Save the run; all processes call it, and return when the checkpoint is complete.

        Args:
            name: Of the folder in the output folder.
            progress: Of the event after which it is saved.
            model: What is trained.
            optimizer: Of the model.
            write: Writes the model and the tokenizer into the folder that it is given; called on
                the first process alone.
            precision: Mixed precision of the run.
            scores: By step, of the whole run as far as it has come; higher is better. The best
                checkpoint is never deleted, and `best` names it.

        Raises:
            UserError: It cannot be written; earlier checkpoints are as they were.
        """
        folder = self.output_dir / name
        known = scores or {}
        begun = [folder]

        def write_all(temporary: Path) -> None:
            begun.append(temporary)
            write(temporary)
            write_state(temporary, model, optimizer, precision)

        def save() -> None:
            try:
                folders.publish(folder, write_all, self._facts(progress, known.get(progress.step)))
            except (OSError, WeightsError) as error:
                # By the name that the user knows, not that of the unfinished work.
                why = _unsaved(error, folder).replace(str(begun[-1]), str(folder))
                raise UserError(
                    f"{why}; a checkpoint takes about {size_of(model):,} bytes; {KEPT}"
                ) from error
            self._left.discard(folder)
            chosen = self._best(known)
            self._point(folder, chosen)
            self._prune(chosen)

        self._on_first(save)
        return folder

    def chosen(self, scores: Mapping[int, float] | None) -> Path | None:
        """Return the run's best checkpoint, or its newest one; all processes call it.

        Args:
            scores: By step, as in `save`; None chooses the newest.
        """
        return self._on_first(
            lambda: (None if scores is None else self._best(scores)) or self._newest()
        )

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

    def _mention_own_folders(self) -> None:
        """Say where the output folder is another one, as each machine may have its own."""
        self.output_dir.mkdir(parents=True, exist_ok=True)
        seen = distributed.gather((socket.gethostname(), _read(self.output_dir / OWNER)))
        others = sorted({host for host, owner in seen if owner != seen[0][1]})
        if others and distributed.rank() == 0:
            logger.warning(
                "%s is not shared with %s: checkpoints are on %s alone; to continue the run, and "
                "to evaluate or predict after it, all machines need them",
                *(self.output_dir, ", ".join(others), seen[0][0]),
            )

    def _on_first(self, action: Callable[[], Result]) -> Result:
        """Do something on the first process; all get its result, or raise what it raised."""
        result: Result | None = None
        message = None
        if distributed.rank() == 0:
            try:
                result = action()
            except OSError as error:
                message = f"{_unsaved(error, self.output_dir)}; {KEPT}"
            except UserError as error:
                message = str(error)
        distributed.barrier()
        result, message = distributed.gather((result, message))[0]
        if message is not None:
            raise UserError(message)
        return cast(Result, result)

    def _open(self) -> None:
        here, owner = self.output_dir, self.output_dir / OWNER
        try:
            self._made = [folder for folder in (here, *here.parents) if not folder.exists()]
            here.mkdir(parents=True, exist_ok=True)
            _require_lock(here / LOCK)
            self._lock.acquire(timeout=0)
            who = f"process {os.getpid()} on {socket.gethostname()}\n"
            folders.write_text(owner, who, is_ours=_OWNER_TEXT.fullmatch)
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
            raise UserError(
                f"`resume_from_checkpoint`: {problem}; choose another checkpoint, or '{LATEST}'"
            )
        return folder

    def _mention_earlier(self) -> None:
        """Say of a run that begins in another one's folder what becomes of that."""
        if earlier := sorted(path.name for path in self._manifests()):
            logger.warning(
                "%s has checkpoints of an earlier run (%s), which this run does not continue "
                "(`resume_from_checkpoint` latest would); it replaces those that it calls alike",
                *(self.output_dir, shown(earlier)),
            )

    def _latest(self) -> Path | None:
        """Return the newest checkpoint that is whole, and warn of newer ones that are not.

        Of several runs in the folder, the last one's come first.
        """
        manifests = self._manifests()
        for path in self.output_dir.glob("[!.]*"):
            facts = folders.read_manifest(path) or {}
            if facts.get("format") == FORMAT and path not in manifests:
                logger.warning("%s: its manifest is no checkpoint's; it is not used", path)
        last = max(manifests.values(), key=lambda facts: str(facts.get("date")), default={})
        newest_first = sorted(
            manifests,
            key=lambda path: (manifests[path]["run"] == last["run"], manifests[path]["step"]),
            reverse=True,
        )
        name = Path(_read(self.output_dir / LATEST)).name  # of a folder here
        for folder in dict.fromkeys([self.output_dir / name, *newest_first][not name :]):
            if (problem := _damage(folder)) is None:
                return folder
            logger.warning("%s; an earlier checkpoint is taken", problem)
        return None

    def _leave_later(self, found: Checkpoint) -> None:
        """Let the checkpoints after the one that is continued count as another course's."""
        step = found.progress.step
        self._left = {path for path, one in self.own().items() if one["step"] > step}
        here = self.output_dir / found.folder.name
        if self._left and here.is_dir() and here.samefile(found.folder):
            left = sorted(path.name for path in self._left)
            logger.warning(
                "%s has checkpoints of later steps (%s), which this run does not continue; it "
                "replaces those that it calls alike",
                *(self.output_dir, shown(left)),
            )
            self._point(here, self._best({}))

    def _point(self, newest: Path, top: Path | None) -> None:
        """Name the newest and the best checkpoint of the run, which may have no best one."""
        for pointer, target in ((LATEST, newest), (BEST, top)):
            path = self.output_dir / pointer
            if target is not None:
                folders.write_text(path, target.name + "\n", is_ours=self._is_pointer)
            elif self._is_pointer(_read(path) + "\n"):
                path.unlink()  # it names another run's best, or another course's

    def _is_pointer(self, text: str) -> bool:
        """Return whether the text of a `latest` or `best` file is the name of a checkpoint."""
        name = text.removesuffix("\n")
        return name in {path.name for path in self._manifests()}

    def _manifests(self, parent: Path | None = None) -> dict[Path, folders.Manifest]:
        """Read the manifests of all checkpoints in a folder, the output folder by default."""
        return _manifests_in(parent or self.output_dir)

    def _warn_of_inexactness(self, folder: Path, saved: RunIdentity) -> None:
        manifest = folders.read_manifest(folder) or {}
        environment = self._environment()
        changes = [
            (f"{name} {was}", str(environment.get(name)))
            for name, was in manifest["environment"].items()
            if was != environment.get(name)
        ]
        if saved.batch != self.identity.batch:
            changes.append((f"a batch of {saved.batch}", str(self.identity.batch)))
        # Version 0.1.0 sorted rows by length within batches, not within updates.
        if saved.sorts_batches and "data" not in manifest:
            changes.append(("batches sorted by length", "whole updates, so other rows"))
        for was, now in changes:
            logger.warning(
                "%s was saved with %s, now %s: the run continues, but not bit for bit",
                *(folder, was, now),
            )

    def _environment(self) -> dict[str, Any]:
        """Return what a run may change when it continues, at the price of exactness."""
        return {
            "processes": distributed.world_size(),
            "device": devices.current().kind,
            "PaddlePaddle": paddle.__version__,
            "paddlenlp_ext": __version__,
        }

    def _facts(self, progress: Progress, score: float | None) -> dict[str, Any]:
        place = asdict(progress)
        place |= place.pop("data") or {}
        if not progress.mixture:
            del place["mixture"]
        return {
            "format": FORMAT,
            "run": self.run,
            "step": progress.step,
            "position": place,
            "score": score,
            "data": self.identity.data,
            "labels": [*self._labels[0]],
            "has_several_labels": self._labels[1],
            "lengths": self.lengths,
            "settings": self.identity.settings,
            "environment": self._environment(),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        }

    def own(self) -> dict[Path, folders.Manifest]:
        """Read the manifests of this run's checkpoints, in the order of their steps.

        Those of another course, that went on from where this one was continued, are left out.
        """
        found = self._manifests().items()
        own = [
            (path, manifest)
            for path, manifest in found
            if manifest["run"] == self.run and path not in self._left
        ]
        return dict(sorted(own, key=lambda one: one[1]["step"]))

    def _newest(self) -> Path | None:
        resumed = self._resumed.folder if self._resumed else None
        return next(reversed(self.own()), resumed)

    def _best(self, known: Mapping[int, float]) -> Path | None:
        """Choose this run's best checkpoint, by what was saved with it where nothing is known."""
        scores = {path: known.get(one["step"], one["score"]) for path, one in self.own().items()}
        return best({path: score for path, score in scores.items() if score is not None})

    def _prune(self, chosen: Path | None) -> None:
        """Delete this run's older checkpoints, but not the best and not where it continued.

        Those into which somebody put something stay, and do not count.
        """
        if self.keep <= 0:
            return
        own = [path for path in self.own() if not folders.holds_more(path)]
        kept = {*own[-self.keep :], chosen}
        if self._resumed:
            kept.add(self._resumed.folder)
        for path in own:
            if path not in kept:
                folders.remove(path)


def require_everywhere(folder: str | Path) -> None:
    """Refuse the folder of a model that some machine does not have as the first one has it.

    All processes call it.

    Raises:
        UserError: It names a machine and the cure.
    """
    digest = hashlib.sha256()
    for name in (folders.MANIFEST, "config.json"):
        with suppress(OSError):
            digest.update((Path(folder) / name).read_bytes())
    if other := _other_than_first(digest.hexdigest()):
        raise UserError(
            f"{folder}: what is there of {other}; give an `output_dir` that all machines share, or "
            "copy the folder"
        )


def _other_than_first(digest: str) -> str:
    """Say which process has another digest than the first one, on which machine; empty if none."""
    distributed.barrier()
    seen = distributed.gather((socket.gethostname(), digest))
    for rank, (host, found) in enumerate(seen):
        if found != seen[0][1]:
            return f"process {rank} on {host} is not that of process 0 on {seen[0][0]}"
    return ""


def labels_to_keep(output_dir: str | Path, choice: str | Path | None) -> tuple[Path, Labels] | None:
    """Find by which labels the rows of the run are numbered that is to be continued.

    It is asked before the rows are read; whether they are the same is for `Checkpoints.settle`.

    Args:
        output_dir: The run's folder.
        choice: As in `Checkpoints.find`.

    Returns:
        A checkpoint of the run, maybe a damaged one, and the labels; None if none is continued, or
        none that has them.
    """
    if choice is None:
        return None
    output = Path(output_dir)
    places = [Path(choice), output / choice]
    if choice == LATEST:
        found = _manifests_in(output)
        places = [output / Path(_read(output / LATEST)).name]
        places += sorted(found, key=lambda path: str(found[path].get("date")), reverse=True)
    facts = ((path, folders.read_manifest(path) or {}) for path in places)
    path, manifest = next((one for one in facts if _is_checkpoint(one[1])), (output, {}))
    labels = manifest.get("labels")
    is_list = isinstance(labels, list) and all(isinstance(one, str) for one in labels)
    if not is_list or not labels:
        return None
    return path, (labels, manifest.get("has_several_labels") is True)


def _manifests_in(parent: Path) -> dict[Path, folders.Manifest]:
    paths = [path for path in parent.glob("[!.]*") if path.is_dir()]
    found = {path: folders.read_manifest(path) or {} for path in paths}
    return {path: facts for path, facts in found.items() if _is_checkpoint(facts)}


def _is_checkpoint(manifest: folders.Manifest) -> bool:
    """Return whether a manifest says all that is read of it, in the types that it is written in."""
    try:
        place, settings, score = (manifest[name] for name in ("position", "settings", "score"))
        numbers = [manifest["step"], place["step"], place["evaluations"]]
        numbers += [place["epoch"], place["row"]] if "epoch" in place else []
        numbers.append(manifest["environment"]["processes"])
        numbers += manifest.get("lengths", [])
        texts = [manifest["run"], manifest.get("data", ""), manifest.get("date", "")]
        amounts = [settings.get(name, 1) for name in ("train_batch_size", *BATCH, *LENGTH)]
        amounts.append(0.0 if score is None else score)
    except (KeyError, TypeError, AttributeError):
        return False
    return (
        manifest.get("format") == FORMAT
        and all(type(number) is int and number >= 0 for number in numbers)
        and all(type(text) is str for text in texts)
        and all(type(amount) in (int, float) and math.isfinite(amount) for amount in amounts)
    )


def _refuse(folder: Path, differences: Sequence[str]) -> None:
    if differences:
        raise UserError(
            f"`resume_from_checkpoint`: {folder} was saved with {', '.join(differences)}; give the "
            "same settings and data, or start from the beginning in another `output_dir`"
        )


def _damage(folder: Path) -> str | None:
    return folders.damage(folder) if os.path.isdir(folder) else f"{folder}: there is no such folder"


def _require_lock(path: Path) -> None:
    """Refuse what is no lock: older `filelock`s empty it, or what it links to, before they look.

    Raises:
        UserError: Somebody else put it there.
    """
    is_lock = os.path.isfile(path) and not os.path.islink(path)
    if os.path.lexists(path) and not (is_lock and _LOCK_BYTES.fullmatch(path.read_bytes()[:300])):
        raise UserError(f"{path}: is no lock of a run; move it away, or {OTHER}")


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
