// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a guest must be told of its IOMMU, in the hardware's format, with the loss of events detected.
//
//     auto events = viommu::Events<smmuv3::Event>::alloc(context, viommu).value();
//     loop.add(events.fd(), [&] {
//         while (auto event = events.read().value()) {
//             if (event->lost) overflow(guest);                    // SMMUv3: GERROR, or EVTQ's OVFLG
//             if (event->data) put(guest, smmuv3::decode(*event->data), *event->data);
//         }
//     });
//
// A device's events come once it has a vdevice and a table with that viommu.
//
// Threads: reads by one thread at a time. Linux: 6.15.
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>

#include "iommufd/core/vevent_queue.hpp"
#include "iommufd/viommu/format.hpp"

namespace iommufd::inline v0_1::viommu {

template <Encoded Data>
struct Event {
    std::uint32_t sequence;    // the kernel's number: from 0 to 2^31 - 1 and again from 0
    std::uint32_t lost;        // events that went missing right before this one
    std::optional<Data> data;  // nothing: only the news of a loss at the queue's end
};

template <Encoded Data>
class Events {
public:
    // `depth`: events that wait at most, 1 to 2^19. EEXIST: the viommu has a queue of this type.
    static Result<Events> alloc(const core::Context& context, const core::Viommu& viommu,
                                std::uint32_t depth = 64, std::string_view label = {}) {
        return core::VeventQueue::alloc(
                   context, viommu,
                   {.label = label, .type = Data::kType, .depth = depth, .event_size = sizeof(Data)})
            .transform([](core::VeventQueue&& queue) { return Events(std::move(queue)); });
    }

    // Borrowed; poll() it for POLLIN.
    int fd() const noexcept { return queue_.fd(); }

    // The next event; nothing when none waits: it never blocks. EPROTO: the kernel's event is of another size than Data; it
    // is gone.
    Result<std::optional<Event<Data>>> read() {
        std::byte buffer[sizeof(Data) + 8];
        auto got = queue_.read(buffer);
        if (!got) return got.error();
        std::optional<Event<Data>> event;
        if (!*got) return event;
        event.emplace(Event<Data>{.sequence = (*got)->sequence, .lost = (*got)->lost, .data = {}});
        lost_ += event->lost;
        if ((*got)->data.empty()) return event;
        if ((*got)->data.size() != sizeof(Data)) return Error(Operation::vevent_read, EPROTO);
        std::memcpy(&event->data.emplace(), (*got)->data.data(), sizeof(Data));
        return event;
    }

    // All that went missing since the queue was made.
    std::uint64_t lost() const noexcept { return lost_; }

    Result<void> destroy() && { return std::move(queue_).destroy(); }

private:
    explicit Events(core::VeventQueue queue) noexcept : queue_(std::move(queue)) {}
    core::VeventQueue queue_;
    std::uint64_t lost_ = 0;
};

}  // namespace iommufd::inline v0_1::viommu
