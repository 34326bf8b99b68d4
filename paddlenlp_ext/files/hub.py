"""Find a file of a model: in a folder, in a cache, on the Hugging Face Hub, on Paddle's hosting."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import NamedTuple

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.download import (
    DownloadError,
    NotThereError,
    cache_folder,
    download,
    is_offline,
    launcher_proxies,
)
from paddlenlp_ext.presets.families import all_presets, find_preset
from paddlenlp_ext.presets.preset import Preset

PROBE_TIMEOUT = 10.0  # seconds that the hub has for a first answer
PROBE_AGAIN = 60.0  # seconds that its answer counts

# When each endpoint was asked last, and what its trouble was.
_probed: dict[str, tuple[float, str]] = {}

_OFFLINE = "offline mode is on, and the file is not in the cache"
_NO_FILE = "it has no such file"
_NO_REPOSITORY = "no such repository, or a closed one that needs HF_TOKEN"
_REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


class _Answer(NamedTuple):
    """What came of asking one place."""

    path: Path | None
    problem: str = ""  # why there is no path
    known: bool = True  # whether the place answered at all


Look = Callable[[Iterable[str]], _Answer]


def fetch(source: str, *candidates: str) -> Path:
    """Return a local file of a model, downloaded if need be.

    Args:
        source: A folder (then the network is not touched), a preset, or a repository of the
            Hugging Face Hub.
        candidates: Names of files; the first one that is there is taken.

    Raises:
        WeightsError: None of them can be had; the message says where they were looked for.
    """
    found, problems, _ = _search(source, candidates)
    if found is None:
        raise _not_found(source, candidates, problems)
    return found


def find(source: str, *candidates: str) -> Path | None:
    """Return a local file as `fetch` does, or none if the model does not have such a file.

    In offline mode the caches decide what a model has.

    Raises:
        WeightsError: There is no such model, or no place answered, so that nobody knows.
    """
    found, problems, known = _search(source, candidates)
    if found is None and not known:
        raise _not_found(source, candidates, problems)
    return found


def is_preset(name: str) -> bool:
    """Tell whether this is the name of a published model that we know."""
    return find_preset(name) is not None


def _search(source: str, candidates: tuple[str, ...]) -> tuple[Path | None, list[str], bool]:
    """Return the file, else why no place gave it, and whether one of them answered."""
    folder = Path(source)
    if source and folder.is_dir():
        there = (folder / name for name in candidates)
        return next((path for path in there if path.is_file()), None), [], True
    if source and folder.exists():
        raise WeightsError(f"{source}: is a file; expected the folder that it lies in")
    preset = find_preset(source)
    if preset is None and not _REPOSITORY.fullmatch(source):
        raise _unknown(source)
    cached = _in_cache(source, candidates) if preset else None
    if cached is not None:
        return cached, [], True
    problems: list[str] = []
    known = False
    for place, look in _places(source, preset):
        answer = look(candidates)
        if answer.path is not None:
            return answer.path, [], True
        problems.append(f"{place} ({answer.problem})")
        known = known or answer.known
    return None, problems, known


def _places(source: str, preset: Preset | None) -> Iterator[tuple[str, Look]]:
    """Yield what each place is called in messages, and how to get a file from it."""
    repository = preset.repository if preset else source
    if repository:
        yield f"{_endpoint()}/{repository}", partial(_from_hub, repository)
    if preset and preset.files:
        yield "Paddle's hosting", partial(_from_paddle, source, preset.files)


# The Hugging Face Hub


def _from_hub(repository: str, candidates: Iterable[str]) -> _Answer:
    answers: list[_Answer] = []
    for name in candidates:
        answers.append(_ask_hub(repository, name))
        if answers[-1].path or answers[-1].problem == _NO_REPOSITORY:
            return answers[-1]
    return min(answers, key=lambda answer: answer.known)  # the first that says most


def _ask_hub(repository: str, name: str) -> _Answer:
    # Imported late: it takes a good part of a second, which `--help` does not have.
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    offline = is_offline()
    trouble = "" if offline else _trouble()
    try:
        with launcher_proxies():
            path = hf_hub_download(repository, name, local_files_only=offline or bool(trouble))
            return _Answer(Path(path))
    except LocalEntryNotFoundError as error:  # a kind of the next one, so it stands before it
        if offline:
            return _Answer(None, _OFFLINE)
        return _Answer(None, trouble or _note_trouble(error.__cause__ or error), known=False)
    except EntryNotFoundError:
        return _Answer(None, _NO_FILE)
    except (RepositoryNotFoundError, HFValidationError):
        return _Answer(None, _NO_REPOSITORY)
    except Exception as error:  # of requests or of httpx, by the hub's version; or a full disk
        return _Answer(None, _first_line(error), known=False)


def _trouble() -> str:
    """Say why the hub does not answer; empty if it does.

    The hub's library would find out for each file anew, and try for half a minute each time.
    """
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    when, trouble = _probed.get(_endpoint(), (-PROBE_AGAIN, ""))
    if time.monotonic() - when < PROBE_AGAIN:
        return trouble
    _probed[_endpoint()] = time.monotonic(), ""
    try:
        with launcher_proxies():
            status = get_session().head(_endpoint(), timeout=PROBE_TIMEOUT).status_code
    except Exception as error:  # of requests or of httpx
        return _note_trouble(error)
    return _note_trouble(f"the server answers {status}") if status >= 500 else ""


def _note_trouble(error: object) -> str:
    trouble = f"no connection: {_first_line(error)}"
    _probed[_endpoint()] = time.monotonic(), trouble
    return trouble


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


# Paddle's hosting


def _in_cache(preset: str, candidates: Iterable[str]) -> Path | None:
    paths = (_cached_path(preset, name) for name in candidates)
    return next((path for path in paths if path.is_file()), None)


def _cached_path(preset: str, name: str) -> Path:
    return cache_folder() / "models" / preset / name


def _from_paddle(preset: str, files: Mapping[str, str], candidates: Iterable[str]) -> _Answer:
    name = next((name for name in candidates if name in files), None)
    if name is None:
        return _Answer(None, _NO_FILE)
    if is_offline():
        return _Answer(None, _OFFLINE)
    path = _cached_path(preset, name)
    try:
        download(files[name], path)
    except NotThereError as error:
        return _Answer(None, f"{files[name]}: {error}")
    except DownloadError as error:
        return _Answer(None, f"{files[name]}: {error}", known=False)
    return _Answer(path)


# Messages


def _not_found(source: str, candidates: tuple[str, ...], problems: list[str]) -> WeightsError:
    wanted = " or ".join(candidates)
    if not problems:
        return WeightsError(f"{source}: expected {wanted} in this folder")
    kind = "" if is_preset(source) else "there is no such folder here, and "
    return WeightsError(
        f"{source}: {kind}no {wanted} could be had from {' nor from '.join(problems)}; put the "
        "files into a folder by hand and give the folder in place of the name"
    )


def _unknown(source: str) -> WeightsError:
    if source.startswith((".", "~", "/")) or source.count("/") > 1:
        return WeightsError(f"{source}: there is no such folder")
    known = all_presets()
    close = get_close_matches(source, known, n=3)
    hint = (
        f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
    )
    return WeightsError(
        f"{source!r} is neither a folder here nor a preset nor a repository (organisation/name); "
        f"{hint}"
    )


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
