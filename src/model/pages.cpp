// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pages.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "model/domain.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kMostBufferPages = std::numeric_limits<std::uint32_t>::max();

int check_length(std::uint64_t length) {
    return length == 0 || length > std::numeric_limits<std::uint64_t>::max() - user::kPage ? -EINVAL : 0;
}

}  // namespace

Pages::Pages(std::uint64_t start, bool writable, Charge charge)
    : start_(start), writable_(writable), charge_(charge) {
    charge_.registry->add(*this);
}

Pages::~Pages() { charge_.registry->remove(*this); }

int Pages::of_user(user::Address start, std::uint64_t length, bool writable, Charge charge,
                   std::shared_ptr<Pages>& pages) {
    if (start + length < start) return -EOVERFLOW;
    if (const int rc = check_length(length); rc < 0) return rc;
    pages.reset(new Pages(start, writable, charge));
    return 0;
}

int Pages::of_file(std::shared_ptr<BackingFile> file, std::uint64_t start, std::uint64_t length,
                   bool writable, Charge charge, std::shared_ptr<Pages>& pages) {
    if (const int rc = check_length(length); rc < 0) return rc;
    pages.reset(new Pages(start, writable, charge));
    pages->file_ = std::move(file);
    return 0;
}

int Pages::of_dma_buffer(std::shared_ptr<DmaBuffer> buffer, std::uint64_t start, std::uint64_t length,
                         bool writable, Charge charge, std::shared_ptr<Pages>& pages) {
    if (buffer->size() <= start + length - 1 || length / user::kPage >= kMostBufferPages) return -EINVAL;
    if (const int rc = check_length(length); rc < 0) return rc;
    if (buffer->revoked()) return -ENODEV;
    pages.reset(new Pages(start, writable, charge));
    pages->buffer_ = std::move(buffer);
    return 0;
}

user::Address Pages::memory(std::uint64_t byte) const {
    if (file_) return file_->address(hint(byte));
    return buffer_ ? buffer_->address() + hint(byte) : hint(byte);
}

std::uint64_t Pages::contiguity() const noexcept {
    if (buffer_) return kAnyLeaf;
    return file_ ? file_->page_size() : user::kPage;
}

Pages::Slice Pages::slice(std::uint64_t byte, std::uint64_t length) {
    return {.first = byte / user::kPage, .last = (byte + length - 1) / user::kPage};
}

std::uint64_t Pages::count(const std::vector<Slice>& slices) {
    std::uint64_t pages = 0;
    for (const Slice& slice : slices) pages += slice.last - slice.first + 1;
    return pages;
}

std::vector<Pages::Slice> Pages::not_held(Slice wanted) const {
    std::vector<Slice> missing;
    std::uint64_t next = wanted.first;  // the first page that isn't looked at yet
    for (const Slice& other : slices_) {
        if (other.first > wanted.last) break;
        if (other.first > next) missing.push_back({.first = next, .last = other.first - 1});
        next = std::max(next, other.last + 1);
    }
    if (next <= wanted.last) missing.push_back({.first = next, .last = wanted.last});
    return missing;
}

bool Pages::held(std::uint64_t byte, std::uint64_t length) const {
    const sys::Lock lock(mutex_);
    return buffer_ || not_held(slice(byte, length)).empty();
}

int Pages::populate(std::uint64_t byte, std::uint64_t length) const {
    if (buffer_) return 0;
    std::vector<Slice> missing;
    {
        const sys::Lock lock(mutex_);
        missing = not_held(slice(byte, length));
    }
    for (const Slice& pages : missing) {
        const std::uint64_t start = hint(pages.first * user::kPage);
        const std::uint64_t size = (pages.last - pages.first + 1) * user::kPage;
        const int rc = file_ ? file_->populate(start, size) : user::populate(start, size, writable_);
        if (rc < 0) return rc;
    }
    return 0;
}

int Pages::hold(std::uint64_t byte, std::uint64_t length) {
    if (buffer_) return 0;
    const Slice wanted = slice(byte, length);
    const sys::Lock lock(mutex_);
    try {
        slices_.reserve(slices_.size() + 1);
        if (const int rc = charge_.accountant->charge(charge_.mode, count(not_held(wanted))); rc < 0)
            return rc;
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    slices_.insert(std::ranges::upper_bound(slices_, wanted.first, {}, &Slice::first), wanted);
    return 0;
}

void Pages::drop(std::uint64_t byte, std::uint64_t length) {
    if (buffer_) return;
    const Slice dropped = slice(byte, length);
    const sys::Lock lock(mutex_);
    slices_.erase(std::ranges::find(slices_, dropped));
    charge_.accountant->uncharge(charge_.mode, count(not_held(dropped)));
}

void Pages::each_pinned(const std::function<void(user::Address)>& visit) const {
    const sys::Lock lock(mutex_);
    std::uint64_t next = 0;
    for (const Slice& slice : slices_) {
        for (std::uint64_t page = std::max(next, slice.first); page <= slice.last; ++page)
            visit(memory(page * user::kPage));
        next = std::max(next, slice.last + 1);
    }
}

void PinRegistry::add(const Pages& pages) {
    const sys::Lock lock(mutex_);
    all_.push_back(&pages);
}

void PinRegistry::remove(const Pages& pages) noexcept {
    const sys::Lock lock(mutex_);
    // The latest is the likeliest.
    const auto found = std::ranges::find(all_.rbegin(), all_.rend(), &pages);
    if (found == all_.rend()) return;
    *found = all_.back();
    all_.pop_back();
}

void PinRegistry::each_pinned(const std::function<void(user::Address)>& visit) const {
    const sys::Lock lock(mutex_);
    for (const Pages* const pages : all_) pages->each_pinned(visit);
}

}  // namespace iommufd::inline v0_1::model
