// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/devices.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>

#include "core/sweep.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/device_nodes.hpp"
#include "iommufd/vdpa/device.hpp"
#include "iommufd/vfio/device.hpp"
#include "vfio/explain_bind.hpp"
#include "vfio/group.hpp"
#include "vfio/reclaim.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::broker {
std::string group_of(sys::Kernel& kernel, const std::string& device) {
    const auto folder = vfio::device_folder(kernel, device);
    return folder ? vfio::group_number(kernel, *folder) : std::string();
}

std::optional<sys::Fd> open_tried(sys::Kernel& kernel, const DeviceFacts& facts) {
    if (facts.folder.empty()) return std::nullopt;
    sys::Fd file(kernel, kernel.open(facts.file.path.c_str(), O_RDWR));
    sys::FileStatus status{};
    const bool is_it = file && kernel.fstat(file.number(), status) == 0 && S_ISCHR(status.mode) &&
                       status.device == facts.file.number && kernel.stat(facts.folder.c_str(), status) == 0 &&
                       status.inode == facts.inode;
    if (!is_it) return std::nullopt;
    return file;
}

Result<sys::Fd> open_vfio(sys::Kernel& kernel, const std::string& device, const DeviceFacts& tried) {
    return guarded(Operation::open, [&]() -> Result<sys::Fd> {
        if (auto file = open_tried(kernel, tried)) return *std::move(file);
        const std::string what = compose("cannot give ", device, " away");
        auto folder = vfio::device_folder(kernel, device);
        if (!folder) return folder.error();
        if (auto refusal = vfio::group_refuses(kernel, what, *folder)) return *std::move(refusal);
        if (vfio::is_noiommu(kernel, *folder))
            return Error::refused(
                EPERM, what,
                "there is no IOMMU before it, so whoever has it reaches all of the machine's memory",
                "turn the IOMMU on in the firmware and on the kernel's command line");
        auto cdev = vfio::Cdev::open(device, {.kernel = &kernel});
        if (!cdev) return cdev.error();
        const int mine = kernel.dup(cdev->fd());
        if (mine < 0) return failed(Operation::dup, -mine, [&] { return what; });
        return sys::Fd(kernel, mine);
    });
}

Result<sys::Fd> open_vdpa(sys::Kernel& kernel, const std::string& path) {
    return guarded(Operation::open, [&]() -> Result<sys::Fd> {
        const int number = kernel.open(path.c_str(), O_RDWR | O_NOFOLLOW);
        if (number < 0)
            return failed(Operation::open, -number, [&] { return compose("cannot open ", path); });
        sys::Fd node(kernel, number);
        sys::FileStatus status{};
        if (kernel.fstat(number, status) < 0 || (status.mode & S_IFMT) != S_IFCHR)
            return Error::refused(ENOTTY, compose("cannot give ", path, " away"), "it is no device",
                                  "name a node /dev/vhost-vdpa-N");
        return node;
    });
}

Result<DeviceFacts> try_device(sys::Kernel& kernel, const std::string& device) {
    return guarded(Operation::vfio_bind, [&]() -> Result<DeviceFacts> {
        if (const auto nodes = host::device_nodes(kernel, device)) {
            const auto openers = host::openers(kernel, *nodes);
            if (openers && !openers->empty())
                return Error::refused(EBUSY, compose("cannot give ", device, " away"),
                                      host::text(openers->front()), "end that program, or let it close it");
        }
        auto backend = Backend::open({.id = "the broker's trial", .fd = {}, .report = {}, .kernel = &kernel});
        if (!backend) return backend.error();
        auto cdev = vfio::Cdev::open(device, {.kernel = &kernel});
        if (!cdev) return cdev.error();
        auto bound = std::move(*cdev).bind(*backend);
        if (!bound) return bound.error();
        DeviceFacts facts{.resets = bound->info().resets};
        if (auto folder = vfio::device_folder(kernel, device); folder && !vfio::is_noiommu(kernel, *folder))
            if (auto file = vfio::device_file(kernel, *folder)) {
                sys::FileStatus status{};
                facts.folder = compose(*folder, "/vfio-dev/", vfio::base_name(file->path));
                facts.file = *std::move(file);
                if (kernel.stat(facts.folder.c_str(), status) < 0) facts.folder.clear();
                facts.inode = status.inode;
            }
        if (facts.resets) (void)bound->reset();
        if (auto closed = std::move(*bound).destroy(); !closed) return closed.error();
        return facts;
    });
}

void take_back(std::vector<sys::Fd> devices, const core::Context* context) noexcept {
    for (const sys::Fd& device : devices) vfio::reclaim(device);
    if (context) (void)core::sweep(*context, core::Far::near);
    devices.clear();
    // Whether anything is left can be told only now that the devices have gone from there.
    if (context) (void)core::sweep(*context, core::Far::everywhere);
}

}  // namespace iommufd::inline v0_1::broker
