"""What a checkpoint makes of pictures: the command ``predict``, from its options to a result that can be printed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from mnist_fast.checkpoint import Checkpoint, load_checkpoint
from mnist_fast.data import batches
from mnist_fast.devices import autocast, check_precision, resolve_device
from mnist_fast.errors import DataError, UsageError
from mnist_fast.evaluation import BATCH_SIZES
from mnist_fast.files import OutputError, write_atomically
from mnist_fast.models.spec import NetworkSpec
from mnist_fast.pictures import EmptyPictureError, find_pictures, prepare, read_picture
from mnist_fast.progress import Reporter


@dataclass(frozen=True)
class Prediction:
    """One picture and its likeliest classes.

    Attributes:
        image: the file.
        labels: names of the classes, the likeliest first.
        probabilities: theirs, 0 to 1.
        preprocessed: where the 28x28 picture that the network got was saved; None: nowhere.
    """

    image: Path
    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    preprocessed: Path | None = None

    def to_json(self) -> dict[str, Any]:
        pairs = zip(self.labels, self.probabilities, strict=True)
        return {
            "image": str(self.image),
            "label": self.labels[0],
            "probability": self.probabilities[0],
            "top_k": [{"label": label, "probability": probability} for label, probability in pairs],
            "preprocessed": None if self.preprocessed is None else str(self.preprocessed),
        }


@dataclass(frozen=True)
class PredictSession:
    """The pictures that were told, and for the others why not, in one line each."""

    checkpoint: Checkpoint
    device: torch.device
    backend: str
    precision: str
    predictions: list[Prediction]
    refused: dict[Path, str]

    def summary(self) -> dict[str, Any]:
        """The session in plain JSON values."""
        return {
            "command": "predict",
            "arch": self.checkpoint.spec.arch,
            "device": str(self.device),
            "backend": self.backend,
            "precision": self.precision,
            "checkpoint": str(self.checkpoint.path),
            "predictions": [prediction.to_json() for prediction in self.predictions],
            "refused": [{"image": str(image), "error": error} for image, error in self.refused.items()],
        }


def class_names(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What the outputs of a checkpoint's network stand for: as its run noted it, else their numbers."""
    names = checkpoint.details.get("classes")
    count = checkpoint.spec.num_classes
    return tuple(names) if names and len(names) == count else tuple(map(str, range(count)))


@torch.inference_mode()
def class_probabilities(model: nn.Module, images: Tensor, spec: NetworkSpec, precision: str = "fp32") -> Tensor:
    """Softmax of the outputs of ``model``, in evaluation mode, on the device it is on.

    Args:
        images: uint8 (N, 28, 28), N at least 1.
        spec: for the numbers that the images are normalised with.
        precision: ``fp32``, or ``bf16`` or ``fp16`` autocast.

    Returns:
        float64 (N, classes) on the CPU.
    """
    device = next(model.parameters()).device
    model.eval()
    parts = []
    no_labels = torch.zeros(len(images), dtype=torch.int64)
    for inputs, _ in batches(images, no_labels, BATCH_SIZES[device.type], mean=spec.mean, std=spec.std, device=device):
        with autocast(precision, device):
            logits = model(inputs)
        parts.append(logits.double().softmax(dim=1).cpu())  # log-probabilities, which some networks give, stay the same
    return torch.cat(parts)


def run_prediction(
    checkpoint: str | Path,
    images: Sequence[str | Path],
    *,
    top_k: int = 3,
    invert: str = "auto",
    save_preprocessed: str | Path | None = None,
    arch: str | None = None,
    device: str = "auto",
    backend: str = "fused",
    precision: str = "fp32",
    reporter: Reporter,
) -> PredictSession:
    """Tell the digits in picture files.

    Args:
        images: files, and folders of which every picture is taken.
        top_k: how many classes to name for each picture, at most all.
        invert: see :func:`mnist_fast.pictures.prepare`.
        save_preprocessed: a directory for what the network got, as PNG files; created where it is missing.

    Raises:
        DataError: a folder without pictures. Pictures that cannot be told are no error: the session says why not.
        UsageError: ``top_k`` below 1, a device or precision that is not there.
        CheckpointError, OutputError: as for reading the checkpoint and writing the pictures.
    """
    if top_k < 1:
        raise UsageError(f"--top-k is {top_k}; it must be at least 1")
    target = resolve_device(device)
    check_precision(precision, target)
    loaded = load_checkpoint(checkpoint, arch=arch)
    if loaded.note:
        reporter.note(f"{loaded.path}: {loaded.note}")
    model = loaded.build(fused=backend == "fused").to(target)
    prepared, refused = {}, {}
    for path in find_pictures(images):
        try:
            prepared[path] = prepare(read_picture(path), invert)
        except EmptyPictureError as error:
            refused[path] = f"{path}: {error}"
        except DataError as error:
            refused[path] = str(error)
    saved = {} if save_preprocessed is None else _save(Path(save_preprocessed), prepared)
    predictions = []
    if prepared:
        stack = torch.stack([torch.from_numpy(picture) for picture in prepared.values()])
        top = class_probabilities(model, stack, loaded.spec, precision).topk(min(top_k, loaded.spec.num_classes))
        names = class_names(loaded)
        for path, values, indices in zip(prepared, top.values.tolist(), top.indices.tolist(), strict=True):
            labels = tuple(names[index] for index in indices)
            predictions.append(Prediction(path, labels, tuple(values), saved.get(path)))
    return PredictSession(loaded, target, backend, precision, predictions, refused)


def _save(directory: Path, pictures: dict[Path, Any]) -> dict[Path, Path]:
    """Write each picture under its file's name, numbered where that is taken by one of another folder or format."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the directory {directory}: {error.strerror}") from None
    saved: dict[Path, Path] = {}
    for path, picture in pictures.items():
        names = [f"{path.stem}.png", *(f"{path.stem}-{number}.png" for number in range(2, len(pictures) + 1))]
        saved[path] = next(directory / name for name in names if directory / name not in saved.values())
        content = io.BytesIO()
        Image.fromarray(picture).save(content, format="png")
        write_atomically(saved[path], content.getvalue())
    return saved
