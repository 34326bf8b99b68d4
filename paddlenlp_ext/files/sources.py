"""Where a model's files are: in a folder, in a cache, on the Hugging Face Hub, on Paddle's hosting.

Whoever is given a name resolves it, once; the `Source` is what is handed on. It remembers what it
has found, and that a place does not answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from paddlenlp_ext.errors import WeightsError, shown
from paddlenlp_ext.files.download import (
    DownloadError,
    NotThereError,
    cache_folder,
    download,
    is_offline,
    launcher_proxies,
    private_folder,
)
from paddlenlp_ext.presets.families import all_presets, find_preset

PROBE_TIMEOUT = 10.0  # seconds that the hub has for a first answer

_OFFLINE = "offline mode is on, and the file is not in the cache"
_NO_FILE = "it has no such file"
_NO_REPOSITORY = "no such repository, or a closed one that needs HF_TOKEN"
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")

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


class Source:
    """A folder, preset or repository with files of a model.

    Args:
        name: What the user has named; also what messages call it.

    Attributes:
        folder: Where the files are, if it is a folder.
        preset: Its row, if it is a preset.
        repository: On the Hugging Face Hub, if it has one.

    Raises:
        WeightsError: There is no such thing.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(name) if name and Path(name).is_dir() else None
        self.preset = None if name and Path(name).exists() else find_preset(name)
        self.repository = None if self.folder else name
        if self.preset:
            self.repository = self.preset.repository
        elif not self.folder and (Path(name).exists() or not _REPOSITORY.fullmatch(name)):
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
        wanted = " or ".join(candidates)
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
            places[f"{_endpoint()}/{self.repository}"] = self._from_hub
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
            folder = cache_folder() / "models" / self.name
        except DownloadError:  # no home folder: the files may be elsewhere
            return None
        return private_folder(folder) if folder.is_dir() else None

    def _from_hosting(self, candidates: Names) -> _Answer:
        files = self.preset.files if self.preset else {}
        name = next((name for name in candidates if name in files), None)
        if name is None:
            return _Answer(None, _NO_FILE)
        if is_offline():
            return _Answer(None, _OFFLINE)
        try:
            path = private_folder(cache_folder() / "models" / self.name) / name
            download(files[name], path)
        except DownloadError as error:
            return _Answer(None, f"{files[name]}: {error}", isinstance(error, NotThereError))
        return _Answer(path)

    def _from_hub(self, candidates: Names) -> _Answer:
        answers: list[_Answer] = []
        for name in candidates:
            answers.append(self._ask_hub(name))
            if answers[-1].path or answers[-1].problem == _NO_REPOSITORY:
                return answers[-1]
        return min(answers, key=lambda answer: answer.known)  # the first that says most

    def _ask_hub(self, name: str) -> _Answer:
        # Imported late: it takes a good part of a second, which `--help` does not have.
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HFValidationError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        offline = is_offline()
        if self._trouble is None and not offline:
            self._trouble = _trouble()
        cached = offline or bool(self._trouble)
        try:
            with launcher_proxies():
                return _Answer(
                    Path(hf_hub_download(str(self.repository), name, local_files_only=cached))
                )
        except LocalEntryNotFoundError as error:  # a kind of the next one, so it stands before it
            if offline:
                return _Answer(None, _OFFLINE)
            self._trouble = self._trouble or _no_connection(error.__cause__ or error)
            return _Answer(None, self._trouble, known=False)
        except EntryNotFoundError:
            return _Answer(None, _NO_FILE)
        except (RepositoryNotFoundError, HFValidationError):
            return _Answer(None, _NO_REPOSITORY)
        except Exception as error:  # of requests or of httpx, by the hub's version; or a full disk
            return _Answer(None, _first_line(error), known=False)


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


def _trouble() -> str:
    """Say why the hub does not answer; empty if it does.

    The hub's library would find out for each file, and try for half a minute each time.
    """
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    try:
        with launcher_proxies():
            status = get_session().head(_endpoint(), timeout=PROBE_TIMEOUT).status_code
    except Exception as error:  # of requests or of httpx
        return _no_connection(error)
    return _no_connection(f"the server answers {status}") if status >= 500 else ""


def _no_connection(error: object) -> str:
    return f"no connection: {_first_line(error)}"


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
