// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A pair of NVMe queues. Commands go into the submission queue, whose new end the doorbell tells; answers
// come out of the completion queue, whose entries carry a phase bit that changes with each round, so that no
// index of the controller has to be read.
//
//     submit: entry[tail] = command; doorbell = ++tail
//     take:   entry[head].phase == ours? doorbell = ++head
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "drivers/window.hpp"
#include "iommufd/vfio/region.hpp"

namespace iommufd::inline v0_1::drivers {

// What the controller is asked to do (NVMe base specification, section 3.3.3.1).
struct NvmeCommand {
    std::uint8_t opcode;
    std::uint8_t flags;
    std::uint16_t id;
    std::uint32_t nsid;
    std::uint64_t reserved;
    std::uint64_t metadata;
    std::uint64_t prp1;  // where the data is: the first page, and the second or a list of the others
    std::uint64_t prp2;
    std::uint32_t cdw10;
    std::uint32_t cdw11;
    std::uint32_t cdw12;
    std::uint32_t cdw13;
    std::uint32_t cdw14;
    std::uint32_t cdw15;
};
static_assert(sizeof(NvmeCommand) == 64);

struct NvmeCompletion {
    std::uint32_t result;
    std::uint32_t reserved;
    std::uint16_t sq_head;
    std::uint16_t sq_id;
    std::uint16_t command_id;
    std::uint16_t status;  // bit 0: the phase; above it: 0 for success
};
static_assert(sizeof(NvmeCompletion) == 16);

class NvmeQueue {
public:
    static constexpr std::uint16_t kEntries = 16;
    static constexpr std::uint64_t kPage = 4096;  // of each of the two queues

    // Two pages of the window; `doorbell` is the offset of the submission queue's in the BAR, `stride` the
    // distance to the completion queue's.
    NvmeQueue(std::uint16_t id, Window window, std::uint64_t doorbell, std::uint64_t stride) noexcept;

    std::uint16_t id() const noexcept { return id_; }
    Iova submissions() const noexcept { return window_.iova; }
    Iova completions() const noexcept { return window_.iova + kPage; }

    // One command is under way at a time.
    Result<void> submit(const vfio::Region& bar, NvmeCommand command);
    // The answer to it, once it is there. EIO: it answers something else.
    Result<std::optional<NvmeCompletion>> take(const vfio::Region& bar);

private:
    std::uint16_t id_;
    Window window_;
    std::uint64_t doorbell_;
    std::uint64_t stride_;
    std::uint16_t tail_ = 0;
    std::uint16_t head_ = 0;
    std::uint16_t phase_ = 1;
    std::uint16_t last_id_ = 0;
};

}  // namespace iommufd::inline v0_1::drivers
