"""Recipes: one for each network, with the documents' numbers, and those of the ladder."""

from pathlib import Path
from statistics import mean

import pytest

from mnist_fast.config import BACKENDS, Config, make_config
from mnist_fast.data import load_dataset
from mnist_fast.errors import UsageError
from mnist_fast.models import list_models
from mnist_fast.recipes import FINETUNE_RECIPE, LADDER, RECIPES
from mnist_fast.training import train


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


@pytest.mark.parametrize("name", LADDER)
def test_a_recipe_of_the_ladder_sets_all_of_the_configuration(name: str) -> None:
    rung, config = LADDER[name], make_config({"recipe": name})
    assert (config.recipe, config.arch) == (name, rung.arch)
    assert {field: getattr(config, field) for field in vars(rung.recipe)} == vars(rung.recipe)
    # Whatever is no part of a recipe stays at its default.
    assert make_config({"arch": rung.arch, **vars(rung.recipe), "recipe": name}) == config


def test_options_win_over_a_recipe_of_the_ladder() -> None:
    config = make_config({"recipe": "fast", "lr": 0.5, "augment": "shift", "arch": "speedrun"})
    assert (config.recipe, config.lr, config.augment, config.batch_size) == ("fast", 0.5, "shift", 128)


def test_the_ladder_promises_more_with_every_rung() -> None:
    goals = [float(rung.goal.removesuffix("%")) for rung in LADDER.values()]
    assert goals == sorted(set(goals))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recipe": "slow"}, "unknown recipe 'slow'; choose from fast"),
        ({"recipe": 3}, "unknown recipe 3"),
        ({"recipe": "fast", "arch": "cnn"}, "the recipe fast trains the network speedrun, not cnn"),
        ({"recipe": "fast", "checkpoint": "runs/a"}, "fine-tuning has its own"),
    ],
    ids=str,
)
def test_contradictions_are_one_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_config(options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fine_tuning_has_a_recipe_of_its_own() -> None:
    config: Config = make_config({"checkpoint": "runs/a", "arch": "speedrun"}, recipe=FINETUNE_RECIPE)
    assert (config.recipe, config.lr) == (None, FINETUNE_RECIPE.lr)


@pytest.mark.long
def test_a_recipe_is_worth_the_same_through_stock_operators(mnist_root: Path) -> None:
    """Rounding alone sends the runs of a seed apart: their means of four deviate by 0.03% each."""
    data = load_dataset("mnist", mnist_root)
    means = {
        backend: mean(
            train(make_config({"recipe": "fast", "backend": backend, "seed": seed}), data).evaluation.accuracy
            for seed in range(4)
        )
        for backend in BACKENDS
    }
    assert min(means.values()) >= 0.9885
    assert abs(means["fused"] - means["stock"]) <= 0.0015
