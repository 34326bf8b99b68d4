"""Flags of the scripts that pretrain on text in many languages."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from paddlenlp_ext.cli.parsing import (
    SWITCH,
    did_you_mean,
    non_negative_float,
    positive_float,
    probability,
)
from paddlenlp_ext.pretraining.multilingual_settings import OBJECTIVES

# Of these flags and the engine's: what a resumed run must have in common with what it continues.
RESUME_MUST_MATCH = (
    "objectives", "objective_weights", "language_alpha", "mlm_probability", "whole_word_mask",
    "continue_positions", "pseudo_share", "pseudo_tokens", "trim_vocab",
)  # fmt: skip


def objectives(text: str) -> list[str]:
    """Read names of objectives, separated by commas."""
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in OBJECTIVES:
            known = f"expected some of {', '.join(OBJECTIVES)}, not {name!r}"
            raise argparse.ArgumentTypeError(known + did_you_mean(name, OBJECTIVES))
    if len({*names}) < len(names):
        raise argparse.ArgumentTypeError(f"{text!r} names an objective twice")
    return names


def weights(text: str) -> list[float]:
    """Read positive numbers, separated by commas."""
    return [positive_float(one) for one in text.split(",")]


def add_multilingual_arguments(
    parser: argparse.ArgumentParser, default: Sequence[str], *, back_translates: bool = True
) -> None:
    """Add the flags of data and objectives.

    Args:
        parser: The script's.
        default: Its objectives where none are named.
        back_translates: Whether it has flags for BTMLM.
    """
    add = parser.add_argument
    folder = "folder with the shards that create_pretraining_data.py makes of text by language"
    add("--input_dir", required=True, help=folder)
    what = (
        "separated by commas: mmlm (sentences), tlm (pairs), camlm (pairs, each sentence from the "
        "other), btmlm (sentences beside a translation that the model makes up)"
    )
    add("--objectives", type=objectives, default=[*default], help=what)
    weighing = "separated by commas: how often an update has each objective; default: all alike"
    add("--objective_weights", type=weights, help=weighing)
    alpha = "exponent that language counts are raised to: 1 takes text as it is, 0 all alike"
    add("--language_alpha", type=non_negative_float, default=0.7, help=alpha)
    add("--mlm_probability", type=probability, default=0.15, help="part of the tokens to mask")
    add("--whole_word_mask", **SWITCH, help="mask all tokens of a word, or none")
    positions = "count a second sentence's positions on, not from the beginning again"
    add("--continue_positions", **SWITCH, help=positions)
    if back_translates:
        share = "btmlm: part of a sentence's tokens that get a pseudo-token"
        add("--pseudo_share", type=probability, default=0.5, help=share)
        choice = "btmlm: draw pseudo-tokens from their distribution, or take the most probable"
        add("--pseudo_tokens", choices=("sample", "argmax"), default="sample", help=choice)


def check_multilingual_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse flags that do not go together."""
    given = args.objective_weights
    if given is not None and len(given) != len(args.objectives):
        parser.error(
            f"--objective_weights: expected {len(args.objectives)} numbers, one for each of "
            f"{', '.join(args.objectives)}, not {len(given)}"
        )
