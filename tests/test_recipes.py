"""Recipes: one for each network, with the documents' numbers."""

from mnist_fast.models import list_models
from mnist_fast.recipes import RECIPES


def test_every_network_has_a_recipe() -> None:
    assert list(RECIPES) == list_models()


def test_numbers_of_the_documents() -> None:
    lenet, dropout = RECIPES["lenet"], RECIPES["cnn-dropout"]
    assert (lenet.optimizer, lenet.lr, lenet.momentum, lenet.batch_size, lenet.epochs) == ("sgd", 0.001, 0.9, 64, 10)
    assert (dropout.optimizer, dropout.lr, dropout.momentum, dropout.batch_size) == ("sgd", 0.01, 0.9, 4)
    assert (RECIPES["cnn"].optimizer, RECIPES["cnn"].lr) == ("adam", 1e-3)
    assert (RECIPES["cnn-padded"].epochs, RECIPES["cnn-padded"].normalize) == (10, "none")


def test_the_speedrun_is_329_steps() -> None:
    recipe = RECIPES["speedrun"]
    assert recipe.images_per_epoch is not None
    assert -(-recipe.images_per_epoch // recipe.batch_size) * recipe.epochs == 329
