// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Translation between IOVAs and pointers, for those who play a device: they never wait for map or unmap.
//
//     auto reader = space.reader("queue 3");            one per thread
//     {
//         auto guard = reader.enter();                  pointers live as long as the guard
//         std::span<std::byte> bytes = guard.translate(iova, length, Access::read);
//         guard.reverse(pointer, length, iovas);        all IOVAs: memory may be mapped twice
//     }
//
// unmap() returns when no guard can still see the range; so keep guards short. A thread that unmaps while it
// holds a guard would wait for itself: it gets EDEADLK.
//
// Threads: a Reader belongs to one thread at a time; its guards to the thread that entered.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "iommufd/core/types.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1::dma {

class Readers;
struct ReaderSlot;
struct Translation;

class IOMMUFD_EXPORT Guard {
public:
    Guard(Guard&& other) noexcept;
    Guard& operator=(Guard&&) = delete;
    ~Guard();

    // The bytes at [iova, iova + length), if one mapping holds them all and allows `access`; else as many
    // from the start on as one does: none where nothing is mapped or `access` isn't allowed.
    std::span<std::byte> translate(Iova iova, std::uint64_t length, Access access) const noexcept;

    // Appends every IOVA at which [address, address + length) is mapped, lowest first.
    void reverse(const void* address, std::uint64_t length, std::vector<Iova>& iovas) const;

private:
    friend class Reader;
    Guard(ReaderSlot* slot, const Translation* translation) noexcept
        : slot_(slot), translation_(translation) {}
    ReaderSlot* slot_;
    const Translation* translation_;
};

class IOMMUFD_EXPORT Reader {
public:
    Reader(Reader&&) noexcept;
    Reader& operator=(Reader&&) noexcept;
    ~Reader();

    // Wait-free. Guards of one reader may nest; they then end in reverse order.
    Guard enter() & noexcept;
    Guard enter() && = delete;  // the guard would outlive its reader

private:
    friend class Readers;
    Reader(std::shared_ptr<Readers> readers, ReaderSlot* slot) noexcept;
    std::shared_ptr<Readers> readers_;
    ReaderSlot* slot_;
};

}  // namespace iommufd::inline v0_1::dma
