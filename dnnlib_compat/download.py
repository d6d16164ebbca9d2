"""Fetch a file by address: cached under the ecosystem's names, resumed after an interruption, checked before use."""

import hashlib
import io
import os
import re
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

import click
import requests

from dnnlib_compat.budgets import MAX_DOWNLOAD
from dnnlib_compat.completeness import is_whole
from dnnlib_compat.errors import escaped
from dnnlib_compat.formats import is_web_page
from dnnlib_compat.part_files import drop, drop_contents, part_file, size_of, validator_file

CHUNK = 1 << 16
TIMEOUT = (15, 60)  # seconds to connect, seconds without a byte
LONGEST_DELAY = 30
POINTER = b"version https://git-lfs"  # what stands in the place of a file that Git LFS keeps
RETRIED_STATUS = {408, 425, 429}


class DownloadError(OSError):
    """A file could not be fetched; the message is one line that names the address and what to do."""


class _TransientError(Exception):
    """A failure that another attempt may mend."""


def cache_folder(*parts):
    """Return the folder `parts` of the ecosystem's cache as a Path, made where it is missing.

    `DNNLIB_CACHE_DIR` if set, else `.cache/dnnlib` in the home folder, else in the folder for temporary files. It is
    the user's alone: made with the mode 0700. Raises OSError if it cannot be made, or belongs to somebody else, who
    could put files there that this user would trust.
    """
    folder = private_folder(_cache_root()).joinpath(*parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def private_folder(path):
    """`path`, made with the mode 0700 where it is missing. Raises DownloadError when it is somebody else's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid"):
        found = os.stat(path)
        if found.st_uid != os.getuid():
            raise DownloadError(
                f"{path}: this cache folder belongs to another user, who could change what is in it; set "
                "DNNLIB_CACHE_DIR to a folder of your own"
            )
        if found.st_mode & 0o077 and not os.environ.get("DNNLIB_CACHE_DIR"):  # a folder that was named is left alone
            os.chmod(path, 0o700)
    return path


def _cache_root():
    if os.environ.get("DNNLIB_CACHE_DIR"):
        return Path(os.environ["DNNLIB_CACHE_DIR"])
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE") or tempfile.gettempdir()
    return Path(home) / ".cache" / "dnnlib"


def open_url(url, *, cache_dir=None, sha256=None, progress=True, attempts=5, sleep=time.sleep):
    """Return the local path of `url`: a path, a file:// address, or an http(s) address, which is downloaded once.

    Downloads stand in `<cache>/downloads`, where `<cache>` is `cache_dir` or the ecosystem's cache folder, under the
    names that the official tools give them, so that either finds what the other fetched. An interrupted download goes
    on where it stopped. `attempts` counts the tries in all, `sleep` waits between them.

    Raises FileNotFoundError for a local path without a file, ValueError for an address of another kind, and
    DownloadError if the file cannot be fetched, is a web page, or has another checksum than `sha256`.
    """
    url = os.fspath(url)
    if attempts < 1:
        raise ValueError(f"attempts={attempts}: give 1 or more")
    scheme, mark, _ = url.partition("://")
    if not mark or scheme.lower() == "file":
        return _local_file(url, is_url=bool(mark), sha256=sha256)
    if scheme.lower() not in ("http", "https"):
        raise ValueError(f"{url}: cannot fetch {scheme}:// addresses; give http(s)://, file:// or the path of a file")
    try:
        root = private_folder(_cache_root()) if cache_dir is None else Path(cache_dir)
        folder = root / "downloads"
        folder.mkdir(parents=True, exist_ok=True)
        return _cached_or_downloaded(url, folder, sha256, progress, attempts, sleep)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{url}: cannot be kept in {cache_dir or _cache_root()} ({error.strerror or error}); make room there, or "
            "set DNNLIB_CACHE_DIR to a folder that can be written"
        ) from error


def needs_download(url):
    """Whether `open_url` would ask a server for `url`: an address whose file is not in the cache."""
    scheme, mark, _ = url.partition("://")
    if not mark or scheme.lower() == "file":
        return False
    digest = hashlib.md5(url.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    return _cached(_cache_root() / "downloads", digest, None) is None


def _local_file(source, is_url, sha256):
    name = urllib.request.url2pathname(urllib.parse.urlsplit(source).path) if is_url else os.path.expanduser(source)
    path = Path(name)
    if path.is_dir():
        raise FileNotFoundError(f"{source}: a folder, where a file is needed; give the file in it")
    if not path.exists():
        raise FileNotFoundError(f"{source}: no such file; check the path")
    if not path.is_file():
        raise OSError(f"{source}: a pipe, socket or device, where a file is needed; give the path of a plain file")
    found = None if sha256 is None else sha256_of(path)
    if found is not None and found != sha256.lower():
        raise DownloadError(f"{source}: its SHA-256 is {found}, expected {sha256.lower()}; get an intact copy")
    return path


def _cached_or_downloaded(url, folder, sha256, progress, attempts, sleep):
    digest = hashlib.md5(url.encode(), usedforsecurity=False).hexdigest()
    found = _cached(folder, digest, sha256)
    if found is not None:
        return found

    def say(text):
        if progress:
            click.echo(escaped(text), err=True)

    # A part file's name does not begin with the digest: the official tools would take it for a finished download.
    with part_file(folder / f"tmp_{digest}.part", lambda: say(f"Waiting: another process downloads {url}")) as part:
        found = _cached(folder, digest, sha256)  # by the process that was waited for
        if found is not None:
            return found
        target = folder / f"{digest}_{_safe_name(url)}"
        _fetch(url, part, target, progress, attempts, sleep, say, checked=sha256 is not None)
        _verify(url, part, sha256)
        validator_file(part).unlink(missing_ok=True)
        os.replace(part, target)
        return target


def _safe_name(url):
    # The tail is the telling end of an address, and file systems end names at 255 bytes.
    return re.sub(r"[^\w.-]", "_", url, flags=re.ASCII)[-200:]


def _cached(folder, digest, sha256):
    """Return the finished download of the address with this digest; one with another checksum doesn't count."""
    for path in sorted(folder.glob(f"{digest}_*")):
        if path.is_file() and (sha256 is None or sha256_of(path) == sha256.lower()):
            return path
    return None


def sha256_of(path):
    """The SHA-256 of a file's bytes as hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _verify(url, part, sha256):
    if sha256 is None:
        return
    found = sha256_of(part)
    if found != sha256.lower():
        drop(part)
        raise DownloadError(
            f"{url}: the download's SHA-256 is {found}, expected {sha256.lower()}; it was deleted: try again, and if"
            " this recurs, the file on the server has changed"
        )


def _fetch(url, part, target, progress, attempts, sleep, say, checked):
    """Fill `part` with the whole file, or raise DownloadError. checked: whether a checksum will be compared."""
    remedy = f"download it elsewhere and name that file instead, or place it at {target}"
    for attempt in range(1, attempts + 1):
        try:
            _attempt(url, part, remedy, progress, checked)
            return
        except _TransientError as error:
            if attempt == attempts:
                raise DownloadError(f"{url}: {error} ({attempts} attempts); try again later, or {remedy}") from error
            delay = min(2 ** (attempt - 1), LONGEST_DELAY)
            say(f"{url}: {error}; next attempt in {delay} s")
            sleep(delay)


def _attempt(url, part, remedy, progress, checked):
    """Make one request and write its answer to `part`. Raises _TransientError or DownloadError."""
    offset = size_of(part)
    try:
        with requests.get(url, headers=_headers(part, offset), stream=True, timeout=TIMEOUT) as answer:
            start, total = _judge(url, answer, offset, remedy)
            if start is not None:
                _save(url, answer, part, start, total, remedy, progress)
                return _recognise(url, part, total, remedy, checked)
    except requests.exceptions.SSLError as error:
        raise _TransientError("no trusted connection (a proxy between, or outdated certificates)") from error
    except requests.Timeout as error:
        raise _TransientError("the server did not answer in time") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise _TransientError(f"the connection broke after {size_of(part)} bytes") from error
    except requests.ConnectionError as error:
        raise _TransientError("no connection to the server; this computer may be offline") from error
    except (requests.RequestException, ValueError) as error:  # a redirection may lead to no address at all
        reason = " ".join(str(error).split())
        raise DownloadError(f"{url}: cannot be requested ({reason}); check the address, or {remedy}") from error
    # The server cannot go on from this part: it holds another version or more than the file. From the start, then,
    # which asks for no range and so cannot come here again.
    drop_contents(part)
    return _attempt(url, part, remedy, progress, checked)


def _headers(part, offset):
    # Compressed transfers would make lengths and ranges count something else than the bytes of the file.
    headers = {"Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
        version = validator_file(part)
        validator = version.read_text(encoding="utf-8") if version.exists() else ""
        if validator:
            headers["If-Range"] = validator
    return headers


def _judge(url, answer, offset, remedy):
    """Return where the answer's bytes begin in the file, and the file's length if told; (None, None) to start anew."""
    status = answer.status_code
    if offset and status == 416:
        return None, None
    if status >= 500 or status in RETRIED_STATUS:
        raise _TransientError(f"the server answered {status}")
    if status not in (200, 206):
        meaning = {401: " (login needed)", 403: " (refused)", 404: " (no such file)", 410: " (removed)"}.get(status, "")
        raise DownloadError(f"{url}: the server answered {status}{meaning}; check the address, or {remedy}")
    if answer.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise _web_page(url, remedy)
    encoded = answer.headers.get("Content-Encoding", "identity").lower() != "identity"
    length = None if encoded else _number(answer.headers.get("Content-Length"))
    if status == 200:
        return 0, length
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    if encoded or match is None or int(match[1]) != offset:
        if not offset:
            raise DownloadError(f"{url}: the server sent a part that nobody asked for; {remedy}")
        return None, None
    return offset, _number(match[2]) or (None if length is None else offset + length)


def _number(text):
    return int(text) if text is not None and text.isdecimal() else None


def _web_page(url, remedy):
    return DownloadError(
        f"{url}: the server sent a web page, not the file (a login, a proxy's notice or a share link); use the direct"
        f" address, or {remedy}"
    )


def _save(url, answer, part, start, total, remedy, progress):
    """Write the answer's bytes to `part` from `start` on and check their number."""
    chunks = answer.iter_content(CHUNK)
    # The first bytes are looked at before the file is opened: a proxy's page must not cost an earlier part.
    chunk = next(chunks, b"")
    if start == 0:
        if is_web_page(chunk[:512]):
            raise _web_page(url, remedy)
        if chunk.startswith(POINTER):
            raise DownloadError(f"{url}: the server sent a Git LFS pointer, not the file; {remedy}")
        validator_file(part).write_text(_validator(answer.headers), encoding="utf-8")
    limit = largest_download()
    if total is not None and total > limit:
        raise _too_large(url, f"of {total} bytes")
    with open(part, "ab" if start else "wb") as stream, _bar(url, start, total, progress) as bar:
        while chunk:
            if stream.tell() + len(chunk) > limit:
                drop_contents(part)
                raise _too_large(url, "without an end")
            stream.write(chunk)
            bar.update(len(chunk))
            chunk = next(chunks, b"")
        stream.flush()
        os.fsync(stream.fileno())  # a crash after the rename must not leave a hole under the final name
    size = size_of(part)
    if size == 0:
        raise _TransientError("the server sent no data")
    if total is not None and size > total:
        drop_contents(part)
        raise _TransientError(f"{size} bytes came of a file of {total}")
    if total is not None and size < total:
        raise _TransientError(f"the connection ended after {size} of {total} bytes")


def _recognise(url, part, total, remedy, checked):
    """Raise for a file that is not whole, or of which nobody can tell: it must not enter the cache.

    Lengths and checksums tell, and so does the content of the known kinds. A connection that ends early looks like the
    end of the file where the server has told no length.
    """
    whole = is_whole(part)
    if whole is False and total is None:
        raise _TransientError(f"the file ended early, after {size_of(part)} bytes; the server told no length")
    if whole is False:
        drop_contents(part)
        raise DownloadError(f"{url}: the file on the server is cut short or damaged ({total} bytes); {remedy}")
    if whole is None and total is None and not checked:
        drop_contents(part)
        raise DownloadError(
            f"{url}: the server does not tell how long the file is, and its content is of no kind that tells its end, "
            f"so it may be cut short; {remedy}"
        )


def largest_download():
    """Bytes that a download may have: `DNNLIB_MAX_DOWNLOAD`, or the default."""
    return _number(os.environ.get("DNNLIB_MAX_DOWNLOAD")) or MAX_DOWNLOAD


def _too_large(url, size):
    return DownloadError(
        f"{url}: the server sends a file {size}, more than the limit of {largest_download()} bytes; if that is right, "
        "set DNNLIB_MAX_DOWNLOAD to more"
    )


def _validator(headers):
    etag = headers.get("ETag", "")
    # A weak tag says "about the same", which is too little to join two halves of a file.
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _bar(url, start, total, progress):
    """Return a progress bar on stderr that counts bytes, with or without a known total."""
    end = "" if total is None else f" of {_readable(total)}"
    bar = click.progressbar(
        (None for _ in ()),  # nothing to iterate over and, unlike an empty list, of unknown length
        length=total,
        label=f"Downloading {urllib.parse.urlsplit(url).path.rpartition('/')[2] or url}",
        item_show_func=lambda _: f"{_readable(bar.pos)}{end}",
        file=sys.stderr if progress else io.StringIO(),
    )
    bar.pos = start
    return bar


def _readable(size):
    for unit, bytes_each in (("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if size >= bytes_each:
            return f"{size / bytes_each:.1f} {unit}"
    return f"{size} bytes"
