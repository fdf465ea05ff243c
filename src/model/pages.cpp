// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pages.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>
#include <new>
#include <utility>

namespace iommufd::inline v0_1::model {
namespace {

int check_length(std::uint64_t length) {
    return length == 0 || length > std::numeric_limits<std::uint64_t>::max() - user::kPage ? -EINVAL : 0;
}

}  // namespace

Pages::Pages(std::uint64_t start, bool writable, Charge charge)
    : start_(start), writable_(writable), charge_(charge) {}

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

Pages::Slice Pages::slice(std::uint64_t byte, std::uint64_t length) {
    return {.first = byte / user::kPage, .last = (byte + length - 1) / user::kPage};
}

std::uint64_t Pages::not_held(Slice wanted) const {
    std::uint64_t missing = 0;
    std::uint64_t next = wanted.first;  // the first page that isn't looked at yet
    for (const Slice& other : slices_) {
        if (other.first > wanted.last) break;
        if (other.first > next) missing += other.first - next;
        next = std::max(next, other.last + 1);
    }
    return missing + (next <= wanted.last ? wanted.last + 1 - next : 0);
}

bool Pages::held(std::uint64_t byte, std::uint64_t length) const {
    return not_held(slice(byte, length)) == 0;
}

int Pages::populate(std::uint64_t byte, std::uint64_t length) const {
    if (!file_) return user::populate(hint(byte), length, writable_);
    const Slice pages = slice(byte, length);
    return file_->populate(hint(pages.first * user::kPage), (pages.last + 1 - pages.first) * user::kPage);
}

int Pages::hold(std::uint64_t byte, std::uint64_t length) {
    const Slice wanted = slice(byte, length);
    try {
        slices_.reserve(slices_.size() + 1);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    if (const int rc = charge_.accountant->charge(charge_.mode, not_held(wanted)); rc < 0) return rc;
    slices_.insert(std::ranges::upper_bound(slices_, wanted.first, {}, &Slice::first), wanted);
    return 0;
}

void Pages::drop(std::uint64_t byte, std::uint64_t length) {
    const Slice dropped = slice(byte, length);
    slices_.erase(std::ranges::find(slices_, dropped));
    charge_.accountant->uncharge(charge_.mode, not_held(dropped));
}

}  // namespace iommufd::inline v0_1::model
