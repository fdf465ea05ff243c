// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A region of a VFIO device: a BAR, the ROM, config space.
//
//     auto bar = device.region(0).value();
//     bar.write<std::uint32_t>(0x20, 0x80).value();
//
//     Device --GET_REGION_INFO, mmap--> Region --load, store--> the device's registers
//                                         '-----pread, pwrite--> what isn't mapped
//
// What the kernel offers to map (all of it, or sparse areas) is mapped, at an address that lets it use huge
// pages; the rest is read and written by system calls. Accesses are of the width of their type, little-endian
// like the device, and in order: what was stored in memory before a write to a register is seen by a device
// that the write starts, and memory that is loaded after a read of a register is as new as that.
//
// A mapped register of a device whose memory decoding is off, or that is being reset, raises SIGBUS. An
// access of 8 bytes by system call may be made of two of 4 (Linux before 6.11, and some devices).
//
// A region keeps its device alive.
//
// Threads: any calls may run at once, if the device's registers allow.
// Linux: as device.hpp; huge pages 6.12.
#pragma once

#include <atomic>
#include <concepts>
#include <memory>
#include <span>
#include <string_view>

#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::vfio {

struct MappedArea {
    std::uint64_t offset;  // in the region, in bytes
    std::uint64_t size;    // in bytes
    std::byte* address;    // valid as long as the Region
};

// The order between memory and registers, as the kernel's writel() and readl() keep it.
inline void order_before_register_write() noexcept {
#if defined(__aarch64__)
    asm volatile("dmb oshst" ::: "memory");
#elif defined(__riscv)
    asm volatile("fence w, o" ::: "memory");
#elif defined(__x86_64__)
    std::atomic_signal_fence(std::memory_order_seq_cst);  // the processor keeps it
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

inline void order_after_register_read() noexcept {
#if defined(__aarch64__)
    asm volatile("dmb oshld" ::: "memory");
#elif defined(__riscv)
    asm volatile("fence i, r" ::: "memory");
#elif defined(__x86_64__)
    std::atomic_signal_fence(std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

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

    // `offset` in bytes. EINVAL: outside the region, or it can't be read (written). EIO: memory decoding is
    // off.
    template <std::unsigned_integral T>
    Result<T> read(std::uint64_t offset) const {
        T value = 0;
        if (const auto* const at = readable() ? address(offset, sizeof(T)) : nullptr) {
            value = *reinterpret_cast<const volatile T*>(at);
            order_after_register_read();
            return value;
        }
        return read_bytes(offset, &value, sizeof(T)).transform([&] { return value; });
    }
    template <std::unsigned_integral T>
    Result<void> write(std::uint64_t offset, T value) const {
        if (auto* const at = writable() ? address(offset, sizeof(T)) : nullptr) {
            order_before_register_write();
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
    Result<void> check(std::uint64_t offset, std::size_t length, bool allowed, std::string_view what) const;
    // Where a naturally aligned access is mapped, if it is.
    std::byte* address(std::uint64_t offset, std::size_t width) const noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::vfio
