"""A server decides no path, no size and no time, whatever it answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from huggingface_hub import try_to_load_from_cache

from paddlenlp_ext.errors import UserError
from paddlenlp_ext.files import download as downloads
from paddlenlp_ext.files import hub, web
from paddlenlp_ext.files.download import download
from paddlenlp_ext.files.sources import Source, resolve
from paddlenlp_ext.files.web import DownloadError
from paddlenlp_ext.presets import bert
from paddlenlp_ext.presets.preset import Preset

COMMIT, TAG = "a" * 40, "b" * 40
BODY = b'{"model_type": "bert"}'
Answer = Callable[[socket.socket, str], None]  # what it sends, given the head of the request


@dataclass
class Mirror:
    """Answers with any bytes."""

    address: str
    answer: Answer
    heads: list[str] = field(default_factory=list)


def reply(
    headers: dict[str, str] | None = None, body: bytes = BODY, status: str = "200 OK"
) -> Answer:
    """A file of a hub, with other headers; an empty one is left out."""
    given = {"ETag": f'"{TAG}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(body))}
    given |= headers or {}

    def answer(connection: socket.socket, head: str) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        connection.sendall(
            f"HTTP/1.1 {status}\r\n{lines}Connection: close\r\n\r\n".encode("latin-1")
        )
        if not head.startswith("HEAD"):
            connection.sendall(body)

    return answer


def only_get(answer: Answer) -> Answer:
    """Answer HEAD as a hub does, and GET otherwise."""

    def either(connection: socket.socket, head: str) -> None:
        (reply({"Content-Length": ""}) if head.startswith("HEAD") else answer)(connection, head)

    return either


def repeated(first: bytes, again: bytes, pause: float = 0) -> Answer:
    """Send something, and then something else without an end."""

    def answer(connection: socket.socket, _: str) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(again)
            time.sleep(pause)

    return answer


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Mirror]:
    listener = socket.create_server(("127.0.0.1", 0))
    state = Mirror(f"http://127.0.0.1:{listener.getsockname()[1]}", reply())

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head and (piece := connection.recv(65_536)):
                head += piece
            state.heads.append(head.decode())
            state.answer(connection, head.decode())

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", state.address)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "0")
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_MARKER")
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path / "own"))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "deep/er/hub"))
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    monkeypatch.chdir(tmp_path / "deep")
    yield state
    listener.close()


@pytest.fixture
def preset(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A preset that lies on Paddle's hosting alone."""
    files = {name: f"{mirror.address}/paddle/{name}" for name in ("vocab.txt", "model.pdparams")}
    monkeypatch.setitem(bert.ROWS, "some-bert", Preset("BertTokenizer", {}, {}, "", files))
    return resolve("some-bert")


def outside(tmp_path: Path) -> set[str]:
    """All that lies in no cache."""
    caches = (tmp_path / "deep/er/hub", tmp_path / "own")
    return {
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*")
        if not any(path.is_relative_to(cache) for cache in caches)
    }


def blobs(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"]


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    said = str(caught.value)
    assert said.isprintable()
    return said


def test_a_mirror_that_answers_well_is_used_and_then_the_cache(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = resolve("some/model").fetch("config.json")
    assert found.read_bytes() == BODY
    assert found == tmp_path / f"deep/er/hub/models--some--model/snapshots/{COMMIT}/config.json"
    assert found.resolve().name == TAG
    assert "Authorization: Bearer hf_MARKER" in mirror.heads[0]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert resolve("some/model").fetch("config.json") == found
    assert outside(tmp_path) == {"deep", "deep/er"}
    others = try_to_load_from_cache("some/model", "config.json", tmp_path / "deep/er/hub")
    assert others == str(found)  # for transformers, too


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_repository_that_was_renamed_is_found(mirror: Mirror, status: str) -> None:
    def answer(connection: socket.socket, head: str) -> None:
        moved = reply({"Location": "/new/model", "X-Repo-Commit": "", "ETag": ""}, b"", status)
        (moved if "/some/model" in head else reply())(connection, head)

    mirror.answer = answer
    assert resolve("some/model").fetch("config.json").read_bytes() == BODY
    assert [head.split()[0] for head in mirror.heads] == ["HEAD", "HEAD", "GET", "GET"]
    assert all("hf_MARKER" in head for head in mirror.heads)


ESCAPES = (
    "../../../../planted",
    "/../../planted",
    "..",
    ".",
    "sub/tag",
    "..\\..\\planted",
    "~",
    "c" * 39,
    "c" * 65,
    "G" * 40,
    TAG + "/../../../x",
    TAG + "\u00b2",
)


@pytest.mark.parametrize("value", [*ESCAPES, "/tmp/planted-by-a-server"])
@pytest.mark.parametrize("header", ["ETag", "X-Linked-Etag", "X-Repo-Commit"])
@pytest.mark.parametrize("status", ["200 OK", "302 Found"])
def test_a_header_becomes_no_path(
    mirror: Mirror, tmp_path: Path, header: str, value: str, status: str
) -> None:
    given = {
        header: value if "Commit" in header else f'"{value}"',
        "Location": "https://x.invalid/f",
    }
    mirror.answer = reply(given, status=status)
    said = refused(lambda: resolve("some/model").fetch("config.json"))
    assert "the answer is refused: expected 40" in said
    assert outside(tmp_path) == {"deep", "deep/er"}
    assert not blobs(tmp_path)
    assert not Path("/tmp/planted-by-a-server").exists()


@pytest.mark.parametrize("header", ["ETag", "X-Repo-Commit"])
def test_an_answer_without_them_is_refused(mirror: Mirror, header: str, tmp_path: Path) -> None:
    mirror.answer = reply({header: ""})
    assert "expected 40" in refused(lambda: resolve("some/model").fetch("config.json"))
    assert not blobs(tmp_path)


def test_an_absent_file_s_commit_becomes_no_path(mirror: Mirror, tmp_path: Path) -> None:
    given = {"X-Repo-Commit": "../../../../planted", "X-Error-Code": "EntryNotFound"}
    mirror.answer = reply(given, status="404 Not Found")
    assert resolve("some/model").find("config.json") is None
    assert not [*tmp_path.rglob("planted*")]


def test_the_second_answer_may_be_another_one(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answer = only_get(reply({"ETag": '"../../../../planted"', "X-Repo-Commit": "../x"}))
    assert resolve("some/model").fetch("config.json").read_bytes() == BODY
    assert outside(tmp_path) == {"deep", "deep/er"}


@pytest.mark.parametrize(
    "name", ["../x", "/etc/hostname", "a/../../x", "..", "", "a\\..\\x", "a\nb"]
)
def test_a_name_leads_nowhere_else(mirror: Mirror, tmp_path: Path, name: str) -> None:
    assert "is no name of a file" in refused(lambda: hub.fetch("some/model", name))
    for source in ("some/model", str(tmp_path), "bert-base-uncased"):
        assert "is no name of a file" in refused(lambda one=source: resolve(one).fetch(name))
    assert not mirror.heads


@pytest.mark.parametrize(
    "tag", ["W/" + TAG, f'W/"{TAG}"', f'"{TAG}"', TAG, '"' + "0123456789abcdef" * 4 + '"']
)
def test_tags_as_hubs_and_mirrors_write_them(mirror: Mirror, tag: str) -> None:
    mirror.answer = reply({"ETag": tag})
    assert resolve("some/model").fetch("vocab.txt").read_bytes() == BODY


# ---- sizes and times ---------------------------------------------------------------------------

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
ENDLESS = {
    "chunks": repeated(CHUNKED, CHUNK),
    "a body": repeated(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536),
    "headers": repeated(b"HTTP/1.1 200 OK\r\n", b"X-Y: " + b"x" * 60_000 + b"\r\n"),
    "a line": repeated(b"HTTP/1.1 200 ", b"x" * 60_000),
    "answers": repeated(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 999),
    "a redirection": repeated(
        b"HTTP/1.1 302 Found\r\nLocation: /else\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNK
    ),
    "trailers": repeated(CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Y: x\r\n" * 9999),
    "tiny chunks": repeated(CHUNKED, b"1;" + b"y" * 9000 + b"\r\nx\r\n"),
    "redirections": reply({"Location": "/again"}, b"", "302 Found"),
}


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("place", ["hub", "hosting"])
def test_an_answer_without_an_end_ends(
    mirror: Mirror,
    preset: Source,
    tmp_path: Path,
    kind: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "SMALL", 1 << 20)
    mirror.answer = only_get(ENDLESS[kind]) if place == "hub" else ENDLESS[kind]
    source = resolve("some/model") if place == "hub" else preset
    began = time.monotonic()
    refused(lambda: source.fetch("vocab.txt"))
    assert time.monotonic() - began < 10
    assert not blobs(tmp_path)


@pytest.mark.parametrize("kind", ["headers", "a line", "answers"])
def test_what_is_asked_beforehand_ends_too(mirror: Mirror, kind: str) -> None:
    mirror.answer = ENDLESS[kind]
    assert "no connection" in refused(lambda: resolve("some/model").fetch("config.json"))


SLOW = {
    "chunks": repeated(CHUNKED, b"1\r\nx\r\n", 0.02),
    "a body": repeated(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x", 0.02),
    "headers": repeated(b"HTTP/1.1 200 OK\r\nX-Y: ", b"x", 0.02),
}


@pytest.mark.parametrize("kind", SLOW)
@pytest.mark.parametrize("place", ["hub", "hosting"])
def test_an_answer_that_drips_ends(
    mirror: Mirror,
    preset: Source,
    tmp_path: Path,
    kind: str,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    mirror.answer = only_get(SLOW[kind]) if place == "hub" else SLOW[kind]
    source = resolve("some/model") if place == "hub" else preset
    began = time.monotonic()
    said = refused(lambda: source.fetch("vocab.txt"))
    assert "fewer than 4,096 bytes a second" in said
    assert time.monotonic() - began < 5
    assert not blobs(tmp_path)


def test_a_mirror_that_drips_is_waited_for_once(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.3)
    mirror.answer = only_get(SLOW["chunks"])
    names = [f"config{number}.json" for number in range(20)]
    began = time.monotonic()
    assert "fewer than 4,096 bytes" in refused(lambda: resolve("some/model").fetch(*names))
    assert time.monotonic() - began < 5
    assert len(mirror.heads) == 2


def test_weights_that_drip_end_after_some_attempts(
    mirror: Mirror, preset: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    mirror.answer = repeated(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n", b"x", 0.02)
    assert "5 times without progress" in refused(lambda: preset.fetch("model.pdparams"))


def test_a_small_file_has_its_time(
    mirror: Mirror, preset: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "SMALL_TIME", 0.3)
    mirror.answer = repeated(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n", 0.01)
    assert "did not come within" in refused(lambda: preset.fetch("vocab.txt"))


@pytest.mark.parametrize("size", [str(65 << 20), str(10**12), "9" * 15])
def test_a_small_file_is_small(mirror: Mirror, preset: Source, size: str) -> None:
    mirror.answer = reply({"Content-Length": size})
    assert "expected at most 67,108,864 bytes" in refused(lambda: preset.fetch("vocab.txt"))
    for header in ("X-Linked-Size", "Content-Length"):
        mirror.answer = reply({header: size})
        said = refused(lambda: resolve("some/model").fetch("config.json"))
        assert "expected at most 67,108,864 bytes" in said


@pytest.mark.parametrize("size", ["\u00b2", "-1", "1e3", "0x10", "9" * 5000, "\u00b9\u00b2"])
@pytest.mark.parametrize("header", ["X-Linked-Size", "Content-Length"])
def test_a_length_that_is_none_is_no_traceback(mirror: Mirror, header: str, size: str) -> None:
    mirror.answer = reply({header: size})
    with suppress(UserError):
        assert resolve("some/model").fetch("config.json").read_bytes() == BODY


def test_weights_of_unknown_length_are_small(
    mirror: Mirror, preset: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "SMALL", 1 << 20)
    mirror.answer = ENDLESS["chunks"]
    said = refused(lambda: preset.fetch("model.pdparams"))
    assert "expected at most 1,048,576 bytes, the server sends more" in said


@pytest.mark.parametrize(
    "headers",
    [
        {"ETag": '"a\r\n b"'},  # a header in two lines, which no request may have
        {"ETag": "\u00e9\u0085"},
        {"Last-Modified": "x" * 5000, "ETag": ""},
        {"Content-Range": "bytes 0-/" + "9" * 5000},
    ],
)
def test_odd_headers_of_a_transfer_that_is_cut(
    mirror: Mirror, preset: Source, headers: dict[str, str]
) -> None:
    mirror.answer = reply(headers | {"Content-Length": "100"})
    refused(lambda: preset.fetch("model.pdparams"))


@pytest.mark.parametrize(
    "address",
    [
        "file:///etc/hostname",
        "ftp://x.invalid/f",
        "http://x.invalid/f",
        "http://[",
        "//x.invalid/f",
        "http://\u00ff\u00fe/",
        "javascript:1",
    ],
)
def test_a_redirection_leads_to_https_alone(mirror: Mirror, preset: Source, address: str) -> None:
    mirror.answer = reply({"Location": address}, status="302 Found")
    refused(lambda: preset.fetch("vocab.txt"))


def test_what_a_server_says_is_one_plain_line(mirror: Mirror, preset: Source) -> None:
    mirror.answer = reply(status="403 \x1b[31mred\x07 " + "x" * 5000)
    assert len(refused(lambda: preset.fetch("vocab.txt"))) < 900


def test_a_redirection_to_this_machine_is_refused_to_others(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", mirror.address)
    monkeypatch.setenv("no_proxy", "")
    mirror.answer = only_get(reply({"Location": "http://127.0.0.1:1/admin"}, status="302 Found"))
    assert "redirected to this machine" in refused(lambda: resolve("o/m").fetch("config.json"))


@pytest.mark.parametrize("same", [True, False])
def test_the_token_stays_with_its_server(mirror: Mirror, same: bool) -> None:
    other = mirror.address.replace("127.0.0.1", "localhost")
    target = f"{mirror.address if same else other}/elsewhere"
    elsewhere = reply()

    def answer(connection: socket.socket, head: str) -> None:
        to = reply({"Location": target}, status="302 Found")
        (elsewhere if "/elsewhere" in head else to)(connection, head)

    mirror.answer = answer
    assert resolve("some/model").fetch("config.json").read_bytes() == BODY
    (last,) = (head for head in mirror.heads if "GET /elsewhere" in head)
    assert ("hf_MARKER" in last) == same


# ---- the cache ---------------------------------------------------------------------------------


def storage(tmp_path: Path) -> Path:
    return tmp_path / "deep/er/hub/models--some--model"


@pytest.mark.parametrize("place", ["blobs", f"snapshots/{COMMIT}", "refs", "snapshots", "."])
def test_a_link_in_the_cache_is_not_written_through(
    mirror: Mirror, tmp_path: Path, place: str
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    link = storage(tmp_path) / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(mine, target_is_directory=True)
    assert "is not followed" in refused(lambda: resolve("some/model").fetch("config.json"))
    assert not [*mine.iterdir()]


@pytest.mark.parametrize("name", ["blobs/" + TAG + ".part", "refs/main", "blobs/" + TAG + ".lock"])
def test_a_link_in_place_of_a_file_is_not_written_through(
    mirror: Mirror, tmp_path: Path, name: str
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    link = storage(tmp_path) / name
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    with suppress(UserError):
        resolve("some/model").fetch("config.json")
    assert mine.read_text() == "mine"


def test_a_link_out_of_the_cache_is_not_read(mirror: Mirror, tmp_path: Path) -> None:
    found = resolve("some/model").fetch("config.json")
    (tmp_path / "mine.json").write_text("{}")
    found.unlink()
    found.symlink_to(tmp_path / "mine.json")
    assert "is not followed" in refused(lambda: resolve("some/model").fetch("config.json"))
    assert "is not followed" in refused(lambda: hub.cached("some/model", "config.json"))


@pytest.mark.parametrize("ref", ["../../../../..", "/etc", "a/b", "..", "", "x" * 5000, "\x00"])
def test_a_ref_leads_nowhere(mirror: Mirror, tmp_path: Path, ref: str) -> None:
    resolve("some/model").fetch("config.json")
    (storage(tmp_path) / "refs/main").write_text(ref)
    assert hub.cached("some/model", "config.json") is None


@pytest.mark.parametrize("place", ["deep/er/hub", "deep/er/hub/models--some--model"])
def test_a_cache_of_everybody_is_not_used(mirror: Mirror, tmp_path: Path, place: str) -> None:
    resolve("some/model").fetch("config.json")
    (tmp_path / place).chmod(0o777)
    assert "HF_HOME" in refused(lambda: resolve("some/model").fetch("config.json"))
    assert "HF_HOME" in refused(lambda: hub.cached("some/model", "config.json"))


def test_without_a_home_folder_the_hub_s_cache_is_asked_for(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "~/.cache/huggingface/hub")
    monkeypatch.setattr(Path, "expanduser", nobody)
    assert "no home folder; set HF_HOME" in refused(lambda: resolve("o/m").fetch("config.json"))
    assert not Path("~").exists()


def test_archives_end_as_well(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answer = ENDLESS["chunks"]
    url = f"{mirror.address}/a.zip"
    for facts in ({"size": 100}, {}, {"sha256": "0" * 64}, {"sha256": "0" * 64, "size": 100}):
        with pytest.raises(DownloadError, match="the server sends more"):
            download(url, tmp_path / "own" / "a.zip", **facts)
    assert web.TIMEOUT == 30
