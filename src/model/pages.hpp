// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory that was given to MAP or MAP_FILE (Linux: iopt_pages). Areas show slices of it, in one IOAS or in
// several; a page is pinned and charged once, as long as one area with a domain shows it.
#pragma once

#include <memory>
#include <vector>

#include "model/accountant.hpp"
#include "model/backing_file.hpp"
#include "model/user.hpp"

namespace iommufd::inline v0_1::model {

// Guarded by the lock of the context that it belongs to; populate() needs none.
class Pages {
public:
    struct Charge {
        Accountant* accountant;
        AccountMode mode;
    };

    // 0, -EOVERFLOW or -EINVAL. Nothing is touched yet.
    static int of_user(user::Address start, std::uint64_t length, bool writable, Charge charge,
                       std::shared_ptr<Pages>& pages);
    static int of_file(std::shared_ptr<BackingFile> file, std::uint64_t start, std::uint64_t length,
                       bool writable, Charge charge, std::shared_ptr<Pages>& pages);

    bool is_file() const noexcept { return file_ != nullptr; }
    bool writable() const noexcept { return writable_; }

    // Bytes are counted from the start of the first page; the memory itself begins here.
    std::uint64_t first_byte() const noexcept { return start_ % user::kPage; }
    // What automatic IOVAs are aligned like: the address, or the offset in the file.
    std::uint64_t hint(std::uint64_t byte) const noexcept {
        return start_ / user::kPage * user::kPage + byte;
    }
    // Where the model reaches what was populated.
    user::Address memory(std::uint64_t byte) const { return file_ ? file_->address(hint(byte)) : hint(byte); }

    // Whether somebody holds all of the slice already, so that it needs no populate().
    bool held(std::uint64_t byte, std::uint64_t length) const;
    // Makes a slice present: 0, -EFAULT, -EINVAL, -ENOMEM. May take long.
    int populate(std::uint64_t byte, std::uint64_t length) const;
    // Pins and charges a slice: 0 or -ENOMEM. Each hold() is dropped once.
    int hold(std::uint64_t byte, std::uint64_t length);
    void drop(std::uint64_t byte, std::uint64_t length);

private:
    struct Slice {  // pages, inclusive
        std::uint64_t first;
        std::uint64_t last;
        bool operator==(const Slice&) const = default;
    };

    Pages(std::uint64_t start, bool writable, Charge charge);

    static Slice slice(std::uint64_t byte, std::uint64_t length);
    // How many of these pages no slice in `slices_` shows.
    std::uint64_t not_held(Slice wanted) const;

    std::shared_ptr<BackingFile> file_;
    std::uint64_t start_;  // user address, or offset in the file
    bool writable_;
    Charge charge_;
    std::vector<Slice> slices_;  // held, ascending
};

}  // namespace iommufd::inline v0_1::model
