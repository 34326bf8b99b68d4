"""Secrets in what Paddle's launcher writes: the environment, and what ended a process.

Nobody can know what a secret is called. So of the environment nothing stays legible but the
variables of `HARMLESS`, and of these no part that has a secret's form.
"""

import json
import os
import re
import stat
from collections.abc import Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path

# Variables that say how a run is set up, whose values anybody may know.
HARMLESS = frozenset(
    """
    CPU_NUM CUDA_DEVICE_MAX_CONNECTIONS CUDA_DEVICE_ORDER CUDA_HOME CUDA_PATH CUDA_VISIBLE_DEVICES
    CUSTOM_DEVICE_ROOT DISTRIBUTED_TRAINER_ENDPOINTS FLAGS_START_PORT FLAGS_allocator_strategy
    FLAGS_cudnn_deterministic FLAGS_embedding_deterministic FLAGS_enable_pir_api
    FLAGS_fraction_of_gpu_memory_to_use FLAGS_selected_gpus FLAGS_selected_xpus FLAGS_use_mkldnn
    GLIBC_TUNABLES HOME HOSTNAME KMP_AFFINITY KMP_BLOCKTIME LANG LANGUAGE LC_ALL LC_CTYPE
    LC_MESSAGES LC_NUMERIC LC_TIME LD_LIBRARY_PATH LD_PRELOAD LOGNAME MALLOC_ARENA_MAX
    MKL_DEBUG_CPU_TYPE MKL_NUM_THREADS NCCL_DEBUG NCCL_IB_DISABLE NCCL_P2P_DISABLE
    NCCL_SOCKET_IFNAME NVIDIA_VISIBLE_DEVICES OLDPWD OMP_NUM_THREADS OMP_WAIT_POLICY
    OPENBLAS_NUM_THREADS PADDLENLP_EXT_HOME PADDLENLP_EXT_THREADS PADDLENLP_EXT_TUNE
    PADDLE_AUTO_CLUSTER PADDLE_BACKUP_ENV_PATH PADDLE_CURRENT_ENDPOINT PADDLE_DISTRI_BACKEND
    PADDLE_ELASTIC_NP PADDLE_GLOBAL_RANK PADDLE_GLOBAL_SIZE PADDLE_JOB_ID PADDLE_LOCAL_DEVICE_IDS
    PADDLE_LOCAL_RANK PADDLE_LOCAL_SIZE PADDLE_LOG_DIR PADDLE_MASTER PADDLE_NNODES PADDLE_PORT
    PADDLE_RANK_IN_NODE PADDLE_TRAINERS PADDLE_TRAINERS_NUM PADDLE_TRAINER_ENDPOINTS
    PADDLE_TRAINER_ID PADDLE_WORLD_DEVICE_IDS PATH POD_IP POD_NAME PWD PYTHONHASHSEED PYTHONHOME
    PYTHONPATH PYTHONUNBUFFERED PYTHONUTF8 SHELL SHLVL TERM TMPDIR TRAINER_PORTS_NUM TZ USER
    VIRTUAL_ENV XPU_VISIBLE_DEVICES
    """.split()  # noqa: SIM905
)
SHORTEST = 6  # letters of a value that is looked for everywhere, not only beside its name
QUOTED = rb"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
NAME = re.compile(rb"[A-Z_][A-Z0-9_]*")
PAIR = re.compile(rb"(%b)(\s*:\s*)(%b)" % (QUOTED, QUOTED), re.DOTALL)
FORMS = re.compile(  # of secrets, in whatever they stand
    rb"""(?<=://)[^\s/@'"\\]+(?=@)                # user:password@host
    |(?<=:)[^\s:/@'"\\]+(?=@)
    |(?<=bearer[ ])[^\s'"\\]+                   # what a header says
    |authorization['"]?\s*[:=][^\n\\]+
    |(?<=[?&])[^\s?=&'"\\]+=[^\s&'"\\]+        # what an address asks with
    |(?P<long>[\w+=-]{32,})""",
    re.IGNORECASE | re.VERBOSE,
)


def hide_in_files(folder: Path) -> None:
    """Overwrite the environment in the launcher's files in place: it has some of them open."""
    dumps = {*folder.glob("backup_env.*.json"), *folder.glob("envlog.*")}
    logs = {*folder.glob("default.*.log")}  # of job "default"
    if pod := os.environ.get("POD_NAME"):
        logs |= {*folder.glob(f"*.{escape(pod)}.log")}
    for path in dumps | logs:
        # Not through a link, and not where a reader would wait.
        with (
            suppress(OSError),
            open(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), "rb+") as file,
        ):
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
                continue
            os.chmod(file.fileno(), 0o600)
            text = file.read()
            file.seek(0)
            file.write(_without_variables(_without_values(text, os.environ), path in logs))


def hide(text: str) -> str:
    """Return a text without values of the environment that are not known to be harmless."""
    return _without_values(text.encode(errors="replace"), os.environ).decode(errors="replace")


def hide_forms(text: str) -> str:
    """Return a text without what has a secret's form, whatever the environment holds."""
    return _without_values(text.encode(errors="replace"), {}).decode(errors="replace")


def _stars(text: bytes) -> bytes:
    return b"*" * len(text)


def _is_harmless(name: bytes) -> bool:
    return name.decode(errors="replace") in HARMLESS


def _without_variables(text: bytes, is_log: bool) -> bytes:
    """Hide values by the names beside them: in JSON or as Python prints them, or after "="."""
    lines = text.splitlines(keepends=True)
    if not is_log and not text.startswith((b"{", b"environ(")):
        return b"".join(map(_without_variable, lines))
    # In a log, the first line holds the environment; the others, who takes part.
    return b"".join(
        PAIR.sub(_hide_pair, line) if not is_log or line.startswith(b"environ(") else line
        for line in lines
    )


def _hide_pair(found: re.Match[bytes]) -> bytes:
    name, colon, value = found.groups()
    if _is_harmless(name[1:-1]):
        return found[0]
    return name + colon + value[:1] + _stars(value[1:-1]) + value[-1:]


def _without_variable(line: bytes) -> bytes:
    content = line.rstrip(b"\r\n")
    name, equals, _ = content.partition(b"=")
    if equals and _is_harmless(name):
        return line
    # Without a name it goes on with a value.
    shown = name + equals if equals and NAME.fullmatch(name) else b""
    return shown + _stars(content[len(shown) :]) + line[len(content) :]


def _without_values(text: bytes, environment: Mapping[str, str]) -> bytes:
    """Hide values wherever they stand, and what has a secret's form."""
    values = {
        value
        for name, value in environment.items()
        if name not in HARMLESS
        and len(value) >= SHORTEST
        # A folder is no secret, and stands in every traceback.
        and not (value.startswith("/") and os.path.exists(value))
    }
    forms = {
        form.encode(errors="surrogateescape")
        for value in values
        for form in (value, json.dumps(value)[1:-1], repr(value)[1:-1])
    }
    for form in sorted(forms, key=len, reverse=True):  # a value may be part of another
        text = text.replace(form, _stars(form))
    return FORMS.sub(_hide_form, text)


def _hide_form(found: re.Match[bytes]) -> bytes:
    """Hide what was found; of long words, those that look random."""
    if word := found["long"]:
        digits = sum(letter in b"0123456789" for letter in word)
        if not digits or not word.strip(b"0123456789+=_-"):
            return word
        names = word in (word.lower(), word.upper()) and (b"_" in word or b"-" in word)
        if names and digits < 6:  # as of a file or a function
            return word
    return _stars(found[0])
