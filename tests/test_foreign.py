"""Weights of the documents' own classes, written as the documents write them, and of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast.checkpoint import CheckpointError, load_checkpoint
from mnist_fast.errors import UsageError
from mnist_fast.foreign import recognise


class Document000(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x)))), 2)
        return F.log_softmax(self.fc2(F.relu(self.fc1(torch.flatten(x, 1)))), dim=1)


class Document001(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, stride=1, padding=1)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv2(self.pool(F.relu(self.conv1(x))))))
        return self.fc2(F.relu(self.fc1(x.view(-1, 64 * 7 * 7))))


class Document002(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv2(self.pool(F.relu(self.conv1(x))))))
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.view(-1, 16 * 4 * 4))))))


class Document004(Document000):
    def __init__(self) -> None:
        super().__init__()
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout2d(0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout1(F.max_pool2d(self.conv2(F.relu(self.conv1(x))), 2))
        x = self.dropout2(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


def document_002_with_fc4() -> nn.Module:
    """As its fine-tuning leaves it: with a layer that the forward pass never calls."""
    net = Document002()
    net.fc4 = nn.Linear(16 * 4 * 4, 10)
    return net


def sequential(classes: int = 10) -> Callable[[], nn.Module]:
    """The network of document 002 under other names: 0.weight, 3.weight, …"""
    return lambda: nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, classes),
    )  # fmt: skip


class Backwards(nn.Module):
    """Document 001 with its layers defined last to first, so that only shapes tell them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.ModuleList([nn.Linear(3136, 128), nn.Linear(128, 10)])
        self.features = nn.ModuleList([nn.Conv2d(1, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.features:
            x = F.max_pool2d(F.relu(layer(x)), 2)
        return self.classifier[1](F.relu(self.classifier[0](x.flatten(1))))


@pytest.mark.parametrize(
    ("build", "arch", "note"),
    [
        (Document000, "cnn", None),
        (Document001, "cnn-padded", None),
        (Document002, "lenet", None),
        (Document004, "cnn-dropout", None),
        (document_002_with_fc4, "lenet", "fc4.weight, fc4.bias left out"),
        (sequential(), "lenet", "11.bias is fc3.bias"),
        (sequential(26), "lenet", "3.weight is conv2.weight"),
        (
            lambda: nn.Sequential(nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5), nn.Linear(256, 7)),
            "lenet",
            "2.bias is fc4.bias",
        ),
        (lambda: torch.compile(Document002()), "lenet", None),
    ],
)
def test_the_same_outputs(build: Callable[[], nn.Module], arch: str, note: str | None, tmp_path: Path) -> None:
    net = build().eval()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    checkpoint = load_checkpoint(tmp_path / "net.pt", arch=arch)
    assert (note or "") in (checkpoint.note or "")
    assert (note is None) == (checkpoint.note is None)
    weights = list(checkpoint.weights.values())
    assert all(torch.equal(one, other) for one, other in zip(weights, net.state_dict().values(), strict=False))
    if len(checkpoint.weights) > 6 or arch != "lenet":  # the last but one is weights only
        images = torch.randn(4, 1, 28, 28)
        net = getattr(net, "_orig_mod", net)
        torch.testing.assert_close(checkpoint.build().eval()(images), net(images), rtol=1e-4, atol=1e-4)


def test_shapes_tell_where_the_order_does_not() -> None:
    net = Backwards()
    found = recognise(net.state_dict(), "cnn-padded")
    assert found is not None
    assert torch.equal(found.weights["conv2.bias"], net.features[1].bias)
    assert torch.equal(found.weights["fc2.weight"], net.classifier[1].weight)


def test_what_is_no_reference_network(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(1, 6, 5), nn.Linear(256, 10)).state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"is no state_dict of lenet: it holds 0\.weight"):
        load_checkpoint(tmp_path / "net.pt", arch="lenet")
    torch.save({"scale": torch.tensor(1.0)}, tmp_path / "scalar.pt")
    with pytest.raises(CheckpointError, match="is no state_dict of lenet"):
        load_checkpoint(tmp_path / "scalar.pt", arch="lenet")
    with pytest.raises(UsageError, match="add --arch"):
        load_checkpoint(tmp_path / "net.pt")
