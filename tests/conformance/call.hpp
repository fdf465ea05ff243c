// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One call of a sequence that is made on two kernels, and what came of it. Object ids and descriptors that earlier
// calls gave out are named by that call, so that a sequence means the same when calls are left out of it.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::conformance {

enum class Verb : std::uint8_t { ioctl, read, write, close, poll, mmap };

// What an output is, for whoever chooses arguments of later calls.
enum class Kind : std::uint8_t {
    ioas,
    paging,
    nested,
    stdev,
    idev,
    access,
    access_fd,
    pin,
    fault,
    fault_fd,
    viommu,
    vdevice,
    veventq,
    veventq_fd,
    hw_queue,
    dma_buffer_fd,
    window,
};

inline bool is_descriptor(Kind kind) {
    return kind == Kind::access_fd || kind == Kind::fault_fd || kind == Kind::veventq_fd ||
           kind == Kind::dma_buffer_fd;
}

struct Reference {
    std::uint32_t call = 0;  // its number; kNone: no call's
    std::uint8_t output = 0;

    static constexpr std::uint32_t kNone = ~0U;
    bool any() const { return call != kNone; }
    bool operator==(const Reference&) const = default;
};

// Where the argument of an ioctl lies: in memory that can't be written to, or so that its last four bytes can't be read.
enum class ArgumentPlace : std::uint8_t { anywhere, read_only, cut_short };

struct Call {
    // Calls before the first: descriptors that are there from the start.
    static constexpr std::uint32_t kMemfd = 0;
    static constexpr std::uint32_t kEventfd = 1;
    static constexpr std::uint32_t kFirst = 16;

    struct Patch {  // where in the argument the value of a reference goes
        std::uint16_t offset;
        std::uint8_t width;
        Reference reference;
        bool descriptor = false;
    };
    struct Output {
        Kind kind;
        std::uint16_t offset;  // kResult: what the call returns
        std::uint8_t width;
    };
    static constexpr std::uint16_t kResult = 0xffff;

    std::uint32_t number = 0;
    std::string name;  // "IOAS_MAP"
    Verb verb = Verb::ioctl;
    uapi::Request request = 0;
    std::vector<std::uint8_t> argument;
    ArgumentPlace place = ArgumentPlace::anywhere;
    std::vector<Patch> patches;
    std::vector<Output> outputs;
    // A buffer beside the argument: its address goes to `buffer_at` in the argument.
    static constexpr std::uint16_t kNoBuffer = 0xffff;
    std::uint16_t buffer_at = kNoBuffer;
    std::uint16_t buffer_offset = 0;  // in its first page
    std::vector<std::uint8_t> buffer;
    Reference descriptor = {.call = Reference::kNone};  // of read, write, close, poll; none: the iommufd
    std::uint64_t length = 0;                           // of read, write, mmap
    std::uint64_t direct = 0;                           // in place of an argument, where that is empty

    template <class T>
    void set(const T& value) {
        argument.resize(sizeof value);
        std::memcpy(argument.data(), &value, sizeof value);
    }
    template <class T>
    T as() const {
        T value{};
        std::memcpy(&value, argument.data(), std::min(sizeof value, argument.size()));
        return value;
    }
};

struct Outcome {
    std::int64_t result = 0;  // or a negative errno
    std::vector<std::uint8_t> argument;
    std::vector<std::uint8_t> buffer;

    bool operator==(const Outcome&) const = default;
};

}  // namespace iommufd::inline v0_1::conformance
