"""The fused operator: the public function here, its registration and formulas beside it."""

from mnist_fast.ops.functional import conv_relu_maxpool2d

__all__ = ["conv_relu_maxpool2d"]
