"""Where a model's files are: in a folder, in a cache, on the Hugging Face Hub, on Paddle's hosting.

Whoever is given a name resolves it, once; the `Source` is what is handed on. It remembers what it
has found, and that a place does not answer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from paddlenlp_ext.errors import UserError, WeightsError, shown
from paddlenlp_ext.files import hub
from paddlenlp_ext.files.download import (
    NoHomeError,
    cache_folder,
    download,
    is_offline,
    private_folder,
)
from paddlenlp_ext.files.web import DownloadError, NotThereError
from paddlenlp_ext.presets.families import all_presets, find_preset

_OFFLINE = "offline mode is on, and the file is not in the cache"
_NO_FILE = "it has no such file"
_NO_REPOSITORY = "no such repository, or a closed one that needs HF_TOKEN"

Names = tuple[str, ...]  # of files, of which the first one that is there is taken


def resolve(name_or_folder: str | Path | Source) -> Source:
    """Return the source that is meant; one that is resolved already stays as it is.

    Args:
        name_or_folder: A folder (then the network is not touched), a preset, or a repository of
            the Hugging Face Hub.

    Raises:
        WeightsError: It is nothing of that kind.
    """
    return name_or_folder if isinstance(name_or_folder, Source) else Source(str(name_or_folder))


def located(
    name_or_folder: str | Path | Source, arguments: Mapping[str, Any]
) -> tuple[Source, dict[str, Any]]:
    """Resolve what `from_pretrained` is given, with those of its arguments that say where, too.

    Args:
        name_or_folder: As in `resolve`.
        arguments: Others, among them perhaps `cache_dir` and `subfolder`.

    Returns:
        The source, and the arguments that are left.

    Raises:
        WeightsError: There is nothing of that kind.
    """
    others = {n: value for n, value in arguments.items() if n not in ("cache_dir", "subfolder")}
    subfolder, cache = arguments.get("subfolder") or "", arguments.get("cache_dir")
    if not (subfolder or cache):
        return resolve(name_or_folder), others
    return Source(str(name_or_folder), str(subfolder), Path(cache) if cache else None), others


class Source:
    """A folder, preset or repository with files of a model.

    Args:
        name: What the user has named; also what messages call it.
        subfolder: Where in it the files are.
        cache: Where downloads are kept; None for where they always are.

    Attributes:
        folder: Where the files are, if it is a folder.
        preset: Its row, if it is a preset.
        repository: On the Hugging Face Hub, if it has one.

    Raises:
        WeightsError: There is no such thing.
    """

    def __init__(self, name: str, subfolder: str = "", cache: Path | None = None) -> None:
        self.name = name
        self.folder = Path(name) if name and Path(name).is_dir() else None
        self._subfolder, self._cache = subfolder, cache
        if self.folder and subfolder:
            self.folder /= subfolder
            self.name = str(self.folder)
            if not self.folder.is_dir():
                raise WeightsError(f"{self.folder}: there is no such folder")
        self.preset = None if name and Path(name).exists() else find_preset(name)
        self.repository = None if self.folder else name
        if self.preset:
            self.repository = self.preset.repository
        elif not self.folder and (Path(name).exists() or not hub.is_repository(name)):
            raise _unknown(name)
        self._found: dict[Names, Path] = {}
        self._trouble: str | None = None  # why the hub does not answer; None before it was asked

    def __str__(self) -> str:
        return self.name

    def find(self, *candidates: str) -> Path | None:
        """Return a local file as `fetch` does, or none if the model does not have such a file.

        In offline mode the caches decide what a model has.

        Raises:
            WeightsError: No place answered, so that nobody knows.
        """
        try:
            return self.fetch(*candidates)
        except AbsentError:
            return None

    def fetch(self, *candidates: str) -> Path:
        """Return a local file of a model, downloaded if need be.

        Args:
            candidates: Names of files; the first one that is there is taken.

        Raises:
            AbsentError: The model has none of them; the message says where they were looked for.
            WeightsError: No place answered, so that nobody knows.
        """
        names = [hub.plain_name(name) for name in candidates]
        # An index leads to shards of a format that is named already.
        whole = [name for name in names if not name.endswith(".index.json")]
        wanted = " or ".join(whole or names)
        if folder := self.folder or self._own_cache():
            for name in candidates:
                if (folder / name).is_file():
                    return folder / name
        if self.folder:
            raise AbsentError(f"{self}: expected {wanted} in this folder")
        if candidates in self._found:
            return self._found[candidates]
        problems, known = [], False
        for place, look in self._places().items():
            answer = look(candidates)
            if answer.path is not None:
                self._found[candidates] = answer.path
                return answer.path
            problems.append(f"{place} ({answer.problem})")
            known = known or answer.known
        kind = "" if self.preset else "there is no such folder here, and "
        raise (AbsentError if known else WeightsError)(
            f"{self}: {kind}no {wanted} could be had from {' nor from '.join(problems)}; put the "
            "files into a folder by hand and give the folder in place of the name"
        )

    def _places(self) -> dict[str, Callable[[Names], _Answer]]:
        """Return what each place is called in messages, and how to get a file from it."""
        places: dict[str, Callable[[Names], _Answer]] = {}
        if self.repository:
            places[f"{hub.endpoint()}/{self.repository}"] = self._from_hub
        if self.preset and self.preset.files:
            places["Paddle's hosting"] = self._from_hosting
        return places

    def _own_cache(self) -> Path | None:
        """Return where a preset's files of Paddle's hosting are; some may be put there by hand.

        Raises:
            DownloadError: Others can write to it.
        """
        if self.preset is None:
            return None
        try:
            folder = self._hosting_cache()
            return private_folder(folder) if os.path.isdir(folder) else None
        except NoHomeError:  # the files may be elsewhere
            return None

    def _hosting_cache(self) -> Path:
        return (self._cache or cache_folder()) / "models" / self.name / self._subfolder

    def _from_hosting(self, candidates: Names) -> _Answer:
        files = self.preset.files if self.preset and not self._subfolder else {}
        name = next((name for name in candidates if name in files), None)
        if name is None:
            return _Answer(None, _NO_FILE)
        if is_offline():
            return _Answer(None, _OFFLINE)
        try:
            path = private_folder(self._hosting_cache()) / name
            download(files[name], path, is_small=not name.endswith(hub.WEIGHTS))
        except DownloadError as error:
            return _Answer(None, f"{files[name]}: {error}", isinstance(error, NotThereError))
        except OSError as error:
            return _Answer(None, f"{error.filename}: {error.strerror}", known=False)
        return _Answer(path)

    def _from_hub(self, candidates: Names) -> _Answer:
        answers: list[_Answer] = []
        for name in candidates:
            answers.append(self._ask_hub(name))
            if answers[-1].path or answers[-1].problem == _NO_REPOSITORY:
                return answers[-1]
        return min(answers, key=lambda answer: answer.known)  # the first that says most

    def _ask_hub(self, name: str) -> _Answer:
        repository = str(self.repository)
        name = f"{self._subfolder}/{name}" if self._subfolder else name
        try:
            if not is_offline() and self._trouble is None:
                try:
                    return _Answer(hub.fetch(repository, name, self._cache))
                except hub.AwayError as error:
                    self._trouble = str(error)  # each file would have to wait for it
            path = hub.cached(repository, name, self._cache)
        except NotThereError:
            return _Answer(None, _NO_FILE)
        except hub.NoRepositoryError:
            return _Answer(None, _NO_REPOSITORY)
        except DownloadError as error:
            self._trouble = str(error)  # nor does it get better with another file
            return _Answer(None, self._trouble, known=False)
        if path is not None:
            return _Answer(path)
        return (
            _Answer(None, _OFFLINE) if is_offline() else _Answer(None, self._trouble or "", False)
        )


class AbsentError(WeightsError):
    """A model does not have a file."""


class _Answer(NamedTuple):
    """What came of asking one place."""

    path: Path | None
    problem: str = ""  # why there is no path
    known: bool = True  # whether the place answered at all


def _unknown(name: str) -> WeightsError:
    if name and Path(name).exists():
        return WeightsError(f"{name}: is a file; expected the folder that it lies in")
    if name.startswith((".", "~", "/")) or name.count("/") > 1:
        return WeightsError(f"{name}: there is no such folder")
    known = all_presets()
    close = " or ".join(map(repr, get_close_matches(name, known, n=3)))
    hint = f"did you mean {close}?" if close else f"known: {', '.join(known)}"
    return WeightsError(
        f"{shown(name)} is neither a folder here nor a preset nor a repository "
        f"(organisation/name); {hint}"
    )


# Arguments of PaddleNLP's and transformers' `from_pretrained`, and the values that ask for what is
# done anyway: a name says where something is from, and nothing of it is executed.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "from_hf_hub": (True, False, None),
    "from_aistudio": (False, None),
    "trust_remote_code": (False, None),
    "force_download": (False, None),
    "local_files_only": (False, None),
    "proxies": (None,),
    "token": (None,),
    "use_auth_token": (False, None),
    "revision": (None, "main"),
}


def without_neutral(
    arguments: Mapping[str, Any], more: Mapping[str, tuple[Any, ...]]
) -> dict[str, Any]:
    """Leave out arguments of other libraries that ask for what is done anyway.

    Args:
        arguments: All arguments.
        more: Such arguments and their values, besides those that say where files are from.

    Raises:
        UserError: One asks for something else.
    """
    neutral = {**NEUTRAL, **more}
    for name, value in arguments.items():
        if name in neutral and value not in neutral[name]:
            raise UserError(f"{name}={shown(value)} is not offered; leave it out")
    return {name: value for name, value in arguments.items() if name not in neutral}
