// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Events of a viommu that its guest must be told of (VEVENTQ_ALLOC), with the loss of events detected.
//
//     Viommu --VEVENTQ_ALLOC--> VeventQueue     fd(): readable when an event waits
//
// The kernel numbers events from 0 to 2^31 - 1 and again from 0. When the queue is full it drops events and
// says so at its end; when more come later, only the gap in the numbers tells. read() tells both in one way:
// `lost` of the event that follows the gap.
//
// Threads: reads by one thread at a time. Linux: 6.15.
#pragma once

#include <cstddef>
#include <span>

#include "iommufd/core/viommu.hpp"

namespace iommufd::inline v0_1::core {

class QueueNode;

struct Vevent {
    std::uint32_t sequence;
    std::uint32_t lost;               // events that went missing right before this one
    std::span<const std::byte> data;  // in the type's own struct; empty: nothing but the news of the loss
};

class IOMMUFD_EXPORT VeventQueue {
public:
    struct Options {
        std::string_view label;
        std::uint32_t type = 0;         // enum iommu_veventq_type
        std::uint32_t depth = 64;       // events that wait at most; up to 2^19
        std::uint32_t event_size = 32;  // of the type's struct, in bytes: the stream itself doesn't say
    };

    // EEXIST: the viommu has one of this type. EMFILE.
    static Result<VeventQueue> alloc(const Context& context, const Viommu& viommu, Options options);

    VeventQueue(VeventQueue&&) noexcept;
    VeventQueue& operator=(VeventQueue&&) noexcept;
    ~VeventQueue();

    VeventqId id() const noexcept;
    // Borrowed; poll() it for POLLIN.
    int fd() const noexcept;

    // The next event, its data in `buffer` (event_size + 8 bytes or more); nothing when none waits: it never
    // blocks.
    Result<std::optional<Vevent>> read(std::span<std::byte> buffer);

    Result<void> destroy() &&;

private:
    VeventQueue(std::shared_ptr<QueueNode> node, std::uint32_t event_size) noexcept;
    std::shared_ptr<QueueNode> node_;
    std::uint32_t event_size_;
    std::uint32_t expected_ = 0;  // the number that the next event has if none is lost
};

}  // namespace iommufd::inline v0_1::core
