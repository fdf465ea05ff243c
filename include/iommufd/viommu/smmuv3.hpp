// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// ARM SMMUv3's stage 1: what a guest writes for its IOMMU, as the kernel takes it.
//
//     guest's stream table entry  --decode()--> Entry   -> GuestDevice::install, with a viommu
//     guest's command queue       --decode()--> Request -> Batch<Command> to the viommu, or: read the guest's entries again
//     Events<Event>               --decode()--> Fault   -> the guest's event queue, as it is
//     core::HwInfo                --hardware()--> Hardware: what the IOMMU has, and so what the guest may be shown
//
// In this order for a device: viommu, vdevice (with the guest's stream id), then the tables: the kernel refuses a table that
// translates without a vdevice (ENOENT). Bypass and abort are tables here too, which let the guest have its events; GuestDevice's
// bypass() is for a guest that has turned its SMMU off.
//
// A command that the hardware would find illegal is refused here, by the rules of the kernel. The kernel would refuse it too,
// with EIO; but Linux 7.3 then counts up to 62 commands before it as handled which it has not sent (see Batch).
// One that is for the VMM, not for the hardware, is named so.
//
// Where these rules come from: the SMMUv3 specification (chapters 4, 5.2, 6.3, 7.3), and Linux 7.3's
// drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-iommufd.c. The structs are checked against the kernel's header. NEVER RUN ON HARDWARE:
// tested by tables of encodings only.
//
// Threads: values. Linux: 6.13 (events 6.15).
#pragma once

#include <array>
#include <optional>

#include "iommufd/core/hw_info.hpp"
#include "iommufd/viommu/format.hpp"
#include "iommufd/viommu/guest_device.hpp"

namespace iommufd::inline v0_1::viommu::smmuv3 {

// For core::Viommu::Options::type: IOMMU_VIOMMU_TYPE_ARM_SMMUV3.
inline constexpr std::uint32_t kViommu = 1;

// struct iommu_hwpt_arm_smmuv3.
struct Table {
    static constexpr std::uint32_t kType = 2;  // IOMMU_HWPT_DATA_ARM_SMMUV3
    std::uint64_t ste[2];
};

// struct iommu_viommu_arm_smmuv3_invalidate.
struct Command {
    static constexpr std::uint32_t kType = 1;  // IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3
    static constexpr std::size_t kLot = 63;    // CMDQ_BATCH_ENTRIES - 1: see Batch
    std::uint64_t cmd[2];
};

// struct iommu_vevent_arm_smmuv3: a record of the event queue, with the guest's stream id in it.
struct Event {
    static constexpr std::uint32_t kType = 1;  // IOMMU_VEVENTQ_TYPE_ARM_SMMUV3
    std::uint64_t evt[4];
};

// What a guest may be shown: the kernel asks that no other field of the registers be read, but for `ats`.
struct Hardware {
    bool nests;                           // IDR0.S1P and S2P: it has both stages
    unsigned asid_bits;                   // IDR0.ASID16: 8 or 16
    unsigned stream_bits;                 // IDR1.SIDSIZE
    unsigned substream_bits;              // IDR1.SSIDSIZE; 0: no PASIDs
    unsigned bbml;                        // IDR3.BBML
    bool range_invalidation;              // IDR3.RIL
    bool long_addresses;                  // IDR5.DS: 52 bits with pages of 4 KiB and 16 KiB
    bool pages_4k, pages_16k, pages_64k;  // IDR5.GRAN
    bool ats;                             // of the device
    bool twice;                           // erratum: TLBI and CFGI, with their SYNC, must be issued twice
    std::array<std::uint32_t, 6> idr;     // with those fields alone
};

// EINVAL: that isn't an SMMUv3's, or too short.
IOMMUFD_EXPORT Result<Hardware> hardware(const core::HwInfo& info);

// 512 bits as the guest has them in memory.
using StreamTableEntry = std::array<std::uint64_t, 8>;

struct Entry {
    Translation translation;  // what the table does: nested, bypass or blocked
    Table table;              // to be installed in each case
};

// Takes of the first two words what the kernel takes (V, Config, S1Fmt, S1ContextPtr, S1CDMax; S1DSS, S1CIR, S1COR, S1CSH,
// S1STALLD, EATS); the rest is the kernel's own or without meaning for a stage 1 of EL1. An entry that isn't valid is a table
// that blocks. EOPNOTSUPP: stage 2, or another exception level than EL1. EINVAL: a reserved Config, or an EATS that is not
// 0 or 1 (the kernel's EIO): the guest is due C_BAD_STE.
IOMMUFD_EXPORT Result<Entry> decode(const StreamTableEntry& entry);

using CommandWords = std::array<std::uint64_t, 2>;

struct Request {
    enum class Kind : std::uint8_t {
        forward,         // `command`, to the viommu
        stream_entries,  // read the guest's entries from `first` to `last` again, and install() what they say
        sync,            // flush the batch, then complete it as CS says
        page_response,   // answer the group of page requests that the words name
        nothing,         // prefetches
    };
    Kind kind;
    std::uint32_t first;  // stream ids
    std::uint32_t last;
    Command command;
};

// EINVAL: illegal on this hardware, so CERROR_ILL for the guest. EOPNOTSUPP: RESUME and STALL_TERM, since the kernel lets no
// device stall for a guest: show it STALL_MODEL 1.
IOMMUFD_EXPORT Result<Request> decode(const CommandWords& words, const Hardware& hardware);

// What an event says; fields that its type has not are zero.
struct Fault {
    std::uint8_t type;  // 0x04 C_BAD_STE, 0x06 F_STREAM_DISABLED, 0x08 C_BAD_SUBSTREAMID, 0x0a C_BAD_CD,
                        // 0x10 F_TRANSLATION, 0x11 F_ADDR_SIZE, 0x12 F_ACCESS, 0x13 F_PERMISSION
    std::uint32_t stream;
    std::optional<std::uint32_t> substream;  // a PASID
    bool stalled;
    std::uint16_t stall_tag;
    bool privileged, instruction, read, stage2;
    unsigned fault_class;    // 0: of a CD, 1: of a table, 2: of the access
    std::uint64_t address;   // as the device gave it
    std::uint64_t physical;  // the guest-physical page of a stage-2 fault
};

IOMMUFD_EXPORT Fault decode(const Event& event) noexcept;

}  // namespace iommufd::inline v0_1::viommu::smmuv3
