"""Photographs, scans and drawings of people's own digits, brought to the form that MNIST's pictures have."""

from mnist_fast.pictures.preparing import EmptyPictureError as EmptyPictureError
from mnist_fast.pictures.preparing import prepare as prepare
from mnist_fast.pictures.reading import find_pictures as find_pictures
from mnist_fast.pictures.reading import read_picture as read_picture

__all__ = ["EmptyPictureError", "find_pictures", "prepare", "read_picture"]
