// The block on a CPU: what the torch layer, the Python binding and the native tests call.
#pragma once

#include "core/bfloat16.h"
#include "core/conv_pool.h"
#include "core/parallel.h"

namespace mnist_fast {

// Results do not depend, to the bit, on the number of threads behind `parallel`. T: float, double, bfloat16.
template <typename T>
void forward(const ForwardArgs<T>& args, const Parallel& parallel);

template <typename T>
void backward(const BackwardArgs<T>& args, const Parallel& parallel);

}  // namespace mnist_fast
