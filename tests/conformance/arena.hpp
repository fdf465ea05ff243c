// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory that sequences map, at addresses that are the same in every run. No two of its pages are neighbours in physical
// memory, so that it depends on nothing but the sequence how large an I/O page is.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <stdexcept>

namespace iommufd::inline v0_1::conformance {

inline constexpr std::uint64_t kPage = 4096;

struct Place {
    std::uint64_t address;
    std::uint64_t pages;
};

class Arena {
public:
    static constexpr std::uint64_t kBase = 0x6a0000000000;
    static constexpr Place kShared = {kBase, 64};
    static constexpr Place kPrivate = {kBase + (1UL << 20), 16};
    static constexpr Place kReadOnly = {kBase + (2UL << 20), 8};
    static constexpr Place kForbidden = {kBase + (3UL << 20), 8};
    static constexpr Place kFile = {kBase + (4UL << 20), 32};
    static constexpr Place kHole = {kBase + (5UL << 20), 8};

    Arena() { make(); }
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() { unmake(); }

    int file() const { return file_; }
    // Other pages, at the same addresses.
    void renew() {
        unmake();
        make();
    }

private:
    void make() {
        file_ = ::memfd_create("arena", MFD_CLOEXEC);
        if (file_ < 0 || ::ftruncate(file_, static_cast<off_t>(kFile.pages * kPage)) < 0)
            throw std::runtime_error("no memory for the arena");
        map(kShared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
        map(kPrivate, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        map(kReadOnly, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        map(kForbidden, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
        map(kFile, PROT_READ | PROT_WRITE, MAP_SHARED, file_);
        for (const Place& place : {kShared, kPrivate, kFile})
            for (const std::uint64_t first : {0U, 1U})
                for (std::uint64_t page = first; page < place.pages; page += 2)
                    *reinterpret_cast<volatile char*>(place.address + page * kPage) = 1;
    }
    void unmake() {
        for (const Place& place : {kShared, kPrivate, kReadOnly, kForbidden, kFile})
            (void)::munmap(reinterpret_cast<void*>(place.address), place.pages * kPage);
        (void)::close(file_);
    }

    static void map(const Place& place, int protection, int flags, int fd) {
        void* const wanted = reinterpret_cast<void*>(place.address);
        void* const got = ::mmap(wanted, place.pages * kPage, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
        if (got != wanted) throw std::runtime_error("the arena's addresses are taken");
        (void)::madvise(got, place.pages * kPage, MADV_NOHUGEPAGE);
    }

    int file_ = -1;
};

}  // namespace iommufd::inline v0_1::conformance
