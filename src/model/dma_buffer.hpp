// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory of a device or a driver that a descriptor stands for (Linux: dma_buf). Programs can only map it for
// DMA. Its owner revokes it: what was mapped then is unmapped for good, even when it is allowed again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "model/file.hpp"
#include "model/physical.hpp"
#include "model/user.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class DmaBuffer {
public:
    // Memory of its own, of whole pages. Throws std::bad_alloc.
    explicit DmaBuffer(std::size_t size)
        : DmaBuffer(size,
                    std::shared_ptr<const std::byte[]>(new(std::align_val_t{user::kPage}) std::byte[size](),
                                                       [](const std::byte* memory) {
                                                           ::operator delete[](const_cast<std::byte*>(memory),
                                                                               std::align_val_t{user::kPage});
                                                       })) {}
    // What a space has at an address, or pieces of it, of which the first begins there; revoked from the start, or not.
    DmaBuffer(std::uint64_t size, physical::Address address, std::shared_ptr<AddressSpace> space,
              bool in_one_piece, bool revoked)
        : size_(size),
          holds_(std::move(space)),
          address_(address),
          in_one_piece_(in_one_piece),
          revoked_(revoked) {}
    DmaBuffer(const DmaBuffer&) = delete;
    DmaBuffer& operator=(const DmaBuffer&) = delete;

    std::uint64_t size() const noexcept { return size_; }
    physical::Address address() const noexcept { return address_; }
    bool in_one_piece() const noexcept { return in_one_piece_; }

    bool revoked() const IOMMUFD_EXCLUDES(mutex_) {
        const sys::Lock lock(mutex_);
        return revoked_;
    }
    // What shows it: told of every change, until it says (by false) that it is gone. False where it is revoked now.
    using Importer = std::function<bool()>;
    bool add(Importer importer) IOMMUFD_EXCLUDES(mutex_) {
        auto shared = std::make_shared<const Importer>(std::move(importer));
        const sys::Lock lock(mutex_);
        if (!revoked_) importers_.push_back(std::move(shared));
        return !revoked_;
    }
    // Everything that shows it lets go of it, in both directions of the change.
    void set_revoked(bool revoked) IOMMUFD_EXCLUDES(mutex_) {
        std::vector<std::shared_ptr<const Importer>> told;
        {
            const sys::Lock lock(mutex_);
            told = importers_;
            revoked_ = revoked;
        }
        std::erase_if(told, [](const auto& importer) { return (*importer)(); });
        const sys::Lock lock(mutex_);  // those that are left are gone
        std::erase_if(importers_,
                      [&](const auto& importer) { return std::ranges::find(told, importer) != told.end(); });
    }

private:
    DmaBuffer(std::uint64_t size, const std::shared_ptr<const std::byte[]>& memory)
        : size_(size), holds_(memory), address_(user::address(memory.get())) {}

    const std::uint64_t size_;
    const std::shared_ptr<const void> holds_;
    const physical::Address address_;
    const bool in_one_piece_ = true;
    mutable sys::Mutex mutex_;
    bool revoked_ IOMMUFD_GUARDED_BY(mutex_) = false;
    std::vector<std::shared_ptr<const Importer>> importers_ IOMMUFD_GUARDED_BY(mutex_);
};

class DmaBufferFile final : public File {
public:
    explicit DmaBufferFile(std::shared_ptr<DmaBuffer> buffer) : buffer_(std::move(buffer)) {}

    const std::shared_ptr<DmaBuffer>& buffer() const noexcept { return buffer_; }

    int ioctl(unsigned long, user::Address) override { return -ENOTTY; }
    int mmap(void**, std::size_t, int, int, std::uint64_t) override { return -EINVAL; }
    int show(int, std::size_t, int, int, std::uint64_t) override { return -EINVAL; }

private:
    std::shared_ptr<DmaBuffer> buffer_;
};

}  // namespace iommufd::inline v0_1::model
