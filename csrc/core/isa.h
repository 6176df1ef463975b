// Which instruction set and algorithm the kernels use: the best this machine runs, or what was asked for.
#pragma once

#include <string>
#include <vector>

namespace mnist_fast {

// Names this machine can run, best first; "reference", the specification itself, is always last.
std::vector<std::string> available_isas();

std::string active_isa();

// Throws std::invalid_argument that lists the available names. Not for use while kernels run.
void set_isa(const std::string& name);

// Whether Winograd's algorithm serves where it is faster (it does at the start), or the direct one everywhere. As
// above, not for use while kernels run.
bool winograd();
void set_winograd(bool on);

}  // namespace mnist_fast
