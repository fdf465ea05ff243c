// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One of the two kernels: makes the calls of a sequence on its own /dev/iommu.
#pragma once

#include <map>
#include <utility>

#include "conformance/arena.hpp"
#include "conformance/call.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::conformance {

class Side {
public:
    // `dma_buffers_by_number`: DMABUF_GET answers 0, and the descriptor is the lowest that was free (Linux 7.3.4).
    Side(sys::Kernel& kernel, const Arena& arena, int eventfd, bool dma_buffers_by_number);
    Side(const Side&) = delete;
    Side& operator=(const Side&) = delete;
    ~Side();

    bool works() const { return iommufd_ >= 0; }
    // A fresh /dev/iommu; everything of the sequence before is closed.
    void begin();
    // `wait_ms`: how long a poll may wait for what comes asynchronously.
    Outcome make(const Call& call, int wait_ms = 0);
    // What an output was; 0 where there was none.
    std::uint64_t value(const Reference& reference) const;

private:
    static constexpr std::uint64_t kBufferPages = 4;
    static constexpr std::uint64_t kSize = (kBufferPages + 3) * kPage;

    void close_all();
    int descriptor(const Call& call) const;
    std::int64_t make_ioctl(const Call& call, std::vector<std::uint8_t>& argument);
    std::int64_t make_placed_ioctl(const Call& call, std::vector<std::uint8_t>& argument);
    std::int64_t make_mmap(const Call& call);
    void learn(const Call& call, Outcome& outcome);

    sys::Kernel& kernel_;
    bool dma_buffers_by_number_;
    const Arena& arena_;
    int eventfd_;
    int iommufd_ = -1;
    std::uint8_t* buffer_;    // with a page behind it that nobody can touch
    std::uint8_t* argument_;  // the page behind that, and one behind it that nobody can touch
    std::map<std::pair<std::uint32_t, std::uint8_t>, std::uint64_t> values_;
    std::map<std::pair<std::uint32_t, std::uint8_t>, int> open_;
};

}  // namespace iommufd::inline v0_1::conformance
