"""Downloads against a server on this computer that fails in all the ways servers fail."""

import hashlib
import http.server
import io
import json
import os
import pickle
import re
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from dnnlib_compat import download, part_files
from dnnlib_compat.completeness import is_whole
from dnnlib_compat.download import DownloadError, cache_folder, open_url


def packed(save):
    out = io.BytesIO()
    save(out)
    return out.getvalue()


def safetensors(numbers=100):
    header = json.dumps(dict(a=dict(dtype="U8", shape=[numbers], data_offsets=[0, numbers]))).encode()
    return len(header).to_bytes(8, "little") + header + bytes(numbers)


WHOLE = {  # small files of the kinds that tell their own end
    "pickle": pickle.dumps(dict(G=[1, 2, 3], w=bytes(1000)), protocol=4),
    "zip": packed(lambda out: np.savez(out, a=np.arange(300))),
    "safetensors": safetensors(),
    "json": json.dumps(dict(a=[1] * 100)).encode(),
}
BODY = bytes(range(256)) * 1200  # several chunks, so that a broken transfer leaves a part
SHA256 = hashlib.sha256(BODY).hexdigest()


# --- the server: each request is answered by the next behaviour of its script, the last one again and again -----------


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        with server.guard:
            server.seen.append(dict(self.headers))
            behave = server.script.pop(0) if len(server.script) > 1 else server.script[0]
        behave(self)

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", length=None, **headers):
        self.send_response(status)
        headers.setdefault("Content_Type", "application/octet-stream")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if length != "unknown":
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)


def whole(body=BODY, **headers):
    return lambda handler: handler.answer(200, body, **headers)


def status(code):
    return lambda handler: handler.answer(code, b"sorry")


def broken_off(count=200_000, **headers):
    return lambda handler: handler.answer(200, BODY[:count], length=len(BODY), **headers)


def ranged(body=BODY, etag=None):
    """Answers ranges as RFC 9110 says, If-Range included."""

    def behave(handler):
        match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        extra = {"ETag": etag} if etag else {}
        if match is None or handler.headers.get("If-Range", etag) != etag:
            return handler.answer(200, body, **extra)
        start = int(match[1])
        if start >= len(body):
            return handler.answer(416, Content_Range=f"bytes */{len(body)}")
        place = f"bytes {start}-{len(body) - 1}/{len(body)}"
        return handler.answer(206, body[start:], Content_Range=place, **extra)

    return behave


@pytest.fixture
def serve(monkeypatch):
    """Returns serve(*behaviours) → server, with .url and .seen, the headers of the requests so far."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(*script):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.script, server.seen, server.guard = list(script), [], threading.Lock()
        server.url = f"http://127.0.0.1:{server.server_port}/nets/some net-1.0.pkl?v=1".replace(" ", "%20")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def get(url, cache, **options):
    """open_url without a bar and without real waiting."""
    return open_url(url, cache_dir=cache, **{"progress": False, "sleep": lambda seconds: None, **options})


def names(cache):
    return sorted(path.name for path in (cache / "downloads").iterdir())


def target_of(url, cache):
    digest = hashlib.md5(url.encode()).hexdigest()
    return cache / "downloads" / f"{digest}_{re.sub('[^0-9a-zA-Z-._]', '_', url)}"


def part_name(url):
    return f"tmp_{hashlib.md5(url.encode()).hexdigest()}.part"


def failure(url, cache, **options):
    """The message of the DownloadError: one line that names the address."""
    with pytest.raises(DownloadError) as caught:
        get(url, cache, **options)
    message = str(caught.value)
    assert "\n" not in message and url in message
    return message


# --- plain downloads --------------------------------------------------------------------------------------------------


def test_download_stands_under_the_official_name_and_is_fetched_once(serve, cache):
    server = serve(whole())
    path = get(server.url, cache, sha256=SHA256.upper())
    assert path == target_of(server.url, cache) and path.read_bytes() == BODY
    assert get(server.url, cache) == path and len(server.seen) == 1
    assert names(cache) == [path.name]  # no part, no temporary file


def test_cache_of_the_official_tools_is_used(serve, cache):
    server = serve(status(404))
    theirs = cache / "downloads" / f"{hashlib.md5(server.url.encode()).hexdigest()}_net.pkl"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    assert get(server.url, cache) == theirs and server.seen == []


def test_part_files_are_not_taken_for_finished_ones(serve, cache):
    server = serve(broken_off())
    failure(server.url, cache, attempts=1)
    digest = hashlib.md5(server.url.encode()).hexdigest()
    assert names(cache) and not list((cache / "downloads").glob(f"{digest}_*"))  # as the official tools look


def test_very_long_addresses_fit_a_file_name(serve, cache):
    server = serve(whole())
    path = get(server.url + "&token=" + "x" * 500 + "/net.pkl", cache)
    assert path.read_bytes() == BODY and len(path.name) < 255 and path.name.endswith("net.pkl")


def test_unknown_length(serve, cache):
    """Of a file whose checksum is known, or whose content tells its end."""
    server = serve(whole(length="unknown"))
    assert get(server.url, cache, sha256=SHA256).read_bytes() == BODY
    for name, body in WHOLE.items():
        server = serve(whole(body, length="unknown"))
        assert get(server.url, cache / name).read_bytes() == body


# --- failures that another attempt mends ------------------------------------------------------------------------------


def test_server_errors_are_retried_with_growing_waits(serve, cache):
    server, waits = serve(status(500), status(503), status(429), whole()), []
    assert get(server.url, cache, sleep=waits.append).read_bytes() == BODY
    assert waits == [1, 2, 4] and len(server.seen) == 4


def test_waits_are_bounded_and_tries_counted(serve, cache):
    server, waits = serve(status(500)), []
    message = failure(server.url, cache, attempts=8, sleep=waits.append)
    assert waits == [1, 2, 4, 8, 16, 30, 30] and len(server.seen) == 8
    assert "500" in message and "8 attempts" in message and names(cache) == []


@pytest.mark.parametrize("count", [200_000, 10, 0])
def test_short_read_resumes_where_it_stopped(serve, cache, count):
    server = serve(broken_off(count), ranged())
    path = get(server.url, cache, sha256=SHA256)
    assert path.read_bytes() == BODY and names(cache) == [path.name]
    assert "Range" not in server.seen[0]
    if count == 200_000:
        start = int(re.fullmatch(r"bytes=(\d+)-", server.seen[1]["Range"])[1])
        assert count - download.CHUNK <= start <= count


def test_a_later_call_resumes_an_interrupted_one(serve, cache):
    server = serve(broken_off(ETag='"one"'), ranged(etag='"one"'))
    failure(server.url, cache, attempts=1)
    (part,) = (cache / "downloads").glob("*.part")
    kept = part.stat().st_size
    path = get(server.url, cache)
    assert server.seen[1]["Range"] == f"bytes={kept}-" and server.seen[1]["If-Range"] == '"one"'
    assert path.read_bytes() == BODY and names(cache) == [path.name]


def test_file_that_changed_meanwhile_is_not_joined(serve, cache):
    new = BODY[::-1] + b"longer"
    server = serve(broken_off(ETag='"old"'), ranged(new, etag='"new"'))
    assert get(server.url, cache).read_bytes() == new
    assert server.seen[1]["If-Range"] == '"old"'


def test_weak_tag_gives_way_to_the_date(serve, cache):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    server = serve(broken_off(ETag='W/"x"', Last_Modified=date), whole())
    assert get(server.url, cache).read_bytes() == BODY and server.seen[1]["If-Range"] == date


def test_server_without_ranges_restarts(serve, cache):
    server = serve(broken_off(), whole())
    assert get(server.url, cache).read_bytes() == BODY
    assert "Range" in server.seen[1]


def test_part_that_is_too_long_restarts(serve, cache):
    short = BODY[:1000]
    server = serve(broken_off(), ranged(short))
    path = get(server.url, cache, attempts=2)
    assert path.read_bytes() == short and names(cache) == [path.name]
    assert ["Range" in headers for headers in server.seen] == [False, True, False]


def test_answer_with_another_range_restarts(serve, cache):
    def shifted(handler):
        handler.answer(206, BODY[5:], Content_Range=f"bytes 5-{len(BODY) - 1}/{len(BODY)}")

    server = serve(broken_off(), shifted, whole())
    assert get(server.url, cache, attempts=2).read_bytes() == BODY and len(server.seen) == 3


def test_server_that_sends_short_ranges_is_asked_again(serve, cache):
    def at_most(handler):
        start = int(handler.headers["Range"][len("bytes=") : -1])
        some = BODY[start : start + 50_000]
        place = f"bytes {start}-{start + len(some) - 1}/{len(BODY)}"
        handler.answer(206, some, Content_Range=place)

    server = serve(whole(BODY[:200_000]), at_most)
    get(server.url, cache)  # a whole file of 200,000 bytes, put back as a part of the larger one
    os.replace(target_of(server.url, cache), cache / "downloads" / part_name(server.url))
    assert get(server.url, cache).read_bytes() == BODY
    assert [headers["Range"] for headers in server.seen[1:]] == [f"bytes={n}-" for n in (200_000, 250_000, 300_000)]


def test_more_bytes_than_the_server_told_are_thrown_away(serve, cache):
    def too_much(handler):
        start = int(handler.headers["Range"][len("bytes=") : -1])
        handler.answer(206, BODY[start:], Content_Range=f"bytes {start}-{len(BODY) - 2}/{len(BODY) - 1}")

    server = serve(broken_off(), too_much, whole())
    assert get(server.url, cache).read_bytes() == BODY and len(server.seen) == 3


def test_empty_answers_are_no_file(serve, cache):
    server = serve(whole(b""))
    assert "no data" in failure(server.url, cache, attempts=2) and len(server.seen) == 2 and names(cache) == []


def test_offline_says_what_else_can_be_done(cache, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url, waits = f"http://127.0.0.1:{probe.getsockname()[1]}/net.pkl", []
    message = failure(url, cache, attempts=3, sleep=waits.append)
    assert "offline" in message and "name that file instead" in message and waits == [1, 2]
    place = Path(re.search(r"place it at (\S+)$", message)[1])
    assert place == target_of(url, cache) and names(cache) == []
    place.write_bytes(b"brought by hand")
    assert get(url, cache).read_bytes() == b"brought by hand"  # the remedy works


# --- failures that stay -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [401, 403, 404, 410, 204])
def test_refusals_are_not_retried(serve, cache, code):
    server = serve(status(code), whole())
    message = failure(server.url, cache)
    assert str(code) in message and "name that file instead" in message
    assert len(server.seen) == 1 and names(cache) == []


@pytest.mark.parametrize(
    "page", [whole(b"hello", Content_Type="text/html; charset=utf-8"), whole(b"\n<!DOCTYPE HTML>x"), whole(b"<html>")]
)
def test_web_pages_are_not_cached(serve, cache, page):
    server = serve(page)
    assert "web page" in failure(server.url, cache) and len(server.seen) == 1 and names(cache) == []


def test_web_page_of_a_proxy_costs_no_earlier_part(serve, cache):
    server = serve(broken_off(), whole(b"<html>pay first</html>"), ranged())
    assert "web page" in failure(server.url, cache)
    assert get(server.url, cache).read_bytes() == BODY
    assert server.seen[2]["Range"] == server.seen[1]["Range"]  # the part was still there


def test_wrong_checksum_is_deleted_and_told(serve, cache):
    server, expected = serve(whole()), "0" * 64
    message = failure(server.url, cache, sha256=expected)
    assert expected in message and SHA256 in message and names(cache) == [] and len(server.seen) == 1


def test_earlier_file_survives_a_failed_replacement(serve, cache):
    server = serve(whole(b"first"), status(404), whole())
    path = get(server.url, cache)
    failure(server.url, cache, sha256=SHA256)  # the cached one doesn't fit, and the server is of no help
    assert path.read_bytes() == b"first" and names(cache) == [path.name]
    assert get(server.url, cache, sha256=SHA256) == path and path.read_bytes() == BODY


def test_a_redirect_to_no_address_is_one_clear_line(serve, cache):
    server = serve(lambda handler: handler.answer(302, Location="http://[::1"))
    assert failure(server.url, cache).startswith(f"{server.url}: cannot be requested")


def test_text_about_the_next_attempt_reaches_no_terminal_raw(tmp_path, capsys):
    with pytest.raises(DownloadError):
        open_url("http://127.0.0.1:9/a\nb\x1b[31m", cache_dir=tmp_path, attempts=2, sleep=lambda seconds: None)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "/a b\\x1b[31m: no connection" in told[0]


def test_endless_redirects_are_one_clear_line(serve, cache):
    server = serve(lambda handler: handler.answer(302, Location=handler.path))
    assert "redirects" in failure(server.url, cache)


def test_cache_that_cannot_be_made_names_the_remedy(serve, tmp_path):
    server, blocked = serve(whole()), tmp_path / "a-file"
    blocked.write_text("")
    assert "DNNLIB_CACHE_DIR" in failure(server.url, blocked) and server.seen == []


# --- several at once --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(part_files.fcntl is None, reason="locks are POSIX's")
def test_second_caller_waits_for_the_first(serve, cache, capsys):
    def slowly(handler):
        time.sleep(0.3)
        whole()(handler)

    server, paths = serve(slowly), []
    callers = [
        threading.Thread(target=lambda: paths.append(get(server.url, cache, sha256=SHA256, progress=True)))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(paths) == 4 and len(set(paths)) == 1 and len(server.seen) == 1
    assert names(cache) == [paths[0].name]
    assert capsys.readouterr().err.count("Waiting: another process downloads") == 3


@pytest.mark.skipif(part_files.fcntl is None, reason="locks are POSIX's")
def test_lock_that_was_waited_for_is_the_lock_of_the_present_file(tmp_path):
    path, waits, found = tmp_path / "net.part", threading.Event(), []

    def second():
        with part_files.part_file(path, waits.set):
            found.append(path.exists())

    waiter = threading.Thread(target=second)
    with part_files.part_file(path, waits.set):
        waiter.start()
        assert waits.wait(20)
    waiter.join()  # the first left an empty part, which was removed while the second waited for it
    assert found == [True] and not path.exists()


def test_without_locks_everyone_has_a_part_of_their_own(serve, cache, monkeypatch):
    monkeypatch.setattr(part_files, "fcntl", None)
    both = threading.Barrier(2, timeout=20)

    def together(handler):
        both.wait()
        whole()(handler)

    server, paths = serve(together), []
    callers = [threading.Thread(target=lambda: paths.append(get(server.url, cache))) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(paths) == 2 and paths[0].read_bytes() == BODY and names(cache) == [paths[0].name]


def test_without_locks_a_failure_leaves_nothing(serve, cache, monkeypatch):
    monkeypatch.setattr(part_files, "fcntl", None)
    server = serve(broken_off())
    failure(server.url, cache, attempts=1)
    assert names(cache) == []


# --- progress ---------------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("length, shown", [(None, "307.2 KB of 307.2 KB"), ("unknown", "307.2 KB")])
def test_progress_counts_bytes_on_stderr(serve, cache, monkeypatch, capsys, length, shown):
    monkeypatch.setattr(sys, "stderr", Terminal())
    open_url(serve(whole(length=length)).url, cache_dir=cache, sha256=SHA256)
    text = sys.stderr.getvalue()
    assert shown in text and "some%20net-1.0.pkl" in text and (" of " in text) == (length is None)
    assert capsys.readouterr().out == ""


def test_progress_of_a_resumed_download_counts_the_part(serve, cache, monkeypatch):
    server = serve(broken_off(), ranged())
    failure(server.url, cache, attempts=1)
    monkeypatch.setattr(sys, "stderr", Terminal())
    open_url(server.url, cache_dir=cache)
    assert "307.2 KB of 307.2 KB" in sys.stderr.getvalue() and " 0 bytes of" not in sys.stderr.getvalue()


def test_no_progress_is_silent(serve, cache, capsys):
    get(serve(status(500), whole()).url, cache)
    assert capsys.readouterr() == ("", "")


def test_retries_are_told(serve, cache, capsys):
    get(serve(status(500), whole()).url, cache, progress=True)
    assert "answered 500; next attempt in 1 s" in capsys.readouterr().err


# --- local files and the cache folder ---------------------------------------------------------------------------------


def test_local_paths_and_file_addresses(tmp_path, monkeypatch):
    path = tmp_path / "a net #1.pkl"
    path.write_bytes(BODY)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_url(path, sha256=SHA256) == path and open_url(str(path)) == path and open_url(path.as_uri()) == path
    if os.name == "posix":
        assert open_url("~/a net #1.pkl") == path
    with pytest.raises(DownloadError, match=SHA256):
        open_url(path, sha256="0" * 64)


@pytest.mark.parametrize("as_uri", [False, True])
def test_missing_files_and_folders_are_told_apart(tmp_path, as_uri):
    for path, reason in [(tmp_path / "none.pkl", "no such file"), (tmp_path, "a folder")]:
        with pytest.raises(FileNotFoundError, match=reason) as caught:
            open_url(path.as_uri() if as_uri else path)
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_other_schemes_and_counts_are_refused(tmp_path):
    with pytest.raises(ValueError, match="s3://"):
        open_url("s3://bucket/net.pkl", cache_dir=tmp_path)
    with pytest.raises(ValueError, match="attempts=0"):
        open_url("http://127.0.0.1/net.pkl", cache_dir=tmp_path, attempts=0)


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "own"))
    assert cache_folder("atlases", "x") == tmp_path / "own" / "atlases" / "x"
    assert (tmp_path / "own" / "atlases" / "x").is_dir()
    monkeypatch.delenv("DNNLIB_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "dnnlib"
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "profile"))
    assert cache_folder() == tmp_path / "profile" / ".cache" / "dnnlib"
    monkeypatch.delenv("USERPROFILE")
    monkeypatch.setattr(download.tempfile, "gettempdir", lambda: str(tmp_path / "temp"))
    assert cache_folder() == tmp_path / "temp" / ".cache" / "dnnlib"


def test_downloads_stand_in_the_cache_folder(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_CACHE_DIR", str(tmp_path / "own"))
    assert open_url(serve(whole()).url, progress=False).parent == tmp_path / "own" / "downloads"


def endless(handler):
    """A body without a length and, for as long as somebody listens, without an end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        pass


@pytest.mark.parametrize("behave", [endless, whole()], ids=["endless", "declared"])
def test_a_body_beyond_the_limit_is_given_up_and_not_kept(serve, tmp_path, monkeypatch, behave):
    monkeypatch.setenv("DNNLIB_MAX_DOWNLOAD", "100000")
    server = serve(behave)
    with pytest.raises(DownloadError, match="more than the limit of 100000 bytes; .* set DNNLIB_MAX_DOWNLOAD to more"):
        open_url(server.url, cache_dir=tmp_path, progress=False, sleep=lambda _: None)
    assert len(server.seen) == 1  # trying again would not help
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size]


def test_a_body_within_the_limit_is_kept(serve, tmp_path, monkeypatch):
    monkeypatch.setenv("DNNLIB_MAX_DOWNLOAD", str(len(BODY)))
    assert open_url(serve(whole()).url, cache_dir=tmp_path, progress=False).read_bytes() == BODY


# --- what may enter the cache -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_tells_whether_it_is_whole(tmp_path, name):
    path, body = tmp_path / "file", WHOLE[name]
    path.write_bytes(body)
    assert is_whole(path) is True
    for size in range(20, len(body)):
        path.write_bytes(body[:size])
        assert is_whole(path) is False, size


def test_other_files_do_not_tell(tmp_path):
    torch.save(dict(a=torch.zeros(3)), tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "noise").write_bytes(BODY)
    (tmp_path / "empty").write_bytes(b"")
    assert [is_whole(tmp_path / name) for name in ("legacy.pt", "noise", "empty")] == [None] * 3


@pytest.mark.parametrize("name", WHOLE)
def test_a_body_that_ends_early_without_a_length_is_not_kept(serve, cache, name):
    """A connection that breaks then looks like the end of the file."""
    body = WHOLE[name]
    server = serve(whole(body[: len(body) // 2], length="unknown"))
    message = failure(server.url, cache, attempts=2)
    assert "the file ended early, after" in message and "(2 attempts)" in message
    digest = hashlib.md5(server.url.encode()).hexdigest()
    assert not list((cache / "downloads").glob(f"{digest}_*"))
    server.script[:] = [whole(body, length="unknown")]
    assert get(server.url, cache).read_bytes() == body


def test_a_body_that_ended_early_is_gone_on_with(serve, cache):
    body = WHOLE["pickle"]
    server = serve(whole(body[:500], length="unknown", ETag='"1"'), ranged(body, etag='"1"'))
    assert get(server.url, cache).read_bytes() == body
    assert server.seen[1]["Range"] == "bytes=500-"


def test_what_nobody_can_tell_the_end_of_is_not_kept(serve, cache):
    server = serve(whole(length="unknown"))
    assert "does not tell how long the file is" in failure(server.url, cache)
    assert len(server.seen) == 1 and not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]


def test_a_file_that_is_cut_short_on_the_server_is_not_kept(serve, cache):
    body = WHOLE["zip"][:-5]
    server = serve(whole(body))
    assert "the file on the server is cut short or damaged" in failure(server.url, cache)
    assert len(server.seen) == 1 and not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]


@pytest.mark.parametrize(
    "page, told",
    [
        (b"<!-- a proxy --><html>no</html>", "a web page, not the file"),
        (b"version https://git-lfs.github.com/spec/v1\noid x", "a Git LFS pointer, not the file"),
    ],
)
def test_pages_and_pointers_in_the_place_of_a_file_are_not_kept(serve, cache, page, told):
    assert told in failure(serve(whole(page)).url, cache)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size]
