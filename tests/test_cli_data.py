"""``mnist-fast data``: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from damaged_idx import DAMAGED, DAMAGED_PACKED
from data_files import publish, small_contents, write_files
from mirror import serving
from PIL import Image

from mnist_fast.cli import main
from mnist_fast.data import catalog


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture
def mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a small MNIST whose digests the catalogue has."""
    (tmp_path / "served").mkdir()
    write_files(tmp_path / "root", "mnist", publish(monkeypatch, tmp_path / "served"))
    return tmp_path / "root"


def assert_failed(result: Result, code: int, *parts: str) -> None:
    assert result.exit_code == code
    line = result.stderr.splitlines()[-1]
    assert line.startswith("mnist-fast: error: ")
    assert all(part in line for part in parts)
    assert "Traceback" not in result.output


def test_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("path", "--data-dir", tmp_path).stdout == f"{tmp_path}\n"
    monkeypatch.setenv("MNIST_FAST_DATA", str(tmp_path / "chosen"))
    assert run("path").stdout == f"{tmp_path / 'chosen'}\n"


def test_fetch_downloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served, root = tmp_path / "served", tmp_path / "root"
    served.mkdir()
    with serving(served) as mirror:
        publish(monkeypatch, served, mirrors=(mirror.address,))
        result = run("fetch", "mnist", "--data-dir", root)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(root / relative) for relative in catalog.relative_paths("mnist")]
    assert f"downloading {mirror.address}t10k-labels-idx1-ubyte.gz" in result.stderr


def test_fetch_of_what_is_there(mnist: Path) -> None:
    result = run("fetch", "mnist", "digits", "--data-dir", mnist, "--offline")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 4
    assert "digits comes with scikit-learn" in result.stderr


def test_fetch_offline_of_what_is_missing(tmp_path: Path) -> None:
    result = run("fetch", "kmnist", "--data-dir", tmp_path, "--offline")
    assert_failed(result, 3, "kmnist", str(tmp_path / "KMNIST" / "raw"), "offline")
    assert result.stdout == ""


def test_fetch_of_damaged_files(mnist: Path) -> None:
    path = mnist / "MNIST" / "raw" / "t10k-labels-idx1-ubyte"
    path.write_bytes(b"<html></html>")
    assert_failed(run("fetch", "mnist", "--data-dir", mnist), 3, str(path), "web page")


def test_fetch_into_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert_failed(run("fetch", "mnist", "--data-dir", tmp_path / "file" / "sub"), 3, "cannot write", "Not a directory")
    assert_failed(run("fetch", "mnist", "--data-dir", tmp_path / "file"), 3, "is a file")


def test_verify_whole_files(mnist: Path) -> None:
    result = run("verify", "mnist", "digits", "--data-dir", mnist)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("ok ") for line in lines)
    assert lines[0].endswith("train-images-idx3-ubyte holds 12 images")


def test_verify_reports_every_file(mnist: Path) -> None:
    raw = mnist / "MNIST" / "raw"
    content = bytearray((raw / "train-images-idx3-ubyte").read_bytes())
    content[99] ^= 1
    (raw / "train-images-idx3-ubyte").write_bytes(content)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"")
    (raw / "t10k-labels-idx1-ubyte").unlink()
    result = run("verify", "mnist", "--data-dir", mnist)
    assert_failed(result, 3, "3 of 4 files")
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["altered", "damaged", "ok", "missing"]
    assert all(
        Path(relative).name in line for relative, line in zip(catalog.relative_paths("mnist"), lines, strict=True)
    )


@pytest.mark.parametrize(
    ("suffix", "fault"), [*(("", fault) for fault in DAMAGED), *((".gz", fault) for fault in DAMAGED_PACKED)]
)
def test_every_damaged_file_is_3(tmp_path: Path, suffix: str, fault: str) -> None:
    """Also of a dataset whose digests are not known; training does not start."""
    folder = write_files(tmp_path, "fashion-mnist", small_contents("fashion-mnist"), packed=bool(suffix))
    path = folder / f"train-images-idx3-ubyte{suffix}"
    path.write_bytes((DAMAGED_PACKED if suffix else DAMAGED)[fault])
    result = run("verify", "fashion-mnist", "--data-dir", tmp_path)
    assert_failed(result, 3, "1 of 4 files")
    assert result.stdout.startswith(f"damaged  {path}")
    options = ["--dataset", "fashion-mnist", "--data-dir", str(tmp_path), "--output", str(tmp_path / "run")]
    training = CliRunner().invoke(main, ["train", *options, "--offline"])
    assert_failed(training, 3, str(path))
    assert not (tmp_path / "run").exists()


def test_json(mnist: Path) -> None:
    files = [str(mnist / relative) for relative in catalog.relative_paths("mnist")]
    fetched = json.loads(run("fetch", "mnist", "digits", "--data-dir", mnist, "--offline", "--json").stdout)
    assert fetched == {"command": "data fetch", "data_dir": str(mnist), "files": {"mnist": files, "digits": []}}
    verified = json.loads(run("verify", "mnist", "digits", "--data-dir", mnist, "--json").stdout)
    assert (verified["command"], verified["data_dir"], verified["ok"]) == ("data verify", str(mnist), True)
    assert [file["path"] for file in verified["files"]] == files
    assert {(file["dataset"], file["status"]) for file in verified["files"]} == {("mnist", "ok")}
    assert json.loads(run("path", "--data-dir", mnist, "--json").stdout) == {
        "command": "data path",
        "data_dir": str(mnist),
    }
    Path(files[3]).unlink()
    result = run("verify", "mnist", "--data-dir", mnist, "--json")
    assert_failed(result, 3, "1 of 4 files are not ok; `mnist-fast data fetch`")
    assert not json.loads(result.stdout)["ok"]
    assert [file["status"] for file in json.loads(result.stdout)["files"]] == ["ok", "ok", "ok", "missing"]


def test_verify_a_folder(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                Image.linear_gradient("L").resize((20, 30)).save(tmp_path / split / name / f"{number}.png")
    result = run("verify", f"folder:{tmp_path}")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == f"ok       {tmp_path / 'train' / 'a' / '0.png'} holds a picture of 20x30"
    assert len(result.stdout.splitlines()) == 8
    for file in ("train/a/1.png", "test/b/0.png"):
        (tmp_path / file).write_bytes(b"no picture")
    result = run("verify", f"folder:{tmp_path}")
    assert_failed(result, 3, "2 of 8 files are not ok")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok", "damaged", *["ok"] * 5, "damaged"]
    shutil.rmtree(tmp_path / "test")
    (tmp_path / "train/a/1.png").unlink()
    assert_failed(run("verify", f"folder:{tmp_path}"), 3, "no folder test")


def test_real_mnist(mnist_root: Path) -> None:
    result = run("verify", "mnist", "--data-dir", mnist_root)
    assert result.exit_code == 0
    assert "60,000 images" in result.stdout


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_usage_errors(command: str) -> None:
    for arguments in ([], ["mnits"], ["auto"], ["mnist", "--no-such-option"]):
        result = run(command, *arguments)
        assert result.exit_code == 2
        assert "Traceback" not in result.output
    assert "'fashion-mnist'" in run(command, "mnits").stderr


@pytest.mark.parametrize("command", [[], ["fetch"], ["verify"], ["path"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    script = (
        "import sys; sys.argv = ['mnist-fast']\n"
        "from mnist_fast.cli import main\n"
        f"main(['data', *{command!r}, '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'sklearn', 'matplotlib', 'pooch', 'requests'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout
