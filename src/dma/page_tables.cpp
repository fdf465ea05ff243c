// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/page_tables.hpp"

#include <algorithm>
#include <cerrno>

#include "dma/dirty_marks.hpp"
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

// Of an entry of its page tables; 0: any power of two (AMD's), or not known.
std::uint64_t largest_page_of(core::HwInfoType type) {
    return type == core::HwInfoType::intel_vtd ? 1_GiB : 0;
}

}  // namespace

Result<PageTables::Table> PageTables::make(IommuDevice& device) const {
    const core::Context context(device.context());
    auto info = core::hw_info(context, device.id());
    if (!info) return info.error();
    auto hwpt = core::Hwpt::alloc(context, device.id(), ioas_,
                                  {.dirty_tracking = info->dirty_tracking, .pasid = device.is_pasid()});
    if (!hwpt) return hwpt.error();
    return Table{.hwpt = std::make_shared<core::Hwpt>(std::move(*hwpt)),
                 .dirty_tracking = info->dirty_tracking,
                 .largest_page = huge_pages_ ? largest_page_of(info->type) : DirtyMarks::kPage,
                 .pasid = device.is_pasid(),
                 .devices = {&device}};
}

Result<void> PageTables::attach(IommuDevice& device) {
    std::string refusals;
    for (Table& table : tables_) {
        if (device.is_pasid() && !table.pasid) continue;
        table.devices.reserve(table.devices.size() + 1);
        auto attached = device.attach(table.hwpt->id());
        if (attached) {
            table.devices.push_back(&device);
            return {};
        }
        if (attached.error().code() != EINVAL) return attached.error();
        refusals += compose("hwpt ", table.hwpt->id().value, " of another kind of IOMMU; ");
    }

    const auto let_the_kernel_make_one = [&] { return device.attach(ioas_.id()).transform([](HwptId) {}); };
    if (left_to_the_kernel_) return let_the_kernel_make_one();
    auto table = make(device);
    if (!table && !has_no_table(table.error())) return table.error();
    if (!table) return let_the_kernel_make_one();
    auto ranges = ioas_.iova_ranges();
    if (!ranges) return ranges.error();
    if (is_unfinished(ranges->ranges)) {
        if (auto freed = std::move(*table->hwpt).destroy(); !freed) return freed;
        left_to_the_kernel_ = true;
        return let_the_kernel_make_one();
    }

    // What the device writes from its first DMA on is noted.
    if (tracks_ && table->dirty_tracking)
        table->dirty_tracking = static_cast<bool>(table->hwpt->set_dirty_tracking(true));
    tables_.reserve(tables_.size() + 1);
    auto attached = device.attach(table->hwpt->id());
    if (!attached) return refusals.empty() ? attached.error() : attached.error().within(refusals);
    tables_.push_back(std::move(*table));
    return {};
}

Result<void> PageTables::detach(IommuDevice& device, const std::function<void(const DirtyTrail&)>& last) {
    auto detached = device.detach();
    // Also when the kernel refused: it is not ours to use any more.
    for (Table& table : tables_) {
        if (std::erase(table.devices, &device) == 0 || !table.devices.empty() || !last) continue;
        if (table.dirty_tracking) last(table.trail());
    }
    std::erase_if(tables_, [](const Table& table) { return table.devices.empty(); });
    return detached;
}

std::vector<DirtyTrail> PageTables::trails() const {
    std::vector<DirtyTrail> trails;
    for (const Table& table : tables_)
        if (table.dirty_tracking) trails.push_back(table.trail());
    return trails;
}

bool PageTables::can_track(const IommuDevice& device) const noexcept {
    return std::ranges::any_of(tables_, [&](const Table& table) {
        return table.dirty_tracking && std::ranges::find(table.devices, &device) != table.devices.end();
    });
}

}  // namespace iommufd::inline v0_1::dma
