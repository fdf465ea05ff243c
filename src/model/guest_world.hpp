// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For tests of nested translation: a guest whose memory is mapped in a parent's page table, and its first-stage tables in it.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "model/testing.hpp"

namespace iommufd::inline v0_1::model::testing {

// Tables as a guest writes them into its memory: the root in the memory's first page, each new one in the next.
class GuestTables {
public:
    enum Bits : std::uint64_t {
        present = 1,
        writable = 2,
        user = 4,
        accessed = 0x20,
        dirty = 0x40,
        large = 0x80,
        all = present | writable | user
    };

    // `base`: the guest-physical address of that memory.
    GuestTables(unsigned char* memory, std::uint64_t base) : memory_(memory), base_(base) {}

    std::uint64_t root() const { return base_; }
    std::uint64_t* at(std::uint64_t address) const {
        return reinterpret_cast<std::uint64_t*>(memory_ + (address - base_));
    }
    // The entry of a level, 0 the lowest, with the tables above it.
    std::uint64_t& entry(std::uint64_t iova, unsigned level = 0) {
        std::uint64_t table = base_;
        for (unsigned above = 3; above > level; --above) {
            std::uint64_t& next = at(table)[iova >> (12 + 9 * above) & 511];
            if (next == 0) {
                used_ += kPage;
                next = (base_ + used_) | all;
            }
            table = next & ~std::uint64_t{kPage - 1} & ((1ULL << 52) - 1);
        }
        return at(table)[iova >> (12 + 9 * level) & 511];
    }
    void map(std::uint64_t iova, std::uint64_t guest_physical, std::uint64_t bits = all, unsigned level = 0) {
        entry(iova, level) = guest_physical | bits | (level == 0 ? 0 : std::uint64_t{large});
    }

private:
    unsigned char* memory_;
    std::uint64_t base_;
    std::uint64_t used_ = 0;
};

// An edu device behind an IOMMU that nests, with 16 MiB of guest memory from guest-physical kGuest on: its tables in the first MiB,
// data behind. It starts on the parent, as a guest without tables.
class GuestBench : public EduBench {
public:
    static constexpr std::uint64_t kGuest = 0x40000000;  // of that size, so that huge pages fit
    static constexpr std::uint64_t kSize = 16ULL << 20;
    static constexpr std::uint64_t kData = kGuest + (2ULL << 20);

    static Description nesting(void (*change)(Description&) = [](Description&) {}) {
        Description description;
        description.devices = {{.dma_bits = 64}};
        description.nesting = true;
        change(description);
        return description;
    }

    explicit GuestBench(const Description& description = nesting(), std::uint32_t flags = 0)
        : EduBench(description),
          memory(kSize),
          tables(memory.bytes(), kGuest),
          guest(ioas()),
          parent(static_cast<std::uint32_t>(hwpt(device, guest, uapi::kHwptNestParent | flags))) {
        (void)map(guest, memory.address(), kSize, kGuest);
        (void)attach(cdev, parent);
        std::memset(data(kScratch), kByte, kPage);
        read_memory(kScratch, kPage);
    }

    unsigned char* data(std::uint64_t guest_physical) const {
        return memory.bytes() + (guest_physical - kGuest);
    }

    // Its id, or a negative errno.
    std::int64_t nest(uapi::HwptVtdS1 table, std::uint32_t flags = 0, std::uint32_t faults = 0) {
        uapi::HwptAlloc command{.flags = flags,
                                .dev_id = device,
                                .pt_id = parent,
                                .data_type = uapi::kHwptDataVtdS1,
                                .data_len = sizeof table,
                                .data_uptr = reinterpret_cast<std::uint64_t>(&table),
                                .fault_id = faults};
        const int rc = call(uapi::kHwptAlloc, command);
        return rc < 0 ? rc : std::int64_t{command.out_hwpt_id};
    }
    uapi::HwptVtdS1 table() const {
        return {.flags = 0, .pgtbl_addr = tables.root(), .addr_width = 48, .reserved = 0};
    }
    // Nests the guest's table, and attaches it.
    std::uint32_t attach_table() {
        const std::int64_t nested = nest(table());
        return nested < 0 || attach(cdev, static_cast<std::uint32_t>(nested)) < 0
                   ? 0
                   : static_cast<std::uint32_t>(nested);
    }
    template <std::size_t count>
    int invalidate(std::uint32_t nested, std::array<uapi::HwptVtdS1Invalidate, count> entries,
                   std::uint32_t* done = nullptr, std::uint32_t type = uapi::kInvalidateVtdS1) {
        uapi::HwptInvalidate command{.hwpt_id = nested,
                                     .data_uptr = reinterpret_cast<std::uint64_t>(entries.data()),
                                     .data_type = type,
                                     .entry_len = sizeof entries[0],
                                     .entry_num = count};
        const int rc = call(uapi::kHwptInvalidate, command);
        if (done != nullptr) *done = command.entry_num;
        return rc;
    }
    int invalidate(std::uint32_t nested, std::uint64_t iova, std::uint64_t pages, std::uint32_t flags = 0) {
        return invalidate(nested, std::array{uapi::HwptVtdS1Invalidate{
                                      .addr = iova, .npages = pages, .flags = flags, .reserved = 0}});
    }

    // Whether what the device writes to an IOVA arrives there.
    bool writes(std::uint64_t iova, std::uint64_t guest_physical) {
        *data(guest_physical) = 0;
        write_memory(iova, 1);
        return *data(guest_physical) == kByte;
    }
    // Whether it reads from an IOVA what is there. It is attached to the parent afterwards.
    bool reads(std::uint64_t iova, std::uint64_t guest_physical) {
        *data(guest_physical) = 0x17;
        read_memory(iova, 1);
        (void)attach(cdev, parent);
        write_memory(kScratch, 1);
        return *data(kScratch) == 0x17;
    }

    static constexpr unsigned char kByte = 0x5a;  // what it has in its buffer
    static constexpr std::uint64_t kScratch = kGuest + kSize - kPage;

    Memory memory;
    GuestTables tables;
    std::uint32_t guest;  // the IOAS
    std::uint32_t parent;
};

}  // namespace iommufd::inline v0_1::model::testing
