// mnist_fast._lib._core: what was built and the choice of instruction set and algorithm. Nothing here needs torch.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "core/isa.h"

namespace py = pybind11;

PYBIND11_MODULE(_core, m) {
    m.doc() = "The compiled kernels' instruction sets.";
    m.def("available_isas", &mnist_fast::available_isas, "Names this machine can run, best first.");
    m.def("active_isa", &mnist_fast::active_isa, "The name in use.");
    m.def("set_isa", &mnist_fast::set_isa, py::arg("name"),
          "Use the named instruction set from now on; ValueError lists the choices. Not while kernels run.");
    m.def("winograd", &mnist_fast::winograd, "Whether Winograd's algorithm serves where it is faster.");
    m.def("set_winograd", &mnist_fast::set_winograd, py::arg("on"),
          "False: the direct algorithm everywhere, from now on. Not while kernels run.");
}
