// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Intel VT-d's first stage: what a guest writes for its IOMMU, as the kernel takes it.
//
//     guest's PASID-table entry     --decode()--> Entry   -> GuestDevice::install, bypass, block
//     guest's invalidation queue    --decode()--> Request -> Batch<Invalidation>, or: read the guest's entries again
//     core::HwInfo                  --hardware()--> Hardware: what the IOMMU has, and so what the guest may be shown
//
// Only guests in scalable mode (ECAP.SMTS) have first-stage tables. Show such a guest neither ECAP.SLTS nor ECAP.NEST: it would
// write entries that have no meaning here. The first stage is walked by the hardware, so the entry's reserved bits, and what
// its IOMMU has not, are refused before the kernel does it at the attach with no more than EINVAL.
//
// Where these rules come from: the VT-d specification 4.1 (chapters 6.5, 9.6, 10.4), and Linux 7.3's drivers/iommu/intel/nested.c,
// pasid.c and cache.c. The structs are checked against the kernel's header. NEVER RUN ON HARDWARE: tested by tables of
// encodings, and by a device's DMA on the model's VT-d (nested_dma_test.cpp), which was written from the same sources.
//
// Threads: values. Linux: 6.8.
#pragma once

#include <array>
#include <optional>

#include "iommufd/core/hw_info.hpp"
#include "iommufd/viommu/format.hpp"
#include "iommufd/viommu/guest_device.hpp"

namespace iommufd::inline v0_1::viommu::vtd {

// struct iommu_hwpt_vtd_s1.
struct Table {
    static constexpr std::uint32_t kType = 1;  // IOMMU_HWPT_DATA_VTD_S1
    enum Flag : std::uint64_t { supervisor = 1, extended_access = 2, write_protect = 4 };

    std::uint64_t flags;     // of Flag
    std::uint64_t address;   // of the table, guest-physical, 4 KiB aligned
    std::uint32_t width;     // of what it translates, in bits: 48 or 57
    std::uint32_t reserved;  // 0

    bool operator==(const Table&) const = default;
};

// struct iommu_hwpt_vtd_s1_invalidate. The kernel invalidates devices' TLBs (ATS) with it.
struct Invalidation {
    static constexpr std::uint32_t kType = 0;  // IOMMU_HWPT_INVALIDATE_DATA_VTD_S1
    static constexpr std::uint64_t kAllPages = ~std::uint64_t{0};

    std::uint64_t address;   // 4 KiB aligned; 0 with kAllPages
    std::uint64_t pages;     // of 4 KiB, at least one; kAllPages: everything that the table translates
    std::uint32_t flags;     // 1: only leaf entries have changed
    std::uint32_t reserved;  // 0

    static constexpr Invalidation everything() {
        return {.address = 0, .pages = kAllPages, .flags = 0, .reserved = 0};
    }
    bool operator==(const Invalidation&) const = default;
};

// What CAP and ECAP say of nesting.
struct Hardware {
    bool nests;            // ECAP.NEST, and scalable mode with both stages
    bool five_levels;      // CAP.FS5LP: tables of width 57
    bool huge_pages;       // CAP.FS1GP: first-stage pages of 1 GiB
    bool supervisor;       // ECAP.SRS
    bool extended_access;  // ECAP.EAFS
    bool page_requests;    // ECAP.PRS
    bool device_tlbs;      // ECAP.DT
    bool dirty_tracking;   // ECAP.SSADS: of the second stage, so of a parent
    unsigned pasid_bits;   // ECAP.PSS + 1; 0: no PASIDs
    unsigned guest_bits;   // CAP.MGAW + 1: of guest-physical addresses
    bool
        read_only_erratum;  // 772415: no read-only mapping in a parent. (Linux 7.3 refuses those on every IOMMU.)
    std::uint64_t cap;
    std::uint64_t ecap;
};

// EINVAL: that isn't VT-d's, or too short.
IOMMUFD_EXPORT Result<Hardware> hardware(const core::HwInfo& info);

// A scalable-mode PASID-table entry, 512 bits as the guest has them in memory.
using PasidEntry = std::array<std::uint64_t, 8>;

struct Entry {
    Translation translation;  // nested: install `table`; bypass, blocked: what they say
    Table table;
    std::uint16_t domain;  // the guest's number, by which it will invalidate
};

// EOPNOTSUPP: a second-stage or nested entry, or a table that the IOMMU can't walk. EINVAL: an entry that the hardware would
// fault on.
IOMMUFD_EXPORT Result<Entry> decode(const PasidEntry& entry, const Hardware& hardware);

// A descriptor of the invalidation queue; one of 128 bits has zeroes in its last two words.
using Descriptor = std::array<std::uint64_t, 4>;

struct Request {
    enum class Kind : std::uint8_t {
        translations,   // `invalidation`, to the tables that the scope names
        pasid_entries,  // read the guest's PASID-table entries in the scope again, and install() what they say
        contexts,       // read its context entries again
        nothing,        // devices' TLBs (the kernel does it), interrupts, page responses: not of the tables
        wait,           // flush the batch, then write the status that the descriptor asks for
    };
    Kind kind;
    // Of which tables; both absent: of all. For page-selective requests by domain (a second-stage form) the whole tables.
    std::optional<std::uint16_t> domain;
    std::optional<std::uint32_t> pasid;
    Invalidation invalidation;
};

// EINVAL: an unknown type or granularity, a reserved bit, or an address mask beyond 2^64: the hardware's invalidation queue
// error (FSTS.IQE).
IOMMUFD_EXPORT Result<Request> decode(const Descriptor& descriptor);

}  // namespace iommufd::inline v0_1::viommu::vtd
