"""In the launcher's files only what is known to be harmless stays legible."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from paddlenlp_ext.process import launcher, redaction

ROOT = Path(__file__).parents[2]
HARMLESS = {"PATH": "/usr/bin:/bin", "HOME": "/home/a", "PADDLE_TRAINER_ID": "3", "LANG": "C"}
SECRETS = {
    # Names that look like those of secrets, and that do not.
    "DATABASE_URL": "postgres://amy:sparrow77@db.example/x",
    "OPENAI_APIKEY": "sk-ab12cd34",
    "SSH_PASSPHRASE": "correct horse battery",
    "MY_PWD": "hunter2",
    "LOGIN_COOKIE": "sid=8e1f",
    "MYSQL_PASS": "pässwört",
    "SLACK_WEBHOOK_URL": "https://hooks.example/T00/B11/zzz",
    "SENTRY_DSN": "https://0a1b2c3d@o1.example/42",
    "PIN": "4711",
    "X": "7",
    "lowercase": "whisper it",
    "path": "not the PATH",
    "HOMEPAGE": "also not HOME",
    "PADDLE_ANYTHING": "new in some version",
    "BASH_FUNC_f%%": "() {  echo silent\n  }",
    "PEM": "-----BEGIN-----\nMIIEabc=\nPATH=in the middle\n-----END-----",
    "ODD": "a\"b'c\\d\te=f, 'g': \"h\"",
    "ONE_QUOTE": "it's",
}
# What nobody may read, even as the value of a harmless variable.
FORMS = [
    "https://amy:sparrow77@mirror.example/simple",
    "amy:sparrow77@10.0.0.1:8080",
    "Bearer abc.def-ghi",
    "hf_" + "aB3" * 12,
    "0123456789abcdef" * 2,
    "550e8400-e29b-41d4-a716-446655440000",
    "https://a.example/b?sig=abc123&user=amy",
]


def dumps(variables: dict[str, str]) -> dict[str, str]:
    """What the launcher writes of an environment."""
    return {
        "backup_env.3.json": json.dumps(variables, indent=4, sort_keys=True),
        "envlog.3": "".join(f"{name}={value}\n" for name, value in sorted(variables.items())),
        "default.qwerty.log": f"environ({variables!r})\n[{{'name': 'qwerty', 'rank': -1}}]\n",
    }


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PADDLE_LOG_DIR", str(tmp_path))
    monkeypatch.setenv("PADDLE_TRAINER_ID", "3")
    return tmp_path


@pytest.mark.parametrize("known", [True, False], ids=["own environment", "another's"])
def test_only_harmless_variables_stay_legible(folder, monkeypatch, known):
    for name, value in SECRETS.items() if known else ():
        monkeypatch.setenv(name, value)
    for name, text in dumps(SECRETS | HARMLESS).items():
        (folder / name).write_text(text, encoding="utf-8")
    launcher.begin()
    kept = json.loads((folder / "backup_env.3.json").read_text())
    log = (folder / "default.qwerty.log").read_text(encoding="utf-8")
    printed = ast.literal_eval(log.splitlines()[0].removeprefix("environ(").removesuffix(")"))
    for found in (kept, printed):
        assert {name: found[name] for name in HARMLESS} == HARMLESS
        assert all(not set(found[name]) - {"*"} for name in SECRETS)
        assert found.keys() == SECRETS.keys() | HARMLESS.keys()
    assert log.splitlines()[1] == "[{'name': 'qwerty', 'rank': -1}]"
    lines = (folder / "envlog.3").read_text(encoding="utf-8").splitlines()
    assert {f"{name}={value}" for name, value in HARMLESS.items()} <= set(lines)
    for name, value in SECRETS.items():
        first, *others = value.splitlines()
        assert f"{name}={first}" not in lines
        if known or name != "PEM":  # of which a line looks like a harmless variable
            assert not set(others) & set(lines)


@pytest.mark.parametrize("secret", FORMS)
def test_secrets_in_harmless_variables_are_found_by_their_form(folder, secret):
    for name, text in dumps({"PATH": f"/usr/bin:{secret}", "LANG": secret}).items():
        (folder / name).write_text(text, encoding="utf-8")
    launcher.begin()
    launcher.report_failure(RuntimeError(f"cannot reach {secret} now"))
    for path in folder.iterdir():
        for part in ("sparrow77", "abc.def", "aB3aB3", "0123456789", "550e8400", "abc123"):
            assert part not in path.read_text(encoding="utf-8")
    assert json.loads((folder / "backup_env.3.json").read_text())["PATH"].startswith("/usr/bin:")


def test_values_of_the_environment_stand_in_no_report(folder, monkeypatch):
    values = [value for value in SECRETS.values() if len(value) >= redaction.SHORTEST]
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    try:
        raise KeyError(*values)
    except KeyError as error:
        error.add_note("\n".join(values))
        launcher.report_failure(error)
    found = json.loads((folder / launcher.FAILED).read_text())
    said = found["reason"] + "".join(found["traceback"])
    assert not [value for value in values if value in said or repr(value)[1:-1] in said]
    assert f'File "{__file__}"' in said
    assert (folder / launcher.FAILED).stat().st_mode & 0o777 == 0o600


def test_what_is_not_the_launchers_stays_as_it_is(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "mine"
    outside.write_text("PIN=4711\n")
    (folder / "envlog.0").symlink_to(outside)
    os.link(outside, folder / "envlog.1")
    os.mkfifo(folder / "envlog.2")
    (folder / "workerlog.0").write_text("PIN=4711\n")
    (folder / "notes.log").write_text("PIN=4711\n")
    launcher.begin()
    assert outside.read_text() == "PIN=4711\n"
    assert (
        (folder / "workerlog.0").read_text() == (folder / "notes.log").read_text() == "PIN=4711\n"
    )


@pytest.mark.parametrize("letter", ["a", ":", "@", "?", "'", '"', "\\", "a1"])
def test_time_is_linear_in_a_value(letter):
    began = time.monotonic()
    redaction.hide(f"it is {letter * 200_000}")
    assert time.monotonic() - began < 2


def test_the_launchers_own_files_hold_no_secret(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("from paddlenlp_ext.cli import program\nprogram.run(lambda: None)\n")
    command = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--job_id", "other"]
    done = subprocess.run(
        [sys.executable, *command, str(program)],
        cwd=tmp_path,
        env=os.environ | SECRETS | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    written = list((tmp_path / "log").iterdir())
    assert {path.name for path in written} >= {"envlog.0", "envlog.1", "backup_env.1.json"}
    for path in written:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        for value in SECRETS.values():
            for part in filter(lambda part: len(part) > 3, value.splitlines()):
                forms = {part, json.dumps(part)[1:-1], repr(part)[1:-1]}
                assert not [form for form in forms if form in text], path
        if path.name.startswith("envlog"):
            assert "PADDLE_TRAINERS_NUM=2" in text
