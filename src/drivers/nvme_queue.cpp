// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/nvme_queue.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::drivers {

NvmeQueue::NvmeQueue(Place place) : NvmeQueue(place, Progress()) {
    std::memset(place_.window.memory, 0, pages(place_.entries) * kPage);
}

NvmeQueue::NvmeQueue(Place place, Progress progress) : place_(place), progress_(std::move(progress)) {
    progress_.under_way.reserve(place_.entries);
}

Result<std::uint16_t> NvmeQueue::submit(const vfio::Region& bar, NvmeCommand command) {
    auto& [tail, head, phase, last_id, under_way] = progress_;
    if (under_way.size() + 1 >= place_.entries)
        return guarded(Operation::none, [&]() -> Result<std::uint16_t> {
            return Error::refused(EAGAIN, "cannot ask the controller",
                                  compose(under_way.size(), " commands are under way already"),
                                  "take an answer first");
        });
    do ++last_id;
    while (std::ranges::find(under_way, last_id) != under_way.end());
    command.id = last_id;
    std::memcpy(place_.window.memory + tail * sizeof command, &command, sizeof command);
    tail = static_cast<std::uint16_t>((tail + 1) % place_.entries);
    under_way.push_back(command.id);
    // A register is written after what is stored in memory (region.hpp): the controller finds the command.
    if (auto rung = bar.write<std::uint32_t>(place_.doorbell, tail); !rung) return rung.error();
    return command.id;
}

Result<std::optional<NvmeCompletion>> NvmeQueue::take(const vfio::Region& bar) {
    auto& [tail, head, phase, last_id, under_way] = progress_;
    const std::byte* const entry = place_.window.memory + completions_at() + head * sizeof(NvmeCompletion);
    const auto* const status =
        reinterpret_cast<const std::uint16_t*>(entry + offsetof(NvmeCompletion, status));
    if ((std::atomic_ref(*const_cast<std::uint16_t*>(status)).load(std::memory_order_acquire) & 1) != phase)
        return std::optional<NvmeCompletion>();
    NvmeCompletion completion;
    std::memcpy(&completion, entry, sizeof completion);
    head = static_cast<std::uint16_t>((head + 1) % place_.entries);
    if (head == 0) phase ^= 1;
    if (auto rung = bar.write<std::uint32_t>(place_.doorbell + place_.stride, head); !rung)
        return rung.error();
    if (std::erase(under_way, completion.command_id) == 0)
        return guarded(Operation::none, [&]() -> Result<std::optional<NvmeCompletion>> {
            return Error::refused(
                EIO, "cannot take the controller's answer",
                compose("it is for command ", completion.command_id, ", which is not under way"),
                "reset the device");
        });
    return std::optional(completion);
}

}  // namespace iommufd::inline v0_1::drivers
