// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What all of a machine shares: its IOMMU, the accounts of pinned memory, and the record of blocked DMA.
#pragma once

#include <new>
#include <string>
#include <vector>

#include "iommufd/model/machine.hpp"
#include "model/accountant.hpp"
#include "model/backing_file.hpp"
#include "model/hardware_info.hpp"
#include "model/mappings.hpp"
#include "model/pages.hpp"
#include "model/vintage.hpp"
#include "model/vtd_registers.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class BlockedLog {
public:
    void record(const std::string& device, std::uint64_t iova, std::uint64_t length, bool write)
        IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        if (++count_ > kMost) return;
        try {
            first_.push_back({.device = device, .iova = iova, .length = length, .write = write});
        } catch (const std::bad_alloc&) {
            return;  // it is counted, and nobody learns more
        }
    }
    std::vector<BlockedDma> first() const IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        return first_;
    }
    std::uint64_t count() const IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        return count_;
    }

private:
    static constexpr std::uint64_t kMost = 1024;

    mutable sys::Mutex mutex_;
    std::vector<BlockedDma> first_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint64_t count_ IOMMUFD_GUARDED_BY(mutex_) = 0;
};

// What contexts still had when they went.
class LeftLog {
public:
    void record(const Leaks& left) IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        all_.objects += left.objects;
        all_.mappings += left.mappings;
    }
    Leaks all() const IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        return all_;
    }

private:
    mutable sys::Mutex mutex_;
    Leaks all_ IOMMUFD_GUARDED_BY(mutex_);
};

// The IOMMU as its driver presents it.
struct Iommu {
    IommuKind kind;
    std::uint64_t aperture_last;      // of every domain
    std::vector<IovaRange> reserved;  // in every device's way: the interrupt window
    std::uint64_t page_sizes;
    bool tracks_dirty;
    bool nests;
    VtdRegisters vtd;            // of an intel one
    std::uint64_t amd_features;  // of an amd one
    HardwareInfo info;
    KernelVersion kernel;
    bool safe_interrupts;

    static Iommu of(const Description& description) {
        Iommu iommu{
            .kind = description.iommu,
            .aperture_last = description.iova_ranges.back().last,
            .reserved = {},
            .page_sizes = description.page_sizes,
            .tracks_dirty = description.dirty_tracking && (description.iommu != IommuKind::smmuv3 ||
                                                           description.kernel >= vintage::kSmmuv3Dirty),
            .nests = description.nesting,
            .vtd = VtdRegisters::of(description),
            .amd_features = amd_features_of(description),
            .info = HardwareInfo::of(description),
            .kernel = description.kernel,
            .safe_interrupts = description.iommu != IommuKind::virtio || description.unsafe_interrupts};
        std::uint64_t next = 0;
        for (const IovaRange& range : description.iova_ranges) {
            if (range.first > next) iommu.reserved.push_back({.first = next, .last = range.first - 1});
            next = range.last + 1;
        }
        return iommu;
    }
};

struct Hardware {
    Iommu iommu;
    Accountant accountant;
    bool sys_resource;
    bool sys_rawio;
    bool mock;
    KernelVersion kernel;
    // Where the first region of a VFIO device lies in its file; Linux: 0. A filter of system calls knows by it.
    std::uint64_t first_region = 0;
    BackingFiles backing_files = {};
    BlockedLog blocked = {};
    LeftLog left = {};
    PinRegistry pins = {};
    Mappings mappings = {};
};

}  // namespace iommufd::inline v0_1::model
