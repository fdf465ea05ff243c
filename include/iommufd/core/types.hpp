// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The words of DMA: addresses, ranges and ids that can't be confused with one another.
//
//     Iova{0x4000000}              an I/O virtual address: what a device puts on the bus
//     Range::of(iova, 64_KiB)      [iova, iova + 64 KiB), checked against wrap-around at 2^64
//     IoasId, HwptId, DeviceId     ids of one iommufd context; mixing two kinds doesn't compile
//
// Threads: values.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace iommufd::inline v0_1 {

// An I/O virtual address in bytes.
struct Iova {
    std::uint64_t value = 0;

    constexpr Iova() = default;
    constexpr explicit Iova(std::uint64_t address) : value(address) {}
    constexpr auto operator<=>(const Iova&) const = default;

    // Plain 64-bit arithmetic: the caller stays within a checked Range.
    constexpr Iova operator+(std::uint64_t bytes) const { return Iova{value + bytes}; }
    constexpr Iova operator-(std::uint64_t bytes) const { return Iova{value - bytes}; }
    constexpr std::uint64_t operator-(Iova other) const { return value - other.value; }
};

// All addresses from `first` to `last`, both included: so the range that ends at 2^64 - 1 can be written.
// Never empty.
struct Range {
    Iova first;
    Iova last;

    // `length` bytes from `first` on; nothing if that is no byte or would pass 2^64.
    static constexpr std::optional<Range> of(Iova first, std::uint64_t length) {
        if (length == 0 || first.value + (length - 1) < first.value) return std::nullopt;
        return Range{first, first + (length - 1)};
    }

    // In bytes; 0 for the one range that holds all 2^64 addresses.
    constexpr std::uint64_t length() const { return last - first + 1; }
    constexpr bool contains(Iova address) const { return first <= address && address <= last; }
    constexpr bool contains(Range other) const { return first <= other.first && other.last <= last; }
    constexpr bool overlaps(Range other) const { return first <= other.last && other.first <= last; }
    constexpr bool operator==(const Range&) const = default;
};

// The id of a kernel object: small, unique within one context only, and reused once the object is gone.
template <class Kind>
struct Id {
    std::uint32_t value = 0;  // 0 is no object

    constexpr Id() = default;
    constexpr explicit Id(std::uint32_t number) : value(number) {}
    constexpr auto operator<=>(const Id&) const = default;
    constexpr explicit operator bool() const { return value != 0; }
};

using IoasId = Id<struct IoasKind>;        // an I/O address space
using HwptId = Id<struct HwptKind>;        // a hardware page table
using DeviceId = Id<struct DeviceKind>;    // a device bound to the context
using FaultId = Id<struct FaultKind>;      // a queue of page faults
using ViommuId = Id<struct ViommuKind>;    // a slice of a physical IOMMU
using VdeviceId = Id<struct VdeviceKind>;  // a device as a viommu's guest sees it
using VeventqId = Id<struct VeventqKind>;  // a queue of a viommu's events
using HwQueueId = Id<struct HwQueueKind>;  // a hardware queue of a viommu

// What a device can be attached to.
struct PageTableId {
    std::uint32_t value;

    constexpr PageTableId(IoasId ioas) : value(ioas.value) {}
    constexpr PageTableId(HwptId hwpt) : value(hwpt.value) {}
};

// What a device may do with memory.
enum class Access : std::uint8_t { read = 1, write = 2, read_write = 3 };

constexpr bool may_write(Access access) { return (static_cast<unsigned>(access) & 2U) != 0; }
constexpr bool may_read(Access access) { return (static_cast<unsigned>(access) & 1U) != 0; }

inline namespace literals {
constexpr std::uint64_t operator""_KiB(unsigned long long count) { return count << 10; }
constexpr std::uint64_t operator""_MiB(unsigned long long count) { return count << 20; }
constexpr std::uint64_t operator""_GiB(unsigned long long count) { return count << 30; }
}  // namespace literals

}  // namespace iommufd::inline v0_1
