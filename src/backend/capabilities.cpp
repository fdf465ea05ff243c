// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/backend/capabilities.hpp"

#include <cerrno>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1 {
namespace {

constexpr Operation kAll[] = {
    Operation::destroy,
    Operation::ioas_alloc,
    Operation::ioas_allow_iovas,
    Operation::ioas_copy,
    Operation::ioas_iova_ranges,
    Operation::ioas_map,
    Operation::ioas_unmap,
    Operation::option,
    Operation::vfio_ioas,
    Operation::hwpt_alloc,
    Operation::get_hw_info,
    Operation::hwpt_set_dirty_tracking,
    Operation::hwpt_get_dirty_bitmap,
    Operation::hwpt_invalidate,
    Operation::fault_queue_alloc,
    Operation::ioas_map_file,
    Operation::viommu_alloc,
    Operation::vdevice_alloc,
    Operation::ioas_change_process,
    Operation::veventq_alloc,
    Operation::hw_queue_alloc,
    Operation::ioas_noiommu_get_pa,
};

// Longer than any command of a kernel that we know, and shorter than what could be a page too much.
constexpr std::size_t kLongest = 128;

// All that follows the size is ones: no such object, no such flag. A kernel that has the command answers
// something else than ENOTTY (E2BIG at the latest: the tail isn't zero either), and does nothing.
bool answers(const core::ContextNode& context, uapi::Request request) noexcept {
    alignas(8) unsigned char command[kLongest];
    for (unsigned char& byte : command) byte = 0xff;
    *reinterpret_cast<std::uint32_t*>(command) = kLongest;
    return context.ioctl(request, command) != -ENOTTY;
}

}  // namespace

std::span<const Operation> Capabilities::all() noexcept { return kAll; }

Capabilities Capabilities::probe(const core::Context& context) noexcept {
    Capabilities capabilities;
    uapi::Request request = uapi::kDestroy;
    for (const Operation operation : kAll)
        capabilities.has_.set(static_cast<std::size_t>(operation), answers(*context.node(), request++));
    return capabilities;
}

bool Capabilities::has(Operation operation) const noexcept {
    return has_.test(static_cast<std::size_t>(operation));
}

Result<void> Capabilities::require(Operation operation) const {
    if (has(operation)) return {};
    return failed(operation, ENOTTY, [&] { return compose("this kernel has no ", name(operation)); });
}

}  // namespace iommufd::inline v0_1
