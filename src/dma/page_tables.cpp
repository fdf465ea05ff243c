// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/page_tables.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "iommufd/core/hw_info.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// What hw_info says of a device that has no page table of its own: an mdev, a device without an IOMMU, or
// any device of an old kernel.
bool has_no_table(const Error& error) {
    return error.code() == ENOENT || error.code() == EOPNOTSUPP || error.code() == ENOTTY;
}

// Drivers of older kernels (virtio-iommu in Linux 6.12) learn what a page table reaches when it is attached, and until
// then say that it is one byte, to which the kernel narrows the IOAS. What the kernel makes while it attaches is right.
bool is_unfinished(const std::vector<Range>& ranges) {
    return std::ranges::all_of(ranges, [](const Range& range) { return range.first == range.last; });
}

}  // namespace

Result<core::Hwpt> PageTables::make(IommuDevice& device, const core::Context& context,
                                    bool& dirty_tracking) const {
    auto info = core::hw_info(context, device.id());
    if (!info) return info.error();
    dirty_tracking = info->dirty_tracking;
    return core::Hwpt::alloc(context, device.id(), ioas_,
                             {.dirty_tracking = dirty_tracking, .pasid = device.is_pasid()});
}

Result<void> PageTables::attach(IommuDevice& device) {
    std::string refusals;
    for (Table& table : tables_) {
        if (device.is_pasid() && !table.pasid) continue;
        table.devices.reserve(table.devices.size() + 1);
        auto attached = device.attach(table.hwpt.id());
        if (attached) {
            table.devices.push_back(&device);
            return {};
        }
        if (attached.error().code() != EINVAL) return attached.error();
        refusals += compose("hwpt ", table.hwpt.id().value, " of another kind of IOMMU; ");
    }

    const auto let_the_kernel_make_one = [&] { return device.attach(ioas_.id()).transform([](HwptId) {}); };
    if (left_to_the_kernel_) return let_the_kernel_make_one();
    const core::Context context(device.context());
    bool dirty_tracking = false;
    auto hwpt = make(device, context, dirty_tracking);
    if (!hwpt && !has_no_table(hwpt.error())) return hwpt.error();
    if (!hwpt) return let_the_kernel_make_one();
    auto ranges = ioas_.iova_ranges();
    if (!ranges) return ranges.error();
    if (is_unfinished(ranges->ranges)) {
        if (auto freed = std::move(*hwpt).destroy(); !freed) return freed;
        left_to_the_kernel_ = true;
        return let_the_kernel_make_one();
    }

    tables_.reserve(tables_.size() + 1);
    std::vector<const IommuDevice*> devices{&device};
    auto attached = device.attach(hwpt->id());
    if (!attached) return refusals.empty() ? attached.error() : attached.error().within(refusals);
    tables_.push_back({.hwpt = std::move(*hwpt),
                       .dirty_tracking = dirty_tracking,
                       .pasid = device.is_pasid(),
                       .devices = std::move(devices)});
    return {};
}

Result<void> PageTables::detach(IommuDevice& device) {
    auto detached = device.detach();
    // Also when the kernel refused: it is not ours to use any more.
    for (Table& table : tables_) std::erase(table.devices, &device);
    std::erase_if(tables_, [](const Table& table) { return table.devices.empty(); });
    return detached;
}

Result<void> PageTables::adopt(const core::Context& context, HwptId table, bool dirty_tracking, bool pasid,
                               std::vector<const IommuDevice*> devices) {
    tables_.reserve(tables_.size() + 1);
    auto hwpt = core::Hwpt::adopt(context, table, ioas_, {});
    if (!hwpt) return hwpt.error();
    tables_.push_back({.hwpt = std::move(*hwpt),
                       .dirty_tracking = dirty_tracking,
                       .pasid = pasid,
                       .devices = std::move(devices)});
    return {};
}

std::vector<PageTables::Use> PageTables::uses() const {
    std::vector<Use> uses;
    for (const Table& table : tables_)
        uses.push_back({.table = table.hwpt.id(),
                        .dirty_tracking = table.dirty_tracking,
                        .pasid = table.pasid,
                        .devices = table.devices});
    return uses;
}

}  // namespace iommufd::inline v0_1::dma
