"""Checkpoints: weights as safetensors with metadata, under a digest of the whole file.

The format does not notice a flipped bit by itself. The files also load in plain PyTorch, by
``safetensors.torch.load_file``. Nothing here ever unpickles arbitrary objects.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import pickle
import struct
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from mnist_fast.errors import MnistFastError, UsageError
from mnist_fast.files import write_atomically
from mnist_fast.foreign import recognise
from mnist_fast.models import list_models
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.recipes import RECIPES
from mnist_fast.version import __version__

BEST = "best.safetensors"
LAST = "last.safetensors"

_KEY = "mnist_fast"
_NO_DIGEST = "0" * 64
# Plain state_dicts carry no normalisation: the reference documents' numbers.
_MNIST_MEAN, _MNIST_STD = 0.1307, 0.3081


class CheckpointError(MnistFastError):
    """A checkpoint that is missing, damaged, or not one of the network asked for."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights and what is known about them.

    Attributes:
        spec: the network they belong to.
        weights: its ``state_dict``, on the CPU.
        details: the training run in plain JSON values (dataset, epoch, test_accuracy, …); empty for a state_dict that
            another program wrote.
        path: the file they came from.
        note: what people should know of how it was read, one line; None: nothing.
    """

    spec: NetworkSpec
    weights: dict[str, Tensor]
    details: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    note: str | None = None

    def build(self, *, fused: bool = True) -> nn.Module:
        """The network with these weights, on the CPU.

        Raises:
            CheckpointError: the weights are not those of the network.
        """
        model = self.spec.build(fused=fused)
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            reason = " ".join(str(error).split()).partition(": ")[2]
            raise CheckpointError(f"the weights in {self.path} do not fit {self.spec.arch}: {reason}") from None
        return model


def save_weights(path: Path, spec: NetworkSpec, weights: dict[str, Tensor], details: dict[str, Any]) -> None:
    """Write a checkpoint. ``details`` are plain JSON values. Raises OutputError where the file cannot be written."""
    metadata = {"version": __version__, **dataclasses.asdict(spec), "details": details, "digest": _NO_DIGEST}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    content = safetensors.torch.save(tensors, {_KEY: json.dumps(metadata)})
    # The digest is that of the file with zeros in its place: it covers every byte, the metadata as well.
    digest = hashlib.sha256(content).hexdigest()
    write_atomically(path, content.replace(_NO_DIGEST.encode(), digest.encode(), 1))


def load_checkpoint(path: str | Path, *, arch: str | None = None) -> Checkpoint:
    """Read a checkpoint of ours, or a plain ``state_dict`` of a reference network.

    Args:
        path: a ``.safetensors`` file, a ``.pt`` or ``.pth`` file, or a run directory: then its ``best.safetensors``,
            else its ``last.safetensors``.
        arch: the network it must be; needed for a plain ``state_dict``.

    Raises:
        CheckpointError: nothing there, damaged, or of another network.
        UsageError: a plain ``state_dict`` without ``arch``.
    """
    path = _find(Path(path))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from None
    if path.suffix in (".pt", ".pth"):
        return _from_state_dict(unpickle(path, content), path, arch)
    try:
        weights = safetensors.torch.load(content)
        (header_bytes,) = struct.unpack_from("<Q", content)
        metadata = json.loads(content[8 : 8 + header_bytes]).get("__metadata__", {})
    except (SafetensorError, KeyError, ValueError) as error:
        raise _damaged(path, error) from None
    # Either sign will do, so that a flipped bit in one of them does not make a damaged file someone else's.
    if _KEY not in metadata and not any('"digest"' in value for value in metadata.values()):
        return _from_state_dict(weights, path, arch)
    try:
        ours = json.loads(metadata[_KEY])
        digest = ours.pop("digest")
        if hashlib.sha256(content.replace(digest.encode(), _NO_DIGEST.encode(), 1)).hexdigest() != digest:
            raise ValueError("its content does not match its digest")
        spec = NetworkSpec(**{key.name: ours[key.name] for key in dataclasses.fields(NetworkSpec)})
        details = ours["details"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from None
    if arch is not None and arch != spec.arch:
        raise CheckpointError(f"{path} is a checkpoint of {spec.arch}, not of {arch}")
    if spec.arch not in RECIPES:
        raise CheckpointError(f"{path} is a checkpoint of {spec.arch}, which this version does not know")
    return Checkpoint(spec, weights, details, path)


def unpickle(path: Path, content: bytes) -> Any:
    """What ``torch.save`` wrote into ``content``, read from ``path``: tensors and plain values, on the CPU.

    Nothing that a pickle may ask for beside them is done. Raises CheckpointError: more than these, or damaged.
    """
    if content.startswith(b"PK"):  # a zip archive; torch does not look at the checksums in it
        try:
            damaged = zipfile.ZipFile(io.BytesIO(content)).testzip()
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError, OSError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from None
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: {damaged} in it does not match its checksum")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old formats, in several lines
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # torch's own message advises to load it unsafely
        raise CheckpointError(f"{path} holds more than tensors and plain values, or is damaged: not loaded") from None
    except Exception as error:  # torch documents no set of exceptions for damaged files; all mean the same here
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path} is damaged or was not written by torch.save: {reason[:200]}") from None


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in (BEST, LAST):
        if (path / name).exists():
            return path / name
    raise CheckpointError(f"no checkpoint in {path}: there is neither {BEST} nor {LAST}")


def _damaged(path: Path, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return CheckpointError(f"the checkpoint {path} is damaged or no safetensors file: {reason[:200]}")


def _from_state_dict(content: Any, path: Path, arch: str | None) -> Checkpoint:
    """A plain ``state_dict``, bare or under one of the customary keys."""
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no state_dict of tensors")
    if arch is None:
        raise UsageError(f"{path} does not say which network it is of; add --arch, one of {', '.join(list_models())}")
    normalized = RECIPES[arch].normalize == "dataset"
    mean, std = (_MNIST_MEAN, _MNIST_STD) if normalized else (0.0, 1.0)
    found = recognise(content, arch)
    if found is not None:
        spec = NetworkSpec(arch, found.num_classes, mean, std, found.head)
        return Checkpoint(spec, found.weights, path=path, note=found.note)
    raise CheckpointError(f"{path} is no state_dict of {arch}: it holds {', '.join(map(str, content))}"[:300])
