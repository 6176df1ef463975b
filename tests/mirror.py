"""A web server on this machine that stands for the datasets' mirrors, faults included."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path


class Mirror(http.server.ThreadingHTTPServer):
    """Serves the files of a folder at :attr:`address`.

    Below it ``hang/`` never answers, ``wrong/`` answers with a web page and ``short/`` breaks off.

    Attributes:
        requests: the paths that were asked for.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.requests: list[str] = []
        self.closing = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}/"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        fault, _, name = self.path.removeprefix("/").rpartition("/")
        file = self.server.folder / name
        if fault == "hang":
            self.server.closing.wait()
        elif fault == "wrong":
            self._answer(b"<html>Please log in</html>")
        elif not file.is_file():
            self.send_error(404)
        elif fault == "short":
            self._answer(file.read_bytes(), left_out=10)
        else:
            self._answer(file.read_bytes())

    def _answer(self, body: bytes, left_out: int = 0) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) - left_out])

    def log_message(self, *arguments: object) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Mirror]:
    server = Mirror(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
