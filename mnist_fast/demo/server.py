"""The web server of the page: for the browsers of this computer and for nobody else."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from mnist_fast.demo.networks import Network
from mnist_fast.errors import DataError, MnistFastError, UsageError

_ADDRESS = "127.0.0.1"
# A name that some other site resolves to this computer (DNS rebinding) is none of these.
_HOSTS = (_ADDRESS, "localhost")
_MOST_BYTES = 1 << 20  # of a drawing; the page's have some thousands
_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/pad.js": ("pad.js", "text/javascript; charset=utf-8"),
    "/inside.js": ("inside.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    # The page has its own files and its own server, and can reach nothing else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

Content = tuple[str, bytes]  # its media type, itself


class DemoServer(ThreadingHTTPServer):
    """Serves the page for ``networks`` on 127.0.0.1, a thread for each connection.

    ``GET /`` is the page, ``GET /networks`` tells what there is to choose from, and ``POST /classify?network=0`` with a
    PNG file answers with :meth:`mnist_fast.demo.Network.classify` (``&inside=1``: and what is inside). Errors are
    ``{"error": "one line"}``.

    Args:
        port: 0 takes a free one.

    Raises:
        UsageError: the port is taken, or not for this user.
    """

    daemon_threads = True  # an open page does not keep the process

    def __init__(self, networks: Sequence[Network], port: int = 0) -> None:
        self.networks = networks
        folder = resources.files("mnist_fast.demo") / "page"
        self.page = {path: (kind, (folder / name).read_bytes()) for path, (name, kind) in _PAGE.items()}
        try:
            super().__init__((_ADDRESS, port), _Handler)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise UsageError(f"port {port} is taken; choose another --port, or none for a free one") from None
            if error.errno == errno.EACCES:
                raise UsageError(f"port {port} is not for every user; choose one above 1023") from None
            raise

    @property
    def url(self) -> str:
        return f"http://{_ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):  # a browser that leaves is no error
            super().handle_error(request, client_address)


class _RefusedError(MnistFastError):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: DemoServer
    protocol_version = "HTTP/1.1"  # one connection for all of a stroke's drawings
    # Headers and content go out in one piece, and at once: or the system might wait for an acknowledgement in between.
    wbufsize, disable_nagle_algorithm = -1, True
    timeout = 60  # seconds without a byte, after which a connection ends

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def version_string(self) -> str:
        return "mnist-fast"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for each point of each stroke would hide what matters."""

    def _get(self) -> Content:
        path = urlsplit(self.path).path
        if path == "/networks":
            return _json({"networks": [network.describe() for network in self.server.networks]})
        if path not in self.server.page:
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"there is no {path[:100]} here")
        return self.server.page[path]

    def _post(self) -> Content:
        url = urlsplit(self.path)
        drawing = self._body()
        if url.path != "/classify":
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"there is no {url.path[:100]} to post to here")
        query = parse_qs(url.query)
        number = query.get("network", ["0"])[-1]
        if number not in map(str, range(len(self.server.networks))):
            raise _RefusedError(HTTPStatus.NOT_FOUND, f"there is no network {number[:100]} here; see /networks")
        return _json(self.server.networks[int(number)].classify(drawing, inside="inside" in query))

    def _body(self) -> bytes:
        # No other site's page can send this type without asking first, which nothing here answers.
        kind = self.headers.get_content_type() if "Content-Type" in self.headers else "nothing"
        if kind != "image/png":
            raise _RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a drawing is image/png, not {kind}")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()):
            raise _RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length must say how many bytes follow")
        if len(length) > 9 or int(length) > _MOST_BYTES:
            raise _RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a drawing has at most {_MOST_BYTES} bytes")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise _RefusedError(HTTPStatus.BAD_REQUEST, f"{length} bytes were announced, {len(body)} came")
        return body

    def _check_origin(self) -> None:
        host = self.headers.get("Host", "")
        if host.partition(":")[0].lower() not in _HOSTS:
            raise _RefusedError(HTTPStatus.FORBIDDEN, f"this page is for this computer only; open {self.server.url}")
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            raise _RefusedError(HTTPStatus.FORBIDDEN, "another site's page may not ask here")

    def _answer(self, make: Callable[[], Content]) -> None:
        status = HTTPStatus.OK
        try:
            self._check_origin()
            kind, body = make()
        except _RefusedError as error:
            status, (kind, body) = error.status, _json({"error": str(error)})
            self.close_connection = True  # what else was sent is not read
        except DataError as error:
            status, (kind, body) = HTTPStatus.UNPROCESSABLE_ENTITY, _json({"error": str(error)})
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def _json(value: dict[str, Any]) -> Content:
    return "application/json", json.dumps(value).encode()
