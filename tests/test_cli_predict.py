"""``mnist-fast predict``: what it prints and saves, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from drawn_digits import LOOKS, drawn
from PIL import Image

from mnist_fast.checkpoint import load_checkpoint, save_weights
from mnist_fast.cli import main
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.pictures import prepare, read_picture


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spec = NetworkSpec("lenet", 10, 0.13, 0.3)
    save_weights(Path("run.safetensors"), spec, spec.build().state_dict(), {"classes": list("abcdefghij")})
    for folder, digit in (("one", 3), ("two", 7)):
        Path(folder).mkdir()
        drawn(digit, 0, LOOKS["clean"], np.random.default_rng(0)).save(f"{folder}/digit.png")
    Image.new("L", (50, 50), 255).save("blank.png")
    Path("letter.txt").write_text("hello")


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(main, ["predict", "run.safetensors", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def test_text() -> None:
    result = run("one/digit.png", "two", "--top-k", "2")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["one/digit.png", "two/digit.png"]
    assert all(line.count("%") == 2 for line in lines)


def test_json_and_what_the_network_got() -> None:
    result = run("one", "two", "--json", "--save-preprocessed", "seen/new", "--top-k", "99")
    summary = json.loads(result.stdout.splitlines()[-1])
    assert (summary["command"], summary["arch"], summary["refused"]) == ("predict", "lenet", [])
    assert [prediction["image"] for prediction in summary["predictions"]] == ["one/digit.png", "two/digit.png"]
    model = load_checkpoint("run.safetensors").build(fused=False).eval()
    for prediction in summary["predictions"]:
        seen = np.asarray(Image.open(prediction["preprocessed"]))
        assert np.array_equal(seen, prepare(read_picture(prediction["image"])))
        with torch.no_grad():
            expected = model((torch.tensor(seen)[None, None] / 255 - 0.13) / 0.3).softmax(1)[0]
        given = {entry["label"]: entry["probability"] for entry in prediction["top_k"]}
        assert [given[label] for label in "abcdefghij"] == pytest.approx(expected.tolist(), abs=1e-5)
        assert list(given.values()) == sorted(given.values(), reverse=True)
        assert (prediction["label"], prediction["probability"]) == next(iter(given.items()))
    assert sorted(path.name for path in Path("seen/new").iterdir()) == ["digit-2.png", "digit.png"]


def test_invert_changes_what_the_network_gets() -> None:
    run("one", "--save-preprocessed", "auto")
    run("one", "--save-preprocessed", "yes", "--invert", "yes")
    run("one", "--save-preprocessed", "no", "--invert", "no")
    seen = [Path(name, "digit.png").read_bytes() for name in ("auto", "yes", "no")]
    assert seen[0] == seen[1] != seen[2]


def test_what_cannot_be_told_does_not_stop_the_others() -> None:
    result = run("blank.png", "letter.txt", "none.png", "one", "--json")
    assert result.exit_code == 3
    errors = result.stderr.splitlines()
    assert [error.partition("error: ")[2] for error in errors] == [
        "blank.png: no digit found: nothing stands out from the background",
        "letter.txt is no picture that can be read; save it as PNG or JPEG",
        "cannot read the picture none.png: No such file or directory",
    ]
    summary = json.loads(result.stdout)
    assert [entry["image"] for entry in summary["refused"]] == ["blank.png", "letter.txt", "none.png"]
    assert [entry["image"] for entry in summary["predictions"]] == ["one/digit.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "IMAGE"),
        (["one", "--top-k", "0"], 2, "--top-k"),
        (["one", "--device", "cuda:99"], 2, "cuda:99"),
        (["one", "--arch", "cnn"], 1, "of lenet, not of cnn"),
        (["one", "--save-preprocessed", "letter.txt"], 1, "cannot create the directory letter.txt"),
        (["blank.png"], 3, "no digit found"),
        (["."], 0, ""),
    ],
)
def test_mistakes(arguments: list[str], code: int, words: str) -> None:
    if arguments == ["."]:
        Path("blank.png").unlink()
        code, words = 3, "no pictures in the folder"
    result = run(*arguments)
    assert (result.exit_code, words in result.stderr) == (code, True)
    assert result.stdout == ""
