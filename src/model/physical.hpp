// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Where memory is that devices reach: an address of this process, or one of another process, which is named by the
// uppermost 16 bits. Page tables hold such addresses; nothing that a program passes is one.
//
// Threads: any. What is mapped for DMA holds the AddressSpace that it is in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/accountant.hpp"
#include "model/caller.hpp"
#include "model/safe_copy.hpp"

namespace iommufd::inline v0_1::model {

// Memory of a process that isn't this one. While it lives it has a number of its own.
class AddressSpace {
public:
    // Throws std::bad_alloc where there are too many.
    AddressSpace();
    virtual ~AddressSpace();
    AddressSpace(const AddressSpace&) = delete;
    AddressSpace& operator=(const AddressSpace&) = delete;

    // 0, or -EFAULT; part of it may have been copied then.
    virtual int read(void* to, std::uint64_t from, std::size_t length) noexcept = 0;
    virtual int write(std::uint64_t to, const void* from, std::size_t length) noexcept = 0;
    // As pinning would: -EFAULT where some of it isn't there.
    virtual int populate(std::uint64_t from, std::uint64_t length, bool write) noexcept = 0;
    virtual std::vector<MappedPiece> mapped() = 0;
    // A size of pages that all of it is made of: the smallest one where that can't be told.
    virtual std::uint64_t page_size(std::uint64_t from, std::uint64_t length) noexcept = 0;

    std::uint64_t tag() const noexcept { return tag_; }
    // The accountant's.
    PinCount& pins() noexcept { return pins_; }

private:
    std::uint64_t tag_;
    PinCount pins_;
};

namespace physical {

using Address = std::uint64_t;

// Of another process.
int read_elsewhere(void* to, Address from, std::size_t length) noexcept;
int write_elsewhere(Address to, const void* from, std::size_t length) noexcept;
int populate(Address from, std::uint64_t length, bool write) noexcept;

inline constexpr unsigned kTagShift = 48;
inline std::uint64_t tag_of(Address address) noexcept { return address >> kTagShift << kTagShift; }
inline std::uint64_t without_tag(Address address) noexcept { return address & ((1ULL << kTagShift) - 1); }

// To what a device keeps in its buffers.
inline int read(void* to, Address from, std::size_t length) noexcept {
    return tag_of(from) == 0 ? safe_copy_to_cached(to, reinterpret_cast<const void*>(from), length)
                             : read_elsewhere(to, from, length);
}
inline int write(Address to, const void* from, std::size_t length) noexcept {
    return tag_of(to) == 0 ? safe_copy(reinterpret_cast<void*>(to), from, length)
                           : write_elsewhere(to, from, length);
}

// Eight bytes, aligned, if they are what is expected. In another process a write in between may be lost.
Exchange exchange(Address at, std::uint64_t expected, std::uint64_t desired) noexcept;

inline constexpr Address kNowhere = ~Address{0};

// An address that a program passed, in its space.
inline Address in_space(std::uint64_t tag, std::uint64_t address) noexcept {
    if (tag == 0) return address;
    return tag_of(address) == 0 ? tag | address : kNowhere;
}

// What an address of the space that has the tag shows; of no tag: of this process.
std::vector<MappedPiece> mapped(std::uint64_t tag);

}  // namespace physical
}  // namespace iommufd::inline v0_1::model
