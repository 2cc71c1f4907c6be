"""An in-memory S3 server whose responses a test controls, request by request.

A script is a function that is asked about each request twice: before it is carried out and after.
What it returns is what the client gets in place of the answer, so that a request can be refused,
carried out without an answer, or, by waiting in the function, carried out late.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

__all__ = [
    "NO_ANSWER",
    "Handler",
    "Request",
    "Script",
    "ScriptedS3",
    "Stored",
    "scripted_s3",
    "serving",
]

NO_ANSWER = 0
"""What a script returns for a connection that ends without an answer."""

_CODES = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 503: "SlowDown"}


@dataclass(frozen=True)
class Request:
    """A request passed to a script; each key of a bulk delete counts as one."""

    operation: str
    """GET, HEAD, LIST, PUT, SWAP (a conditional PUT), COPY or DELETE."""
    key: str
    client: str
    """The access key of who sent it."""
    done: bool
    """Whether it was carried out already."""


Script = Callable[[Request], "int | None"]


@dataclass
class Stored:
    """An object."""

    content: bytes
    time: float

    generation: int = 0
    """What no other state of any object has."""

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


class ScriptedS3:
    """The server; the bucket is ``test``."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.script: Script | None = None
        self.objects: dict[str, Stored] = {}
        self.generations = itertools.count(1)
        self.served: list[tuple[str, int]] = []
        """The key and the number of bytes of each GET that was answered."""
        self.lock = threading.RLock()

    def options(self, client: str = "partita") -> dict[str, str]:
        """The storage options of a client with this name."""
        return {
            "endpoint_url": f"http://127.0.0.1:{self.port}",
            "access_key_id": client,
            "secret_access_key": "secret",
            "region": "us-east-1",
        }

    def keys(self, part: str = "") -> list[str]:
        """The keys that contain this text."""
        with self.lock:
            return sorted(key for key in self.objects if part in key)

    def now(self) -> float:
        """The time by the clock of the server."""
        return time.time()

    def age(self, part: str, seconds: float) -> None:
        """Makes objects appear older than they are."""
        with self.lock:
            for key in self.keys(part):
                self.objects[key].time -= seconds


class Handler(BaseHTTPRequestHandler):
    """Answers requests in the dialect of S3."""

    protocol_version = "HTTP/1.1"
    # Headers and content are sent separately, and would wait for each other.
    disable_nagle_algorithm = True
    server: Server
    credential = "Credential=([^/]+)/"
    """Finds the access key in the header Authorization."""
    copy_source = "x-amz-copy-source"
    """The header that makes a PUT a copy."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _request(self) -> None:
        url = urlsplit(self.path)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        key = _key_of(url.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        match self.command:
            case "GET" if "list-type" in query:
                self._list(query)
            case "GET" | "HEAD":
                self._get(key)
            case "PUT":
                self._put(key, body)
            case "DELETE":
                self._delete([key], lambda: self._answer(204))
            case "POST" if "delete" in query:
                found = re.findall(r"<Key>(.*?)</Key>", body.decode(), re.S)
                keys = [unescape(key, {"&quot;": '"', "&apos;": "'"}) for key in found]
                gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
                text = f"<DeleteResult>{gone}</DeleteResult>"
                self._delete(keys, lambda: self._answer(200, text.encode()))
            case _:
                self._refuse(501)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _request

    def _is_answered(self, operation: str, key: str, *, done: bool) -> bool:
        """Runs the script; true if it has answered the request."""
        script = self.server.s3.script
        known = re.search(self.credential, self.headers.get("Authorization") or "")
        client = known[1] if known else ""
        answer = script(Request(operation, key, client, done)) if script else None
        if answer is None:
            return False
        if answer == NO_ANSWER:
            self.close_connection = True
            self.connection.shutdown(2)
        else:
            self._refuse(answer)
        return True

    def _get(self, key: str) -> None:
        if self._is_answered(self.command, key, done=False):
            return
        stored = self.server.s3.objects.get(key)
        if stored is None:
            return self._refuse(404)
        wanted = self.headers.get("If-Match")
        if wanted is not None and wanted.strip('"') != stored.etag.strip('"'):
            return self._refuse(412)
        content, status = stored.content, 200
        headers = self.version(stored)
        headers["Last-Modified"] = formatdate(stored.time, usegmt=True)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked:
            size = len(content)
            first = int(asked[1]) if asked[1] else max(size - int(asked[2]), 0)
            last = min(int(asked[2]), size - 1) if asked[1] and asked[2] else size - 1
            if first >= size:
                return self._refuse(416)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
            content, status = content[first : last + 1], 206
        if self.command == "GET":
            with self.server.s3.lock:
                self.server.s3.served.append((key, len(content)))
        self._answer(status, content, headers)

    def _put(self, key: str, body: bytes) -> None:
        source = self.headers.get(self.copy_source)
        operation = "COPY" if source else "SWAP" if self.is_conditional() else "PUT"
        if self._is_answered(operation, key, done=False):
            return
        with self.server.s3.lock:
            objects = self.server.s3.objects
            current = objects.get(key)
            if source is not None:
                copied = objects.get(_key_of(unquote(source)))
                if copied is None:
                    return self._refuse(404)
                body = copied.content
            if refusal := self.refusal(current):
                return self._refuse(refusal)
            generation = next(self.server.s3.generations)
            stored = objects[key] = Stored(body, time.time(), generation)
        if self._is_answered(operation, key, done=True):
            return
        if source is not None:
            text = (
                f"<CopyObjectResult><ETag>{escape(stored.etag)}</ETag>"
                f"<LastModified>{_iso(stored.time)}</LastModified></CopyObjectResult>"
            )
            return self._answer(200, text.encode())
        self._answer(200, b"", self.version(stored))

    def is_conditional(self) -> bool:
        """Whether a PUT has a condition."""
        return bool(self.headers.get("If-Match") or self.headers.get("If-None-Match"))

    def refusal(self, current: Stored | None) -> int | None:
        """The status by which a PUT is refused whose condition the current object does not meet."""
        equal, absent = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if equal and current is None:
            return 404
        differs = equal and current and equal.strip('"') != current.etag.strip('"')
        return 412 if differs or (absent and current) else None

    def version(self, stored: Stored) -> dict[str, str]:
        """The headers that name the state of an object."""
        return {"ETag": stored.etag}

    def _delete(self, keys: list[str], answer: Callable[[], None]) -> None:
        for key in keys:
            if self._is_answered("DELETE", key, done=False):
                return
            with self.server.s3.lock:
                self.server.s3.objects.pop(key, None)
        for key in keys:
            if self._is_answered("DELETE", key, done=True):
                return
        answer()

    def _list(self, query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        if self._is_answered("LIST", prefix, done=False):
            return
        after = query.get("continuation-token") or query.get("start-after") or ""
        items, directories = [], dict[str, None]()
        with self.server.s3.lock:
            for key, stored in sorted(self.server.s3.objects.items()):
                if not key.startswith(prefix) or key <= after:
                    continue
                name, found, _ = key[len(prefix) :].partition(delimiter or "\0")
                if found and delimiter:
                    directories[f"{prefix}{name}{delimiter}"] = None
                    continue
                items.append(
                    f"<Contents><Key>{escape(key)}</Key><ETag>{escape(stored.etag)}</ETag>"
                    f"<LastModified>{_iso(stored.time)}</LastModified>"
                    f"<Size>{len(stored.content)}</Size></Contents>"
                )
        for directory in directories:
            items.append(f"<CommonPrefixes><Prefix>{escape(directory)}</Prefix></CommonPrefixes>")
        text = (
            '<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>'
            f"<KeyCount>{len(items)}</KeyCount>{''.join(items)}</ListBucketResult>"
        )
        self._answer(200, text.encode())

    def _refuse(self, status: int) -> None:
        code = _CODES.get(status, "InternalError")
        self._answer(
            status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        )

    def _answer(
        self, status: int, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _key_of(path: str) -> str:
    return unquote(path).lstrip("/").partition("/")[2]


def _iso(moment: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment % 1 * 1000):03d}Z"


S = TypeVar("S", bound=ScriptedS3)


class Server(ThreadingHTTPServer):
    """Serves each connection in a thread."""

    daemon_threads = True
    request_queue_size = 128
    s3: ScriptedS3


@contextmanager
def scripted_s3() -> Iterator[ScriptedS3]:
    """Runs a server in threads of this process, on its own port."""
    with serving(ScriptedS3, Handler) as server:
        yield server


@contextmanager
def serving(kind: type[S], handler: type[Handler]) -> Iterator[S]:
    """Runs a server of a kind, with its dialect."""
    server = Server(("127.0.0.1", 0), handler)
    state = server.s3 = kind(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.script = None
        server.shutdown()
        server.server_close()
        thread.join(timeout=30)
