// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What stands behind the handles: a context's state and one node per kernel object.
//
//     handle --shared--> ObjectNode --shared--> parent ObjectNodes, ContextNode
//                            '-- owns --> Obligation: what must be given back to the kernel
//
// An Obligation is made together with the object. When giving back fails it moves to the context's list
// without needing memory; there it is retried, and it ends with the context at the latest, since closing
// the file destroys everything.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "iommufd/core/context.hpp"
#include "sys/fd.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::core {

// Something that must be given back.
class Obligation {
public:
    explicit Obligation(Operation operation) noexcept : operation_(operation) {}
    Obligation(const Obligation&) = delete;
    Obligation& operator=(const Obligation&) = delete;
    virtual ~Obligation() = default;

    // "ioas 3 ('guest') of 'iommufd0'"
    virtual std::string describe() const = 0;
    // Gives it back: 0 or a negative errno. Called again after a failure; then ENOENT means that it is gone.
    virtual int fulfil() noexcept = 0;
    // Whether a new object with this id proves that ours is gone.
    virtual bool disproved_by(std::uint32_t) const noexcept { return false; }
    // Whether closing the context's file leaves it as it is.
    virtual bool outlives_the_file() const noexcept { return false; }

    Operation operation() const noexcept { return operation_; }

private:
    friend class ContextNode;
    const Operation operation_;
    int code_ = 0;
    bool in_flight_ = false;  // fulfil() is under way
    bool disproved_ = false;  // meanwhile
    std::unique_ptr<Obligation> next_;
};

// Whose a context's objects are: what a hand-over to another process (live/) changes.
enum class Custody : std::uint8_t {
    ours,
    frozen,  // they are being described to a successor: ioctls get EBUSY, so that they stay as described
    theirs,  // the successor's: ioctls get ESHUTDOWN, and what is given back is given up without the kernel
    taking,  // on the successor's side, until it is sure: nothing is given back, as above, but ioctls go
};

class ContextNode {
public:
    ContextNode(sys::Fd fd, std::string label, Report report)
        : fd_(std::move(fd)), label_(std::move(label)), report_(std::move(report)) {}
    ContextNode(const ContextNode&) = delete;
    ContextNode& operator=(const ContextNode&) = delete;
    ~ContextNode();

    const sys::Fd& fd() const noexcept { return fd_; }
    sys::Kernel& kernel() const noexcept { return fd_.kernel(); }
    const std::string& label() const noexcept { return label_; }

    // ioctl on the context's file: 0 or more, or a negative errno.
    int ioctl(unsigned long request, void* argument) const { return ioctl(fd_, request, argument); }
    // The same on a file that belongs to the context: a device's.
    int ioctl(const sys::Fd& file, unsigned long request, void* argument) const {
        const Custody custody = custody_;
        if (custody == Custody::frozen || custody == Custody::theirs) [[unlikely]]
            return custody == Custody::frozen ? -EBUSY : -ESHUTDOWN;
        return file.ioctl(request, argument);
    }

    // An ioctl that has begun before may still be under way afterwards. There is no way back from `theirs`.
    void set_custody(Custody custody) noexcept { custody_ = custody; }
    Custody custody() const noexcept { return custody_; }
    // Whether what is given back stays as it is, for another process.
    bool gives_up() const noexcept {
        const Custody custody = custody_;
        return custody == Custody::theirs || custody == Custody::taking;
    }
    // Pages of it are accounted to a process that has ended, from which Linux (7.3) can't take them: see live/.
    void set_orphaned() noexcept { orphaned_ = true; }
    bool is_orphaned() const noexcept { return orphaned_; }
    // How many objects of the kernel handles stand for here (devices are none of them).
    std::size_t objects() const noexcept { return objects_; }

    // An ioctl that makes an object whose id it stores in `out_id`.
    int allocate(unsigned long request, void* argument, const std::uint32_t& out_id);

    // Gives back what it must; on failure keeps it, reports, and returns the error. It is on the list before the kernel
    // is asked: an id that somebody else gets before the answer is here proves that ours is gone.
    Result<void> release(std::unique_ptr<Obligation> obligation) noexcept;

    void notice(Severity severity, Error error) noexcept;
    std::uint64_t notices() const noexcept { return notices_; }

    std::vector<NotReleased> not_released() const;
    std::size_t retry_releases() noexcept;

private:
    void keep(std::unique_ptr<Obligation> obligation) noexcept IOMMUFD_REQUIRES(mutex_);
    std::unique_ptr<Obligation> take(const Obligation& obligation) noexcept IOMMUFD_REQUIRES(mutex_);
    std::unique_ptr<Obligation> take_all() noexcept IOMMUFD_REQUIRES(mutex_);
    // Given up: it is the successor's to give back.
    bool is_given_up(const Obligation& obligation) const noexcept {
        return gives_up() && !obligation.outlives_the_file();
    }

    friend class ObjectNode;

    const sys::Fd fd_;
    const std::string label_;
    const Report report_;
    std::atomic<std::uint64_t> notices_ = 0;
    std::atomic<Custody> custody_ = Custody::ours;
    std::atomic<bool> orphaned_ = false;
    std::atomic<std::size_t> objects_ = 0;

    mutable sys::Mutex mutex_;
    sys::Condition changed_;
    // A retried DESTROY must not meet an id that the kernel has just given to somebody else, so retries and
    // allocations exclude each other.
    unsigned allocating_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    bool retrying_ IOMMUFD_GUARDED_BY(mutex_) = false;
    std::unique_ptr<Obligation> kept_ IOMMUFD_GUARDED_BY(mutex_);  // oldest first
};

// A kernel object with an id.
class ObjectNode {
public:
    using Parents = std::vector<std::shared_ptr<const void>>;

    // Made before the ioctl, so that nothing can fail after it; `kind` as in "ioas", a literal.
    ObjectNode(std::shared_ptr<ContextNode> context, std::string_view kind, std::string_view label,
               Parents parents);
    ObjectNode(const ObjectNode&) = delete;
    ObjectNode& operator=(const ObjectNode&) = delete;
    ~ObjectNode();

    // The ioctl has made the object, or another process had it made.
    void born(std::uint32_t id) noexcept;
    // The kernel may have destroyed the object itself, so that DESTROY finding nothing is no failure.
    void may_be_gone() noexcept;

    // Once; the destructor does it otherwise.
    Result<void> destroy() noexcept;

    std::uint32_t id() const noexcept { return id_; }
    // Whether that object is one of its parents.
    bool stands_on(const ObjectNode& parent) const noexcept;
    ContextNode& context() const noexcept { return *context_; }
    const std::shared_ptr<ContextNode>& context_pointer() const noexcept { return context_; }

    // "ioas 3 ('guest') of 'iommufd0'"
    std::string describe() const;

private:
    class Destroy;

    const std::shared_ptr<ContextNode> context_;
    const Parents parents_;
    std::unique_ptr<Destroy> destroy_;  // until it was given back
    std::uint32_t id_ = 0;
};

// EBUSY as long as something besides one handle stands on the object.
Result<void> check_unused(const std::shared_ptr<ObjectNode>& node) noexcept;

// destroy() of a handle: where check_unused() says no, the handle stays.
Result<void> destroy(std::shared_ptr<ObjectNode>& node) noexcept;

}  // namespace iommufd::inline v0_1::core
