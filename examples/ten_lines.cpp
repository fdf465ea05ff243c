// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The README's example: `ten_lines --model` on the model kernel, `ten_lines` on a real one with QEMU's edu device.
#include <cstdio>
#include <cstring>

#include "drivers/edu.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/device.hpp"
#include "sys/kernel.hpp"

using namespace iommufd;

int main(int argc, char** argv) {
    std::optional<model::Machine> model;
    if (argc > 1 && std::strcmp(argv[1], "--model") == 0) model.emplace();
    sys::Kernel& kernel = model ? model->kernel() : sys::host_kernel();
    const vfio::Cdev::Options on{.kernel = &kernel, .name = {}};

    // README: from here
    auto backend = Backend::on(kernel).value(); // or open(), or adopt(fd)
    auto space = dma::Space::on(backend).value();
    auto device = vfio::Cdev::open("0000:00:10.0", on).value().bind(backend).value();
    auto joined = space.attach(device).value();
    auto memory = dma::Memory::memfd(64_MiB).value();
    auto mapped = space.map(memory, {.iova = Iova{0x4000000}}).value();
    auto edu = drivers::Edu::start(device).value();
    std::memcpy(memory.data(), "moved by DMA", 13);
    edu.copy(mapped.iova() + 4_KiB, mapped.iova(), 4_KiB).value();   // target, source, length
    std::puts(reinterpret_cast<const char*>(memory.data()) + 4_KiB); // scopes end in any order
    // README: to here
    return 0;
}
