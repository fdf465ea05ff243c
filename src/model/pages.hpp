// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Memory that was given to MAP or MAP_FILE (Linux: iopt_pages). Areas show slices of it, in one IOAS or in
// several; a page is pinned and charged once, as long as one area with a domain, or an access, holds it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "model/accountant.hpp"
#include "model/backing_file.hpp"
#include "model/dma_buffer.hpp"
#include "model/physical.hpp"
#include "model/user.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::model {

class PinRegistry;

class Pages {
public:
    struct Charge {
        Accountant* accountant;
        AccountMode mode;
        PinRegistry* registry;
    };

    // 0, -EOVERFLOW or -EINVAL. Nothing is touched yet.
    static int of_user(user::Address start, std::uint64_t length, bool writable, Charge charge,
                       std::shared_ptr<Pages>& pages);
    static int of_file(std::shared_ptr<BackingFile> file, std::uint64_t start, std::uint64_t length,
                       bool writable, Charge charge, std::shared_ptr<Pages>& pages);
    // -EINVAL beyond its end, -ENODEV where it is revoked now, -EOPNOTSUPP of one in pieces.
    static int of_dma_buffer(std::shared_ptr<DmaBuffer> buffer, std::uint64_t start, std::uint64_t length,
                             bool writable, Charge charge, std::shared_ptr<Pages>& pages);
    Pages(const Pages&) = delete;
    Pages& operator=(const Pages&) = delete;
    ~Pages();

    bool is_user() const noexcept { return !file_ && !buffer_; }
    bool is_file() const noexcept { return file_ != nullptr; }
    bool is_dma_buffer() const noexcept { return buffer_ != nullptr; }
    bool writable() const noexcept { return writable_; }

    // Of a DMA buffer: gone for good as far as this map is concerned.
    bool revoked() const noexcept { return revoked_; }
    void revoke() noexcept { revoked_ = true; }

    // Bytes are counted from the start of the first page; the memory itself begins here.
    std::uint64_t first_byte() const noexcept { return start_ % user::kPage; }
    // What automatic IOVAs are aligned like: the address, or the offset in the file.
    std::uint64_t hint(std::uint64_t byte) const noexcept {
        return start_ / user::kPage * user::kPage + byte;
    }
    // Where the model reaches what was populated.
    physical::Address memory(std::uint64_t byte) const;
    // How much of a slice is certainly in one piece, physically: the size of its pages.
    std::uint64_t contiguity(std::uint64_t byte, std::uint64_t length) const noexcept;

    // Whether somebody holds all of the slice already, so that it needs no populate().
    bool held(std::uint64_t byte, std::uint64_t length) const IOMMUFD_EXCLUDES(mutex_);
    // Makes what nobody holds yet of a slice present: 0, -EFAULT, -EINVAL, -ENOMEM. May take long.
    int populate(std::uint64_t byte, std::uint64_t length) const IOMMUFD_EXCLUDES(mutex_);
    // Pins and charges a slice: 0 or -ENOMEM. Each hold() is dropped once.
    int hold(std::uint64_t byte, std::uint64_t length) IOMMUFD_EXCLUDES(mutex_);
    void drop(std::uint64_t byte, std::uint64_t length) noexcept IOMMUFD_EXCLUDES(mutex_);
    // One hold becomes two, that of the first `left` bytes and that of the rest, or these one again.
    int split(std::uint64_t byte, std::uint64_t length, std::uint64_t left) IOMMUFD_EXCLUDES(mutex_);
    void join(std::uint64_t byte, std::uint64_t length, std::uint64_t left) noexcept IOMMUFD_EXCLUDES(mutex_);
    // The process that pays for what is pinned; null: this one.
    const std::shared_ptr<AddressSpace>& payer() const noexcept { return space_; }
    AccountMode account_mode() const noexcept { return charge_.mode; }
    std::uint64_t pinned() const IOMMUFD_EXCLUDES(mutex_);
    // Of a file: who pays from now on. The charge for what is pinned has been made.
    void let_pay(std::shared_ptr<AddressSpace> payer) noexcept IOMMUFD_EXCLUDES(mutex_);
    // Each page that is pinned, once, by where the model reaches it.
    void each_pinned(const std::function<void(physical::Address)>& visit) const IOMMUFD_EXCLUDES(mutex_);

private:
    struct Slice {  // pages, inclusive
        std::uint64_t first;
        std::uint64_t last;
        bool operator==(const Slice&) const = default;
    };

    Pages(std::uint64_t start, bool writable, Charge charge);

    static Slice slice(std::uint64_t byte, std::uint64_t length) noexcept;
    // There is room for it.
    void insert(Slice held) noexcept IOMMUFD_REQUIRES(mutex_);
    void erase(Slice held) noexcept IOMMUFD_REQUIRES(mutex_);
    // The first part of it that no slice in `slices_` shows.
    std::optional<Slice> first_not_held(Slice wanted) const noexcept IOMMUFD_REQUIRES(mutex_);
    // How many of its pages none shows.
    std::uint64_t count_not_held(Slice wanted) const noexcept IOMMUFD_REQUIRES(mutex_);

    physical::Address in_space(user::Address address) const noexcept {
        return physical::in_space(space_ ? space_->tag() : 0, address);
    }

    PinCount& pins() const noexcept { return space_ ? space_->pins() : charge_.accountant->own(); }

    friend class PinRegistry;
    Pages* earlier_ = nullptr;  // of those in the registry, which guards both
    Pages* later_ = nullptr;

    std::shared_ptr<AddressSpace> space_;  // of who mapped it, or took it over; null: this process
    std::shared_ptr<BackingFile> file_;
    std::shared_ptr<DmaBuffer> buffer_;
    std::uint64_t start_;  // address of the program, or offset in the file
    bool writable_;
    Charge charge_;
    bool revoked_ = false;
    mutable sys::Mutex mutex_;
    std::vector<Slice> slices_ IOMMUFD_GUARDED_BY(mutex_);  // held, ascending
};

// All Pages of a machine, so that it can be counted how often a page is pinned.
class PinRegistry {
public:
    void add(Pages& pages) noexcept IOMMUFD_EXCLUDES(mutex_);
    void remove(Pages& pages) noexcept IOMMUFD_EXCLUDES(mutex_);
    void each_pinned(const std::function<void(physical::Address)>& visit) const IOMMUFD_EXCLUDES(mutex_);

private:
    mutable sys::Mutex mutex_;
    Pages* latest_ IOMMUFD_GUARDED_BY(mutex_) = nullptr;
};

}  // namespace iommufd::inline v0_1::model
