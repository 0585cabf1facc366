"""Fetching from a server on this machine: checksums, mirrors, locks, and networks that are dead in every way."""

import hashlib
import http.server
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from Utils.base.errors import Refused
from Utils.base.network import bounded_network
from Utils.data import download
from Utils.data.download import fetch, folder_lock, obtain

CONTENT = b"some bytes" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.paths.append(self.path)
        if self.path.startswith("/lost"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if self.path.startswith("/stalling"):
            self.wfile.write(CONTENT[:100])
            self.server.stop.wait(20)
        else:
            self.wfile.write(CONTENT)

    def log_message(self, *args):
        pass


class Quiet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):  # without asking a name server for this machine's name
        socketserver.TCPServer.server_bind(self)
        self.server_port = self.server_address[1]

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def server():
    with Quiet(("127.0.0.1", 0), Handler) as running:
        running.paths, running.stop = [], threading.Event()
        running.url = f"http://127.0.0.1:{running.server_port}"
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running
        running.stop.set()
        running.shutdown()


def recorded_requests(monkeypatch):
    """A list that gets the URL and the seconds of patience of each request that is sent."""
    requests, real = [], urllib.request.OpenerDirector.open

    def recorded(self, request, data=None, timeout=None):
        requests.append((getattr(request, "full_url", request), timeout))
        return real(self, request, data, timeout)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", recorded)
    return requests


@pytest.fixture
def asked(monkeypatch):
    return recorded_requests(monkeypatch)


@pytest.fixture
def silent():
    """The URL of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def refusing():
    """The URL of a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_fetch_writes_the_file_once(server, tmp_path):
    target = tmp_path / "new" / "folder" / "file.gz"
    fetch(f"{server.url}/file.gz", target, MD5)
    assert target.read_bytes() == CONTENT
    asked = len(server.paths)
    fetch(f"{server.url}/file.gz", target, MD5)  # there already
    assert len(server.paths) == asked
    assert sorted(path.name for path in target.parent.iterdir() if path.name != ".lock") == ["file.gz"]


def test_fetch_accepts_one_of_several_checksums(server, tmp_path):
    fetch(f"{server.url}/file", tmp_path / "file", ("0" * 32, MD5))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server, tmp_path):
    with pytest.raises(Refused, match=f"has the md5 checksum {MD5}, not 000"):
        fetch(f"{server.url}/file", tmp_path / "file", "0" * 32)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []


def test_http_errors_are_named(server, tmp_path):
    with pytest.raises(Refused, match=r"/lost: HTTP error 404"):
        fetch(f"{server.url}/lost", tmp_path / "lost", MD5)
    assert list(tmp_path.iterdir()) == []


def test_a_stalling_download_ends(server, asked, tmp_path):
    with pytest.raises(Refused, match="timed out"):
        fetch(f"{server.url}/stalling", tmp_path / "new" / "file", MD5, patience=0.5)
    assert asked == [(f"{server.url}/stalling", 0.5)] * 2  # is it there, and its bytes
    assert not (tmp_path / "new" / "file").exists() and not (tmp_path / "new" / "file.part").exists()


def test_a_silent_server_costs_its_patience_once_for_all_files_and_mirrors(silent, asked, tmp_path):
    with pytest.raises(Refused) as caught:
        folder = tmp_path / "new"
        obtain("set", folder, {"a": MD5, "b": MD5}, [silent, silent], looked=[folder], download=True, patience=0.5)
    assert asked == [(f"{silent}/a", 0.5)]
    message = str(caught.value)
    assert message.startswith(f"set was not found in {tmp_path}/new and could not be downloaded ({silent}/a: no answer")
    assert "put a, b there" in message and "--data-dir" in message and "\n" not in message
    assert not (tmp_path / "new").exists()


def test_refused_connections_let_the_next_mirror_try(refusing, server, tmp_path):
    obtain("set", tmp_path, {"a": MD5}, [refusing, server.url], looked=[tmp_path], download=True)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_mirror_stands_in_for_the_usual_places(refusing, server, tmp_path):
    obtain("set", tmp_path, {"a": MD5, "b": MD5}, [refusing], looked=[tmp_path], download=True, mirror=f"{server.url}/sets/")
    assert {"/sets/a", "/sets/b"} == set(server.paths)


def test_a_name_server_that_never_answers(asked, monkeypatch, tmp_path):
    waiting = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: waiting.wait(20))
    with pytest.raises(Refused, match="no answer"):
        fetch("http://somewhere.invalid/file", tmp_path / "file", MD5, patience=0.3)
    waiting.set()
    assert asked == [("http://somewhere.invalid/file", 0.3)]


def test_a_name_that_does_not_resolve(monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(Refused, match="Name or service not known"):
        fetch("http://somewhere.invalid/file", tmp_path / "file", MD5)


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://127.0.0.1:notaport"])
def test_nonsense_urls_are_refused(url, tmp_path):
    with pytest.raises(Refused) as caught:
        fetch(f"{url}/file", tmp_path / "file", MD5)
    assert "\n" not in str(caught.value)


def test_no_download_is_said(server, tmp_path):
    with pytest.raises(Refused, match=r"--no-download was given; put a there, or name another folder with --data-dir"):
        obtain("set", tmp_path / "new", {"a": MD5}, [server.url], looked=[tmp_path / "new"], download=False)
    assert server.paths == [] and not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written(server, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="cannot write to"):
        fetch(f"{server.url}/a", tmp_path / "file" / "a", MD5)


def test_bounded_network_bounds_urlopen_and_is_undone(silent, server, asked):
    before = urllib.request._opener
    with bounded_network(True, patience=0.3):
        with pytest.raises(urllib.error.URLError, match="no answer"):
            urllib.request.urlopen(silent)
        with pytest.raises(urllib.error.URLError, match="does not answer"):
            urllib.request.urlopen(silent)
    assert asked == [(silent, 0.3)]
    with bounded_network(True), urllib.request.urlopen(f"{server.url}/a") as response:
        assert response.read() == CONTENT
    with pytest.raises(KeyError), bounded_network(False):
        raise KeyError
    assert urllib.request._opener is before


def test_a_forbidden_network_is_refused_at_once(server):
    with bounded_network(False), pytest.raises(Refused, match="--no-download was given"):
        urllib.request.urlopen(f"{server.url}/a")
    assert server.paths == []


def test_torchvision_downloads_are_bounded(silent, asked, tmp_path):
    from torchvision.datasets.utils import download_url

    with bounded_network(True, patience=0.3), pytest.raises(OSError, match="answer"):
        download_url(f"{silent}/a", tmp_path, "a", MD5)
    assert asked == [(f"{silent}/a", 0.3)]


def test_the_lock_is_reentrant_and_dies_with_its_holder(tmp_path):
    with folder_lock(tmp_path), folder_lock(tmp_path):
        pass
    code = "import os, sys; from Utils.data.download import folder_lock; folder_lock(sys.argv[1]).acquire(); os._exit(9)"
    root = Path(download.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, check=False).returncode == 9
    with folder_lock(tmp_path).acquire(timeout=0.5):
        pass


def test_a_second_process_waits_and_finds_the_file(server, tmp_path):
    code = "import sys; from Utils.data.download import fetch; fetch(*sys.argv[1:])"
    root = Path(download.__file__).parents[2]
    url, target = f"{server.url}/file", tmp_path / "file"
    with folder_lock(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code, url, target, MD5], cwd=root)
        while not server.paths:  # the question whether the server has the file; then it waits for the lock
            assert other.poll() is None
            time.sleep(0.01)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.3)
        target.write_bytes(CONTENT)
        inode = os.stat(target).st_ino
    assert other.wait(60) == 0 and server.paths == ["/file"]  # not fetched
    assert os.stat(target).st_ino == inode
