"""``fusion_report``: what it says of small networks, and of torchvision's, which ``fuse`` leaves the same results."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mnist_fast import ConvReLUMaxPool2d, fuse, fusion_report
from mnist_fast.fusion import FusionReport
from mnist_fast.ops import library

kernels = pytest.mark.skipif(
    library.missing is not None or library.backend == "stock", reason="without kernels none covers anything"
)


def convolution(**options: int) -> nn.Conv2d:
    return nn.Conv2d(4, 4, 3, padding=1, **options)


def hooked() -> nn.Conv2d:
    conv = convolution()
    conv.register_forward_hook(lambda module, inputs, output: output * 2)
    return conv


class Like(nn.Conv2d):
    pass


class Net(nn.Module):
    """Calls ``steps(x, conv)`` from a ``forward`` of its own."""

    def __init__(self, steps: Callable[[Tensor, nn.Module], Tensor]) -> None:
        super().__init__()
        self.conv, self.spare, self.steps = convolution(), nn.ReLU(), steps

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x, self.conv)


FUSED = {
    "relu": (nn.Sequential(convolution(), nn.ReLU()), "0", "ReLU"),
    "pool": (nn.Sequential(convolution(), nn.MaxPool2d((2, 3))), "0", "2x3 max-pooling"),
    "both": (nn.Sequential(convolution(), nn.MaxPool2d(2), nn.ReLU()), "0", "ReLU, 2x2 max-pooling"),
    "padded pool": (
        nn.Sequential(convolution(), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)),
        "0",
        "ReLU; max-pooling with padding=1 follows",
    ),
    "functions": (Net(lambda x, conv: F.max_pool2d(F.relu(conv(x)), 2)), "conv", "ReLU, 2x2 max-pooling"),
    "padded function": (
        Net(lambda x, conv: F.max_pool2d(F.relu(conv(x)), 3, padding=1)),
        "conv",
        "ReLU; max-pooling with padding=1 follows",
    ),
    "two pools": (nn.Sequential(convolution(), nn.MaxPool2d(2), nn.MaxPool2d(2)), "0", "2x2 max-pooling"),
}


@pytest.mark.parametrize("name", FUSED)
def test_what_a_block_stands_for(name: str) -> None:
    net, path, what = FUSED[name]
    report = fusion_report(net)
    assert (report.fused, report.not_fused) == ({path: what}, {})
    assert type(fuse(net).get_submodule(path)) is ConvReLUMaxPool2d


NOT_FUSED = {
    "alone": (nn.Sequential(convolution()), "0", "it is the last of its nn.Sequential"),
    "sigmoid": (nn.Sequential(convolution(), nn.Sigmoid(), nn.ReLU()), "0", "Sigmoid follows"),
    "norm": (nn.Sequential(convolution(), nn.BatchNorm2d(4), nn.ReLU()), "0", "BatchNorm2d follows; for evaluation"),
    "ceil": (nn.Sequential(convolution(), nn.MaxPool2d(2, ceil_mode=True)), "0", "max-pooling with ceil_mode follows"),
    "dilated": (nn.Sequential(convolution(), nn.MaxPool2d(2, dilation=2)), "0", "max-pooling with dilation=2 follows"),
    "indices": (
        nn.Sequential(convolution(), nn.MaxPool2d(2, return_indices=True)),
        "0",
        "max-pooling with indices follows",
    ),
    "hooks": (nn.Sequential(hooked(), nn.ReLU()), "0", "it has hooks"),
    "parametrised": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(convolution()), nn.ReLU()),
        "0",
        "it has parametrisations",
    ),
    "subclass": (nn.Sequential(Like(4, 4, 3), nn.ReLU()), "0", "it is a Like"),
    "nested": (nn.Sequential(nn.ReLU(), nn.Sequential(convolution(), nn.Tanh())), "1.0", "Tanh follows"),
    "output": (Net(lambda x, conv: conv(x)), "conv", "its result is what forward returns"),
    "function": (Net(lambda x, conv: torch.tanh(conv(x))), "conv", "tanh follows"),
    "method": (Net(lambda x, conv: conv(x).flatten(1)), "conv", "flatten follows"),
    "ceil function": (
        Net(lambda x, conv: F.max_pool2d(conv(x), 2, ceil_mode=True)),
        "conv",
        "max-pooling with ceil_mode follows",
    ),
    "used twice": (Net(lambda x, conv: (lambda y: F.relu(y) + y)(conv(x))), "conv", "its result is used 2 times"),
    "called twice": (Net(lambda x, conv: F.relu(conv(conv(x)))), "conv", "forward calls it 2 times"),
    "never called": (Net(lambda x, conv: x), "conv", "no forward calls it"),
    "depends on the data": (
        Net(lambda x, conv: F.relu(conv(x)) if x.sum() > 0 else x),
        "conv",
        "Net.forward cannot be traced",
    ),
}


@pytest.mark.parametrize("name", NOT_FUSED)
@pytest.mark.filterwarnings("ignore::mnist_fast.fusion.NotFusedWarning")
def test_why_a_convolution_stays(name: str) -> None:
    net, path, reason = NOT_FUSED[name]
    report = fusion_report(net)
    assert (list(report.not_fused), report.fused, report.no_kernel) == ([path], {}, {})
    assert report.not_fused[path].startswith(reason)
    fused = fuse(net)
    assert type(fused) is type(net)  # where nothing came in, nothing is rewritten
    assert not any(isinstance(module, ConvReLUMaxPool2d) for module in fused.modules())


def test_a_report_changes_nothing() -> None:
    net = nn.Sequential(convolution(), nn.ReLU())
    weights = net[0].weight.clone()
    fusion_report(net)
    assert [type(module) for module in net] == [nn.Conv2d, nn.ReLU]
    assert torch.equal(net[0].weight, weights)


def test_blocks_that_are_there_already_are_not_reported() -> None:
    assert fusion_report(nn.Sequential(ConvReLUMaxPool2d(1, 2, 3), nn.ReLU())) == FusionReport({}, {}, {})


@kernels
@pytest.mark.parametrize(
    ("conv", "reason"),
    [
        (nn.Conv2d(2, 2, 9), "no kernel for a 9x9 filter; up to 7x7"),
        (nn.Conv2d(2, 2, 3, groups=2), "no kernel for groups=2, dilation=(1, 1)"),
        (nn.Conv2d(2, 2, 3, stride=4), "no kernel for stride (4, 4); 1 and 2"),
        (nn.Conv2d(2, 2, 3, dtype=torch.complex64), "no CPU kernel for torch.complex64"),
        (nn.Conv2d(2, 2, 3, device="meta"), "no kernel for device meta"),
        (nn.Conv2d(2, 2, 3, padding="same"), None),
        (nn.Conv2d(2, 2, 3, stride=2, padding=1, padding_mode="reflect"), None),
        (nn.Conv2d(2, 2, (1, 7), dtype=torch.float64), None),
    ],
    ids=str,
)
def test_blocks_that_no_kernel_covers(conv: nn.Conv2d, reason: str | None) -> None:
    report = fusion_report(nn.Sequential(conv, nn.MaxPool2d(3, 2)))
    assert report.fused == {"0": "3x3 max-pooling"}
    assert list(report.no_kernel) == ([] if reason is None else ["0"])
    assert report.no_kernel.get("0", "").startswith(reason or "")


@kernels
def test_text() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 9), nn.ReLU(), nn.Conv2d(2, 2, 1))
    assert str(fusion_report(net)).splitlines() == [
        "0  fused with ReLU",
        "2  fused with ReLU, but runs as stock operators: no kernel for a 9x9 filter; up to 7x7",
        "4  not fused: it is the last of its nn.Sequential",
    ]
    assert str(fusion_report(nn.Linear(2, 2))) == ""


# Convolutions that become blocks, those that stay, and what is said of one.
TORCHVISION = {
    "alexnet": (5, 0, "features.3", "ReLU, 3x3 max-pooling"),
    "vgg11": (8, 0, "features.0", "ReLU, 2x2 max-pooling"),
    "squeezenet1_1": (26, 0, "features.0", "ReLU; max-pooling with ceil_mode follows"),
    "resnet18": (0, 20, "layer1.0.conv1", "BatchNorm2d follows"),
    "mobilenet_v3_small": (9, 43, "features.1.block.1.fc2", "Hardsigmoid follows"),
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_networks(name: str) -> None:
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    fused_count, stay_count, path, what = TORCHVISION[name]
    with torch.device("meta"):  # their own initialisation takes seconds
        net = getattr(models, name)()
        if name in ("alexnet", "vgg11"):  # 0.4 GB of linear layers otherwise
            net.classifier = nn.Linear(9216 if name == "alexnet" else 25088, 10)
    net.to_empty(device="cpu").eval()
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    report = fusion_report(net)
    assert (len(report.fused), len(report.not_fused)) == (fused_count, stay_count)
    assert (report.fused | report.not_fused)[path].startswith(what)
    fused, picture = fuse(net), torch.randn(1, 3, 224, 224)
    assert fused.state_dict().keys() == net.state_dict().keys()
    with torch.no_grad():
        expected = net(picture)
        torch.testing.assert_close(fused(picture), expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_folded_normalisation_is_fused() -> None:
    """The advice of the report on BatchNorm2d."""
    optimization = pytest.importorskip("torch.fx.experimental.optimization", reason="this torch has another way")
    net = nn.Sequential(convolution(), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).eval()
    net[1].running_mean.normal_()
    assert fusion_report(optimization.fuse(net)).fused == {"0": "ReLU, 2x2 max-pooling"}
    x = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(fuse(optimization.fuse(net))(x), net(x))
