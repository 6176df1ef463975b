"""Plants faults in a copy of the kernels' sources, where each asks at run time whether it is the one that is on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faults import FAULTS, Fault

SWITCH = "MNIST_FAST_FAULT"  # the environment variable with the number of the fault that is on

# To be included in front of every source file.
HEADER = f"""\
#include <atomic>
#include <cstdint>
#include <cstdlib>

// In each file anew: a function compiled for one instruction set must not become everybody's.
namespace {{
const char* const mnist_fast_fault_asked = std::getenv("{SWITCH}");
const int mnist_fast_fault_on = mnist_fast_fault_asked ? std::atoi(mnist_fast_fault_asked) : -1;
[[maybe_unused]] inline bool mnist_fast_fault(int number) {{ return number == mnist_fast_fault_on; }}

// The calling thread's number, for faults that depend on it.
[[maybe_unused]] inline int64_t mnist_fast_thread() {{
    static std::atomic<int64_t> threads{{0}};
    thread_local const int64_t number = threads++;
    return number;
}}
}}  // namespace
"""


class SiteError(Exception):
    """A fault's text does not stand in its file exactly once, or overlaps with another fault's."""


def _begin(fault: Fault, source: str) -> int:
    times = source.count(fault.old)
    if times != 1:
        raise SiteError(f"{fault.name}: its text stands {times} times in csrc/{fault.file}; update its fault")
    return source.index(fault.old)


def _choose(number: int, fault: Fault, otherwise: str) -> str:
    """C++ that is the fault while it is on."""
    if fault.is_statement:
        return f"if (mnist_fast_fault({number})) {{ {fault.new} }} else {{ {otherwise} }}"
    return f"(mnist_fast_fault({number}) ? ({fault.new}) : ({otherwise}))"


def plant(source: str, faults: dict[int, Fault]) -> str:
    """The source with all faults of its file, by number, in place. Several at the same site are alternatives.

    Raises SiteError.
    """
    sites: dict[tuple[int, str], str] = {}
    for number, fault in faults.items():
        site = (_begin(fault, source), fault.old)
        sites[site] = _choose(number, fault, sites.get(site, fault.old))
    planted, end = "", 0
    for (begin, old), code in sorted(sites.items()):
        if begin < end:
            raise SiteError(f"two faults overlap at '{old}'")
        planted += source[end:begin] + code
        end = begin + len(old)
    return planted + source[end:]


def faults_of(file: str, faults: Sequence[Fault] = FAULTS) -> dict[int, Fault]:
    """The faults of one file, by their numbers."""
    return {number: fault for number, fault in enumerate(faults) if fault.file == file}


def plant_all(csrc: Path, faults: Sequence[Fault] = FAULTS) -> None:
    """Rewrites the files of a copy of csrc/ with all faults in place. Raises SiteError."""
    for file in {fault.file for fault in faults}:
        path = csrc / file
        path.write_text(plant(path.read_text(), faults_of(file, faults)))
