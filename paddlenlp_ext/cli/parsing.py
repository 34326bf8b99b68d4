"""How a command line is read: the types of arguments, and the parser of all scripts."""

import argparse
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from paddlenlp_ext.process.devices import KINDS

LARGEST = 2**31 - 1  # what Paddle and HDF5 count with


def integer(text: str) -> int:
    """Parse a whole number, also one that is written as "1e5"."""
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from None
    if abs(value) > LARGEST:
        raise argparse.ArgumentTypeError(f"expected at most {LARGEST:,}, got {text!r}")
    return int(value)


def positive_int(text: str) -> int:
    """Parse a whole number that is at least 1."""
    if (value := integer(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return value


def non_negative_int(text: str) -> int:
    """Parse a whole number that is at least 0."""
    if (value := integer(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return value


def non_negative_float(text: str) -> float:
    """Parse a number that is at least 0."""
    try:
        if 0 <= (value := float(text)) < math.inf:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text!r}")


def positive_float(text: str) -> float:
    """Parse a number above 0."""
    if (value := non_negative_float(text)) == 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def probability(text: str) -> float:
    """Parse a part of a whole, from 0 to 1."""
    try:
        if 0 <= (value := float(text)) <= 1:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")


def boolean(text: str) -> bool:
    """Parse what `distutils.util.strtobool` took: yes/no, true/false, on/off, 1/0."""
    match text.strip().lower():
        case "y" | "yes" | "t" | "true" | "on" | "1":
            return True
        case "n" | "no" | "f" | "false" | "off" | "0":
            return False
    raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")


# A flag that is on, given alone, and else what its value says.
SWITCH: Mapping[str, Any] = {
    "type": boolean, "nargs": "?", "const": True, "default": False, "metavar": "BOOL",
}  # fmt: skip


def device(text: str) -> str:
    """Parse a device: cpu, gpu, xpu or npu, with a number where there are several ("gpu:1")."""
    kind, colon, number = text.strip().lower().partition(":")
    if kind not in KINDS or (colon and not number.isdigit()):
        known = ", ".join(KINDS)
        raise argparse.ArgumentTypeError(f"expected one of {known}, got {text!r}")
    return kind + colon + number


class Parser(argparse.ArgumentParser):
    """Reads a command line, shows each default in `--help`, and knows what a flag is close to.

    "~" may begin a path in every flag that takes a text: a shell leaves it in `--flag=~/x`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": _Help, **options})
        self.register("type", None, os.path.expanduser)
        self.register("type", Path, lambda text: Path(text).expanduser())

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse what is known of a command line, which messages refer to."""
        self._given = sys.argv[1:] if args is None else [*args]
        return super().parse_known_args(self._given, namespace)

    def error(self, message: str) -> NoReturn:
        """End the process with one line, and with the flags that unknown ones are close to."""
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        for flag in (word.partition("=")[0] for word in self._given if word.startswith("--")):
            if not any(one.startswith(flag) for one in known):  # abbreviations are understood
                message += "" if flag in message else f"; {flag} is unknown"
                message += did_you_mean(flag, known)
        self.exit(2, f"{self.prog}: error: {message} (--help lists all flags)\n")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Says what a flag is when it is not given, unless that is nothing."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help or "", action.default
        says_something = default or isinstance(default, int | float)
        if not text or not says_something or action.const is False or default is argparse.SUPPRESS:
            return text
        between = " " if action.nargs else ","
        shown = between.join(map(str, default)) if isinstance(default, list) else f"{default}"
        # A text says what stands for None; a script may have a default of its own.
        text = text.partition("; default:")[0]
        return f"{text} (default: {shown.replace('%', '%%')})"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask whether a known word was meant that an unknown one is close to; else say nothing."""
    near = get_close_matches(word, [*known], n=1)
    return f"; did you mean {near[0]}?" if near else ""
