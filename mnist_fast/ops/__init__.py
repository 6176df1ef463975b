"""The operators: the public functions here, registration and formulas beside them."""

from mnist_fast.ops.functional import conv_relu_maxpool2d
from mnist_fast.ops.linear import linear

__all__ = ["conv_relu_maxpool2d", "linear"]
