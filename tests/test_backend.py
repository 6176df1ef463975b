from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from oracle import ISAS

from mnist_fast import backend_info
from mnist_fast.diagnosis import diagnose, report
from mnist_fast.ops import library


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # From elsewhere: -c and -m put the working directory first on the path, and a checkout there would be imported.
    options = arguments if arguments[0] == "-m" else ("-c", *arguments)
    return subprocess.run(
        [sys.executable, *options], env=os.environ | environment, cwd="/", capture_output=True, text=True, check=False
    )


def test_backend_info() -> None:
    info = backend_info()
    assert info["torch"] == torch.__version__
    assert info["cpu"]["available"]
    assert info["cpu"]["isa"] in info["cpu"]["isas"]
    assert info["cpu"]["isas"][-2:] == ["scalar", "reference"]
    assert info["cuda"]["available"] is (info["cuda"]["reason"] is None)
    assert not info["cuda"]["available"] or torch.cuda.is_available()


@pytest.mark.parametrize("name", ISAS)
def test_environment_forces_an_instruction_set(name: str) -> None:
    result = python("import mnist_fast; print(mnist_fast.backend_info()['cpu']['isa'])", MNIST_FAST_ISA=name)
    assert result.stdout.strip() == name, result.stderr


def test_an_instruction_set_this_machine_lacks() -> None:
    result = python("import mnist_fast", MNIST_FAST_ISA="avx9000")
    assert result.returncode != 0
    last = result.stderr.splitlines()[-1]
    assert "MNIST_FAST_ISA=avx9000" in last
    assert "scalar" in last


def test_the_command_line_says_which_instruction_sets_there_are() -> None:
    result = python("-m", "mnist_fast", "doctor", MNIST_FAST_ISA="avx9000")
    assert result.returncode == 2
    assert result.stderr == (
        "mnist-fast: error: MNIST_FAST_ISA=avx9000: no instruction set 'avx9000' on this machine; it has "
        f"{', '.join(ISAS)}\n"
    )


@pytest.mark.parametrize("value", ["0", "1"])
def test_environment_chooses_the_algorithm(value: str) -> None:
    result = python("import mnist_fast; print(mnist_fast.backend_info()['cpu']['winograd'])", MNIST_FAST_WINOGRAD=value)
    assert result.stdout.strip() == str(value == "1"), result.stderr


def test_an_unknown_algorithm() -> None:
    result = python("import mnist_fast", MNIST_FAST_WINOGRAD="maybe")
    assert "MNIST_FAST_WINOGRAD=maybe: choose 0 (the direct algorithm everywhere) or 1" in result.stderr


def test_unknown_kernels_for_small_layers() -> None:
    result = python("import mnist_fast", MNIST_FAST_CUDA_DIRECT="maybe")
    assert "MNIST_FAST_CUDA_DIRECT=maybe: choose 0 (tensor cores for small layers, too) or 1" in result.stderr


def test_an_unknown_backend() -> None:
    result = python("import mnist_fast", MNIST_FAST_BACKEND="magic")
    assert "MNIST_FAST_BACKEND=magic: choose auto, fused or stock" in result.stderr


def test_the_stock_backend_turns_the_kernels_off() -> None:
    code = (
        "import torch, mnist_fast\n"
        "x, w = torch.randn(1, 1, 8, 8), torch.randn(2, 1, 3, 3)\n"
        "y = mnist_fast.conv_relu_maxpool2d(x, w)\n"
        "try: mnist_fast.conv_relu_maxpool2d(x, w, backend='fused')\n"
        "except mnist_fast.errors.MnistFastError as error: print(error)\n"
        "print(mnist_fast.Linear(9216, 128)(torch.randn(64, 9216)).grad_fn)\n"
    )
    result = python(code, MNIST_FAST_BACKEND="stock")
    assert "MNIST_FAST_BACKEND=stock" in result.stdout, result.stderr
    assert "AddmmBackward" in result.stdout


def test_without_the_libraries_everything_works_on_stock_and_says_so_once() -> None:
    script = (
        "import pathlib, unittest.mock, warnings\n"
        "real = pathlib.Path.exists\n"
        "with unittest.mock.patch('pathlib.Path.exists', lambda p: '_lib' not in p.parts and real(p)):\n"
        "    import mnist_fast\n"
        "import torch\n"
        "print(mnist_fast.backend_info()['cpu']['available'])\n"
        "model = mnist_fast.models.get_model('lenet')\n"
        "model(torch.randn(2, 1, 28, 28)).sum().backward()\n"
        "torch.ops.mnist_fast.conv_relu_maxpool2d(torch.randn(1, 1, 8, 8), torch.randn(2, 1, 3, 3))\n"
    )
    result = python(script)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "False"
    assert result.stderr.count("runs without its kernels") == 1


def test_importing_changes_neither_denormals_nor_the_number_of_openmp_runtimes() -> None:
    code = (
        "import torch\n"
        "import mnist_fast\n"
        "x = torch.tensor([1e-40])\n"
        "mnist_fast.conv_relu_maxpool2d(torch.randn(9, 1, 8, 8), torch.randn(2, 1, 3, 3))\n"
        "maps = open('/proc/self/maps').read().split()\n"
        "print(float(x * 0.5) != 0, len({m for m in maps if 'omp' in m.rsplit('/', 1)[-1] and '.so' in m}))\n"
    )
    plain = python(code.replace("import mnist_fast\n", "").replace("mnist_fast.conv_relu_maxpool2d", "torch.conv2d"))
    assert python(code).stdout == plain.stdout != ""
    assert plain.stdout.startswith("True")


def test_doctor_reports_every_fact_as_text() -> None:
    facts = diagnose()
    text = report(facts)
    assert facts["mnist_fast"] in text
    assert library.core is not None
    assert library.core.active_isa() in text
    assert "\n\n" not in text
