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

# A folder of people's own pictures is named by where it is.
FOLDER_PREFIX = "folder:"
DATASET_CHOICES = (*DATASET_NAMES, f"{FOLDER_PREFIX}DIR")

AUGMENTATIONS: tuple[str, ...] = ("none", "shift", "affine")


def is_dataset_name(value: object) -> bool:
    """Whether ``value`` names a dataset: one of :data:`DATASET_NAMES`, or ``folder:DIR``."""
    return value in DATASET_NAMES or (
        isinstance(value, str) and value.startswith(FOLDER_PREFIX) and value != FOLDER_PREFIX
    )
