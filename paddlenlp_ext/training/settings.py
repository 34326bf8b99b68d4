"""What a run is set up with, and what its results depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from paddlenlp_ext.process import devices
from paddlenlp_ext.settings import Settings
from paddlenlp_ext.training import distributed
from paddlenlp_ext.training.class_weights import Weights, read_class_weights


@dataclass(frozen=True, kw_only=True)
class RunSettings(Settings):
    """What a run is set up with: the scripts' flags of the same names, which `--help` explains.

    Attributes:
        device: "cpu", "gpu", "xpu" or "npu", or one of several: "gpu:1".
        save_steps: Updates between evaluations, or checkpoints where nothing is evaluated.
        max_seq_length: 0 where the data have their length already.
        adam_betas: Memory of AdamW for the mean of gradients and for that of their squares.
        layerwise_decay: Factor of the learning rate from one encoder layer to the one below.
        amp_dtype: None is as in the run that is continued, and in a new one the device's best.
        skip_unread_positions: None is as in the run that is continued, and in a new one true.
        compiled_layers: The same; in a new one whether the installation has the kernels.
        class_weights: "balanced", or the weight of each label.
        metric_for_best_model: None takes the first one of the evaluations.
        early_stopping_patience: Evaluations without a better one; 0 does not stop.
        report_to: Loggers, by their names.
        lengths: Updates with which the run was complete before it got more; no flag.
    """

    model_name_or_path: str
    output_dir: str
    device: str
    batch_size: int
    learning_rate: float
    num_train_epochs: int
    logging_steps: int
    save_steps: int
    max_steps: int = -1
    max_seq_length: int = 0
    tokenizer_name: str | None = None
    eval_batch_size: int | None = None
    gradient_accumulation_steps: int = 1
    group_by_length: bool = False
    token_cache: bool = True
    max_train_samples: int | None = None
    max_eval_samples: int | None = None
    on_bad_row: Literal["error", "skip"] = "error"
    warmup_steps: int = 0
    warmup_proportion: float = 0.0
    weight_decay: float = 0.0
    adam_betas: tuple[float, float] = (0.9, 0.999)
    adam_epsilon: float = 1e-8
    layerwise_decay: float = 1.0
    max_grad_norm: float = 1.0
    lr_scheduler_type: str = "linear"
    label_smoothing_factor: float = 0.0
    class_weights: str | Weights | None = None
    freeze_embeddings: bool = False
    freeze_layers: int = 0
    use_amp: bool = False
    amp_level: Literal["O1", "O2"] = "O1"
    amp_dtype: Literal["float16", "bfloat16"] | None = None
    scale_loss: float = 2.0**15
    recompute: bool = False
    deterministic: bool = False
    skip_unread_positions: bool | None = None
    compiled_layers: bool | None = None
    to_static: bool = False
    trim_vocab: bool = False
    on_non_finite: Literal["stop", "skip"] = "stop"
    seed: int = 42
    resume_from_checkpoint: str | None = None
    keep_checkpoints: int = 0
    load_best_model_at_end: bool = True
    metric_for_best_model: str | None = None
    early_stopping_patience: int = 0
    report_to: Sequence[str] = ()
    error_texts: bool = True
    lengths: Sequence[int] = ()

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], **more: Any) -> RunSettings:
        """Make them of a script's flags; see `Settings`.

        Raises:
            DataError: The file of `class_weights` cannot be used.
        """
        weights = read_class_weights({**flags, **more}.get("class_weights"))
        return super().from_flags(flags, **{**more, "class_weights": weights})

    @property
    def pad_to_multiple_of(self) -> int:
        """What lengths of batches are rounded up to."""
        return devices.named(self.device).padding

    @property
    def is_on_host(self) -> bool:
        """Whether the CPU computes; see `devices.Device`."""
        return devices.named(self.device).is_host

    def facts(self, task: str, *, max_length: int = 0, trained: bool = True) -> dict[str, Any]:
        """Collect what all results of a run depend on, for `results.signature`.

        Args:
            task: With its collection: "glue/SST-2".
            max_length: Most tokens of a row, if it is the data's and not a setting.
            trained: Whether the results are those of training, or of a model that was there.
        """
        processes = distributed.world_size()
        facts = {
            "model": self.model_name_or_path,
            "task": task,
            "max_length": max_length or self.max_seq_length,
            "device": self.device,
            "processes": processes,
        }
        if not trained:
            return facts
        by_steps = self.max_steps > 0
        return {
            **facts,
            **({"steps": self.max_steps} if by_steps else {"epochs": self.num_train_epochs}),
            "batch_size": self.batch_size * self.gradient_accumulation_steps * processes,
            "learning_rate": self.learning_rate,
            "changes": self._changes(),
            "seed": self.seed,
        }

    def _changes(self) -> list[str]:
        """Name what is trained otherwise than by default, for a signature."""
        weights = self.class_weights
        if isinstance(weights, Mapping):  # whatever the file is called
            text = json.dumps(weights, sort_keys=True)
            weights = hashlib.sha256(text.encode()).hexdigest()[:8]
        judged = f"-{self.metric_for_best_model}" if self.metric_for_best_model else ""
        grown = "-".join(map(str, self.lengths))
        parts = (
            (f"grown{grown}", grown),
            (self.lr_scheduler_type, self.lr_scheduler_type != "linear"),
            (f"smooth{self.label_smoothing_factor:g}", self.label_smoothing_factor),
            (f"weights-{weights}", weights),
            ("frozen-embeddings", self.freeze_embeddings),
            (f"frozen-layers{self.freeze_layers}", self.freeze_layers),
            (f"patience{self.early_stopping_patience}{judged}", self.early_stopping_patience),
            (self.amp_dtype or "float16", self.use_amp and self.is_on_host),
        )
        return [part for part, is_changed in parts if is_changed]
