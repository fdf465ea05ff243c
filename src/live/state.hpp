// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What is written down of an instance, and the bytes that it goes by (docs/live-state.md).
//
// The bytes may come from anybody: decode() takes nothing that doesn't hold together, and needs no more memory than a
// multiple of what it was given.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "iommufd/error/result.hpp"

namespace iommufd::inline v0_1::live {

struct State {
    static constexpr std::uint32_t kVersion = 1;
    static constexpr std::uint32_t kNone = ~std::uint32_t{0};  // no index
    static constexpr std::size_t kMostText = 4096;             // bytes
    static constexpr std::size_t kMostDescriptors = 4096;

    struct Device {
        std::string name;
        std::uint32_t id = 0;
        bool translated = false;
        std::uint32_t dma_bits = 0;
        bool has_request = false;  // an eventfd by which the kernel asks for it
        bool has_error = false;
    };
    struct Memory {
        std::string label;
        std::uint64_t length = 0;
        std::uint64_t file_offset = 0;
        bool read_only = false;
    };
    struct Table {
        std::uint32_t id = 0;
        bool dirty_tracking = false;
        bool pasid = false;
        std::vector<std::uint32_t> devices;  // indexes
    };
    struct Interval {
        std::uint64_t first = 0;
        std::uint64_t last = 0;
        std::uint32_t memory = 0;  // index
        std::uint64_t offset = 0;
        std::uint32_t access = 0;
        std::uint64_t granule = 0;
        bool owned = false;
    };
    struct Space {
        std::string id;
        std::uint32_t ioas = 0;  // 0: none
        bool left_to_the_kernel = false;
        std::vector<std::uint32_t> devices;  // indexes
        std::vector<Table> tables;
        std::vector<Interval> intervals;
    };
    struct Extra {
        std::string name;
        std::vector<std::byte> bytes;
        std::uint32_t descriptors = 0;
    };

    std::string backend;
    std::vector<Device> devices;
    std::vector<Memory> memories;
    std::vector<Space> spaces;
    std::vector<Extra> extras;

    // How many there are beside it: the iommufd; of each device its own and its eventfds; of each memory its file; of each
    // extra its own. In this order.
    std::size_t descriptors() const noexcept;
};

// EOVERFLOW: a text is too long, or there are too many of something.
Result<std::vector<std::byte>> encode(const State& state);
// EPROTO, saying at which byte, or what doesn't fit what else.
Result<State> decode(std::span<const std::byte> bytes);

}  // namespace iommufd::inline v0_1::live
