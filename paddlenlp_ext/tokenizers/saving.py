"""The small JSON files beside a vocabulary: settings, special tokens, added tokens.

Their forms are those of transformers 4 (`tokenizer_config.json` with `added_tokens_decoder`) and
of PaddleNLP (`special_tokens_map.json`, `added_tokens.json`); both libraries read what is written
here, and what they write is read.
"""

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files.hub import find
from paddlenlp_ext.tokenizers.settings import SETTINGS, check, check_added, check_listed
from paddlenlp_ext.tokenizers.special_tokens import ROLES, SpecialTokens, describe

CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
ADDED = "added_tokens.json"


def read_json(path: Path | None) -> dict[str, Any]:
    """Read an object from a JSON file; an absent file is an empty object.

    Raises:
        UserError: The file is no JSON, or holds something else than an object.
    """
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path}: expected JSON in UTF-8: {error}; get the file anew") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def read_settings(source: str) -> dict[str, Any]:
    """Read what the three files say about a tokenizer.

    Returns:
        Settings by name; special tokens by role; `added` with the added tokens by id.

    Raises:
        UserError: A file is broken, or has a value of another type than the setting's.
    """
    path = find(source, CONFIG)
    settings = check(path, read_json(path))
    listed = settings.pop("added_tokens_decoder", None)
    if listed is not None:  # the newer form says all
        check_listed(path, listed)
        settings["added"] = {int(number): _added(token) for number, token in listed.items()}
        return settings
    path = find(source, SPECIAL)
    settings |= check(path, read_json(path))
    special = set(_texts(settings))
    path = find(source, ADDED)
    added = read_json(path)
    check_added(path, added)
    settings["added"] = {
        number: AddedToken(token, special=token in special, normalized=token not in special)
        for token, number in added.items()
    }
    return settings


def known_settings(settings: Mapping[str, Any], family: type) -> dict[str, Any]:
    """Keep the settings that the constructor of a tokenizer has a name for, but no files."""
    settings = {**settings}
    if "max_len" in settings:  # the name before 2020
        settings.setdefault("model_max_length", settings["max_len"])
    known = {
        name
        for base in family.__mro__
        if issubclass(base, SpecialTokens)
        for name in inspect.signature(base).parameters
    }
    return {
        name: value
        for name, value in settings.items()
        if name in known and (name in SETTINGS or name == "added")
    }


def write_settings(folder: Path, settings: Mapping[str, Any], tokens: SpecialTokens) -> list[Path]:
    """Write the three files; `added_tokens.json` only if the tokenizer has grown.

    Args:
        folder: Where to.
        settings: What the constructor needs besides tokens, and `tokenizer_class`.
        tokens: The special and added tokens.

    Returns:
        The files written.
    """
    listed = {str(i): describe(token) for i, token in sorted(tokens.added_tokens_decoder.items())}
    config = {**settings, **tokens.special_tokens_map, "added_tokens_decoder": listed}
    special = {role: _compact(tokens.roles[role]) for role in ROLES if role in tokens.roles}
    if tokens.additional:
        special["additional_special_tokens"] = [_compact(token) for token in tokens.additional]
    contents = {CONFIG: config, SPECIAL: special}
    grown = {
        token.content: number
        for number, token in sorted(tokens.added_tokens_decoder.items())
        if number >= tokens.vocab_size
    }
    if grown:
        contents[ADDED] = grown
    paths = []
    for name, content in contents.items():
        text = json.dumps(content, ensure_ascii=False, indent=2, sort_keys=name == CONFIG)
        paths.append(folder / name)
        paths[-1].write_text(text + "\n", encoding="utf-8")
    return paths


def _texts(settings: Mapping[str, Any]) -> Iterable[str]:
    """List the texts of all special tokens in `settings`."""
    tokens = [settings.get(role) for role in ROLES]
    tokens += settings.get("additional_special_tokens") or []
    for token in tokens:
        if token is not None:
            yield token["content"] if isinstance(token, Mapping) else token


def _added(token: Mapping[str, Any]) -> AddedToken:
    return AddedToken(**{name: value for name, value in token.items() if name != "__type"})


def _compact(token: AddedToken) -> Any:
    """Write a token as plain text unless its text does not say all."""
    plain = AddedToken(token.content, special=True, normalized=False)
    if describe(token) == describe(plain):
        return token.content
    return {name: value for name, value in describe(token).items() if name != "special"}
