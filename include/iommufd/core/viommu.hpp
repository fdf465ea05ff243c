// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A slice of a physical IOMMU for one guest, and the guest's devices in it.
//
//     Hwpt (nest_parent) --VIOMMU_ALLOC--> Viommu --HWPT_ALLOC--> Hwpt (nested)
//                                            |--VDEVICE_ALLOC--> Vdevice      the guest's number of a device
//                                            |--VEVENTQ_ALLOC--> VeventQueue  what the guest must be told
//                                            '--HW_QUEUE_ALLOC--> HwQueue     a queue that the hardware reads
//                                            itself
//
// Types are the kernel's numbers (enum iommu_viommu_type and the like): each IOMMU has its own.
//
// Threads: any calls may run at once. Linux: 6.13 (data 6.17).
#pragma once

#include <cstddef>
#include <span>

#include "iommufd/core/hwpt.hpp"

namespace iommufd::inline v0_1::core {

// A page of the IOMMU's own registers, mapped into this process (mmap of the iommufd): for a guest's driver
// that writes to them without an exit.
class Unmapping;

class IOMMUFD_EXPORT MmioMapping {
public:
    MmioMapping(MmioMapping&& other) noexcept;
    MmioMapping& operator=(MmioMapping&& other) noexcept;
    ~MmioMapping();  // unmaps

    volatile void* data() const noexcept;
    std::uint64_t size() const noexcept;

private:
    friend class Viommu;
    MmioMapping(std::shared_ptr<ObjectNode> owner, std::unique_ptr<Unmapping> unmapping) noexcept;
    std::shared_ptr<ObjectNode> owner_;  // the kernel refuses to destroy what is mapped
    std::unique_ptr<Unmapping> unmapping_;
};

class IOMMUFD_EXPORT Viommu {
public:
    struct Options {
        std::string_view label;
        std::uint32_t type = 0;     // enum iommu_viommu_type; 0 is refused by the kernel
        std::span<std::byte> data;  // the type's own struct, read and written by the kernel. Linux 6.17
    };

    // EOPNOTSUPP: the device's IOMMU has no such type. EINVAL: `parent` isn't a nest_parent.
    static Result<Viommu> alloc(const Context& context, DeviceId device, const Hwpt& parent, Options options);

    Viommu(Viommu&&) noexcept;
    Viommu& operator=(Viommu&&) noexcept;
    ~Viommu();

    ViommuId id() const noexcept;

    // Tells the IOMMU what the guest invalidated, in the guest's own device numbers. See Hwpt::invalidate.
    Result<void> invalidate(const Invalidation& invalidation, std::uint32_t& done) const;

    // Maps what the kernel named in `options.data`: an offset and a length that must be taken as they are.
    // ENXIO: others. Linux 6.17.
    Result<MmioMapping> mmap(std::uint64_t offset, std::uint64_t length) const;

    // EBUSY, and the handle stays, while something stands on it.
    Result<void> destroy() &&;

    const std::shared_ptr<ObjectNode>& node() const noexcept { return node_; }

private:
    explicit Viommu(std::shared_ptr<ObjectNode> node) noexcept;
    std::shared_ptr<ObjectNode> node_;
};

class IOMMUFD_EXPORT Vdevice {
public:
    // `virtual_id` is the guest's number of the device (on ARM its stream id). EEXIST: taken, or the device
    // has one already. When the device goes first, the kernel has destroyed the vdevice, and keeps its id.
    static Result<Vdevice> alloc(const Context& context, const Viommu& viommu, DeviceId device,
                                 std::uint64_t virtual_id, std::string_view label = {});

    Vdevice(Vdevice&&) noexcept;
    Vdevice& operator=(Vdevice&&) noexcept;
    ~Vdevice();

    VdeviceId id() const noexcept;
    Result<void> destroy() &&;

private:
    explicit Vdevice(std::shared_ptr<ObjectNode> node) noexcept;
    std::shared_ptr<ObjectNode> node_;
};

class IOMMUFD_EXPORT HwQueue {
public:
    struct Options {
        std::string_view label;
        std::uint32_t type = 0;   // enum iommu_hw_queue_type
        std::uint32_t index = 0;  // from 0 upwards; a queue stands on the one before it
    };

    // The queue's memory, as an IOVA of the nest parent: mapped, readable, physically contiguous (EFAULT). As
    // long as the queue lives, unmap of it fails with EBUSY. Linux 6.17.
    static Result<HwQueue> alloc(const Context& context, const Viommu& viommu, Range memory, Options options);
    // The same for the queue after `previous`, which is then kept alive.
    static Result<HwQueue> alloc(const Context& context, const Viommu& viommu, Range memory, Options options,
                                 const HwQueue& previous);

    HwQueue(HwQueue&&) noexcept;
    HwQueue& operator=(HwQueue&&) noexcept;
    ~HwQueue();

    HwQueueId id() const noexcept;
    Result<void> destroy() &&;

private:
    explicit HwQueue(std::shared_ptr<ObjectNode> node) noexcept;
    std::shared_ptr<ObjectNode> node_;
};

}  // namespace iommufd::inline v0_1::core
