"""What a run of multilingual pretraining is set up with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from paddlenlp_ext.settings import Settings

MONOLINGUAL, PARALLEL = "monolingual", "parallel"
# The objectives, which `training/cross_lingual.py` describes, and the rows that they take.
OBJECTIVES = {"mmlm": MONOLINGUAL, "tlm": PARALLEL, "camlm": PARALLEL, "btmlm": MONOLINGUAL}


@dataclass(frozen=True, kw_only=True)
class MultilingualSettings(Settings):
    """The scripts' flags of the same names, which `--help` explains.

    Attributes:
        input_dir: Shards of `create_pretraining_data`.
        objectives: Of `OBJECTIVES`.
        objective_weights: Of each; None weighs all alike.
    """

    input_dir: str
    objectives: Sequence[str] = ("mmlm",)
    objective_weights: Sequence[float] | None = None
    language_alpha: float = 0.7
    mlm_probability: float = 0.15
    whole_word_mask: bool = False
    continue_positions: bool = False
    pseudo_share: float = 0.5
    pseudo_tokens: Literal["sample", "argmax"] = "sample"

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each objective."""
        weights = self.objective_weights or [1.0] * len(self.objectives)
        return dict(zip(self.objectives, weights, strict=True))
