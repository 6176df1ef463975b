"""The reference networks: shapes, names and numbers of the documents, fused and stock."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast.errors import UsageError
from mnist_fast.models import get_model, list_models, register_model
from mnist_fast.models.spec import NetworkSpec


class Document000(nn.Module):
    """As printed in document 000."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(torch.flatten(x, 1)))
        return F.log_softmax(self.fc2(x), dim=1)


class Document001(nn.Module):
    """As printed in document 001, with the import it forgot."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, kernel_size=3, stride=1, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, stride=1, padding=1)
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc1 = nn.Linear(64 * 7 * 7, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        return self.fc2(F.relu(self.fc1(x.view(-1, 64 * 7 * 7))))


class Document002(nn.Module):
    """As printed in document 002, with the import it forgot."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.pool = nn.MaxPool2d(2, 2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = F.relu(self.fc1(x.view(-1, 16 * 4 * 4)))
        return self.fc3(F.relu(self.fc2(x)))


class Document004(nn.Module):
    """As printed in document 004."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout2d(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x))
        x = self.dropout1(F.max_pool2d(self.conv2(x), 2))
        x = self.dropout2(F.relu(self.fc1(torch.flatten(x, 1))))
        return F.log_softmax(self.fc2(x), dim=1)


DOCUMENTS = {"cnn": Document000, "cnn-padded": Document001, "lenet": Document002, "cnn-dropout": Document004}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.filterwarnings("ignore:dropout2d")
def test_state_dicts_move_both_ways(name: str, fused: bool) -> None:
    document, ours = DOCUMENTS[name]().eval(), get_model(name, fused=fused).eval()
    images = torch.randn(3, 1, 28, 28)
    ours.load_state_dict(document.state_dict())
    torch.testing.assert_close(ours(images), document(images), rtol=1e-4, atol=1e-5)
    other = DOCUMENTS[name]().eval()
    other.load_state_dict(ours.state_dict())
    assert torch.equal(other(images), document(images))


@pytest.mark.parametrize("head", ["own", "linear"])
@pytest.mark.parametrize("name", list_models())
def test_fused_and_stock_start_equal_and_agree(name: str, head: str) -> None:
    torch.manual_seed(3)
    fused = get_model(name, num_classes=7, head=head).eval()
    torch.manual_seed(3)
    stock = get_model(name, num_classes=7, head=head, fused=False).eval()
    assert not any(type(module).__module__.startswith("mnist_fast") for module in stock.modules())
    for (key, one), (other_key, other) in zip(fused.state_dict().items(), stock.state_dict().items(), strict=True):
        assert key == other_key
        assert torch.equal(one, other)
    images = torch.randn(2, 1, 28, 28)
    assert fused(images).shape == (2, 7)
    torch.testing.assert_close(fused(images), stock(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("cnn", 1_199_882),
        ("cnn-padded", 421_642),
        ("lenet", 44_426),
        ("anchor", 215_194),
        ("speedrun", 40_826),
        ("wide", 426_938),
        ("deep", 197_482),
    ],
)
def test_number_of_parameters(name: str, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in get_model(name).parameters()) == parameters


@pytest.mark.parametrize("name", ["cnn", "cnn-dropout"])
def test_log_probabilities(name: str) -> None:
    outputs = get_model(name).eval()(torch.randn(4, 1, 28, 28))
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(4))


@pytest.mark.parametrize(("name", "head", "features"), [("lenet", "fc4", 256), ("cnn", "fc3", 9216)])
def test_linear_head(name: str, head: str, features: int) -> None:
    model = get_model(name, num_classes=5, head="linear")
    assert [key for key in model.state_dict() if key.startswith("fc")] == [f"{head}.weight", f"{head}.bias"]
    assert model.get_submodule(head).weight.shape == (5, features)
    before = model(torch.ones(1, 1, 28, 28))
    with torch.no_grad():
        model.get_submodule(head).bias.add_(1)
    torch.testing.assert_close(model(torch.ones(1, 1, 28, 28)), before + 1)  # it is in the forward pass


def test_unknown_names_list_the_choices() -> None:
    with pytest.raises(UsageError, match="cnn, cnn-padded, lenet"):
        get_model("vgg")
    with pytest.raises(UsageError, match="own, linear"):
        get_model("cnn", head="round")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register_model("cnn")(lambda classes: nn.Sequential())


def test_spec_builds_its_network() -> None:
    model = NetworkSpec("lenet", 26, 0.0, 1.0, head="linear").build(fused=False)
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 26)
