// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/nvme_queue.hpp"

#include <atomic>
#include <cstring>

namespace iommufd::inline v0_1::drivers {

NvmeQueue::NvmeQueue(std::uint16_t id, Window window, std::uint64_t doorbell, std::uint64_t stride) noexcept
    : id_(id), window_(window), doorbell_(doorbell), stride_(stride) {
    std::memset(window_.memory, 0, 2 * kPage);
}

Result<void> NvmeQueue::submit(const vfio::Region& bar, NvmeCommand command) {
    command.id = next_id_++;
    std::memcpy(window_.memory + tail_ * sizeof command, &command, sizeof command);
    tail_ = static_cast<std::uint16_t>((tail_ + 1) % kEntries);
    // The command is in memory before the controller hears of it.
    std::atomic_thread_fence(std::memory_order_release);
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
    return std::optional(completion);
}

}  // namespace iommufd::inline v0_1::drivers
