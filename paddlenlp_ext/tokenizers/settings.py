"""What the settings of a tokenizer may be: the files that have them come from anywhere."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.tokenizers.special_tokens import ROLES

_FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")  # of a token
_MAY_BE_ABSENT = ("bos_token", "eos_token")  # the other roles are played in every family


class Setting(NamedTuple):
    """A value that a constructor takes.

    Attributes:
        fits: Whether a value of a file can be it.
        wanted: What is expected, for the message.
    """

    fits: Callable[[Any], bool]
    wanted: str


def check(path: Path | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Check the settings that are known here, and leave out those that are null.

    Args:
        path: The file that they are from.
        settings: What it says.

    Raises:
        UserError: A setting is of another type.
    """
    kept = {}
    for name, value in settings.items():
        setting = SETTINGS.get(name)
        if setting and value is None and name not in ROLES:
            continue
        if setting and not setting.fits(value) and not (value is None and name in _MAY_BE_ABSENT):
            raise UserError(
                f"{path}: {name} must be {setting.wanted}, not {_shown(value)}; correct it, or get "
                "the file anew"
            )
        kept[name] = int(value) if name in _LENGTHS else value
    return kept


def check_listed(path: Path | None, tokens: object) -> None:
    """Check an `added_tokens_decoder`: descriptions of tokens by id.

    Raises:
        UserError: It is something else.
    """
    if not isinstance(tokens, Mapping):
        raise UserError(f"{path}: added_tokens_decoder must be an object, not {_shown(tokens)}")
    for number, token in tokens.items():
        is_id = number.isdecimal() and len(number) < 10
        if not (is_id and isinstance(token, Mapping) and _is_token(token)):
            raise UserError(
                f"{path}: added_tokens_decoder must have an id and a token in each row, not "
                f"{_shown(number)}: {_shown(token)}"
            )


def check_added(path: Path | None, tokens: Mapping[str, Any]) -> None:
    """Check an `added_tokens.json`: ids by token.

    Raises:
        UserError: It is something else.
    """
    for token, number in tokens.items():
        if not (_is_text(token) and type(number) is int and 0 <= number < 10**9):
            raise UserError(
                f"{path}: expected a token and its id in each row, got {_shown(token)}: "
                f"{_shown(number)}"
            )


def _is_text(value: object) -> bool:
    # JSON can spell lone surrogates, which are no text for the `tokenizers` library.
    return (
        isinstance(value, str) and bool(value) and value.encode(errors="ignore").decode() == value
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_token(value: object) -> bool:
    if not isinstance(value, Mapping):
        return _is_text(value)
    flags = {**value}
    content = flags.pop("content", None)
    flags.pop("__type", None)
    return _is_text(content) and all(
        name in _FLAGS and isinstance(flag, bool) for name, flag in flags.items()
    )


def _are_tokens(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_token, value))


def _is_length(value: object) -> bool:
    if isinstance(value, float):
        return value.is_integer() and value > 0
    return type(value) is int and value > 0


def _is_side(value: object) -> bool:
    return value in ("right", "left")


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _shown(value: object) -> str:
    return repr(value)[:80]


_LENGTHS = ("model_max_length", "max_len")
_SWITCHES = (
    "do_lower_case",
    "do_basic_tokenize",
    "tokenize_chinese_chars",
    "strip_accents",
    "remove_space",
    "keep_accents",
    "drop_lone_space",
)
# Of all families, by the names that their constructors have.
SETTINGS: dict[str, Setting] = {
    **dict.fromkeys(ROLES, Setting(_is_token, "a text, or the description of a token")),
    "additional_special_tokens": Setting(_are_tokens, "a list of tokens"),
    "never_split": Setting(_are_texts, "a list of texts"),
    **dict.fromkeys(_LENGTHS, Setting(_is_length, "a whole number above 0")),
    **dict.fromkeys(("padding_side", "truncation_side"), Setting(_is_side, "'right' or 'left'")),
    **dict.fromkeys(_SWITCHES, Setting(_is_switch, "true or false")),
}
