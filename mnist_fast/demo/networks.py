"""The networks that the page offers, and what each makes of a drawing."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mnist_fast.checkpoint import Checkpoint, load_checkpoint
from mnist_fast.devices import check_precision, resolve_device
from mnist_fast.errors import UsageError
from mnist_fast.inspection import LayerView, look_inside
from mnist_fast.ops.geometry import pair
from mnist_fast.pictures import prepare
from mnist_fast.pictures.preparing import SIDE
from mnist_fast.pictures.reading import decode
from mnist_fast.prediction import class_names, class_probabilities
from mnist_fast.progress import Reporter
from mnist_fast.runs import newest_run

_DRAWING_SIDE = 280  # pixels, of the page's drawings; larger ones are reduced to it
_MOST_MAPS = 32  # of a layer


@dataclass(frozen=True)
class Network:
    """A checkpoint, ready to classify. Several threads may do so at a time.

    Attributes:
        name: the checkpoint as the user named it.
        model: its network, on the device it computes on.
        precision: as for :func:`mnist_fast.prediction.class_probabilities`.
    """

    name: str
    checkpoint: Checkpoint
    model: nn.Module
    precision: str = "fp32"

    def describe(self) -> dict[str, Any]:
        """What the page tells about it, in plain JSON values."""
        details = self.checkpoint.details
        return {
            "name": self.name,
            "arch": self.checkpoint.spec.arch,
            "dataset": details.get("dataset"),
            "test_accuracy": details.get("test_accuracy"),
            "classes": class_names(self.checkpoint),
        }

    def classify(self, drawing: bytes, *, inside: bool = False) -> dict[str, Any]:
        """The classes' probabilities for a drawing, dark on light, in the file format PNG.

        Args:
            inside: whether to look into the network as well.

        Returns:
            ``probabilities``: 0 to 1, in the order of the classes. ``input``: the 28x28 grey levels that the network
            got, row by row. ``layers``: with ``inside``, one for each fused block, see :func:`_layer`.

        Raises:
            DataError: no picture, a damaged one, one of more than 16 megapixels, or one that shows nothing.
        """
        picture = decode(io.BytesIO(drawing), lambda image: image.convert("L"), name="drawing.png")
        picture.thumbnail((_DRAWING_SIDE, _DRAWING_SIDE))
        prepared = torch.from_numpy(prepare(np.asarray(picture), invert="yes"))
        (probabilities,) = class_probabilities(self.model, prepared[None], self.checkpoint.spec, self.precision)
        answer = {"probabilities": probabilities.tolist(), "input": prepared.flatten().tolist()}
        if inside:
            answer["layers"] = [_layer(view) for view in look_inside(self.model, prepared, self.checkpoint.spec)]
        return answer


def _layer(view: LayerView) -> dict[str, Any]:
    """The first feature maps of a block for the page.

    ``maps`` are grey levels, from the least value in black to the most in white; ``winners`` positions in the pooling
    window of ``positions`` cells, 255 where ReLU lets nothing through, or None; both as base64 of bytes (N, H, W).
    """
    maps = view.maps[:_MOST_MAPS].float().cpu()
    levels = (maps - maps.min()) / (maps.max() - maps.min()).clamp(min=1e-12) * 255
    count, height, width = maps.shape
    return {
        "name": view.name,
        "shape": {"count": count, "of": len(view.maps), "height": height, "width": width},
        "maps": _base64(levels),
        "positions": math.prod(pair(view.block.pool_size)),
        "winners": None if view.winners is None else _base64(view.winners[:_MOST_MAPS]),
    }


def _base64(values: Tensor) -> str:
    return base64.b64encode(values.to(torch.uint8).cpu().numpy().tobytes()).decode()


def load_networks(
    checkpoints: Sequence[str | Path],
    *,
    arch: str | None = None,
    device: str = "auto",
    backend: str = "fused",
    precision: str = "fp32",
    reporter: Reporter,
) -> list[Network]:
    """The networks of ``checkpoints``; where there are none, that of the newest run under ``./runs``.

    Raises:
        UsageError: no checkpoint and no run, a device or precision that is not there.
        CheckpointError: as for :func:`mnist_fast.checkpoint.load_checkpoint`.
    """
    target = resolve_device(device)
    check_precision(precision, target)
    if not checkpoints:
        newest = newest_run()
        if newest is None:
            raise UsageError("no CHECKPOINT is given and ./runs holds none; name one, or run mnist-fast train first")
        checkpoints = [newest]
    networks = []
    for name in checkpoints:
        loaded = load_checkpoint(name, arch=arch)
        if loaded.note:
            reporter.note(f"{loaded.path}: {loaded.note}")
        model = loaded.build(fused=backend == "fused").to(target).eval()
        networks.append(Network(str(name), loaded, model, precision))
        # The first call of a process allocates and, on a GPU, loads libraries: not while somebody draws.
        class_probabilities(model, torch.zeros((1, SIDE, SIDE), dtype=torch.uint8), loaded.spec, precision)
    return networks
