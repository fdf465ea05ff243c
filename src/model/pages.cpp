// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pages.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

#include "model/caller.hpp"
#include "model/domain.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kMostBufferPages = std::numeric_limits<std::uint32_t>::max();

int check_length(std::uint64_t length) {
    return length == 0 || length > std::numeric_limits<std::uint64_t>::max() - user::kPage ? -EINVAL : 0;
}

// Linux pins up to so many pages at a time, and says of those that end where all addresses end that they don't fit, before it looks whether
// they are there (pfn_reader_user_pin() of drivers/iommu/iommufd/pages.c, gup_fast_fallback() of mm/gup.c).
bool ends_with_everything(user::Address start, std::uint64_t size) noexcept {
    constexpr std::uint64_t kPinnedAtOnce = 8192 * user::kPage;
    return start + size == 0 && size <= kPinnedAtOnce;
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
    std::shared_ptr<AddressSpace> space;
    if (const int rc = caller().memory(space); rc < 0) return rc;
    pages.reset(new Pages(start, writable, charge));
    pages->space_ = std::move(space);
    return 0;
}

int Pages::of_file(std::shared_ptr<BackingFile> file, std::uint64_t start, std::uint64_t length,
                   bool writable, Charge charge, std::shared_ptr<Pages>& pages) {
    if (const int rc = check_length(length); rc < 0) return rc;
    std::shared_ptr<AddressSpace> space;
    if (const int rc = caller().memory(space); rc < 0) return rc;
    pages.reset(new Pages(start, writable, charge));
    pages->space_ = std::move(space);
    pages->file_ = std::move(file);
    return 0;
}

int Pages::of_dma_buffer(std::shared_ptr<DmaBuffer> buffer, std::uint64_t start, std::uint64_t length,
                         bool writable, Charge charge, std::shared_ptr<Pages>& pages) {
    if (buffer->size() <= start + length - 1 || length / user::kPage >= kMostBufferPages) return -EINVAL;
    if (const int rc = check_length(length); rc < 0) return rc;
    if (buffer->revoked()) return -ENODEV;
    if (!buffer->in_one_piece()) return -EOPNOTSUPP;
    pages.reset(new Pages(start, writable, charge));
    pages->buffer_ = std::move(buffer);
    return 0;
}

physical::Address Pages::memory(std::uint64_t byte) const {
    if (file_) return file_->address(hint(byte));
    return buffer_ ? buffer_->address() + hint(byte) : in_space(hint(byte));
}

std::uint64_t Pages::contiguity(std::uint64_t byte, std::uint64_t length) const noexcept {
    if (buffer_) return kAnyLeaf;
    if (file_) return file_->page_size();
    return space_ ? space_->page_size(hint(byte), length) : user::kPage;
}

Pages::Slice Pages::slice(std::uint64_t byte, std::uint64_t length) noexcept {
    return {.first = byte / user::kPage, .last = (byte + length - 1) / user::kPage};
}

void Pages::insert(Slice held) noexcept {
    slices_.insert(std::ranges::upper_bound(slices_, held.first, {}, &Slice::first), held);
}

void Pages::erase(Slice held) noexcept { slices_.erase(std::ranges::find(slices_, held)); }

std::optional<Pages::Slice> Pages::first_not_held(Slice wanted) const noexcept {
    for (const Slice& other : slices_) {
        if (other.first > wanted.first)
            return Slice{.first = wanted.first, .last = std::min(wanted.last, other.first - 1)};
        if (other.last >= wanted.last) return {};
        wanted.first = std::max(wanted.first, other.last + 1);
    }
    return wanted;
}

std::uint64_t Pages::count_not_held(Slice wanted) const noexcept {
    std::uint64_t pages = 0;
    while (const std::optional<Slice> missing = first_not_held(wanted)) {
        pages += missing->last - missing->first + 1;
        if (missing->last == wanted.last) break;
        wanted.first = missing->last + 1;
    }
    return pages;
}

bool Pages::held(std::uint64_t byte, std::uint64_t length) const {
    const sys::Lock lock(mutex_);
    return buffer_ || !first_not_held(slice(byte, length));
}

int Pages::populate(std::uint64_t byte, std::uint64_t length) const {
    if (buffer_) return 0;
    Slice rest = slice(byte, length);
    for (;;) {
        std::optional<Slice> missing;
        {
            const sys::Lock lock(mutex_);
            missing = first_not_held(rest);
        }
        if (!missing) return 0;
        const std::uint64_t start = hint(missing->first * user::kPage);
        const std::uint64_t size = (missing->last - missing->first + 1) * user::kPage;
        const int rc = file_ ? file_->populate(start, size)
                       : ends_with_everything(start, size)
                           ? -EOVERFLOW
                           : physical::populate(in_space(start), size, writable_);
        if (rc < 0 || missing->last == rest.last) return rc;
        rest.first = missing->last + 1;
    }
}

int Pages::hold(std::uint64_t byte, std::uint64_t length) {
    if (buffer_) return 0;
    const Slice wanted = slice(byte, length);
    const sys::Lock lock(mutex_);
    try {
        slices_.reserve(slices_.size() + 1);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    if (const int rc = charge_.accountant->charge(pins(), charge_.mode, count_not_held(wanted)); rc < 0)
        return rc;
    insert(wanted);
    return 0;
}

void Pages::drop(std::uint64_t byte, std::uint64_t length) noexcept {
    if (buffer_) return;
    const Slice dropped = slice(byte, length);
    const sys::Lock lock(mutex_);
    erase(dropped);
    charge_.accountant->uncharge(pins(), charge_.mode, count_not_held(dropped));
}

int Pages::split(std::uint64_t byte, std::uint64_t length, std::uint64_t left) {
    const sys::Lock lock(mutex_);
    try {
        slices_.reserve(slices_.size() + 1);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    erase(slice(byte, length));
    insert(slice(byte, left));
    insert(slice(byte + left, length - left));
    return 0;
}

void Pages::join(std::uint64_t byte, std::uint64_t length, std::uint64_t left) noexcept {
    const sys::Lock lock(mutex_);
    erase(slice(byte, left));
    erase(slice(byte + left, length - left));
    insert(slice(byte, length));
}

std::uint64_t Pages::pinned() const {
    const sys::Lock lock(mutex_);
    std::uint64_t pages = 0;
    std::uint64_t next = 0;
    for (const Slice& slice : slices_) {
        if (slice.last < next) continue;
        pages += slice.last - std::max(next, slice.first) + 1;
        next = slice.last + 1;
    }
    return pages;
}

void Pages::let_pay(std::shared_ptr<AddressSpace> payer) noexcept {
    const std::uint64_t pages = pinned();
    const sys::Lock lock(mutex_);
    charge_.accountant->uncharge(pins(), charge_.mode, pages);
    space_ = std::move(payer);
}

void Pages::each_pinned(const std::function<void(physical::Address)>& visit) const {
    const sys::Lock lock(mutex_);
    std::uint64_t next = 0;
    for (const Slice& slice : slices_) {
        for (std::uint64_t page = std::max(next, slice.first); page <= slice.last; ++page)
            visit(memory(page * user::kPage));
        next = std::max(next, slice.last + 1);
    }
}

void PinRegistry::add(Pages& pages) noexcept {
    const sys::Lock lock(mutex_);
    pages.earlier_ = std::exchange(latest_, &pages);
    if (pages.earlier_ != nullptr) pages.earlier_->later_ = &pages;
}

void PinRegistry::remove(Pages& pages) noexcept {
    const sys::Lock lock(mutex_);
    (pages.later_ != nullptr ? pages.later_->earlier_ : latest_) = pages.earlier_;
    if (pages.earlier_ != nullptr) pages.earlier_->later_ = pages.later_;
}

void PinRegistry::each_pinned(const std::function<void(physical::Address)>& visit) const {
    const sys::Lock lock(mutex_);
    for (const Pages* pages = latest_; pages != nullptr; pages = pages->earlier_) pages->each_pinned(visit);
}

}  // namespace iommufd::inline v0_1::model
