// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/nvme_queue.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::drivers {

NvmeQueue::NvmeQueue(std::uint16_t id, Window window, std::uint64_t doorbell, std::uint64_t stride) noexcept
    : id_(id), window_(window), doorbell_(doorbell), stride_(stride) {
    std::memset(window_.memory, 0, 2 * kPage);
}

Result<void> NvmeQueue::submit(const vfio::Region& bar, NvmeCommand command) {
    command.id = ++last_id_;
    std::memcpy(window_.memory + tail_ * sizeof command, &command, sizeof command);
    tail_ = static_cast<std::uint16_t>((tail_ + 1) % kEntries);
    // A register is written after what is stored in memory (region.hpp): the controller finds the command.
    return bar.write<std::uint32_t>(doorbell_, tail_);
}

Result<std::optional<NvmeCompletion>> NvmeQueue::take(const vfio::Region& bar) {
    const std::byte* const entry = window_.memory + kPage + head_ * sizeof(NvmeCompletion);
    const auto* const status =
        reinterpret_cast<const std::uint16_t*>(entry + offsetof(NvmeCompletion, status));
    if ((std::atomic_ref(*const_cast<std::uint16_t*>(status)).load(std::memory_order_acquire) & 1) != phase_)
        return std::optional<NvmeCompletion>();
    NvmeCompletion completion;
    std::memcpy(&completion, entry, sizeof completion);
    head_ = static_cast<std::uint16_t>((head_ + 1) % kEntries);
    if (head_ == 0) phase_ ^= 1;
    if (auto rung = bar.write<std::uint32_t>(doorbell_ + stride_, head_); !rung) return rung.error();
    if (completion.command_id != last_id_)
        return guarded(Operation::none, [&]() -> Result<std::optional<NvmeCompletion>> {
            return Error::refused(EIO, "cannot take the controller's answer",
                                  compose("it is for command ", completion.command_id, ", not ", last_id_),
                                  "reset the device");
        });
    return std::optional(completion);
}

}  // namespace iommufd::inline v0_1::drivers
