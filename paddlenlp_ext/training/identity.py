"""What a run must have in common with the one that it continues.

A run is identified as a whole: by the rows of an update, however they are divided into processes
and accumulated batches; by the number of updates, whether steps or epochs were given; by its data;
and by the settings that its result depends on. Names and paths are compared by what they stand for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.nn.cpu import compiled
from paddlenlp_ext.process import devices
from paddlenlp_ext.training.folders import Manifest

# Settings of every run that its result depends on, besides the batch and the length of the run;
# a script adds those that it alone has.
AFFECTS_RESULT = (
    "max_seq_length",
    "learning_rate",
    "warmup_steps",
    "warmup_proportion",
    "weight_decay",
    "adam_epsilon",
    "layerwise_decay",
    "max_grad_norm",
    "lr_scheduler_type",
    "label_smoothing_factor",
    "class_weights",
    "freeze_embeddings",
    "freeze_layers",
    "group_by_length",
    "use_amp",
    "amp_level",
    "amp_dtype",
    "max_train_samples",
    "skip_unread_positions",
    "compiled_layers",
    "to_static",
    "seed",
)
# What runs had before there was such a setting, which their checkpoints do not record.
BEFORE: Mapping[str, Any] = {
    "lr_scheduler_type": "linear",
    "label_smoothing_factor": 0.0,
    "class_weights": None,
    "freeze_embeddings": False,
    "freeze_layers": 0,
    "skip_unread_positions": False,
    "compiled_layers": False,
    "to_static": False,
}


def default_amp_type() -> str:
    """Bfloat16 where the device has it, since its losses need no scale; else float16.

    A CPU has it as a choice only: there it may be slower than float32.
    """
    device = devices.current()
    return "bfloat16" if not device.is_host and device.computes_in("bfloat16") else "float16"


# What a new run has where its setting is None; one that is continued keeps what it had.
LEFT_OPEN: Mapping[str, Callable[[], Any]] = {
    "amp_dtype": default_amp_type,
    "skip_unread_positions": lambda: True,
    "compiled_layers": lambda: compiled.kernels() is not None,
}
BATCH = ("batch_size", "gradient_accumulation_steps")  # compared as rows of an update
LENGTH = ("max_steps", "num_train_epochs")  # compared as the number of updates


@dataclass(frozen=True, slots=True)
class GlobalBatch:
    """The rows of an update: batches of `size` rows, `accumulation` of them on each process."""

    size: int
    processes: int
    accumulation: int

    @property
    def rows(self) -> int:
        """All rows of an update, except an epoch's last."""
        return self.size * self.processes * self.accumulation

    def __str__(self) -> str:
        """Write the product with its factors."""
        processes = f"{self.processes} process{'es' if self.processes > 1 else ''}"
        return f"{self.size} x {processes} x {self.accumulation} = {self.rows}"


@dataclass(frozen=True)
class RunIdentity:
    """By what a run is recognised.

    Attributes:
        settings: JSON values by their names.
        processes: How many train together.
        data: Digest of the training data; empty as long as it is not known.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1
    data: str = ""

    @classmethod
    def of_run(cls, settings: Mapping[str, Any], processes: int, data: str) -> RunIdentity:
        """Describe a run that begins; its model is found again from another folder, too."""
        values = json.loads(json.dumps(settings))
        if "model_name_or_path" in values:
            values["model_name_or_path"] = resolved(values["model_name_or_path"])
        return cls(values, processes, data)

    @classmethod
    def of_saved(cls, manifest: Manifest) -> RunIdentity:
        """Read the identity of the run that saved a checkpoint."""
        settings, processes = dict(manifest["settings"]), manifest["environment"]["processes"]
        if "data" in manifest:
            return cls(settings, processes, manifest["data"])
        # Version 0.1.0 recorded the data and the batch of pretraining as its scripts call them, and
        # paths as they were typed.
        data = manifest["position"].get("data", "")
        for name in ("shards", "corpus_sha256"):
            data = settings.pop(name, data)
        if "train_batch_size" in settings:
            settings["batch_size"] = settings.pop("train_batch_size")
        if "model_name_or_path" in settings:
            settings["model_name_or_path"] = resolved(settings["model_name_or_path"])
        return cls(settings, processes, data)

    def continuing(self, saved: RunIdentity | None) -> RunIdentity:
        """Decide what was left open, as in the run that is continued, or as a new run has it."""
        open_settings = [name for name in LEFT_OPEN if self.settings.get(name, ...) is None]
        before = {} if saved is None else {**BEFORE, **saved.settings}
        decided = {name: before.get(name, LEFT_OPEN[name]()) for name in open_settings}
        return replace(self, settings={**self.settings, **decided})

    @property
    def batch(self) -> GlobalBatch:
        """The rows of an update, by their factors."""
        size, accumulation = (self.settings.get(name, 1) for name in BATCH)
        return GlobalBatch(size, self.processes, accumulation)

    @property
    def sorts_batches(self) -> bool:
        """Whether rows of similar length are put together in updates of several batches."""
        return bool(self.settings.get("group_by_length")) and self.batch.accumulation > 1

    def total_steps(self, steps_per_epoch: int) -> int:
        """Count the updates of the run.

        Raises:
            UserError: Nothing says how long to train.
        """
        steps, epochs = (self.settings.get(name, 0) for name in LENGTH)
        if steps > 0:
            return int(steps)
        if epochs <= 0:
            raise UserError(
                f"`num_train_epochs` {epochs}: expected at least 1, or `max_steps` above 0"
            )
        return int(epochs * steps_per_epoch)

    def differences(
        self, saved: RunIdentity, steps_per_epoch: int | None = None, *, step: int = 0
    ) -> list[str]:
        """Say what is not as in the run that is to be continued, each with both values.

        Args:
            saved: Of that run.
            steps_per_epoch: None before the data are read: the lengths are not compared then.
            step: How far that run is; it may become longer when it has come to its end.
        """
        found = []
        if saved.batch.rows != self.batch.rows:
            found.append(f"`batch_size` {saved.batch} (now {self.batch})")
        if steps_per_epoch is not None:
            was, now = (one.total_steps(steps_per_epoch) for one in (saved, self))
            if was != now and not was <= step < now:
                found.append(f"{was} steps in all (now {now})")
        if saved.data and self.data and saved.data != self.data:
            found.append(f"data of digest {saved.data[:16]} (now {self.data[:16]})")
        for name in dict.fromkeys([*self.settings, *saved.settings]):
            if name in (*BATCH, *LENGTH):
                continue
            if name in AFFECTS_RESULT and name not in {*saved.settings, *BEFORE}:
                continue  # version 0.1.0 recorded the flags of a script only
            before, after = (
                one.get(name, BEFORE.get(name)) for one in (saved.settings, self.settings)
            )
            if not SAME.get(name, _equal)(before, after):
                found.append(f"`{name}` {before!r} (now {after!r})")
        return found


def resolved(source: str) -> str:
    """Spell a model's source in one way: a folder by its real path, anything else as it is."""
    path = os.path.realpath(os.path.expanduser(source))
    return path if os.path.isdir(path) else source


def _equal(saved: object, now: object) -> bool:
    return saved == now


def _same_source(saved: object, now: object) -> bool:
    """Compare presets and folders; the folder need not be there any more."""
    return now is not None and saved in (now, os.path.realpath(os.path.expanduser(str(now))))


def _same_name(saved: object, now: object) -> bool:
    """Compare names of a task: SST-2, sst2 and sst_2 are one."""
    one, other = (str(name).lower().replace("-", "").replace("_", "") for name in (saved, now))
    return one == other


SAME: dict[str, Callable[[object, object], bool]] = {
    "model_name_or_path": _same_source,
    "task_name": _same_name,
}
