"""Pictures moved a little, each in its own way, a whole batch in one call. Never mirrored: a mirrored 2 is no digit.

What happens to a picture is decided by the seed, the epoch and its position in the epoch's order, before the first
batch is made: batch sizes, interruptions and the number of processes cannot change it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_fast.data.drawing import generator

_SIZE = 28
_MAX_SHIFT = 2  # pixels, in each direction; MNIST's pictures have a margin of 4
_MAX_ANGLE = math.radians(15)
_MAX_SHEAR = 0.15
_MAX_SCALE = 1.1


def draw_transforms(kind: str, count: int, seed: int, epoch: int, strength: float = 1.0) -> Tensor:
    """What to do with each picture of an epoch, in the epoch's order.

    Args:
        kind: ``"shift"``: whole pixels up to 2 in each direction. ``"affine"``: rotation up to 15°, size from 1/1.1 to
            1.1, shear up to 0.15, shift up to 2 pixels, about the centre.
        count: how many pictures the epoch's order has.
        strength: from 0 to 1: what those limits, and the logarithm of that of the size, are multiplied by; whole pixels
            are rounded.

    Returns:
        On the CPU. ``"shift"``: int64 (count, 2), the first row and column of the picture's window in itself with a
        margin of 2. ``"affine"``: float32 (count, 2, 3), matrices that lead from places in the new picture to places
        in the old, both from -1 to 1, x before y.
    """
    random = generator(seed, epoch, "augmentation")
    if kind == "shift":
        most = round(_MAX_SHIFT * strength)
        return torch.randint(_MAX_SHIFT - most, _MAX_SHIFT + most + 1, (count, 2), generator=random)
    # In double precision, so that whatever way a machine has of computing a sine is rounded away.
    drawn = strength * (2 * torch.rand(count, 5, generator=random, dtype=torch.float64) - 1)
    angle, shear, scale, right, down = drawn.unbind(1)
    angle, shear, scale = angle * _MAX_ANGLE, shear * _MAX_SHEAR, _MAX_SCALE**scale
    cos, sin = angle.cos(), angle.sin()
    linear = torch.stack((cos + shear * sin, sin - shear * cos, -sin, cos), 1).view(count, 2, 2) / scale.view(-1, 1, 1)
    shift = torch.stack((right, down), 1).unsqueeze(2) * (_MAX_SHIFT / (_SIZE / 2))
    return torch.cat((linear, -linear @ shift), 2).float()


def views() -> Tensor:
    """Affine maps (9, 2, 3), as :func:`apply_transforms` takes them, from which a picture can be looked at again.

    As it is; one pixel to each side; sheared by 0.1 to either side; 6% smaller and larger.
    """
    pixel = 2 / _SIZE
    maps = torch.eye(2, 3).repeat(9, 1, 1)
    maps[1:5, :, 2] = pixel * torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    maps[5:7, 0, 1] = torch.tensor([0.1, -0.1])
    maps[7:9, :, :2] *= torch.tensor([1 / 0.94, 1 / 1.06])[:, None, None]
    return maps


def apply_transforms(images: Tensor, transforms: Tensor) -> Tensor:
    """Do with each picture what :func:`draw_transforms` drew for it; what comes in from outside is black (0).

    Args:
        images: uint8 (B, 28, 28).
        transforms: of these B pictures, on the same device.

    Returns:
        Grey levels (B, 28, 28), as uint8 for shifts, and for affine maps, which interpolate linearly, as float32 from 0
        to 255 but for rounding.
    """
    if transforms.dim() == 2:
        windows = F.pad(images, (_MAX_SHIFT,) * 4).unfold(1, _SIZE, 1).unfold(2, _SIZE, 1)
        return windows[torch.arange(len(images), device=images.device), transforms[:, 0], transforms[:, 1]]
    # F.affine_grid multiplies matrices, and how those round may depend on the size of the batch. Sums of products, one
    # plane for x and one for y, do not, and grid_sample is twice as fast on planes.
    places = (torch.arange(_SIZE, device=images.device) * 2 + 1) / _SIZE - 1
    along_x = transforms[:, :, 0:1] * places + transforms[:, :, 2:3]
    along_y = transforms[:, :, 1:2] * places
    grid = (along_x.unsqueeze(2) + along_y.unsqueeze(3)).permute(0, 2, 3, 1)
    return F.grid_sample(images.unsqueeze(1).float(), grid, padding_mode="zeros", align_corners=False).squeeze(1)
