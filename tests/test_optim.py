"""Muon against the formula written out, what recipes build, and the step that training takes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from oracle import ISAS, isa
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook

from mnist_fast.errors import UsageError
from mnist_fast.models import get_model
from mnist_fast.optim import Muon, build_optimizers, clear_gradients, step
from mnist_fast.optim.muon import _is_covered, orthogonalize
from mnist_fast.recipes import RECIPES, Recipe
from mnist_fast.schedules import learning_rate_factor
from mnist_fast.updating import Updater

LR, MOMENTUM, DECAY, STEPS = 0.03, 0.85, 0.01, 3


def _reference_direction(gradient: Tensor) -> Tensor:
    """Newton-Schulz in float64, term by term: a X + b (X Xt) X + c (X Xt)(X Xt) X."""
    x = gradient.double().reshape(len(gradient), -1)
    x = x / x.norm()
    for _ in range(STEPS):
        x = 3.4445 * x - 4.7750 * (x @ x.T) @ x + 2.0315 * (x @ x.T) @ (x @ x.T) @ x
    return x.reshape(gradient.shape)


SHAPES = [(8, 1, 5, 5), (32, 8, 3, 3), (30, 1, 3, 3), (17, 2, 5, 5), (4, 4), (1, 6), (6, 1), (1, 1), (96, 16, 3, 3)]


@pytest.mark.parametrize(
    ("shape", "memory_format"),
    [(shape, torch.contiguous_format) for shape in SHAPES]
    + [(shape, torch.channels_last) for shape in SHAPES if len(shape) == 4],
)
@pytest.mark.parametrize("way", [*ISAS, "torch"])
def test_muon_is_its_formula(shape: tuple[int, ...], memory_format: torch.memory_format, way: str) -> None:
    parameter = nn.Parameter(torch.randn(shape).to(memory_format=memory_format))
    expected, buffer = parameter.detach().double(), torch.zeros(shape, dtype=torch.float64)
    optimizer = Muon([parameter], LR, MOMENTUM, DECAY, STEPS, fused=None if way in ISAS else False)
    columns = parameter[0].numel()
    for _ in range(3):
        gradient = torch.randn(shape)
        parameter.grad = gradient.clone(memory_format=memory_format)
        with isa(way) if way in ISAS else nullcontext():
            optimizer.step()
        buffer = MOMENTUM * buffer + gradient
        direction = _reference_direction(gradient + MOMENTUM * buffer)
        expected = expected * (1 - LR * DECAY) - LR * max(1, shape[0] / columns) ** 0.5 * direction
        torch.testing.assert_close(parameter.detach().double(), expected, atol=2e-6, rtol=0)


@pytest.mark.skipif(not ISAS, reason="no kernels were built")
def test_one_operator_updates_small_dense_filters() -> None:
    def covered(filters: Tensor) -> bool:
        return _is_covered(filters, torch.zeros_like(filters), torch.zeros_like(filters))

    assert covered(torch.zeros(32, 8, 3, 3))
    assert not covered(torch.zeros(128, 64, 3, 3))
    assert not covered(torch.zeros(0, 4))
    assert not covered(torch.zeros(8, 4, dtype=torch.float64))
    filters = torch.zeros(8, 4, 3, 3)
    channels_last = filters.to(memory_format=torch.channels_last)
    assert covered(channels_last)
    assert not _is_covered(filters, channels_last, filters)
    assert not _is_covered(channels_last, channels_last, filters)
    assert not covered(filters.transpose(2, 3))


def test_orthogonalize_brings_singular_values_near_one() -> None:
    values = torch.linalg.svdvals(orthogonalize(torch.randn(20, 50), steps=5))
    assert 0.5 < values.min() <= values.max() < 1.5


def test_muon_runs_a_closure_and_skips_parameters_without_gradient() -> None:
    used, unused = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(3, 4))
    before = unused.clone()
    optimizer = Muon([used, unused])

    def closure() -> float:
        optimizer.zero_grad()
        loss = (used**2).sum()
        loss.backward()
        return loss.item()

    first = optimizer.step(closure)
    assert optimizer.step(closure) < first
    assert torch.equal(unused, before)


def test_muon_state_dict_continues_exactly() -> None:
    gradients = torch.randn(4, 6, 2, 3, 3)
    one = nn.Parameter(torch.randn(6, 2, 3, 3))
    optimizer = Muon([one])
    for gradient in gradients[:2]:
        one.grad = gradient.clone()
        optimizer.step()
    two = nn.Parameter(one.detach().clone())
    resumed = Muon([two])
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for gradient in gradients[2:]:
        one.grad, two.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        resumed.step()
    assert torch.equal(one, two)


def test_found_inf_leaves_parameter_and_momentum_alone() -> None:
    parameter = nn.Parameter(torch.randn(3, 4))
    optimizer = Muon([parameter])
    parameter.grad = torch.randn(3, 4)
    optimizer.step()
    before = parameter.detach().clone(), optimizer.state[parameter]["momentum_buffer"].clone()
    optimizer.found_inf = torch.ones(())
    parameter.grad = torch.full((3, 4), float("nan"))
    optimizer.step()
    assert torch.equal(parameter, before[0])
    assert torch.equal(optimizer.state[parameter]["momentum_buffer"], before[1])
    optimizer.found_inf = torch.zeros(())
    parameter.grad = torch.randn(3, 4)
    optimizer.step()
    assert not torch.equal(parameter, before[0])


@pytest.mark.parametrize("options", [{"lr": -1}, {"momentum": 1}, {"weight_decay": -1}, {"ns_steps": 0}])
def test_muon_refuses_values_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Invalid"):
        Muon([nn.Parameter(torch.zeros(2, 2))], **options)


def test_muon_refuses_biases() -> None:
    with pytest.raises(ValueError, match="two dimensions"):
        Muon([nn.Parameter(torch.zeros(3))])


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("sgd", [torch.optim.SGD]),
        ("adam", [torch.optim.Adam]),
        ("adamw", [torch.optim.AdamW]),
        ("muon", [torch.optim.AdamW, Muon]),
    ],
)
def test_each_parameter_is_in_one_optimizer(name: str, classes: list[type]) -> None:
    model = get_model("lenet")
    optimizers = build_optimizers(Recipe(epochs=1, batch_size=1, optimizer=name, lr=0.1), model)
    assert [type(optimizer) for optimizer in optimizers] == classes
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    assert sorted(id(parameter) for group in groups for parameter in group["params"]) == sorted(
        map(id, model.parameters())
    )
    assert all(group["initial_lr"] == group["lr"] for group in groups)


def test_the_speedrun_gives_muon_the_filters_only() -> None:
    model = get_model("speedrun")
    adam, muon = build_optimizers(RECIPES["speedrun"], model)
    assert [tuple(parameter.shape) for parameter in muon.param_groups[0]["params"]] == [(8, 1, 5, 5), (32, 8, 3, 3)]
    assert (adam.param_groups[0]["lr"], adam.param_groups[0]["betas"]) == (0.01, (0.7, 0.9))
    group = muon.param_groups[0]
    assert (group["lr"], group["momentum"], group["ns_steps"]) == (0.03, 0.85, 3)


def _reference_adam(
    parameter: Tensor, gradients: list[Tensor], rates: list[float], betas: tuple[float, float]
) -> Tensor:
    """Kingma and Ba's algorithm 1 in float64."""
    value = parameter.double()
    mean, square = torch.zeros_like(value), torch.zeros_like(value)
    for i, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        mean = betas[0] * mean + (1 - betas[0]) * gradient
        square = betas[1] * square + (1 - betas[1]) * gradient.double() ** 2
        value = value - rate * (mean / (1 - betas[0] ** i)) / ((square / (1 - betas[1] ** i)).sqrt() + 1e-8)
    return value


def _reference_muon(parameter: Tensor, gradients: list[Tensor], rates: list[float]) -> Tensor:
    value = parameter.double()
    momentum = torch.zeros_like(value)
    scale = max(1, len(value) / value[0].numel()) ** 0.5
    for gradient, rate in zip(gradients, rates, strict=True):
        momentum = MOMENTUM * momentum + gradient
        value = value - rate * scale * _reference_direction(gradient + MOMENTUM * momentum)
    return value


def test_a_hundred_steps_of_the_speedrun_are_its_formulas() -> None:
    """Through the calls of the training loop, the rate's rise and fall included."""
    recipe, model, steps = RECIPES["speedrun"], get_model("speedrun"), 100
    updater = Updater(recipe, model, torch.device("cpu"), scaled=False)
    parameters = dict(model.named_parameters())
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    # As large as the network's own: sums of a steady part and noise, of other sizes in each parameter.
    gradients = {
        name: [0.02 * (i + 1) * (torch.randn_like(value) + steady) for _ in range(steps)]
        for i, (name, value) in enumerate(start.items())
        for steady in [torch.randn_like(value)]
    }
    factors = [learning_rate_factor(recipe.schedule, i, total_steps=steps, steps_per_epoch=steps) for i in range(steps)]
    for i, factor in enumerate(factors):
        updater.clear()
        for name, parameter in parameters.items():
            parameter.grad = gradients[name][i].clone()
        updater.set_rates(factor)
        updater.update()
    for name, parameter in parameters.items():
        rate = recipe.muon_lr if parameter.ndim == 4 else recipe.lr
        rates = [rate * factor for factor in factors]
        if parameter.ndim == 4:
            expected = _reference_muon(start[name], gradients[name], rates)
        else:
            expected = _reference_adam(start[name], gradients[name], rates, recipe.betas)
        torch.testing.assert_close(parameter.detach().double(), expected, atol=1e-6, rtol=0)


def test_nothing_to_train_and_unknown_names() -> None:
    model = get_model("lenet")
    with pytest.raises(UsageError, match="choose from sgd, adam"):
        build_optimizers(Recipe(epochs=1, batch_size=1, optimizer="lion", lr=0.1), model)
    model.requires_grad_(False)
    with pytest.raises(UsageError, match="frozen"):
        build_optimizers(RECIPES["lenet"], model)


def _pair(name: str = "adam", **recipe: float) -> tuple[list[nn.Parameter], list[list[Optimizer]], Callable[[], None]]:
    """Twins: the parameters and optimizers of two equal networks, and what gives both the same fresh gradients."""
    models = [get_model("speedrun")]
    models.append(copy.deepcopy(models[0]))
    settings = Recipe(epochs=1, batch_size=1, optimizer=name, lr=0.01, **recipe)
    one, two = (list(model.parameters()) for model in models)

    def draw() -> None:
        for p, q in zip(one, two, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()

    return [*one, *two], [build_optimizers(settings, model) for model in models], draw


def _assert_twins(parameters: list[nn.Parameter], optimizers: list[list[Optimizer]]) -> None:
    half = len(parameters) // 2
    assert all(torch.equal(p, q) for p, q in zip(parameters[:half], parameters[half:], strict=True))
    for one, two in zip(*optimizers, strict=True):
        torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("sgd", {}),
        ("sgd", {"momentum": 0.0, "weight_decay": 0.1}),
        ("adam", {"weight_decay": 0.1}),
        ("adamw", {"weight_decay": 0.1}),
        ("muon", {"weight_decay": 0.1}),
    ],
    ids=str,
)
def test_step_is_the_optimizers_own(name: str, recipe: dict[str, float]) -> None:
    parameters, (ours, torchs), draw = _pair(name, **recipe)
    half = len(parameters) // 2
    for i in range(6):
        draw()
        if i == 3:  # a parameter that this step leaves alone
            parameters[1].grad = parameters[half + 1].grad = None
        if i == 4:
            for optimizer in (*ours, *torchs):
                optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
                optimizer.param_groups[0]["lr"] /= 2
        step(ours)
        for optimizer in torchs:
            optimizer.step()
        _assert_twins(parameters, [ours, torchs])


def test_step_without_any_gradient_does_nothing() -> None:
    for name in ("sgd", "adam", "muon"):
        parameters, (ours, _), draw = _pair(name)
        draw()
        step(ours)
        before = [parameter.clone() for parameter in parameters]
        clear_gradients(ours)
        assert all(parameter.grad is None for parameter in parameters[: len(parameters) // 2])
        step(ours)
        assert all(torch.equal(p, q) for p, q in zip(parameters, before, strict=True))


@pytest.mark.parametrize("name", ["sgd", "adam", "muon"])
def test_step_takes_torchs_way_where_somebody_watches(name: str) -> None:
    _, (ours, _), draw = _pair(name)
    seen: list[str] = []
    draw()
    step(ours)
    handles = [ours[0].register_step_pre_hook(lambda *_: seen.append("before"))]
    step(ours)
    handles.append(ours[0].register_step_post_hook(lambda *_: seen.append("after")))
    step(ours)
    for handle in handles:
        handle.remove()
    handle = register_optimizer_step_post_hook(lambda *_: seen.append("all"))
    step(ours[:1])
    handle.remove()
    assert seen == ["before", "before", "after", "all"]
    with torch.profiler.profile() as profile:
        step(ours)
    assert any(event.key.startswith("Optimizer.step") for event in profile.key_averages())
    scheduler = torch.optim.lr_scheduler.StepLR(ours[0], 1)
    step(ours)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "lr_scheduler.step() before optimizer.step()"
        scheduler.step()


def test_step_takes_torchs_way_for_what_it_does_not_know() -> None:
    class Own(torch.optim.SGD):
        def step(self, closure: None = None) -> None:
            calls.append(1)

    calls: list[int] = []
    step([Own([nn.Parameter(torch.zeros(2))], 0.1)])
    assert calls == [1]
    for make in (
        lambda p: torch.optim.Adam(p, fused=True, amsgrad=True),
        lambda p: torch.optim.Adam(p, fused=True, lr=torch.tensor(0.1)),
        lambda p: torch.optim.Adam(p, foreach=True),
        lambda p: torch.optim.SGD(p, 0.1, 0.9),
    ):
        parameters = [nn.Parameter(torch.randn(3, 4)) for _ in range(2)]
        parameters[1].data.copy_(parameters[0].data)
        ours, torchs = make(parameters[:1]), make(parameters[1:])
        for _ in range(3):
            parameters[0].grad = torch.randn(3, 4)
            parameters[1].grad = parameters[0].grad.clone()
            step([ours])
            torchs.step()
        assert torch.equal(*parameters)


@pytest.mark.parametrize("name", ["sgd", "adam", "muon"])
def test_step_honours_found_inf(name: str) -> None:
    parameters, (ours, _), draw = _pair(name)
    for _ in range(2):
        draw()
        step(ours)
    before = [parameter.clone() for parameter in parameters]
    for optimizer in ours:
        optimizer.found_inf = torch.ones(())
    draw()
    step(ours)
    assert all(torch.equal(p, q) for p, q in zip(parameters, before, strict=True))
