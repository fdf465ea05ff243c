// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/map_time.hpp"

#include <unistd.h>

#include <algorithm>

#include "cli/device_list.hpp"
#include "cli/figures.hpp"
#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/host/process.hpp"
#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::uint64_t kSample = 256_MiB;
constexpr int kRuns = 3;

Result<std::string> free_device(sys::Kernel& kernel) {
    const auto groups = list_devices(kernel);
    if (!groups) return groups.error();
    for (const ListedGroup& group : *groups)
        for (const ListedDevice& device : group.devices)
            if (group.viable() && !device.node.empty() && device.uses.empty()) return device.address;
    return Error::refused(ENODEV, "cannot measure how long maps take", "VFIO has no device that nobody uses",
                          "bind one: `iommufd bind BDF`");
}

Result<void> measure(const dma::Space& space, std::uint64_t sample, std::vector<double>& fresh,
                     std::vector<double>& again) {
    // As `iommufd run` has it.
    auto memory =
        dma::Memory::memfd(sample, {.label = "sample", .huge_pages = dma::Memory::HugePages::transparent});
    if (!memory) return memory.error();
    for (std::vector<double>* times : {&fresh, &again}) {
        Result<void> done;
        times->push_back(nanoseconds([&] {
            auto mapped = space.map(*memory);
            done = mapped ? std::move(*mapped).unmap() : Result<void>(mapped.error());
        }));
        if (!done) return done;
    }
    return {};
}

}  // namespace

Result<MapTime> map_time(sys::Kernel& kernel, std::uint64_t most) {
    const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
    const std::uint64_t sample = std::max(
        std::min({most, kSample, host::available_memory(kernel).value_or(0) / 4}) / page * page, page);
    const auto address = free_device(kernel);
    if (!address) return address.error();
    const auto backend = Backend::on(kernel);
    if (!backend) return backend.error();
    auto cdev = vfio::Cdev::open(*address, {.kernel = &kernel, .name = {}});
    if (!cdev) return cdev.error();
    const auto device = std::move(*cdev).bind(*backend);
    if (!device) return device.error();
    const auto space = dma::Space::on(*backend);
    if (!space) return space.error();
    const auto attached = space->attach(*device);
    if (!attached) return attached.error();
    std::vector<double> fresh;
    std::vector<double> again;
    for (int run = 0; run < kRuns; ++run)
        if (auto measured = measure(*space, sample, fresh, again); !measured) return measured.error();
    const auto bytes = static_cast<double>(sample);
    return MapTime{.device = *address,
                   .sample = sample,
                   .fresh = median(std::move(fresh)) / bytes,
                   .again = median(std::move(again)) / bytes};
}

}  // namespace iommufd::inline v0_1::cli
