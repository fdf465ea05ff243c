// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A pair of NVMe queues. Commands go into the submission queue, whose new end the doorbell tells; answers
// come out of the completion queue, whose entries carry a phase bit that changes with each round, so that no
// index of the controller has to be read.
//
//     submit: entry[tail] = command; doorbell = ++tail
//     take:   entry[head].phase == ours? doorbell = ++head
//
// Several commands may be under way; their answers come in any order.
//
// Threads: one at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

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
    static constexpr std::uint16_t kFewest = 16;  // entries
    static constexpr std::uint16_t kMost = 256;
    static constexpr std::uint64_t kPage = 4096;

    // Where it is: its own number, the pages of its two queues in the window, the submission queue's doorbell in the BAR, and
    // the distance to the completion queue's.
    struct Place {
        std::uint16_t id;
        std::uint16_t entries;  // a power of two from kFewest to kMost
        Window window;
        std::uint64_t doorbell;
        std::uint64_t stride;
    };
    // How far it is: what another process needs to go on with it.
    struct Progress {
        std::uint16_t tail = 0;
        std::uint16_t head = 0;
        std::uint16_t phase = 1;
        std::uint16_t last_id = 0;
        std::vector<std::uint16_t> under_way = {};  // ids of commands without an answer yet
    };

    // Of how many pages the window must be.
    static constexpr std::uint64_t pages(std::uint16_t entries) {
        return submission_pages(entries) + (entries * sizeof(NvmeCompletion) + kPage - 1) / kPage;
    }

    // Throws bad_alloc.
    explicit NvmeQueue(Place place);
    // Goes on where that was: the memory stays as it is.
    NvmeQueue(Place place, Progress progress);

    std::uint16_t id() const noexcept { return place_.id; }
    std::uint16_t entries() const noexcept { return place_.entries; }
    Iova submissions() const noexcept { return place_.window.iova; }
    Iova completions() const noexcept { return place_.window.iova + completions_at(); }
    const Progress& progress() const noexcept { return progress_; }

    // Returns the command's id. EAGAIN: as many are under way as it holds.
    Result<std::uint16_t> submit(const vfio::Region& bar, NvmeCommand command);
    // The next answer, once one is there. EIO: it answers nothing that is under way.
    Result<std::optional<NvmeCompletion>> take(const vfio::Region& bar);

private:
    static constexpr std::uint64_t submission_pages(std::uint16_t entries) {
        return (entries * sizeof(NvmeCommand) + kPage - 1) / kPage;
    }
    std::uint64_t completions_at() const noexcept { return submission_pages(place_.entries) * kPage; }

    Place place_;
    Progress progress_;
};

}  // namespace iommufd::inline v0_1::drivers
