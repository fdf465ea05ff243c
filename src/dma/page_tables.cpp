// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "dma/page_tables.hpp"

#include <algorithm>
#include <cerrno>

#include "dma/dirty_marks.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/core/fault_queue.hpp"
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

Result<HwptId> no_pasids(const IommuDevice& device, std::string_view verb, std::uint32_t pasid) {
    return guarded(Operation::vfio_attach, [&]() -> Result<HwptId> {
        return Error::refused(EOPNOTSUPP,
                              compose("cannot ", verb, " PASID ", pasid, " of device ", device.id().value),
                              "this frontend has no PASIDs", "attach the device itself");
    });
}

constexpr std::string_view kWithoutFaults = "attach it without a fault queue (dma-space: faults=off)";
constexpr std::string_view kLeftToTheKernel =
    "its IOMMU's driver makes a page table only as it attaches, without one";

Error because_of_faults(const Error& error, std::string_view cause) {
    return error.because(std::string(cause), std::string(kWithoutFaults));
}

Result<void> no_faults(int code, std::string_view cause) {
    return Error::refused(code, "cannot attach with a fault queue", std::string(cause),
                          std::string(kWithoutFaults));
}

// Of an entry of its page tables; 0: any power of two (AMD's), or not known.
std::uint64_t largest_page_of(core::HwInfoType type) {
    return type == core::HwInfoType::intel_vtd ? 1_GiB : 0;
}

}  // namespace

Result<HwptId> IommuDevice::attach_pasid(PageTableId, std::uint32_t pasid) {
    return no_pasids(*this, "attach", pasid);
}

Result<void> IommuDevice::detach_pasid(std::uint32_t pasid) {
    return no_pasids(*this, "detach", pasid).transform([](HwptId) {});
}

Result<PageTables::Table> PageTables::make(const IommuDevice& device, const core::FaultQueue* faults) const {
    const core::Context context(device.context());
    auto info = core::hw_info(context, device.id());
    if (!info) return info.error();
    const auto alloc = [&](bool dirty_tracking, bool pasid) {
        return core::Hwpt::alloc(context, device.id(), ioas_,
                                 {.nest_parent = device.nests(),
                                  .dirty_tracking = dirty_tracking,
                                  .pasid = pasid,
                                  .fault_queue = faults})
            .transform([&](core::Hwpt&& hwpt) {
                return Table{.hwpt = std::make_shared<core::Hwpt>(std::move(hwpt)),
                             .dirty_tracking = dirty_tracking,
                             .largest_page = huge_pages_ ? largest_page_of(info->type) : DirtyMarks::kPage,
                             .pasid = pasid,
                             .nest_parent = device.nests(),
                             .faults = faults ? faults->node() : nullptr,
                             .devices = {}};
            });
    };
    if (!device.nests()) return alloc(info->dirty_tracking, device.is_pasid());
    // Not every IOMMU that nests has the rest as well: a parent of SMMUv3's tracks nothing and takes no PASID.
    const bool pasids = info->max_pasid_log2 != 0;
    for (const auto& [dirty_tracking, pasid] :
         {std::pair{info->dirty_tracking, pasids}, std::pair{false, pasids},
          std::pair{info->dirty_tracking, false}})
        if (auto made = alloc(dirty_tracking, pasid); made || made.error().code() != EOPNOTSUPP) return made;
    auto made = alloc(false, false);
    if (made || made.error().code() != EOPNOTSUPP) return made;
    return made.error().because("this IOMMU, or its driver, can't nest a guest's tables in a page table",
                                "do without, and shadow the guest's tables in this space");
}

Result<void> PageTables::attach(IommuDevice& device, const core::FaultQueue* faults) {
    if (faults && device.nests()) return no_faults(EOPNOTSUPP, "a guest's own tables take its page requests");
    const auto queue = faults ? faults->node() : nullptr;
    std::string refusals;
    for (Table& table : tables_) {
        if ((device.is_pasid() && !table.pasid) || (device.nests() && !table.nest_parent)) continue;
        if (table.faults != queue) continue;
        table.devices.reserve(table.devices.size() + 1);
        auto attached = device.attach_to(*table.hwpt);
        if (attached) {
            table.devices.push_back(&device);
            return {};
        }
        if (attached.error().code() != EINVAL) return attached.error();
        refusals += compose("hwpt ", table.hwpt->id().value, " of another kind of IOMMU; ");
    }

    const auto let_the_kernel_make_one = [&] { return device.attach(ioas_.id()).transform([](HwptId) {}); };
    if (left_to_the_kernel_ && faults) return no_faults(EOPNOTSUPP, kLeftToTheKernel);
    if (left_to_the_kernel_ && !device.nests()) return let_the_kernel_make_one();
    auto table = make(device, faults);
    if (!table && faults && has_no_table(table.error()))
        return because_of_faults(table.error(), "its IOMMU's driver makes no page table with one");
    if (!table && (device.nests() || !has_no_table(table.error()))) return table.error();
    if (!table) return let_the_kernel_make_one();
    auto ranges = ioas_.iova_ranges();
    if (!ranges) return ranges.error();
    if (is_unfinished(ranges->ranges)) {
        if (auto freed = std::move(*table->hwpt).destroy(); !freed) return freed;
        left_to_the_kernel_ = true;
        if (faults) return no_faults(EOPNOTSUPP, kLeftToTheKernel);
        return let_the_kernel_make_one();
    }

    // What the device writes from its first DMA on is noted.
    if (tracks_ && table->dirty_tracking)
        table->dirty_tracking = static_cast<bool>(table->hwpt->set_dirty_tracking(true));
    tables_.reserve(tables_.size() + 1);
    table->devices.push_back(&device);
    auto attached = device.attach_to(*table->hwpt);
    if (!attached && faults && (attached.error().code() == ENODEV || attached.error().code() == EINVAL))
        return because_of_faults(attached.error(),
                                 "the device can't ask for pages (PRI), or is a VF that may not");
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

Result<void> PageTables::adopt(const core::Context& context, HwptId table, bool dirty_tracking, bool pasid,
                               std::vector<const IommuDevice*> devices) {
    tables_.reserve(tables_.size() + 1);
    auto hwpt = core::Hwpt::adopt(context, table, ioas_, {});
    if (!hwpt) return hwpt.error();
    tables_.push_back({.hwpt = std::make_shared<core::Hwpt>(std::move(*hwpt)),
                       .dirty_tracking = dirty_tracking,
                       .largest_page = huge_pages_ ? 0 : DirtyMarks::kPage,
                       .pasid = pasid,
                       .nest_parent = false,
                       .faults = nullptr,
                       .devices = std::move(devices)});
    return {};
}

bool PageTables::have_faults() const noexcept {
    return std::ranges::any_of(tables_, [](const Table& table) { return table.faults != nullptr; });
}

std::vector<PageTables::Use> PageTables::uses() const {
    std::vector<Use> uses;
    for (const Table& table : tables_)
        uses.push_back({.table = table.hwpt->id(),
                        .dirty_tracking = table.dirty_tracking,
                        .pasid = table.pasid,
                        .devices = table.devices});
    return uses;
}

}  // namespace iommufd::inline v0_1::dma
