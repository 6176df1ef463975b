"""What autocast makes of a block's operands before anything else looks at them."""

from __future__ import annotations

import torch
from torch import Tensor


def operands_under_autocast(input: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """The operands in the dtype of the autocast context; as they are where there is none."""
    # Asked about the meta device, torch raises: there is no autocast on it.
    if not isinstance(input, Tensor) or input.is_meta or not torch.is_autocast_enabled(input.device.type):
        return input, weight, bias
    dtype = torch.get_autocast_dtype(input.device.type)
    return cast(input, dtype), cast(weight, dtype), None if bias is None else cast(bias, dtype)


def cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """float64 and integers stay what they are, and so does what is no tensor: stock shall refuse it."""
    eligible = isinstance(tensor, Tensor) and tensor.is_floating_point() and tensor.dtype is not torch.float64
    return tensor.to(dtype) if eligible else tensor
