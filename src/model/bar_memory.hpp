// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A BAR that is memory. It lies in a file of its own until a program maps it; then in the file that the program has mapped.
//
//     store --show_in(), give_back()--> the program's file, at an offset
//           <--take_away(), withdraw()-
//
// What is taken away can't be reached by the program's mapping (SIGBUS), as Linux has it of a device whose memory decoding is off.
//
// Threads: any.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "model/caller.hpp"
#include "model/physical.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

// Of this process; nothing where it could not be mapped.
class BarView {
public:
    BarView() noexcept = default;
    BarView(std::byte* memory, std::size_t size) noexcept : memory_(memory), size_(size) {}
    BarView(BarView&& other) noexcept : memory_(std::exchange(other.memory_, nullptr)), size_(other.size_) {}
    BarView& operator=(BarView&& other) noexcept {
        std::swap(memory_, other.memory_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~BarView();

    std::byte* memory() const noexcept { return memory_; }
    explicit operator bool() const noexcept { return memory_ != nullptr; }

private:
    std::byte* memory_ = nullptr;
    std::size_t size_ = 0;
};

class BarMemory final : public AddressSpace {
public:
    // Zeroes. Throws std::bad_alloc. `lasting`: what a program has mapped stays where it is, whoever would take it away, so that
    // a view of it can be touched.
    explicit BarMemory(std::uint64_t size, bool lasting = false);
    ~BarMemory() override;

    // Where other devices reach its first byte.
    physical::Address address() const noexcept { return tag(); }

    // A file holds it from then on, at the offset, until withdraw(): 0, or -ENOMEM and all is as before. A descriptor of
    // `file` need not stay open, and none for writing does.
    int show_in(int file, std::uint64_t offset) IOMMUFD_EXCLUDES(mutex_);
    // mmap by this process: 0, or what it says.
    int map(void** address, std::size_t length, int protection, int flags, std::uint64_t offset)
        IOMMUFD_EXCLUDES(mutex_);
    // Of what is shown. One that is `writable` should go soon: see Writing.
    BarView view(bool writable) IOMMUFD_EXCLUDES(mutex_);
    void withdraw() noexcept IOMMUFD_EXCLUDES(mutex_);
    // Its contents stay as they are meanwhile.
    void take_away() noexcept IOMMUFD_EXCLUDES(mutex_);
    void give_back() noexcept IOMMUFD_EXCLUDES(mutex_);

    int read(void* to, std::uint64_t from, std::size_t length) noexcept override;
    int write(std::uint64_t to, const void* from, std::size_t length) noexcept override;
    int populate(std::uint64_t, std::uint64_t, bool) noexcept override { return 0; }
    std::vector<MappedPiece> mapped() override { return {}; }
    std::uint64_t page_size(std::uint64_t, std::uint64_t) noexcept override { return size_; }

private:
    struct Shown {
        FileIdentity identity;
        int file;  // open for reading only
        std::uint64_t offset;
        bool away;  // its contents are in the store
    };

    int in_use(std::uint64_t& offset) const noexcept IOMMUFD_REQUIRES(mutex_);
    bool fill(const Shown& shown) noexcept IOMMUFD_REQUIRES(mutex_);
    bool empty(const Shown& shown) noexcept IOMMUFD_REQUIRES(mutex_);

    const std::uint64_t size_;
    const bool lasting_;
    int store_;
    sys::Mutex mutex_;
    std::optional<Shown> shown_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::model
