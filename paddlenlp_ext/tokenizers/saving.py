"""The small JSON files beside a vocabulary: settings, special tokens, added tokens.

Their forms are those of transformers 4 (`tokenizer_config.json` with `added_tokens_decoder`) and
of PaddleNLP (`special_tokens_map.json`, `added_tokens.json`); both libraries read what is written
here, and what they write is read. Which settings there are, and of which types, is what the
constructor of the family says. A setting that it does not have is kept, and written again.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Union, get_args, get_type_hints

from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError, shown
from paddlenlp_ext.files.disk import read_object, replacing
from paddlenlp_ext.files.sources import Source
from paddlenlp_ext.tokenizers.segmentation import MAX_TOKENS, Vocabulary
from paddlenlp_ext.tokenizers.special_tokens import (
    ROLES,
    SWITCHES,
    SpecialTokens,
    Token,
    describe,
    described_token,
)
from paddlenlp_ext.tokenizers.truncation import Side

CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
ADDED = "added_tokens.json"
# Arguments of constructors, and entries of files, that say where files are.
FILES = ("vocab_file", "sentencepiece_model_file", "tokenizer_file")
# Settings of files that say what is known otherwise, or where something was on another machine.
_NOT_KEPT = (*FILES, "tokenizer_class", "init_class", "name_or_path", "special_tokens_map_file")
_MAY_BE_ABSENT = ("bos_token", "eos_token", "mask_token")  # rows are made without them


# Whether a value of a file can be a setting; and what is expected, for the message.
Kind = tuple[Callable[[Any], bool], str]


def read_json(path: Path | None) -> dict[str, Any]:
    """Read an object from a JSON file; an absent file is an empty object.

    Raises:
        UserError: The file is no JSON, or holds something else than an object.
    """
    return {} if path is None else read_object(path)


def read_settings(source: Source, family: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what the three files say about a tokenizer of a family.

    Returns:
        Arguments of the constructor; and the settings that it does not have.

    Raises:
        UserError: A file is broken, or has a value of another type than the setting's.
    """
    path = source.find(CONFIG)
    settings, others = _checked(path, read_json(path), family)
    listed = others.pop("added_tokens_decoder", None)
    if listed is not None:  # the newer form says all
        settings["added"] = listed_tokens(path, listed)
        return settings, others
    path = source.find(SPECIAL)
    special, more = _checked(path, read_json(path), family)
    settings |= special
    names = set(_texts(settings))
    path = source.find(ADDED)
    added = read_json(path)
    _check_added(path, added)
    settings["added"] = {
        number: AddedToken(token, special=token in names, normalized=token not in names)
        for token, number in added.items()
    }
    return settings, {**others, **more}


def kinds(family: type) -> dict[str, Kind]:
    """Find the settings of a family and their types: the arguments of its constructors.

    Raises:
        TypeError: One is of a type that no file can have.
    """
    found = {}
    for base in reversed(family.__mro__):
        constructor = vars(base).get("__init__")
        if base is object or constructor is None:
            continue
        types = get_type_hints(constructor)
        for name, parameter in inspect.signature(constructor).parameters.items():
            if parameter.default is not parameter.empty and name not in (*FILES, "added"):
                found[name] = _kind(name, types[name])
    return found


def write_settings(
    folder: Path, settings: Mapping[str, Any], tokens: SpecialTokens, vocabulary: Vocabulary
) -> list[Path]:
    """Write the three files; `added_tokens.json` only if there are tokens outside the vocabulary.

    Args:
        folder: Where to.
        settings: What the constructor needs besides tokens, and `tokenizer_class`.
        tokens: The special and added tokens.
        vocabulary: The vocabulary.

    Returns:
        The files written.
    """
    listed = {str(i): describe(token) for i, token in sorted(tokens.added_tokens_decoder.items())}
    absent = dict.fromkeys(_MAY_BE_ABSENT)  # or it would be the family's own the next time
    config = {**settings, **absent, **tokens.by_role, "added_tokens_decoder": listed}
    special = {role: _compact(tokens.roles[role]) for role in ROLES if role in tokens.roles}
    if tokens.additional:
        special["additional_special_tokens"] = [_compact(token) for token in tokens.additional]
    contents = {CONFIG: config, SPECIAL: special}
    grown = {
        token.content: number
        for number, token in sorted(tokens.added_tokens_decoder.items())
        if vocabulary.tokens[number : number + 1] != [token.content]
    }
    if grown:
        contents[ADDED] = grown
    paths = []
    for name, content in contents.items():
        text = json.dumps(content, ensure_ascii=False, indent=2, sort_keys=name == CONFIG)
        paths.append(folder / name)
        # Lone surrogates, which a setting that is only kept may have, are escaped as JSON does it.
        with replacing(paths[-1]) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
    return paths


def _kind(name: str, annotation: Any) -> Kind:
    types = get_args(annotation)
    if NoneType in types:
        annotation = Union[tuple(one for one in types if one is not NoneType)]  # noqa: UP007
    for type_, kind in _KINDS:
        if annotation == type_:
            return kind
    raise TypeError(f"{name} is of a type that no file can have: {annotation}")


def _checked(
    path: Path | None, content: Mapping[str, Any], family: type
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Separate the settings of a file that the family has, checked, from other ones.

    Null is as if a setting were not there, but for the roles that nothing need play.
    """
    settings: dict[str, Any] = {}
    others: dict[str, Any] = {}
    known = kinds(family)
    for name, value in content.items():
        kind = known.get("model_max_length" if name == "max_len" else name)
        if kind is None:
            if name not in _NOT_KEPT:
                others[name] = value
        elif value is None and name in _MAY_BE_ABSENT:
            settings[name] = None
        elif value is not None or name in ROLES:
            fits, wanted = kind
            value = _plain(wanted, value)
            if not fits(value):
                raise UserError(
                    f"{path}: {name} must be {wanted}, not {shown(value)}; correct it, or "
                    "get the file again"
                )
            settings[name] = value
    if "max_len" in settings:  # the name before 2020
        settings.setdefault("model_max_length", settings["max_len"])
        del settings["max_len"]
    return settings, others


def listed_tokens(path: Path | None, tokens: object) -> dict[int, AddedToken]:
    """Read an `added_tokens_decoder`: descriptions of tokens by id.

    Raises:
        UserError: It is something else.
    """
    if not isinstance(tokens, Mapping):
        raise UserError(f"{path}: added_tokens_decoder must be an object, not {shown(tokens)}")
    for number, token in tokens.items():
        is_id = number.isascii() and number.isdecimal() and len(number) < 10
        is_id = is_id and int(number) < MAX_TOKENS
        if not (is_id and isinstance(token, Mapping) and _is_token(token)):
            raise UserError(
                f"{path}: added_tokens_decoder must have an id and a token in each row, not "
                f"{shown(number)}: {shown(token)}"
            )
    return {int(number): described_token(token) for number, token in tokens.items()}


def _check_added(path: Path | None, tokens: Mapping[str, Any]) -> None:
    """Check an `added_tokens.json`: ids by token."""
    seen = set()
    for token, number in tokens.items():
        if not (_is_text(token) and type(number) is int and 0 <= number < MAX_TOKENS):
            raise UserError(
                f"{path}: expected a token and its id in each row, got {shown(token)}: "
                f"{shown(number)}"
            )
        if number in seen:
            raise UserError(f"{path}: two tokens have id {number}, one of them {shown(token)}")
        seen.add(number)


def _is_text(value: object) -> bool:
    # JSON can spell lone surrogates, which are no text for the `tokenizers` library.
    return (
        isinstance(value, str) and bool(value) and value.encode(errors="ignore").decode() == value
    )


def _is_token(value: object) -> bool:
    if not isinstance(value, Mapping):
        return _is_text(value)
    flags = (value[name] for name in SWITCHES if name in value)
    return _is_text(value.get("content")) and all(isinstance(flag, bool) for flag in flags)


def _are(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _is_length(value: object) -> bool:
    return type(value) is int and value > 0


def _plain(wanted: str, value: Any) -> Any:
    """Return a value of the type that is wanted where another one can mean only that."""
    if wanted == _SWITCH and type(value) is int and value in (0, 1):
        return bool(value)
    if wanted != _LENGTH:
        return value
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 32:
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


_SWITCH, _LENGTH = "true or false", "a whole number above 0"
# What an argument of a constructor may be, and what a file then may have.
_KINDS: tuple[tuple[Any, Kind], ...] = (
    (bool, (lambda value: isinstance(value, bool), _SWITCH)),
    (int, (_is_length, _LENGTH)),
    (Side, (lambda value: value in get_args(Side), "'right' or 'left'")),
    (Token, (_is_token, "a text, or the description of a token")),
    (Iterable[Token], (_are(_is_token), "a list of tokens")),
    (Iterable[str], (_are(_is_text), "a list of texts")),
)


def _texts(settings: Mapping[str, Any]) -> Iterable[str]:
    """List the texts of all special tokens in `settings`."""
    tokens = [settings.get(role) for role in ROLES]
    tokens += settings.get("additional_special_tokens") or []
    for token in tokens:
        if token is not None:
            yield token["content"] if isinstance(token, Mapping) else token


def _compact(token: AddedToken) -> Any:
    """Write a token as plain text unless its text does not say all."""
    plain = AddedToken(token.content, special=True, normalized=False)
    if describe(token) == describe(plain):
        return token.content
    return {name: value for name, value in describe(token).items() if name != "special"}
