// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A hardware page table: what an IOMMU walks for the devices attached to it.
//
//     Ioas --HWPT_ALLOC--> Hwpt               follows every map and unmap of its Ioas
//                            |--HWPT_ALLOC--> Hwpt (nested: data in the IOMMU's own format, for a guest)
//     Viommu --HWPT_ALLOC--> Hwpt (nested)
//
// A device attached to an Ioas gets one from the kernel ("automatic domain"); a program makes its own for
// dirty tracking, nesting, PASIDs or a fault queue. Making one writes all current mappings of the Ioas to
// it, so it takes time in proportion to them, and can fail as a map can.
//
// Threads: any calls may run at once. Linux: 6.6; see each option.
#pragma once

#include <cstddef>
#include <span>

#include "iommufd/core/ioas.hpp"

namespace iommufd::inline v0_1::core {

class FaultQueue;
class Viommu;

// Data in a format of the hardware's: the type is the kernel's number (enum iommu_hwpt_data_type), the bytes
// its struct, of exactly that size (the kernel takes neither less nor more).
struct HwData {
    std::uint32_t type = 0;
    std::span<const std::byte> bytes;
};

// Entries of an invalidation; `done` says after a failure how many the kernel handled.
struct Invalidation {
    std::uint32_t type;                  // enum iommu_hwpt_invalidate_data_type
    std::uint32_t entry_length;          // of one entry, in bytes
    std::span<const std::byte> entries;  // count times entry_length bytes
};

class IOMMUFD_EXPORT Hwpt {
public:
    struct Options {
        std::string_view label;
        bool nest_parent = false;                 // others will be nested in it. Linux 6.7
        bool dirty_tracking = false;              // EOPNOTSUPP where the IOMMU can't. Linux 6.7
        bool pasid = false;                       // PASIDs of the device may be attached. Linux 6.13
        const FaultQueue* fault_queue = nullptr;  // page requests go there. Linux 6.11
        HwData data;                              // Linux 6.8
    };

    // For devices behind the same IOMMU as `device`. EOPNOTSUPP: the IOMMU can't do what the options ask.
    static Result<Hwpt> alloc(const Context& context, DeviceId device, const Ioas& ioas);
    static Result<Hwpt> alloc(const Context& context, DeviceId device, const Ioas& ioas, Options options);
    // Nested in a nest_parent, or in a viommu; options.data is the guest's table. Linux 6.8, 6.13.
    static Result<Hwpt> nest(const Context& context, DeviceId device, const Hwpt& parent, Options options);
    static Result<Hwpt> nest(const Context& context, DeviceId device, const Viommu& viommu, Options options);

    // One made from `ioas` that the process before this one had made, and handed over with the context's descriptor: this
    // handle destroys it. The kernel has no way to ask whether there is such a one. EINVAL: an id of 0. Of the options the
    // label counts.
    static Result<Hwpt> adopt(const Context& context, HwptId id, const Ioas& ioas, Options options);

    Hwpt(Hwpt&&) noexcept;
    Hwpt& operator=(Hwpt&&) noexcept;
    ~Hwpt();

    HwptId id() const noexcept;

    // Starts (with all bits clear) or stops the recording of writes. EOPNOTSUPP without
    // options.dirty_tracking.
    Result<void> set_dirty_tracking(bool on) const;

    // Sets the bit of each page of `page_size` bytes in the range that was written, bit 0 being the page at
    // `range.first`; bits already set stay. Unless `keep`, the pages count as clean from then on.
    // The range must be mapped without a hole: Linux 7.3 returns success for a hole and skips all after it.
    // EINVAL: `bitmap` is too short, or the range is not a multiple of page_size.
    enum class Dirty : std::uint8_t { clear, keep };
    Result<void> read_dirty(Range range, std::uint64_t page_size, std::span<std::uint64_t> bitmap,
                            Dirty after = Dirty::clear) const;

    // Tells the IOMMU that the guest's table has changed (a nested one only). Returns the entries handled,
    // which may be fewer than given only with an error.
    Result<void> invalidate(const Invalidation& invalidation, std::uint32_t& done) const;

    // EBUSY, and the handle stays, while something stands on it.
    Result<void> destroy() &&;

    // For the layers above: another handle of a page table, which goes with the last of them.
    explicit Hwpt(std::shared_ptr<ObjectNode> node) noexcept;
    const std::shared_ptr<ObjectNode>& node() const noexcept { return node_; }

private:
    static Result<Hwpt> make(const Context& context, DeviceId device,
                             const std::shared_ptr<ObjectNode>& parent, const Options& options);
    std::shared_ptr<ObjectNode> node_;
};

}  // namespace iommufd::inline v0_1::core
