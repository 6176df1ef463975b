"""Networks for use without this package: as ONNX, as a ``torch.export`` program, or as a plain ``state_dict``."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mnist_fast.checkpoint import Checkpoint, load_checkpoint
from mnist_fast.errors import MnistFastError, UsageError
from mnist_fast.files import write_atomically
from mnist_fast.prediction import class_names

FORMATS = {"onnx": ".onnx", "torch": ".pt2", "state-dict": ".pt"}  # and the customary end of a file's name

_TOLERANCE = 1e-4
_EXAMPLES = 2  # images in the batch that is traced; 1 would be taken for a constant


class ExportError(MnistFastError):
    """An exported network that does not give the same outputs."""


@dataclasses.dataclass(frozen=True)
class Export:
    """A file that was written.

    Attributes:
        difference: the largest difference between outputs of the exported network and of ours, for random images; None
            where nothing was there to run it, or nothing is to be run.
    """

    path: Path
    format: str
    checkpoint: Checkpoint
    difference: float | None


def export(
    checkpoint: str | Path, format: str = "onnx", *, output: str | Path | None = None, arch: str | None = None
) -> Export:
    """Write the network of a checkpoint with stock operators only.

    ``onnx`` and ``torch`` map normalised images, float32 (N, 1, 28, 28) for any N, called ``input``, to logits (N,
    classes); the file's metadata, a JSON text under ``mnist_fast``, has ``arch``, ``mean``, ``std`` and ``classes``.
    ``state-dict`` is for ``torch.load``: the parameters alone, under the names of the documents' classes.

    Args:
        output: None: beside the checkpoint, under the network's name.

    Raises:
        UsageError: no such format, or packages for it are missing.
        ExportError: the exported network gives other outputs than ours, by more than 1e-4.
        CheckpointError, OutputError: as for reading the checkpoint and writing the file.
    """
    if format not in FORMATS:
        raise UsageError(f"unknown format {format!r}; choose from {', '.join(FORMATS)}")
    loaded = load_checkpoint(checkpoint, arch=arch)
    assert loaded.path is not None
    path = loaded.path.with_name(f"{loaded.spec.arch}{FORMATS[format]}") if output is None else Path(output)
    model = loaded.build(fused=False).eval()
    metadata = json.dumps(
        {
            "arch": loaded.spec.arch,
            "mean": loaded.spec.mean,
            "std": loaded.spec.std,
            "classes": class_names(loaded),
        }
    )
    content, run = _WRITERS[format](model, metadata)
    difference = None
    if run is not None:
        with torch.inference_mode():
            images = torch.randn(7, 1, 28, 28, generator=torch.Generator().manual_seed(0))
            difference = float((run(images) - loaded.build().eval()(images)).abs().max())
        if not difference <= _TOLERANCE:
            raise ExportError(
                f"the exported network's outputs differ by {difference:.1e} from ours; {path} not written"
            )
    write_atomically(path, content)
    return Export(path, format, loaded, difference)


# Each gives the content of the file, and something that runs it where there is.
_Written = tuple[bytes, Callable[[Tensor], Tensor] | None]


def _program(model: nn.Module) -> torch.export.ExportedProgram:
    example = torch.zeros(_EXAMPLES, 1, 28, 28)
    return torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _torch(model: nn.Module, metadata: str) -> _Written:
    file = io.BytesIO()
    torch.export.save(_program(model), file, extra_files={"mnist_fast": metadata})
    return file.getvalue(), torch.export.load(io.BytesIO(file.getvalue())).module()


def _state_dict(model: nn.Module, _metadata: str) -> _Written:
    file = io.BytesIO()
    torch.save(dict(model.state_dict()), file)
    return file.getvalue(), None


def _onnx(model: nn.Module, metadata: str) -> _Written:
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(f'--format onnx needs the {package} package; pip install "mnist_fast[onnx]"')
    with contextlib.redirect_stdout(io.StringIO()):  # torch reports its steps there, and --json is ours
        program = torch.onnx.export(
            _program(model), dynamo=True, input_names=["input"], output_names=["logits"], verbose=False
        )
    assert program is not None
    program.model.metadata_props["mnist_fast"] = metadata
    content = program.model_proto.SerializeToString()
    if importlib.util.find_spec("onnxruntime") is None:
        return content, None
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: torch.from_numpy(session.run(None, {"input": images.numpy()})[0])


_WRITERS: dict[str, Callable[[nn.Module, str], _Written]] = {"onnx": _onnx, "torch": _torch, "state-dict": _state_dict}
