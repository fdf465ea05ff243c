// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/physical.hpp"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <new>

#include "model/user.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::size_t kMostSpaces = 4096;

// The one table of the process: a page table's entry has room for a number only. The first stands for this process.
std::array<std::atomic<AddressSpace*>, kMostSpaces> spaces;

AddressSpace* space_of(std::uint64_t address) noexcept {
    const std::uint64_t number = address >> physical::kTagShift;
    return number < kMostSpaces ? spaces[number].load() : nullptr;
}

}  // namespace

AddressSpace::AddressSpace() {
    for (std::size_t number = 1; number < kMostSpaces; ++number) {
        AddressSpace* none = nullptr;
        if (!spaces[number].compare_exchange_strong(none, this)) continue;
        tag_ = std::uint64_t{number} << physical::kTagShift;
        return;
    }
    throw std::bad_alloc();
}

AddressSpace::~AddressSpace() { spaces[tag_ >> physical::kTagShift] = nullptr; }

namespace physical {

int read_elsewhere(void* to, Address from, std::size_t length) noexcept {
    AddressSpace* const space = space_of(from);
    return space == nullptr ? -EFAULT : space->read(to, without_tag(from), length);
}

int write_elsewhere(Address to, const void* from, std::size_t length) noexcept {
    AddressSpace* const space = space_of(to);
    return space == nullptr ? -EFAULT : space->write(without_tag(to), from, length);
}

Exchange exchange(Address at, std::uint64_t expected, std::uint64_t desired) noexcept {
    if (tag_of(at) == 0) return safe_exchange(reinterpret_cast<std::uint64_t*>(at), expected, desired);
    std::uint64_t now = 0;
    if (read_elsewhere(&now, at, sizeof now) < 0) return Exchange::fault;
    if (now != expected) return Exchange::other;
    return write_elsewhere(at, &desired, sizeof desired) < 0 ? Exchange::fault : Exchange::done;
}

int populate(Address from, std::uint64_t length, bool write) noexcept {
    if (tag_of(from) != 0) {
        AddressSpace* const space = space_of(from);
        return space == nullptr ? -EFAULT : space->populate(without_tag(from), length, write);
    }
    const Address first = from / user::kPage * user::kPage;
    const std::uint64_t whole = (from + length - first + user::kPage - 1) / user::kPage * user::kPage;
    const int advice = write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
    while (::madvise(reinterpret_cast<void*>(first), whole, advice) < 0)
        if (errno != EINTR && errno != EAGAIN) return -EFAULT;
    return 0;
}

std::vector<MappedPiece> mapped(std::uint64_t tag) {
    if (tag == 0) return read_maps("/proc/self/maps");
    AddressSpace* const space = space_of(tag);
    return space == nullptr ? std::vector<MappedPiece>{} : space->mapped();
}

}  // namespace physical
}  // namespace iommufd::inline v0_1::model
