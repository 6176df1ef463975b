"""The networks of the reference documents and those of the ladder of recipes. Input: (N, 1, 28, 28)."""

from collections import OrderedDict

from torch import nn

from mnist_fast.models import register_model
from mnist_fast.nn import ConvReLUMaxPool2d, Linear


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


@register_model("cnn")
def cnn(num_classes: int) -> nn.Sequential:
    """Document 000: two 3x3 convolutions, one pooling, log_softmax."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 32, 3, pool_size=1),
        conv2=ConvReLUMaxPool2d(32, 64, 3, contiguous_output=True),
        flatten=nn.Flatten(),
        fc1=Linear(9216, 128),
        relu1=nn.ReLU(),
        fc2=Linear(128, num_classes),
        log_softmax=nn.LogSoftmax(dim=1),
    )


@register_model("cnn-padded")
def cnn_padded(num_classes: int) -> nn.Sequential:
    """Document 001: 3x3 convolutions that keep the size, each pooled."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 32, 3, padding=1),
        conv2=ConvReLUMaxPool2d(32, 64, 3, padding=1, contiguous_output=True),
        flatten=nn.Flatten(),
        fc1=Linear(3136, 128),
        relu1=nn.ReLU(),
        fc2=Linear(128, num_classes),
    )


@register_model("lenet")
def lenet(num_classes: int) -> nn.Sequential:
    """Document 002: two pooled 5x5 convolutions and three linear layers."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 6, 5),
        conv2=ConvReLUMaxPool2d(6, 16, 5, contiguous_output=True),
        flatten=nn.Flatten(),
        fc1=Linear(256, 120),
        relu1=nn.ReLU(),
        fc2=Linear(120, 84),
        relu2=nn.ReLU(),
        fc3=Linear(84, num_classes),
    )


@register_model("cnn-dropout")
def cnn_dropout(num_classes: int) -> nn.Sequential:
    """Document 004: as ``cnn`` with dropout, and no ReLU between the second convolution and its pooling."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 32, 3, pool_size=1),
        conv2=ConvReLUMaxPool2d(32, 64, 3, relu=False, contiguous_output=True),
        dropout1=nn.Dropout2d(0.25),
        flatten=nn.Flatten(),
        fc1=Linear(9216, 128),
        relu1=nn.ReLU(),
        # The document's Dropout2d on a (N, 128) tensor is deprecated in torch; on single features it is this.
        dropout2=nn.Dropout(0.5),
        fc2=Linear(128, num_classes),
        log_softmax=nn.LogSoftmax(dim=1),
    )


@register_model("anchor")
def anchor(num_classes: int) -> nn.Sequential:
    """The published network that reaches 99% in 0.76 s on a GTX 1660 Ti."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 24, 5),
        conv2=ConvReLUMaxPool2d(24, 32, 3, contiguous_output=True),
        flatten=nn.Flatten(),
        fc1=Linear(800, 256),
        relu1=nn.ReLU(),
        fc2=Linear(256, num_classes),
    )


@register_model("speedrun")
def speedrun(num_classes: int) -> nn.Sequential:
    """Our cheapest network to 99%: few channels and a 3x3 pooling after the first convolution."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 8, 5, pool_size=3),
        conv2=ConvReLUMaxPool2d(8, 32, 3, contiguous_output=True),
        flatten=nn.Flatten(),
        fc1=Linear(288, 128),
        relu1=nn.ReLU(),
        fc2=Linear(128, num_classes),
    )


@register_model("wide")
def wide(num_classes: int) -> nn.Sequential:
    """``anchor`` with twice the channels in its second convolution, for the balanced recipe."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 24, 5),
        conv2=ConvReLUMaxPool2d(24, 64, 3, contiguous_output=True),
        flatten=nn.Flatten(),
        fc1=Linear(1600, 256),
        relu1=nn.ReLU(),
        fc2=Linear(256, num_classes),
    )


@register_model("deep")
def deep(num_classes: int) -> nn.Sequential:
    """Two convolutions in front of each pooling, for the accurate recipe."""
    return _named(
        conv1=ConvReLUMaxPool2d(1, 32, 3, pool_size=1),
        conv2=ConvReLUMaxPool2d(32, 32, 3),
        conv3=ConvReLUMaxPool2d(32, 64, 3, pool_size=1),
        conv4=ConvReLUMaxPool2d(64, 64, 3, contiguous_output=True),
        flatten=nn.Flatten(),
        fc1=Linear(1024, 128),
        relu1=nn.ReLU(),
        fc2=Linear(128, num_classes),
    )
