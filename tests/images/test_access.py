"""Which URLs are followed that only data name."""

from __future__ import annotations

import contextlib
import dataclasses
import gzip
import importlib
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedkit import ImageEmbedder, write_page
from embedkit.errors import ForbiddenUrlError, SourceError, UnreadableImageError
from embedkit.images import access, open_source, read_bytes, remote, rows_of
from embedkit.images.access import RemoteReadError, check_url, is_public, name_root
from embedkit.images.remote import read_range
from tests.photos import make_photo
from tests.report.samples import make_probe


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch):
    monkeypatch.setattr(access, "_named", set())
    monkeypatch.delenv(access.ENVIRONMENT, raising=False)
    monkeypatch.setattr(remote, "_PAUSES", (0.0, 0.0))


REFUSED = [
    "reference://x.png::file:///tmp/evil.json",
    "simplecache::https://example.org/x.png",
    "https://example.org/x.png::memory://y",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "local:///etc/passwd",
    "memory://x/y.png",
    "github://o:r@main/x.png",
    "sftp://host/x.png",
    "smb://host/x.png",
    "hdfs://host/x.png",
    "jupyter://host/x.png",
    "data://text/plain,x",
    "http://127.0.0.1/x.png",
    "http://127.1/x.png",
    "http://2130706433/x.png",
    "http://0x7f000001:80/x.png",
    "http://0/x.png",
    "https://localhost/x.png",
    "https://LOCALHOST./x.png",
    "http://a.localhost/x.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/x.png",
    "http://[::ffff:169.254.169.254]/x.png",
    "http://[64:ff9b::a9fe:a9fe]/x.png",
    "http://[fe80::1%25eth0]/x.png",
    "http://[fd00:ec2::254]/x.png",
    "http://user@10.0.0.1/x.png",
    "http://100.64.0.1/x.png",
    "http://192.0.0.192/opc/v2/",
    "http://[64:ff9b:1::a9fe:a9fe]/x.png",
    "http://[::127.0.0.1]/x.png",
    "http://[fec0::2]/x.png",
    "http://168.63.129.16/x.png",
    "http://0177.0.0.1/x.png",
    "http://example.org@127.0.0.1/x.png",
    "http://127.0.0.1#@example.org/x.png",
    "http:///x.png",
    "http://[broken/x.png",
    "s3://user:password@bucket/x.png",
    "s3://127.0.0.1:9000/x.png",
    "abfs://container@evil.example/x.png",
]

FOLLOWED = [
    "https://example.org/x.png",
    "http://93.184.216.34/x.png",
    "https://example.org:8443/x.png?size=large#top",
    "s3://bucket/x.png",
    "gs://bucket.example/x.png",
    "az://container/x.png",
    "abfss://container@account.dfs.core.windows.net/x.png",
]


def test_what_data_may_name(monkeypatch):
    for url in FOLLOWED:
        check_url(url)
    for url in REFUSED:
        with pytest.raises(ForbiddenUrlError):
            check_url(url)
    monkeypatch.setenv(access.ENVIRONMENT, "none")
    for url in FOLLOWED + REFUSED:
        with pytest.raises(ForbiddenUrlError, match=r"EMBEDKIT_DATA_URLS|chain"):
            check_url(url)


def test_what_the_user_names_is_followed(monkeypatch):
    for url in REFUSED:
        if access.is_url(url) and url != "http:///x.png":
            name_root(url)
            check_url(url)
    monkeypatch.setattr(access, "_named", set())
    name_root("http://10.0.0.5:8000/photos")
    check_url("http://10.0.0.5:8000/other/x.png")
    for other in ("http://10.0.0.5/x.png", "http://10.0.0.5:8000.evil.example@127.0.0.1/x", "http://10.0.0.50:8000/x"):
        with pytest.raises(ForbiddenUrlError):
            check_url(other)
    monkeypatch.setenv(access.ENVIRONMENT, "memory:// http://10.0.0.7/")
    for url in ("memory://anything/x.png", "http://10.0.0.7/x.png"):
        check_url(url)
    with pytest.raises(ForbiddenUrlError):
        check_url("http://10.0.0.8/x.png")


def test_a_chain_is_followed_where_the_user_lists_one_of_as_many_links(monkeypatch):
    monkeypatch.setenv(access.ENVIRONMENT, "simplecache::memory://photos/ zip://x.png::https://a.example/x.zip")
    for url in ("simplecache::memory://photos/a/x.png", "zip://x.png::https://a.example/x.zip"):
        check_url(url)
    for url in (
        "simplecache::memory://photos-of-others/x.png",
        "simplecache::memory://photos/x.png::file:///etc/passwd",
        "simplecache::zip://x.png::memory://photos/x.zip",
        "simplecache::memory://other/x.png",
        "filecache::memory://photos/x.png",
        "memory://photos/x.png",
    ):
        with pytest.raises(ForbiddenUrlError, match="--allow-url"):
            check_url(url)


def test_only_what_is_listed_beside_none_is_followed(monkeypatch):
    monkeypatch.setenv(access.ENVIRONMENT, "none s3://mine/ http://10.0.0.7/")
    for url in ("s3://mine/x.png", "http://10.0.0.7/x.png"):
        check_url(url)
    for url in ("s3://yours/x.png", "https://example.org/x.png", "http://10.0.0.8/x.png"):
        with pytest.raises(ForbiddenUrlError, match="none"):
            check_url(url)


@given(st.ip_addresses())
def test_public_means_of_the_internet(address):
    assert not (is_public(str(address)) and (address.is_private or address.is_loopback or address.is_link_local))
    if address.version == 4:
        assert is_public(f"::ffff:{address}") == is_public(str(address))


@pytest.fixture
def evil(tmp_path):
    """A chain that made older releases of fsspec run a command, and the file that the command would leave."""
    mark = tmp_path / "was here"
    command = "{{ cycler.__init__.__globals__.os.popen('touch " + str(mark) + "').read() }}"
    spec = {"version": 1, "templates": {}, "refs": {"x.png": [command]}}
    (tmp_path / "evil.json").write_text(json.dumps(spec))
    return f"reference://x.png::file://{tmp_path}/evil.json", mark


def test_no_door_of_data_leads_to_a_chain(evil, tmp_path):
    chain, mark = evil
    (tmp_path / "rows.csv").write_text(f"path\n{chain}\n")
    pd.DataFrame({"path": [chain]}).to_parquet(tmp_path / "rows.parquet")
    doors = {
        "manifest": lambda: open_source(tmp_path / "rows.csv"),
        "Parquet": lambda: open_source(tmp_path / "rows.parquet"),
        "a list, as from standard input": lambda: open_source([chain]),
        "archives from standard input": lambda: open_source([chain + ".tar"]),
        "X": lambda: rows_of([chain]),
        "provenance": lambda: open_source(chain, recorded=True),
        "provenance of a manifest": lambda: open_source(chain + ".csv", recorded=True),
        "a fitted embedder's root": lambda: rows_of(["x.png"], root=chain),
    }
    for door in doors.values():
        with pytest.raises(ForbiddenUrlError, match="chain"):
            door()
    # The paths beside the images of datasets' layout are read late.
    pd.DataFrame({"image": [{"bytes": None, "path": chain}]}).to_parquet(tmp_path / "images.parquet")
    with pytest.raises(UnreadableImageError, match="ForbiddenUrlError"):
        read_bytes(open_source(tmp_path / "images.parquet").images[0])
    with pytest.raises(SourceError):  # a name in a bucket cannot make a chain of it
        rows_of(["x.png::file:///etc/passwd"], root="s3://bucket")
    assert not mark.exists()


def test_what_a_saved_result_names_is_no_word_of_the_user(evil, tmp_path):
    """`report` looks for the images that a result is about; whoever made the result says where."""
    chain, mark = evil
    places = {"target": chain, "source": "memory://photos/", "targets": ["http://169.254.169.254/x.csv"]}
    report = make_probe(n=6)
    request = {**report.origin.request, **places}
    made_up = dataclasses.replace(report, origin=dataclasses.replace(report.origin, request=request))
    page = write_page(made_up.save(tmp_path / "r.json"), tmp_path / "r.html", store=tmp_path / "store").read_text()
    assert "is a chain of URLs, which data may not name" in page
    assert "data may not name memory://" in page
    assert "is not a public address" in page
    assert not mark.exists()


def test_a_root_that_the_user_gives_an_embedder_is_named_and_one_of_a_model_file_is_not(tmp_path):
    embedder = ImageEmbedder("pixels32", root="memory://photos", on_error="nan", store=str(tmp_path))
    fitted = embedder.fit(["a.png"])
    assert access.is_named("memory://photos/a.png")
    access._named.clear()
    with pytest.raises(ForbiddenUrlError):
        fitted.transform(["a.png"])


class _Server(BaseHTTPRequestHandler):
    photo: bytes
    to: str
    zeros = gzip.compress(bytes(1 << 24))

    def do_GET(self) -> None:
        if self.path.startswith("/endless"):
            self.send_response(206)
            self.end_headers()
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(bytes(1 << 16))
        if self.path.startswith("/zeros"):
            self.send_response(206)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(self.zeros)))
            self.end_headers()
            self.wfile.write(self.zeros)
            return
        if self.path.startswith("/away"):
            self.send_response(302)
            self.send_header("Location", self.to)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.photo)))
        self.end_headers()
        self.wfile.write(self.photo)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def servers(tmp_path):
    """Two servers of this machine, one of which sends every visitor on to the other."""
    pytest.importorskip("aiohttp")
    make_photo(0).save(tmp_path / "photo.png")
    running = [ThreadingHTTPServer((host, 0), type("Handler", (_Server,), {})) for host in ("127.0.0.2", "127.0.0.1")]
    for server in running:
        server.RequestHandlerClass.photo = (tmp_path / "photo.png").read_bytes()
        server.RequestHandlerClass.to = f"http://127.0.0.1:{running[1].server_port}/photo.png"
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield [server.server_port for server in running]
    for server in running:
        server.shutdown()
        server.server_close()


def resolve(monkeypatch, hosts):
    """Let names resolve to what `hosts` says."""
    real = socket.getaddrinfo

    def fake(host, port, *arguments, **options):
        return real(hosts.get(host, host), port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", fake)


def test_a_name_that_resolves_to_this_machine_is_not_connected_to(servers, monkeypatch):
    resolve(monkeypatch, {"rebind.example": "127.0.0.2"})
    source = open_source([f"http://rebind.example:{servers[0]}/photo.png"])
    with pytest.raises(UnreadableImageError, match="not a public address"):
        read_bytes(source.images[0])
    named = open_source(f"http://rebind.example:{servers[0]}/photo.png")
    assert read_bytes(named.images[0])[:4] == b"\x89PNG"


def test_a_named_server_does_not_lead_on_to_this_machine(servers):
    first, second = servers
    name_root(f"http://127.0.0.2:{first}")
    assert read_bytes(f"http://127.0.0.2:{first}/photo.png")[:4] == b"\x89PNG"
    with pytest.raises(UnreadableImageError, match=r"127\.0\.0\.1 is not a public address"):
        read_bytes(f"http://127.0.0.2:{first}/away.png")
    name_root(f"http://127.0.0.1:{second}")
    assert read_bytes(f"http://127.0.0.2:{first}/away.png")[:4] == b"\x89PNG"


def test_a_server_named_at_one_port_is_not_named_at_another(servers, monkeypatch):
    resolve(monkeypatch, {"rebind.example": "127.0.0.1"})
    name_root("http://127.0.0.1:1")
    with pytest.raises(UnreadableImageError, match="not a public address"):
        read_bytes(open_source([f"http://rebind.example:{servers[1]}/photo.png"]).images[0])


def test_a_server_sends_no_more_than_it_was_asked_for_and_nothing_is_unpacked(servers):
    name_root(f"http://127.0.0.2:{servers[0]}")
    with pytest.raises(RemoteReadError, match="sends more than the 1,000 bytes that were asked for"):
        read_range(f"http://127.0.0.2:{servers[0]}/endless.png", 0, 1000)
    zeros = read_bytes(f"http://127.0.0.2:{servers[0]}/zeros.png")
    assert zeros[:2] == b"\x1f\x8b"
    assert len(zeros) < 1 << 16


def test_many_large_answers_wait_for_each_other(servers, monkeypatch):
    web = importlib.import_module("embedkit.images.web")
    monkeypatch.setattr(web, "_SMALL", 0)
    monkeypatch.setattr(web, "_TOGETHER", 1)
    name_root(f"http://127.0.0.2:{servers[0]}")
    with ThreadPoolExecutor(8) as threads:
        read = list(threads.map(read_bytes, [f"http://127.0.0.2:{servers[0]}/photo.png"] * 16))
    assert {data[:4] for data in read} == {b"\x89PNG"}
    assert not web._large


@pytest.mark.parametrize(
    "host",
    ["①②⑦.⓪.⓪.①", "127。0。0。1", "ip6-localhost", "localhost.localdomain", "LOCALHOST%2e", "127.0.0.1\\@example.org"],
)
def test_other_spellings_of_this_machine_are_not_connected_to(servers, host, monkeypatch):
    resolve(monkeypatch, {"ip6-localhost": "127.0.0.1", "localhost.localdomain": "127.0.0.1"})
    url = f"http://{host}:{servers[1]}/photo.png"
    with pytest.raises((ForbiddenUrlError, UnreadableImageError)):
        read_bytes(open_source([url]).images[0])
