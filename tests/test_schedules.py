"""Learning-rate schedules, against torch's where torch has them."""

import pytest
import torch

from mnist_fast.errors import UsageError
from mnist_fast.recipes import SCHEDULES
from mnist_fast.schedules import learning_rate_factor


def _factors(schedule: str, total: int, per_epoch: int = 10) -> list[float]:
    return [learning_rate_factor(schedule, step, total_steps=total, steps_per_epoch=per_epoch) for step in range(total)]


def _torch_rates(scheduler_class: type, total: int, **options: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = scheduler_class(optimizer, **options)
    rates = []
    for step in range(total):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < total:  # OneCycleLR refuses to go beyond its end
            scheduler.step()
    return rates


@pytest.mark.parametrize("total", [1, 2, 3, 4, 7, 100, 235])
def test_one_cycle_stays_in_range_and_ends_low(total: int) -> None:
    factors = _factors("one-cycle", total)
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[-1] == pytest.approx(1 / 25e4)


@pytest.mark.parametrize("total", [7, 100, 235])
def test_one_cycle_is_torch(total: int) -> None:
    scheduler = torch.optim.lr_scheduler.OneCycleLR
    expected = _torch_rates(scheduler, total, max_lr=1.0, total_steps=total, cycle_momentum=False)
    assert _factors("one-cycle", total) == pytest.approx(expected, abs=1e-12)


def test_cosine_is_torch() -> None:
    expected = _torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 40, T_max=40)
    assert _factors("cosine", 40) == pytest.approx(expected, abs=1e-12)


def test_step_falls_after_each_epoch() -> None:
    assert _factors("step", 30)[::10] == pytest.approx([1.0, 0.7, 0.49])
    assert _factors("step", 30)[9] == 1.0


def test_piecewise_linear_is_that_of_the_recipe() -> None:
    factors = _factors("piecewise-linear", 100)
    assert factors[0] == pytest.approx(0.2)
    assert factors[10] == pytest.approx(0.6)
    assert factors[20] == 1.0
    assert factors[60] == pytest.approx(0.5)


def test_constant() -> None:
    assert set(_factors("constant", 5)) == {1.0}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_comes_in_front(schedule: str) -> None:
    def factor(step: int) -> float:
        return learning_rate_factor(schedule, step, total_steps=40, steps_per_epoch=10, warmup_steps=4)

    first, *rest = _factors(schedule, 36) if schedule != "step" else [1.0, *_factors(schedule, 40)[5:]]
    assert [factor(step) for step in range(4)] == pytest.approx([first * part / 5 for part in (1, 2, 3, 4)])
    assert [factor(step) for step in range(4, 40)] == pytest.approx([first, *rest])


def test_unknown_name_lists_the_choices() -> None:
    with pytest.raises(UsageError, match=", ".join(SCHEDULES)):
        _factors("zigzag", 3)
