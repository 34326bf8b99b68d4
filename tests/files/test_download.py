"""Downloads from a server of this machine that cuts, stalls, lies and redirects."""

import errno
import os
import subprocess
import sys
import threading
import time

import pytest

from paddlenlp_ext.files import download as module
from paddlenlp_ext.files.download import cache_folder, download
from paddlenlp_ext.files.web import DownloadError, NotThereError, launcher_proxies
from tests.files.faulty_server import DATA, SHA256, Handler, Server


@pytest.fixture
def server():
    server = Server()
    server.stall.set()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stall.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _online(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(module, "PAUSE", 0.001)


def leftovers(path):
    """Everything beside the file but its lock."""
    return sorted(
        one.name for one in path.parent.iterdir() if one != path and one.suffix != ".lock"
    )


def test_a_file_arrives_once_and_is_not_fetched_again(server, tmp_path):
    path = tmp_path / "new" / "folder" / "file.zip"
    for _ in range(2):
        download(server.url, path, sha256=SHA256, size=len(DATA))
    assert path.read_bytes() == DATA
    assert server.requests == [None]
    assert leftovers(path) == []


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_transfer_that_is_cut_goes_on_where_it_was(server, tmp_path, sha256):
    server.cut_after = [100_000, 0, 400_000]
    download(server.url, tmp_path / "f", sha256=sha256)
    assert (tmp_path / "f").read_bytes() == DATA
    assert server.requests == [None, "bytes=100000-", "bytes=100000-", "bytes=500000-"]


def test_a_server_without_ranges_sends_the_file_anew(server, tmp_path):
    server.ranges = False
    server.cut_after = [100_000]
    download(server.url, tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA


def test_a_file_that_changed_meanwhile_is_not_pieced_together(server, tmp_path):
    server.versions = ['"1"', '"2"']
    server.cut_after = [100_000]
    download(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert server.requests == [None, "bytes=100000-"]


@pytest.mark.parametrize("version", [None, 'W/"1"'])
def test_without_digest_and_version_nothing_is_continued(server, tmp_path, version):
    server.versions = [version]
    server.cut_after = [100_000]
    download(server.url, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == DATA
    assert server.requests == [None, None]


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_server_in_trouble_is_asked_again(server, tmp_path, status):
    server.answers = [status] * 3
    download(server.url, tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA


def test_after_five_attempts_without_progress_it_gives_up_and_keeps_the_part(server, tmp_path):
    server.cut_after = [100_000, *[0] * 4]
    with pytest.raises(DownloadError, match=r"ended after 100,000 of 1,280,000 bytes, 5 times"):
        download(server.url, tmp_path / "f", sha256=SHA256)
    assert leftovers(tmp_path / "f") == ["f.part"]
    assert len(server.requests) == 5
    download(server.url, tmp_path / "f", sha256=SHA256)
    assert server.requests[-1] == "bytes=100000-"
    assert (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize(("status", "error"), [(404, NotThereError), (403, DownloadError)])
def test_a_refusal_is_final(server, tmp_path, status, error):
    server.answers = [status]
    with pytest.raises(error, match=f"the server answered {status}"):
        download(server.url, tmp_path / "f")
    assert len(server.requests) == 1
    assert not (tmp_path / "f").exists()


def test_a_stalled_transfer_counts_as_cut(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "TIMEOUT", 0.2)
    server.stall.clear()
    server.cut_after = [300_000]
    download(server.url, tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA
    assert server.requests == [None, "bytes=300000-"]


def test_another_file_than_expected_gets_no_name(server, tmp_path):
    server.data = b"<html>please log in</html>" * 49_231
    with pytest.raises(DownloadError, match=f"expected SHA-256 {SHA256}, got [0-9a-f]{{64}}"):
        download(server.url, tmp_path / "f", sha256=SHA256)
    with pytest.raises(DownloadError, match="expected 1,280,000 bytes, the server has 1,280,006"):
        download(server.url, tmp_path / "f", size=len(DATA))
    assert list(tmp_path.glob("f*")) == [tmp_path / "f.lock"]


def test_a_wrong_part_of_an_earlier_process_is_thrown_away(server, tmp_path):
    for part in (b"wrong", DATA + b"too long", b"x" * len(DATA)):
        (tmp_path / "f.part").write_bytes(part)
        download(server.url, tmp_path / "f", sha256=SHA256, size=len(DATA))
        assert (tmp_path / "f").read_bytes() == DATA
        (tmp_path / "f").unlink()


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_part_that_no_digest_could_check_is_not_used(server, tmp_path, size):
    (tmp_path / "f.part").write_bytes(b"x" * len(DATA))
    download(server.url, tmp_path / "f", size=size)
    assert (tmp_path / "f").read_bytes() == DATA


def test_an_endless_answer_is_cut_off(server, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "reply", endless)
    with pytest.raises(DownloadError, match="expected 1,000 bytes, the server sends more"):
        download(server.url, tmp_path / "f", size=1000)


def endless(self, status, headers, body=b""):
    self.send_response(status)
    self.send_header("Connection", "close")
    self.end_headers()
    try:
        while True:
            self.wfile.write(body)
    except OSError:
        self.close_connection = True


def test_a_file_put_there_by_hand_is_checked_and_kept(server, tmp_path):
    (tmp_path / "f").write_bytes(DATA)
    download(server.url, tmp_path / "f", sha256=SHA256)
    (tmp_path / "f").write_bytes(DATA[:-1] + b"?")
    with pytest.raises(DownloadError, match=r"f: expected SHA-256"):
        download(server.url, tmp_path / "f", sha256=SHA256)
    with pytest.raises(DownloadError, match=r"f: expected 7 bytes, got 1,280,000"):
        download(server.url, tmp_path / "f", size=7)
    assert (tmp_path / "f").exists()
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["http://example.org/f", "ftp://example.org/f", "file:///etc/hosts"]
)
def test_only_https_is_downloaded_from(url, tmp_path):
    with pytest.raises(DownloadError, match="only https"):
        download(url, tmp_path / "f")


def test_a_redirection_may_not_leave_https(server, tmp_path):
    server.location = "http://example.org/f?key=1"
    with pytest.raises(DownloadError, match=r"only https .* not http://example.org/f$"):
        download(server.url, tmp_path / "f")


def test_a_redirection_on_this_machine_is_followed(server, tmp_path):
    other = Server()
    threading.Thread(target=other.serve_forever, args=(0.01,), daemon=True).start()
    server.location = other.url
    download(server.url, tmp_path / "f", sha256=SHA256)
    other.shutdown()
    other.server_close()
    assert len(other.requests) == 1


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_nothing_is_asked_for(server, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(DownloadError, match="offline mode is on"):
        download(server.url, tmp_path / "f")
    assert server.requests == []
    (tmp_path / "f").write_bytes(DATA)
    download(server.url, tmp_path / "f", sha256=SHA256)


def test_a_refused_connection_says_so(server, tmp_path):
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"no connection \(.*refused.*5 times"):
        download(server.url, tmp_path / "f")


def test_a_full_disk_says_so(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(DownloadError, match=r"f: cannot be written: No space left on device"):
        download(server.url, tmp_path / "f", sha256=SHA256)
    assert not (tmp_path / "f").exists()


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_folder_that_cannot_be_made_says_so(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        DownloadError, match=r"file/f: cannot be written: (File exists|Not a directory)"
    ):
        download(server.url, tmp_path / "file" / "f")


def test_plain_lines_without_a_terminal_and_no_keys_in_them(server, tmp_path, capsys):
    download(f"{server.url}?key=secret", tmp_path / "f", sha256=SHA256)
    assert capsys.readouterr().err == f"downloading {server.url}\n"


SCRIPT = """
import sys
from pathlib import Path
from paddlenlp_ext.files.download import download
download(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])
"""


def start(server, path):
    environment = {name: value for name, value in os.environ.items() if "OFFLINE" not in name}
    command = [sys.executable, "-c", SCRIPT, server.url, str(path), SHA256]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def test_eight_processes_download_once(server, tmp_path):
    processes = [start(server, tmp_path / "f") for _ in range(8)]
    assert [process.wait(60) for process in processes] == [0] * 8
    assert server.requests == [None]
    assert (tmp_path / "f").read_bytes() == DATA


def test_the_lock_of_a_killed_process_is_free_and_its_part_is_used(server, tmp_path):
    server.stall.clear()
    server.cut_after = [200_000]
    first = start(server, tmp_path / "f")
    part = tmp_path / "f.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    second = start(server, tmp_path / "f")
    first.kill()
    first.wait()
    assert second.wait(60) == 0
    assert (tmp_path / "f").read_bytes() == DATA
    assert len(server.requests) == 2
    assert server.requests[1].startswith("bytes=")


def test_proxies_that_the_launcher_hides_are_used_and_hidden_again(monkeypatch):
    monkeypatch.setenv("https_proxy_original", "http://proxy:1")
    monkeypatch.setenv("http_proxy_original", "http://proxy:2")
    monkeypatch.setenv("http_proxy", "http://mine:3")
    monkeypatch.delenv("https_proxy", raising=False)
    with launcher_proxies():
        assert os.environ["https_proxy"] == "http://proxy:1"
        assert os.environ["http_proxy"] == "http://mine:3"
    assert "https_proxy" not in os.environ
    assert os.environ["http_proxy"] == "http://mine:3"


def test_a_download_goes_through_the_launcher_s_proxy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy_original", server.url.rpartition("/")[0])
    monkeypatch.setenv("no_proxy", "")
    download("http://localhost:9/elsewhere", tmp_path / "f", sha256=SHA256)
    assert (tmp_path / "f").read_bytes() == DATA


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("PADDLENLP_EXT_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("PADDLENLP_EXT_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "paddlenlp_ext"
