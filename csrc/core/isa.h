// Which instruction set the kernels use: the best this machine runs, or the one that was asked for by name.
#pragma once

#include <string>
#include <vector>

namespace mnist_fast {

// Names this machine can run, best first; "reference", the specification itself, is always last.
std::vector<std::string> available_isas();

std::string active_isa();

// Throws std::invalid_argument that lists the available names. Not for use while kernels run.
void set_isa(const std::string& name);

}  // namespace mnist_fast
