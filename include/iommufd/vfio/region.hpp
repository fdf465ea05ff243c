// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A region of a VFIO device: a BAR, the ROM, config space.
//
//     auto bar = device.region(0).value();
//     bar.write<std::uint32_t>(0x20, 0x80).value();
//
// What the kernel offers to map (all of it, or sparse areas) is mapped, at an address that lets it use huge
// pages; the rest is read and written by system calls. Accesses are of the width of their type, little-endian
// like the device.
//
// Threads: any calls may run at once, if the device's registers allow.
#pragma once

#include <concepts>
#include <cstring>
#include <memory>
#include <span>

#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::vfio {

struct MappedArea {
    std::uint64_t offset;  // in the region
    std::uint64_t size;
    std::byte* address;
};

class IOMMUFD_EXPORT Region {
public:
    Region(Region&&) noexcept;
    Region& operator=(Region&&) noexcept;
    ~Region();  // unmaps

    std::uint32_t index() const noexcept;
    std::uint64_t size() const noexcept;  // in bytes
    bool readable() const noexcept;
    bool writable() const noexcept;
    // What is mapped into this process, ascending.
    std::span<const MappedArea> mapped() const noexcept;

    // EINVAL: outside the region. EIO: memory decoding is off. SIGBUS: the same, of a mapped area.
    template <std::unsigned_integral T>
    Result<T> read(std::uint64_t offset) const {
        T value = 0;
        if (const auto* const at = address(offset, sizeof(T)))
            return *reinterpret_cast<const volatile T*>(at);
        return read_bytes(offset, &value, sizeof(T)).transform([&] { return value; });
    }
    template <std::unsigned_integral T>
    Result<void> write(std::uint64_t offset, T value) const {
        if (auto* const at = address(offset, sizeof(T))) {
            *reinterpret_cast<volatile T*>(at) = value;
            return {};
        }
        return write_bytes(offset, &value, sizeof(T));
    }

    // By system call, whatever is mapped. A short count at the region's end is an error.
    Result<void> read_bytes(std::uint64_t offset, void* buffer, std::size_t length) const;
    Result<void> write_bytes(std::uint64_t offset, const void* buffer, std::size_t length) const;

private:
    friend class Device;
    struct State;
    explicit Region(std::unique_ptr<State> state) noexcept;
    // Where a naturally aligned access is mapped, if it is.
    std::byte* address(std::uint64_t offset, std::size_t width) const noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::vfio
