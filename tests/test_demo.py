"""The demo's server: what it answers, and what it refuses. tests/test_demo_browser.py tests the page itself."""

from __future__ import annotations

import base64
import http.client
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from drawn_digits import LOOKS, drawn
from PIL import Image

from mnist_fast.checkpoint import save_weights
from mnist_fast.demo import DemoServer, load_networks
from mnist_fast.demo import server as server_module
from mnist_fast.inspection import look_inside
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.ops.codes import DEAD
from mnist_fast.pictures import prepare, read_picture
from mnist_fast.prediction import class_probabilities
from mnist_fast.progress import Reporter

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """Two random networks: of digits, and of three classes with names."""
    torch.manual_seed(0)
    folder, paths = tmp_path_factory.mktemp("checkpoints"), []
    for name, classes in (("lenet", list("0123456789")), ("speedrun", ["cat", "dog", "<b>"])):
        spec = NetworkSpec(name, len(classes), 0.13, 0.3)
        paths.append(folder / f"{name}.safetensors")
        details = {"classes": classes, "dataset": "mnist", "test_accuracy": 0.5}
        save_weights(paths[-1], spec, spec.build().state_dict(), details)
    with DemoServer(load_networks(paths, reporter=Reporter(quiet=True))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="png")
    return content.getvalue()


def digit(number: int) -> bytes:
    return png(drawn(number, 0, LOOKS["clean"], np.random.default_rng(number)))


def request(
    server: DemoServer, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def classify(server: DemoServer, body: bytes, network: int = 0) -> tuple[int, dict[str, Any]]:
    response, content = request(server, "POST", f"/classify?network={network}", body, PNG)
    return response.status, json.loads(content)


def test_the_page_and_all_it_needs_come_from_the_server(server: DemoServer) -> None:
    _, page = request(server, "GET", "/?from=a+bookmark")
    files = re.findall(r'(?:href|src)="([^"]+)"', page.decode())
    assert sorted(files) == ["icon.svg", "page.css", "page.js"]
    texts = page.decode()
    for name in [*files, "pad.js", "inside.js"]:
        response, content = request(server, "GET", f"/{name}")
        assert response.status == 200
        assert response.headers["Content-Type"].startswith(("text/", "image/svg+xml"))
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        texts += content.decode()
    assert set(re.findall(r"https?://[^\s\"']+", texts)) == {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_networks(server: DemoServer) -> None:
    response, content = request(server, "GET", "/networks")
    networks = json.loads(content)["networks"]
    assert response.headers["Content-Type"] == "application/json"
    assert [network["arch"] for network in networks] == ["lenet", "speedrun"]
    assert networks[1]["classes"] == ["cat", "dog", "<b>"]
    assert (networks[0]["dataset"], networks[0]["test_accuracy"]) == ("mnist", 0.5)


@pytest.mark.parametrize("network", [0, 1])
def test_a_drawing_is_classified_as_predict_does(server: DemoServer, network: int, tmp_path: Path) -> None:
    file = tmp_path / "seven.png"
    file.write_bytes(digit(7))
    prepared = torch.from_numpy(prepare(read_picture(file)))
    chosen = server.networks[network]
    expected = class_probabilities(chosen.model, prepared[None], chosen.checkpoint.spec)[0]
    status, answer = classify(server, digit(7), network)
    assert status == 200
    assert answer["input"] == prepared.flatten().tolist()
    assert answer["probabilities"] == pytest.approx(expected.tolist(), abs=1e-6)
    assert sum(answer["probabilities"]) == pytest.approx(1)


@pytest.mark.parametrize("network", [0, 1])
def test_what_is_inside_is_told_on_demand(server: DemoServer, network: int) -> None:
    chosen = server.networks[network]
    _, plain = classify(server, digit(7), network)
    _, content = request(server, "POST", f"/classify?network={network}&inside=1", digit(7), PNG)
    answer = json.loads(content)
    layers = answer.pop("layers")
    assert answer == plain
    picture = torch.tensor(answer["input"], dtype=torch.uint8).reshape(28, 28)
    views = look_inside(chosen.model, picture, chosen.checkpoint.spec)
    assert [layer["name"] for layer in layers] == [view.name for view in views] == ["conv1", "conv2"]
    for layer, view in zip(layers, views, strict=True):
        shape = (min(32, len(view.maps)), *view.maps.shape[1:])
        assert tuple(layer["shape"][size] for size in ("count", "height", "width")) == shape
        levels = np.frombuffer(base64.b64decode(layer["maps"]), dtype=np.uint8).reshape(shape)
        assert (levels.min(), levels.max()) == (0, 255)
        brightest = view.maps[: shape[0]].argmax()
        assert levels.flatten()[brightest] == 255
        assert (layer["winners"] is None) == (view.winners is None)
        if view.winners is not None:
            winners = np.frombuffer(base64.b64decode(layer["winners"]), dtype=np.uint8).reshape(shape)
            assert np.array_equal(winners, view.winners.numpy()[: shape[0]])
            assert set(winners[winners != DEAD]) <= set(range(layer["positions"]))


def test_many_at_once_get_each_their_own_answer(server: DemoServer) -> None:
    alone = [classify(server, digit(number), number % 2) for number in range(6)]
    assert len({str(answer) for answer in alone}) == 6
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(lambda number: classify(server, digit(number % 6), number % 2), range(12)))
    assert together == alone * 2


def test_one_connection_carries_many_drawings(server: DemoServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.connect()
    first = connection.sock
    for number in (1, 2):
        connection.request("POST", "/classify", digit(number), PNG)
        assert connection.getresponse().read()
    assert connection.sock is first
    connection.close()


PICTURES = {
    "blank": (png(Image.new("L", (280, 280), 255)), "no digit found"),
    "one pixel": (png(Image.new("L", (1, 1))), "no digit found"),
    "nothing": (b"", "no picture that can be read"),
    "text": (b"hello", "no picture that can be read"),
    "truncated": (digit(3)[:200], "drawing.png"),
    "flipped": (digit(3).replace(b"IDAT", b"IDAX"), "drawing.png"),
    "huge": (png(Image.new("1", (5000, 4000))), "5000x4000 is more than 16 megapixels"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_are_none(server: DemoServer, name: str) -> None:
    body, words = PICTURES[name]
    status, answer = classify(server, body)
    assert (status, list(answer)) == (422, ["error"])
    assert words in answer["error"]
    assert "\n" not in answer["error"]


HUGE = {"Content-Length": "1048577"}
REFUSED: dict[str, tuple[str, str, dict[str, str], int, str]] = {
    "another host": ("GET", "/", {"Host": "evil.example"}, 403, "this computer only"),
    "another host, our port": ("GET", "/networks", {"Host": "evil.example:80"}, 403, "this computer only"),
    "host as a prefix": ("GET", "/", {"Host": "127.0.0.1.evil.example"}, 403, "this computer only"),
    "no host": ("GET", "/", {"Host": ""}, 403, "this computer only"),
    "another origin": ("POST", "/classify", PNG | {"Origin": "http://evil.example"}, 403, "another site"),
    "no origin": ("POST", "/classify", PNG | {"Origin": "null"}, 403, "another site"),
    "unknown file": ("GET", "/secret", {}, 404, "no /secret"),
    "outside": ("GET", "/../server.py", {}, 404, "no /../server.py"),
    "unknown action": ("POST", "/delete", PNG, 404, "no /delete"),
    "unknown network": ("POST", "/classify?network=2", PNG, 404, "no network 2"),
    "negative network": ("POST", "/classify?network=-1", PNG, 404, "no network -1"),
    "form": ("POST", "/classify", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "image/png"),
    "text": ("POST", "/classify", {"Content-Type": "text/plain"}, 415, "image/png"),
    "no type": ("POST", "/classify", {}, 415, "not nothing"),
    "too long": ("POST", "/classify", PNG | HUGE, 413, "at most 1048576 bytes"),
    "endless": ("POST", "/classify", PNG | {"Content-Length": "9" * 5000}, 413, "at most 1048576 bytes"),
    "negative length": ("POST", "/classify", PNG | {"Content-Length": "-1"}, 411, "Content-Length"),
    "no length": ("POST", "/classify", PNG | {"Transfer-Encoding": "chunked"}, 411, "Content-Length"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_requests_that_are_refused(server: DemoServer, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    method, path, headers, status, words = REFUSED[name]
    # Without a body where the headers announce one: whoever refuses them does not wait for it.
    body = b"" if method == "POST" and "Transfer-Encoding" not in headers else None
    response, content = request(server, method, path, body, headers)
    assert response.status == status
    assert words in json.loads(content)["error"]
    assert response.headers["Connection"] == "close"
    assert capfd.readouterr() == ("", "")
    assert classify(server, digit(1))[0] == 200  # others are still served


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:8000"])
def test_the_names_of_this_computer(server: DemoServer, host: str) -> None:
    headers = PNG | {"Host": host, "Origin": f"http://{host}"}  # of a tunnel's other end, too
    response, _ = request(server, "POST", "/classify", digit(1), headers)
    assert response.status == 200


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),  # as https begins
        (b"DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n", b" 501 "),
        (
            b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1",
            b" 400 ",
        ),
        (b"GET / HTTP/1.1\r\n", b" 403 "),
        (b"", b""),
    ],
    ids=["no http", "method", "half a body", "half a header", "nothing"],
)
def test_clients_that_stop_halfway(
    server: DemoServer, sent: bytes, answer: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer in received
    assert bool(answer) == bool(received)
    assert capfd.readouterr() == ("", "")


def test_a_client_that_falls_silent_is_left(
    server: DemoServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(server_module._Handler, "timeout", 0.1)
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as client:
        client.sendall(head)
        assert client.recv(1) == b""
    assert capfd.readouterr() == ("", "")


def test_only_this_computer_can_connect(server: DemoServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
