from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.sources import located, resolve
from paddlenlp_ext.presets.families import find_preset
from tests.files.server import Server, serving

TOKEN = "hf_MARKER"
# Asks for files in a process of its own, whose hub and preset are those of the test's server:
# huggingface_hub reads its settings when it is imported.
ASK = """
import json, os, sys
from paddlenlp_ext.errors import WeightsError
from paddlenlp_ext.files.sources import resolve
from paddlenlp_ext.presets import bert
from paddlenlp_ext.presets.preset import Preset
address, *asked = json.loads(sys.argv[1])
if address:
    files = {name: f"{address}/paddle/{name}" for name in ("model_state.pdparams", "vocab.txt")}
    bert.ROWS["some-bert"] = Preset("BertTokenizer", {}, {}, "org/bert", files)
answers = []
for function, source, *names in asked:
    try:
        answers.append(str(getattr(resolve(source), function)(*names)))
    except WeightsError as error:
        answers.append(f"error: {error}")
print(json.dumps(answers))
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


def environment(folder: Path, endpoint: str, **others: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    return kept | {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
        "PADDLENLP_EXT_HOME": str(folder / "own"),
        **others,
    }


def ask(variables: dict[str, str], address: str, *asked: tuple[str, ...]) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps([address, *asked])],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return json.loads(done.stdout)


# ---- folders and names: no network -------------------------------------------------------------


@pytest.fixture
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something tried to reach the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.mark.usefixtures("_no_sockets")
def test_a_folder_wins_and_the_order_of_candidates_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("bert-base-uncased", "google-bert/bert-base-uncased"):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("b.txt", "c.txt"):
            (tmp_path / folder / name).touch()
        source = resolve(folder)
        assert source.fetch("a.txt", "c.txt", "b.txt") == Path(folder) / "c.txt"
        assert source.find("a.txt") is None
        with pytest.raises(WeightsError, match=r"expected a\.txt or d\.txt in this folder"):
            source.fetch("a.txt", "d.txt")


@pytest.mark.usefixtures("_no_sockets")
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("bert-base-uncasd", "did you mean 'bert-base-uncased'"),
        ("convbert-smal", "did you mean 'convbert-small'"),
        ("qqqqqqqq", "known: bert-base-uncased, bert-large-uncased"),
        ("./nowhere", "there is no such folder"),
        ("/outputs/model", "there is no such folder"),
        ("a/b/c", "there is no such folder"),
        ("", "known: "),
    ],
)
def test_unknown_names(source: str, said: str) -> None:
    with pytest.raises(WeightsError, match=said):
        resolve(source)


@pytest.mark.usefixtures("_no_sockets")
def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").touch()
    with pytest.raises(WeightsError, match="is a file; expected the folder"):
        resolve(tmp_path / "vocab.txt")


@pytest.mark.usefixtures("_no_sockets")
@pytest.mark.parametrize("source", ["bert-base-uncased", "outputs/model_100"])
def test_offline_says_what_was_looked_for_and_where_to_put_it(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError) as caught:
        resolve(source).fetch("model.safetensors", "model_state.pdparams")
    said = str(caught.value)
    assert "no model.safetensors or model_state.pdparams could be had" in said
    assert "offline mode is on" in said
    assert "into a folder by hand" in said
    assert said.endswith("give the folder in place of the name")  # scripts name it by other flags
    assert ("there is no such folder here" in said) is (find_preset(source) is None)
    assert "\n" not in said
    assert resolve(source).find("tokenizer_config.json") is None


@pytest.mark.usefixtures("_no_sockets")
def test_files_put_into_the_cache_by_hand_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path))
    path = tmp_path / "models" / "uer" / "chinese-roberta-tiny" / "vocab.txt"
    path.parent.mkdir(parents=True)
    path.touch()
    assert resolve("uer/chinese-roberta-tiny").fetch("vocab.txt") == path


@pytest.mark.usefixtures("_no_sockets")
def test_subfolder_and_cache_say_where_files_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    places = {
        "folder/inner": ("folder", "inner"),
        "models/uer/chinese-roberta-tiny": ("uer/chinese-roberta-tiny", ""),
        "models/uer/chinese-roberta-tiny/inner": ("uer/chinese-roberta-tiny", "inner"),
        "models--some--model/snapshots/1/inner": ("some/model", "inner"),
    }
    monkeypatch.chdir(tmp_path)
    for place, (name, subfolder) in places.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "vocab.txt").write_text(place)
        if name == "some/model":
            (tmp_path / "models--some--model/refs").mkdir()
            (tmp_path / "models--some--model/refs/main").write_text("1")
        given = {"subfolder": subfolder, "cache_dir": str(tmp_path), "num_labels": 3}
        source, left = located(name, given)
        assert source.fetch("vocab.txt").read_text() == place
        assert left == {"num_labels": 3}
        assert located(source, left) == (source, left)
    assert located("folder", {"subfolder": None})[0].find("vocab.txt") is None
    with pytest.raises(WeightsError, match=r"^folder/other: there is no such folder$"):
        located("folder", {"subfolder": "other"})
    with pytest.raises(WeightsError, match=r"no vocab\.txt could be had"):
        located("some/model", {"cache_dir": tmp_path})[0].fetch("vocab.txt")


def test_finding_files_imports_nothing_slow() -> None:
    code = "import sys, paddlenlp_ext.files.sources; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---- downloads, from this machine --------------------------------------------------------------


def test_a_repository_of_the_hub(server: Server, tmp_path: Path) -> None:
    server.files["/org/bert/resolve/main/model.safetensors"] = b"weights"
    variables = environment(tmp_path, server.address)
    asked = (
        ("fetch", "org/bert", "model_state.pdparams", "model.safetensors"),
        ("find", "org/bert", "vocab.txt"),
        ("fetch", "org/bert", "vocab.txt"),
    )
    found, nothing, error = ask(variables, "", *asked)
    assert Path(found).read_bytes() == b"weights"
    assert nothing == "None"
    assert "it has no such file" in error
    assert f"{server.address}/org/bert" in error
    # Then from the cache, with no connection.
    asked_before = len(server.asked)
    variables["HF_HUB_OFFLINE"] = "1"
    again, _, error = ask(variables, "", *asked)
    assert again == found
    assert "offline mode is on" in error
    assert len(server.asked) == asked_before


def test_a_preset_comes_from_the_hub_first(server: Server, tmp_path: Path) -> None:
    server.files["/org/bert/resolve/main/vocab.txt"] = b"of the hub"
    server.files["/paddle/vocab.txt"] = b"of paddle"
    (found,) = ask(
        environment(tmp_path, server.address), server.address, ("fetch", "some-bert", "vocab.txt")
    )
    assert Path(found).read_bytes() == b"of the hub"


@pytest.mark.parametrize("hub", ["without the file", "without the repository", "ill", "away"])
def test_a_preset_comes_from_paddle_if_the_hub_has_it_not(
    hub: str, server: Server, tmp_path: Path
) -> None:
    server.files["/paddle/model_state.pdparams"] = b"of paddle"
    names = ("model.safetensors", "model_state.pdparams", "tokenizer_config.json")
    refusals = {"without the repository": (404, {"X-Error-Code": "RepoNotFound"}), "ill": (500, {})}
    if hub in refusals:
        server.refusals = {f"/org/bert/resolve/main/{name}": refusals[hub] for name in names}
        server.refusals["/"] = (refusals[hub][0], {})
    endpoint = "http://127.0.0.1:9" if hub == "away" else server.address
    found, nothing, error = ask(
        environment(tmp_path, endpoint),
        server.address,
        ("fetch", "some-bert", "model.safetensors", "model_state.pdparams"),
        ("find", "some-bert", "tokenizer_config.json"),
        ("fetch", "some-bert", "vocab.txt"),
    )
    assert Path(found) == tmp_path / "own" / "models" / "some-bert" / "model_state.pdparams"
    assert Path(found).read_bytes() == b"of paddle"
    assert nothing == "None"
    assert f"{endpoint}/org/bert (" in error
    assert f"Paddle's hosting ({server.address}/paddle/vocab.txt: " in error
    # The token is for the hub alone.
    for _, path, headers in server.asked:
        assert not path.startswith("/paddle") or TOKEN not in str(headers)


def test_nobody_knows_what_an_absent_hub_has(tmp_path: Path) -> None:
    variables = environment(tmp_path, "http://127.0.0.1:9")
    (error,) = ask(variables, "", ("find", "org/bert", "tokenizer_config.json"))
    assert error.startswith(
        "error: org/bert: there is no such folder here, and no tokenizer_config"
    )
    assert "no connection" in error


def test_eight_processes_download_once(server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    server.files["/paddle/model_state.pdparams"] = content
    variables = environment(tmp_path, "http://127.0.0.1:9")
    arguments = [server.address, ("fetch", "some-bert", "model_state.pdparams")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ASK, json.dumps(arguments)],
            env=variables,
            stdout=subprocess.PIPE,
        )
        for _ in range(8)
    ]
    found = {process.communicate(timeout=100)[0] for process in processes}
    assert len(found) == 1
    (path,) = json.loads(found.pop())
    assert Path(path).read_bytes() == content
    assert len(server.paths()) == 1


def test_workers_of_the_launcher_use_its_proxy(server: Server, tmp_path: Path) -> None:
    # A proxy is asked for whole addresses; no_proxy must not exempt the one that is asked for.
    server.files["http://hub.invalid/org/bert/resolve/main/vocab.txt"] = b"through the proxy"
    variables = environment(
        tmp_path, "http://hub.invalid", http_proxy_original=server.address, no_proxy=""
    )
    (found,) = ask(variables, "", ("fetch", "org/bert", "vocab.txt"))
    assert Path(found).read_bytes() == b"through the proxy"


def test_a_source_asks_once(server: Server, tmp_path: Path) -> None:
    server.files["/org/bert/resolve/main/vocab.txt"] = b"of the hub"
    code = (
        "from paddlenlp_ext.files.sources import resolve; source = resolve('org/bert');"
        "assert resolve(source) is source; assert str(source) == 'org/bert';"
        "print(source.fetch('vocab.txt') == source.find('vocab.txt'))"
    )
    variables = environment(tmp_path, server.address)
    done = subprocess.run(
        [sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert len(server.paths("HEAD")) == 1
    assert len(server.paths("GET")) == 1


@pytest.mark.usefixtures("_no_sockets")
def test_what_lies_here_goes_before_a_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rembert").mkdir()
    (tmp_path / "ernie-1.0").touch()
    assert resolve("rembert").preset is None
    assert resolve("ernie-2.0-base-en").preset is not None
    with pytest.raises(WeightsError, match=r"^ernie-1\.0: is a file; expected the folder"):
        resolve("ernie-1.0")
