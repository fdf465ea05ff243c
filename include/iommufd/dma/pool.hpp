// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Buffers for DMA out of one memory that is mapped once: nothing is mapped or looked up while I/O runs.
//
//     Memory --one map()--> Space        Pool: IOVA = pointer + a constant
//       '-- pages of 4 KiB, some of them cut into slots of one size, from 64 bytes on
//
//     auto pool = dma::Pool::create(space, 64_MiB, {.huge_pages = dma::Memory::HugePages::transparent}).value();
//     auto buffer = pool.alloc(4_KiB);                     // nothing: the pool is used up
//     command.address = buffer->iova().value;              // to the device
//     std::memcpy(target, buffer->data(), buffer->size()); // from here
//     ...                                                  // free when `buffer` goes
//
// Up to 2 KiB a buffer is the power of two that holds its size and alignment; beyond it is whole pages. What lies side by side and
// is free is one again at once, or at the latest when it is needed. Nothing of the book-keeping lies in the memory itself: a
// device that writes too much breaks no list.
//
// Threads: any calls may run at once. alloc() and the end of a buffer take no lock and wait for nobody, and buffers may end in
// another thread.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "iommufd/dma/space.hpp"

namespace iommufd::inline v0_1::dma {

class IOMMUFD_EXPORT Pool {
public:
    // A piece of the pool, which stays as long as one of its buffers.
    class IOMMUFD_EXPORT Buffer {
    public:
        Buffer(Buffer&& other) noexcept
            : state_(std::move(other.state_)),
              data_(other.data_),
              size_(other.size_),
              capacity_(other.capacity_) {}
        Buffer& operator=(Buffer&& other) noexcept {
            std::swap(state_, other.state_);
            std::swap(data_, other.data_);
            std::swap(size_, other.size_);
            std::swap(capacity_, other.capacity_);
            return *this;
        }
        ~Buffer() {
            if (state_) release();
        }

        std::byte* data() const noexcept { return data_; }
        Iova iova() const noexcept;
        // As asked for, in bytes.
        std::uint64_t size() const noexcept { return size_; }
        std::span<std::byte> bytes() const noexcept { return {data_, size_}; }

    private:
        friend class Pool;
        Buffer(std::shared_ptr<class PoolState> state, std::byte* data, std::uint64_t size,
               std::uint64_t capacity) noexcept
            : state_(std::move(state)), data_(data), size_(size), capacity_(capacity) {}
        void release() noexcept;
        std::shared_ptr<PoolState> state_;
        std::byte* data_;
        std::uint64_t size_;
        std::uint64_t capacity_;
    };

    // A memfd of `size` bytes, rounded up to whole pages, and where it is mapped. Errors: Memory::memfd's and Space::map's.
    static Result<Pool> create(const Space& space, std::uint64_t size);
    static Result<Pool> create(const Space& space, std::uint64_t size, Memory::Options memory,
                               MapOptions map = {});
    // The same of memory that is there already, all of it. EINVAL: a dma-buf, which has no address here.
    static Result<Pool> over(const Space& space, const Memory& memory, MapOptions map = {});

    Pool(Pool&&) noexcept;
    Pool& operator=(Pool&&) noexcept;
    // Buffers keep what they need.
    ~Pool();

    // `size` bytes, whose IOVA is a multiple of `alignment`, a power of two; the pointer is too, up to the page that both are
    // congruent by: 4 KiB, and where the space chose the IOVA of 2 MiB or more, 2 MiB. Nothing: no room, no byte, or no power of two.
    // What was in it is still there.
    std::optional<Buffer> alloc(std::uint64_t size, std::uint64_t alignment = 64) const noexcept;

    // All of it, used or not.
    std::span<std::byte> bytes() const noexcept { return memory().bytes(); }
    Range range() const noexcept;
    const Memory& memory() const noexcept;
    // Arithmetic, for addresses in the pool.
    Iova iova_of(const void* address) const noexcept {
        return Iova{reinterpret_cast<std::uintptr_t>(address) + to_iova_};
    }
    std::byte* pointer_of(Iova iova) const noexcept {
        // NOLINTNEXTLINE(performance-no-int-to-ptr): what a pool is about
        return reinterpret_cast<std::byte*>(iova.value - to_iova_);
    }

private:
    explicit Pool(std::shared_ptr<PoolState> state) noexcept;
    std::shared_ptr<PoolState> state_;
    std::uint64_t to_iova_;
};

}  // namespace iommufd::inline v0_1::dma
