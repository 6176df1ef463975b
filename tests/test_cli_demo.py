"""``mnist-fast demo``: how it starts and ends, and what it refuses."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
import webbrowser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mnist_fast.checkpoint import save_weights
from mnist_fast.cli import main
from mnist_fast.demo import DemoServer
from mnist_fast.models.spec import NetworkSpec


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = NetworkSpec("lenet", 10, 0.13, 0.3)
    for number, name in enumerate(("older", "newest", "old")):
        directory = Path("runs", name)
        directory.mkdir(parents=True)
        save_weights(directory / "last.safetensors", spec, spec.build().state_dict(), {})
        os.utime(directory / "last.safetensors", (1000 + number % 2, 1000 + number % 2))
    Path("damaged.safetensors").write_bytes(b"no weights")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[DemoServer]:
    """The servers that were started; each ends at once, as if by Ctrl-C."""
    started: list[DemoServer] = []

    def serve(server: DemoServer) -> None:
        started.append(server)
        raise KeyboardInterrupt

    monkeypatch.setattr(DemoServer, "serve_forever", serve)
    return started


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["demo", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def test_it_serves_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "mnist_fast", "demo", "runs/old", "runs/older", "--no-browser"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.endswith(" shows runs/old, runs/older; Ctrl-C ends it\n")
            with urllib.request.urlopen(line.split()[0]) as page:
                assert b"Draw a digit" in page.read()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (130, "mnist-fast: interrupted\n")


def test_the_newest_run_is_the_default(served: list[DemoServer]) -> None:
    result = run()
    assert result.exit_code == 130
    assert f"{served[0].url} shows runs/newest;" in result.stdout


@pytest.mark.parametrize("variable", ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER", None])
@pytest.mark.parametrize("option", ["--browser", "--no-browser"])
def test_a_browser_opens_where_there_is_a_desktop(
    served: list[DemoServer], variable: str | None, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("threading.Thread.start", lambda thread: thread.run())
    if variable is not None:
        monkeypatch.setenv(variable, "x")
    run("runs/old", option)
    assert opened == ([served[0].url] if variable and option == "--browser" else [])


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none"], 1, "cannot read the checkpoint none"),
        (["runs"], 1, "no checkpoint in runs"),
        (["runs/old", "damaged.safetensors"], 1, "damaged.safetensors is damaged"),
        (["runs/old", "--arch", "cnn"], 1, "of lenet, not of cnn"),
        (["runs/old", "--device", "cuda:99"], 2, "cuda:99"),
        (["runs/old", "--port", "65536"], 2, "--port"),
        (["runs/old", "--port", "http"], 2, "--port"),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True)
    assert result.stdout == ""


def test_without_any_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    result = run()
    assert result.exit_code == 2
    assert "no CHECKPOINT is given and ./runs holds none" in result.stderr


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        result = run("runs/old", "--port", str(port))
    assert result.exit_code == 2
    assert result.stderr == (
        f"mnist-fast: error: port {port} is taken; choose another --port, or none for a free one\n"
    )
