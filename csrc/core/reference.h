// The specification: slow, obvious loops over the definition in conv_pool.h. Everything else is tested against this.
#pragma once

#include "core/conv_pool.h"

namespace mnist_fast {

template <typename T>
void reference_forward(const ForwardArgs<T>& args);

template <typename T>
void reference_backward(const BackwardArgs<T>& args);

}  // namespace mnist_fast
