"""The names that ``--dataset`` and ``--augment`` take, apart from all that is heavy to import."""

DATASET_NAMES: tuple[str, ...] = (
    "auto",
    "mnist",
    "fashion-mnist",
    "kmnist",
    "emnist-digits",
    "emnist-letters",
    "qmnist",
    "usps",
    "digits",
)

AUGMENTATIONS: tuple[str, ...] = ("none", "shift", "affine")
