"""The figures show the numbers they were given, and become PNG files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from mnist_fast.files import OutputError
from mnist_fast.inspection import winners_of
from mnist_fast.models import get_model, list_models
from mnist_fast.nn import ConvReLUMaxPool2d
from mnist_fast.ops import library
from mnist_fast.ops.codes import DEAD
from mnist_fast.plots.curves import draw_curves
from mnist_fast.plots.files import make_directory, new_figure, save_figure
from mnist_fast.plots.mistakes import draw_confusion, draw_mistakes, draw_scores
from mnist_fast.plots.network import draw_feature_maps, draw_filters, draw_winners

CLASSES = ("a", "b", "c")


def test_curves() -> None:
    records = [
        {"event": "loss", "step": 5, "loss": 2.0},
        {"event": "loss", "step": 10, "loss": 1.0},
        {"event": "epoch", "step": 10, "train_loss": 1.5, "test_loss": 0.5, "test_accuracy": 0.9},
    ]
    figure = draw_curves(records)
    assert figure is not None
    lines = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert lines == {
        "running, training": [[5, 2], [10, 1]],
        "epoch's mean, training": [[10, 1.5]],
        "test": [[10, 0.5]],
    }
    assert [line.get_xydata().tolist() for line in figure.axes[1].lines] == [[[10, 0.9]]]
    assert draw_curves([]) is None
    assert draw_curves([{"event": "epoch", "step": 1}]) is None


def test_confusion() -> None:
    figure = draw_confusion([[5, 0, 1], [0, 7, 0], [2, 0, 0]], CLASSES, "title")
    cells = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert cells == {(0, 0): "5", (2, 0): "1", (1, 1): "7", (0, 2): "2"}


def test_scores() -> None:
    per_class = {"precision": [1.0, 0.5, 0.0], "recall": [0.25, 1.0, 0.125], "f1": [0.4, 0.6, 0.8]}
    figure = draw_scores(per_class, {"precision": 0.5, "recall": 0.75, "f1": 0.6}, CLASSES)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == [f"{v:.4f}" for v in (1, 0.25, 0.4, 0.5, 1, 0.6, 0, 0.125, 0.8, 0.5, 0.75, 0.6)]
    assert len(figure.axes[0].patches) == 12


def test_mistakes() -> None:
    probabilities = torch.tensor([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.4, 0.3, 0.3], [0.0, 0.01, 0.99]])
    images, labels = torch.zeros(4, 28, 28, dtype=torch.uint8), torch.tensor([0, 2, 1, 0])
    figure = draw_mistakes(images, labels, probabilities, CLASSES)
    assert figure is not None
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["c (99.0%), not a\nimage 3", "b (80.0%), not c\nimage 1", "a (40.0%), not b\nimage 2"]
    assert draw_mistakes(images, torch.tensor([0, 1, 0, 2]), probabilities, CLASSES) is None


@pytest.mark.skipif(library.missing is not None or library.backend == "stock", reason="no kernels here")
@pytest.mark.parametrize(
    "block",
    [
        ConvReLUMaxPool2d(1, 6, 5),
        ConvReLUMaxPool2d(1, 3, 3, padding=1, pool_size=3, pool_stride=2),
        ConvReLUMaxPool2d(1, 4, 3, relu=False),
        ConvReLUMaxPool2d(1, 5, 3, pool_size=1),
    ],
    ids=str,
)
def test_winners_are_the_poolings_own(block: ConvReLUMaxPool2d) -> None:
    block, input = block.double(), torch.randn(2, 1, 20, 20, dtype=torch.float64)  # random: no ties
    winners = winners_of(block, input)
    conv = F.conv2d(input, block.weight, block.bias, padding=block.padding)
    pooled, flat = F.max_pool2d(conv, block.pool_size, block.pool_stride, return_indices=True)
    size, stride = (v if isinstance(v, int) else v[0] for v in (block.pool_size, block.pool_stride))
    rows, columns = flat // conv.shape[3], flat % conv.shape[3]
    top = torch.arange(pooled.shape[2])[:, None] * stride
    left = torch.arange(pooled.shape[3]) * stride
    expected = (rows - top) * size + columns - left
    if block.relu:
        expected = expected.where(pooled > 0, DEAD)
    assert torch.equal(winners, expected)


def test_filters_and_maps_say_what_they_leave_out() -> None:
    assert draw_filters(torch.randn(32, 1, 3, 3), "conv1").get_suptitle() == "conv1: 32 filters"
    title = draw_filters(torch.randn(64, 48, 3, 3), "conv2").get_suptitle()
    assert title == "conv2: the first 16 of 64 filters (rows), the first 32 of 48 input channels (columns)"
    assert draw_feature_maps(torch.zeros(3, 5, 7), "conv1").get_suptitle() == "conv1: 3 feature maps, 5x7"


@pytest.mark.parametrize("pool_size", [(1, 1), (2, 2), (2, 1), (4, 5)])
def test_winners_are_named(pool_size: tuple[int, int]) -> None:
    count = pool_size[0] * pool_size[1]
    winners = torch.arange(30).reshape(1, 5, 6) % (count + 1)
    figure = draw_winners(winners.where(winners < count, DEAD), pool_size, "conv1")
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert len(labels) == count + 1
    assert labels[-1] == ("passes" if count == 1 else f"row {pool_size[0] - 1}, column {pool_size[1] - 1}")


def test_every_network_has_blocks_to_draw() -> None:
    for name in list_models():
        assert any(isinstance(layer, ConvReLUMaxPool2d) for layer in get_model(name).children())


def test_files(tmp_path: Path) -> None:
    path = save_figure(new_figure(5, 3), make_directory(tmp_path / "a" / "b") / "c.png")
    assert Image.open(path).size == (600, 360)
    with pytest.raises(OutputError, match=r"cannot create the directory .*c\.png"):
        make_directory(path)
    with pytest.raises(OutputError, match="cannot write"):
        save_figure(new_figure(5, 3), tmp_path / "none" / "c.png")
