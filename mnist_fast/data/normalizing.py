"""Images as networks take them: numbers, normalised, with a channel."""

from __future__ import annotations

import torch
from torch import Tensor

from mnist_fast.ops import library


class Normalization:
    """``(pixel / 255 - mean) / std``.

    Args:
        mean, std: of pixel / 255.
        dtype: of the results; the arithmetic is in float32 at least.
        device: where the images will be.

    Results are (B, 1, H, W), contiguous. With one channel that is channels_last as well; the strides say so, because
    convolutions are faster in that format and follow the strides of their input.
    """

    def __init__(self, mean: float, std: float, dtype: torch.dtype, device: torch.device) -> None:
        self._dtype = dtype
        self._scale, offset = 1 / (255 * std), -mean / std
        self._offset = torch.tensor(offset, dtype=torch.promote_types(dtype, torch.float32), device=device)
        self._offset_number = offset
        self._own = (
            library.missing is None and library.backend != "stock" and device.type == "cpu" and dtype == torch.float32
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Of uint8 (B, H, W), or of numbers from 0 to 255 of the arithmetic's type, which may be overwritten."""
        if self._own and images.dtype == torch.uint8 and images.is_contiguous():
            return torch.ops.mnist_fast.normalize(images, None, self._scale, self._offset_number)
        # Twice as fast as a sum of mixed types, which would convert element by element.
        batch = images.to(self._offset.dtype)
        torch.add(self._offset, batch, alpha=self._scale, out=batch)
        return batch.to(self._dtype).unsqueeze(3).permute(0, 3, 1, 2)

    def chosen(self, images: Tensor, index: Tensor) -> Tensor:
        """Of ``images[index]``: uint8 (N, H, W), int64 (B,)."""
        if self._own and images.is_cpu and images.is_contiguous():
            return torch.ops.mnist_fast.normalize(images, index, self._scale, self._offset_number)
        # For small batches ten times as fast as images[index].
        return self(images.index_select(0, index).to(self._offset.device))
