// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A controller at work that goes from one process to another.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <type_traits>

#include "drivers/nvme.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

struct SavedQueue {
    std::uint16_t tail;
    std::uint16_t head;
    std::uint16_t phase;
    std::uint16_t last_id;
    std::uint32_t count;
    std::uint16_t under_way[NvmeQueue::kMost];
};

SavedQueue saved(const NvmeQueue::Progress& progress) {
    SavedQueue queue{.tail = progress.tail,
                     .head = progress.head,
                     .phase = progress.phase,
                     .last_id = progress.last_id,
                     .count = static_cast<std::uint32_t>(progress.under_way.size()),
                     .under_way = {}};
    std::ranges::copy(progress.under_way, queue.under_way);
    return queue;
}

bool is_good(const SavedQueue& queue, std::uint32_t entries) {
    return queue.tail < entries && queue.head < entries && queue.phase <= 1 && queue.count < entries;
}

NvmeQueue::Progress progress_of(const SavedQueue& queue) {
    return {.tail = queue.tail,
            .head = queue.head,
            .phase = queue.phase,
            .last_id = queue.last_id,
            .under_way = {queue.under_way, queue.under_way + queue.count}};
}

constexpr std::uint32_t kVersion = 1;

}  // namespace

// As it lies in memory: machines are little-endian, and there is no gap in it.
struct Nvme::Saved {
    std::uint32_t version;
    std::uint32_t irq;
    std::uint64_t entries;
    std::uint64_t stride;
    std::uint64_t ready_timeout_ms;
    std::uint64_t block_size;
    std::uint64_t blocks;
    std::uint64_t most;
    SavedQueue admin;
    SavedQueue io;
    char model[96];
};

Result<std::vector<std::byte>> Nvme::state() const {
    static_assert(std::has_unique_object_representations_v<Saved>);
    return guarded(Operation::none, [&]() -> Result<std::vector<std::byte>> {
        if (stopped_)
            return Error::refused(ESHUTDOWN, "cannot hand over the controller", "it was stopped",
                                  "start the driver again");
        Saved state{.version = kVersion,
                    .irq = static_cast<std::uint32_t>(interrupts_.irq()),
                    .entries = entries_,
                    .stride = stride_,
                    .ready_timeout_ms = static_cast<std::uint64_t>(ready_timeout_.count()),
                    .block_size = block_size_,
                    .blocks = blocks_,
                    .most = most_,
                    .admin = saved(admin_->progress()),
                    .io = saved(io_->progress()),
                    .model = {}};
        std::memcpy(state.model, model_.data(), std::min(model_.size(), sizeof state.model - 1));
        const auto bytes = std::as_bytes(std::span(&state, 1));
        return std::vector(bytes.begin(), bytes.end());
    });
}

void Nvme::leave() noexcept {
    stopped_ = true;
    interrupts_.leave();
}

Result<std::unique_ptr<Nvme>> Nvme::resume(const vfio::Device& device, Window window,
                                           std::span<const std::byte> state, std::vector<sys::Fd> eventfds) {
    return guarded(Operation::none, [&]() -> Result<std::unique_ptr<Nvme>> {
        Saved from{};
        if (state.size() == sizeof from) std::memcpy(&from, state.data(), sizeof from);
        const bool good = from.version == kVersion && std::has_single_bit(from.entries) &&
                          from.entries >= NvmeQueue::kFewest && from.entries <= NvmeQueue::kMost &&
                          std::has_single_bit(from.stride) && std::has_single_bit(from.block_size) &&
                          from.most != 0 && is_good(from.admin, NvmeQueue::kFewest) &&
                          is_good(from.io, static_cast<std::uint32_t>(from.entries)) &&
                          from.model[sizeof from.model - 1] == 0;
        if (!good || window.size < window_bytes(static_cast<std::uint16_t>(from.entries)))
            return Error::refused(EPROTO, compose("cannot go on with ", device.name()),
                                  "its state is not one, or its window is not that of before",
                                  "hand over between programs that use the same driver");
        auto bar = device.region(0);
        if (!bar) return bar.error();
        auto config = device.region(uapi::vfio::kPciConfig);
        if (!config) return config.error();
        auto nvme = std::make_unique<Nvme>(
            std::move(*bar), std::move(*config),
            Interrupts::adopt(device, static_cast<vfio::Irq>(from.irq), std::move(eventfds)), window,
            static_cast<std::uint16_t>(from.entries));
        nvme->stride_ = from.stride;
        nvme->ready_timeout_ = std::chrono::milliseconds(from.ready_timeout_ms);
        nvme->block_size_ = from.block_size;
        nvme->blocks_ = from.blocks;
        nvme->most_ = from.most;
        nvme->model_ = from.model;
        nvme->admin_.emplace(nvme->admin_place(), progress_of(from.admin));
        nvme->io_.emplace(nvme->io_place(), progress_of(from.io));
        return nvme;
    });
}

}  // namespace iommufd::inline v0_1::drivers
