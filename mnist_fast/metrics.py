"""What a classifier gets right and wrong, class by class."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def classification_report(labels: Tensor, predictions: Tensor, num_classes: int) -> dict[str, Any]:
    """Accuracy, precision, recall, F1 and confusion matrix, as plain Python numbers and lists that JSON can hold.

    Args:
        labels: (N,) integers, the true classes, 0…``num_classes`` - 1, N at least 1; on any device.
        predictions: (N,) integers, the predicted classes.
        num_classes: every class has its row, those that never occur too.

    Returns:
        ``accuracy``: a float.
        ``per_class``: ``precision``, ``recall`` and ``f1``, each a list with a float for each class; a ratio without
        any case is 0.
        ``macro``: the means of these three over all classes.
        ``confusion_matrix``: a row of counts for each true class, a column for each predicted one.

    Raises:
        ValueError: no labels, tensors of different shapes, or a class out of range.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    if labels.dim() != 1 or labels.shape != predictions.shape or not len(labels):
        raise ValueError(
            "labels and predictions must be two vectors of one length, at least 1; "
            f"their shapes are {tuple(labels.shape)} and {tuple(predictions.shape)}"
        )
    for name, values in (("labels", labels), ("predictions", predictions)):
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(
                f"{name} range from {int(values.min())} to {int(values.max())}, not 0 to {num_classes - 1}"
            )

    truth, predicted = labels.cpu().numpy(), predictions.cpu().numpy()
    classes = range(num_classes)
    matrix = confusion_matrix(truth, predicted, labels=classes)
    scores = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0)
    per_class = dict(zip(("precision", "recall", "f1"), scores, strict=False))  # the fourth is the number of cases
    return {
        "accuracy": float(matrix.trace() / matrix.sum()),
        "per_class": {name: values.tolist() for name, values in per_class.items()},
        "macro": {name: float(values.mean()) for name, values in per_class.items()},
        "confusion_matrix": matrix.tolist(),
    }
