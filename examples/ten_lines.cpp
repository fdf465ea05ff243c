// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The README's example: moves bytes by DMA through QEMU's edu device.
//
//     ten_lines --model     on the model kernel: any machine, no privilege
//     ten_lines [BDF]       on this machine's kernel, with the edu device at that PCI address (0000:00:10.0)
#include <cstdio>
#include <cstring>
#include <optional>

#include "drivers/edu.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/device.hpp"
#include "sys/kernel.hpp"

using namespace iommufd;

int main(int argc, char** argv) try {
    const char* bdf = "0000:00:10.0";
    std::optional<model::Machine> model;
    if (argc > 1 && std::strcmp(argv[1], "--model") == 0)
        model.emplace();
    else if (argc > 1)
        bdf = argv[1];
    sys::Kernel& kernel = model ? model->kernel() : sys::host_kernel();
    const vfio::Cdev::Options on{.kernel = &kernel, .name = {}};

    // README: from here
    auto backend = Backend::on(kernel).value(); // or open(), or adopt(fd)
    auto space = dma::Space::on(backend).value();
    auto device = vfio::Cdev::open(bdf, on).value().bind(backend).value(); // "0000:00:10.0"
    auto joined = space.attach(device).value();
    auto memory = dma::Memory::memfd(64_MiB).value();
    auto mapped = space.map(memory, {.iova = Iova{0x4000000}}).value();
    auto edu = drivers::Edu::start(device).value();
    std::memcpy(memory.data(), "moved by DMA", 13);
    edu.copy(mapped.iova() + 4_KiB, mapped.iova(), 4_KiB).value();   // target, source, length
    std::puts(reinterpret_cast<const char*>(memory.data()) + 4_KiB); // scopes end in any order
    // README: to here
    return 0;
} catch (const Failure& failure) { // what value() throws where there is none
    std::fprintf(stderr, "ten_lines: %s\n", failure.what());
    return 1;
}
