// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A guest's page table on top of a Domain: VT-d's first stage, of four levels.
//
//     IOVA --table in the guest's memory--> guest-physical address --Domain--> memory
//
// The table is read, and its accessed and dirty bits are set, through the Domain: what that doesn't reach is no table, and
// the DMA is blocked. Requests are a user's (no device here has PASIDs), so every entry must have its U/S bit.
//
// Translations are remembered, and tables of the lowest level: they stay as they were until they are invalidated, or the
// Domain is flushed, so that a guest that forgets it is found out. Entries that aren't present are never remembered, and
// what lacks a permission, or a dirty bit, is walked again, as hardware does. Which are remembered depends on the IOVAs only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "model/domain.hpp"
#include "sys/mutex.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {

// Threads: any. A DMA holds the mutex from its first look-up to its last byte, so that an invalidation ends what it is about.
class FirstStage {
public:
    FirstStage(std::shared_ptr<Domain> parent, const uapi::HwptVtdS1& config)
        : parent_(std::move(parent)), config_(config) {}
    FirstStage(const FirstStage&) = delete;
    FirstStage& operator=(const FirstStage&) = delete;

    const uapi::HwptVtdS1& config() const noexcept { return config_; }

    // As those of Domain.
    void read(std::uint64_t iova, std::span<std::byte> to, const OnBlocked& blocked) IOMMUFD_EXCLUDES(mutex_);
    void write(std::uint64_t iova, std::span<const std::byte> from, const OnBlocked& blocked)
        IOMMUFD_EXCLUDES(mutex_);
    // It sets no accessed or dirty bit.
    std::optional<std::uint64_t> first_missing(std::uint64_t iova, std::uint64_t length, unsigned permission)
        IOMMUFD_EXCLUDES(mutex_);

    // Translations that the range touches; tables, too, unless only leaves have changed.
    void invalidate(std::uint64_t first, std::uint64_t last, bool leaves_only) IOMMUFD_EXCLUDES(mutex_);
    void flush() IOMMUFD_EXCLUDES(mutex_);

private:
    struct Range {
        std::uint64_t first = 1, last = 0;

        bool has(std::uint64_t iova) const noexcept { return first <= iova && iova <= last; }
        bool touches(std::uint64_t a, std::uint64_t b) const noexcept {
            return first <= last && first <= b && a <= last;
        }
    };
    struct Leaf {
        Range range;
        std::uint64_t memory = 0;  // guest-physical
        bool writable = false;
        bool dirty = false;
    };
    struct LowestTable {
        Range range;
        std::uint64_t at = 0;  // guest-physical
        bool writable = false;
    };
    // What a DMA wants of the table; one that only asks changes nothing.
    struct Access {
        bool write;
        bool marks;
    };
    struct Run {
        std::uint64_t memory = 0;  // guest-physical
        std::uint64_t length = 0;
        bool reachable = false;
    };
    enum class Walked : std::uint8_t { reached, missing, changed };

    void follow_parent() IOMMUFD_REQUIRES(mutex_);
    void forget() IOMMUFD_REQUIRES(mutex_);
    std::optional<std::uint64_t> entry_at(std::uint64_t address) const;
    Walked walk(std::uint64_t iova, Access access, Leaf& leaf) IOMMUFD_REQUIRES(mutex_);
    std::optional<Leaf> look_up(std::uint64_t iova, Access access) IOMMUFD_REQUIRES(mutex_);
    Run run(std::uint64_t iova, std::uint64_t most, Access access) IOMMUFD_REQUIRES(mutex_);

    const std::shared_ptr<Domain> parent_;
    const uapi::HwptVtdS1 config_;
    sys::Mutex mutex_;
    std::array<Leaf, 64> leaves_ IOMMUFD_GUARDED_BY(mutex_);
    std::array<LowestTable, 16> tables_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint64_t parent_flushes_ IOMMUFD_GUARDED_BY(mutex_) = 0;
};

}  // namespace iommufd::inline v0_1::model
