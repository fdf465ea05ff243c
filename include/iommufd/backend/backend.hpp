// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The iommufd object: one /dev/iommu, shared by id, its users counted in one place.
//
//     Backend --connect()--> User        a VFIO device: keeps the node open
//             --join()-----> User        a vhost-vdpa device: counted, but never opens the node
//             --refer()----> Reference   a space, a mapping: not a user; blocks deletion, and is named
//
// Without a descriptor the object opens /dev/iommu for its first connect() and closes it after the last such
// user has gone; a later one gets a new kernel context. With a descriptor the node is kept until the object
// is deleted. A context that the object opened itself accounts locked memory per process where that is
// permitted (CAP_SYS_RESOURCE), set before the first object in it.
//
//     auto backend = Backend::open({.id = "iommufd0"}).value();
//     auto device = vfio::Cdev::open("0000:02:00.0").value().bind(backend).value();   // a User of it
//
// Threads: any calls may run at once, deletion against connect() included. No lock is held while the node is
// opened or closed, nor in the report.
//
// Linux: 6.2.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "iommufd/backend/capabilities.hpp"
#include "iommufd/core/context.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

namespace backend {
class State;
}

// Against what the pages that this process maps count.
enum class Accounting : std::uint8_t {
    none,         // CAP_IPC_LOCK: no limit
    per_user,     // RLIMIT_MEMLOCK, shared by all processes of this uid
    per_process,  // RLIMIT_MEMLOCK, this process alone
};
// "none", "per-user", "per-process"
IOMMUFD_EXPORT std::string_view name(Accounting accounting) noexcept;

// One that uses the object: letting go of it disconnects.
class IOMMUFD_EXPORT User {
public:
    User(User&&) noexcept;
    User& operator=(User&&) noexcept;
    ~User();

    // The context that was open when this user connected; null for one that joined.
    const std::shared_ptr<core::ContextNode>& context() const noexcept { return context_; }
    // Its descriptor, borrowed; -1 for one that joined.
    int context_fd() const noexcept;

private:
    friend class backend::State;
    User(std::shared_ptr<backend::State> state, std::uint64_t ticket,
         std::shared_ptr<core::ContextNode> context) noexcept;
    std::shared_ptr<backend::State> state_;
    std::uint64_t ticket_ = 0;
    std::shared_ptr<core::ContextNode> context_;
};

// One that stands on the object without using the node: letting go of it ends that.
class IOMMUFD_EXPORT Reference {
public:
    Reference(Reference&&) noexcept;
    Reference& operator=(Reference&&) noexcept;
    ~Reference();

private:
    friend class backend::State;
    Reference(std::shared_ptr<backend::State> state, std::uint64_t ticket) noexcept;
    std::shared_ptr<backend::State> state_;
    std::uint64_t ticket_ = 0;
};

class IOMMUFD_EXPORT Backend {
public:
    struct Options {
        std::string id = "iommufd0";
        std::variant<std::monostate, AdoptFd, DupFd> fd;  // nothing: opens the node on demand
        Report report;
        sys::Kernel* kernel = nullptr;  // nothing: the machine's own; else it must outlive the object
    };

    // A descriptor is checked to be an iommufd here; EBADF, ENOTTY. Nothing else can fail but memory: whether
    // the node can be opened shows at the first connect().
    static Result<Backend> open();
    static Result<Backend> open(Options options);
    static Result<Backend> adopt(int fd);            // takes the descriptor, also on failure
    static Result<Backend> on(sys::Kernel& kernel);  // a model kernel, say

    Backend(Backend&&) noexcept;
    Backend& operator=(Backend&&) noexcept;
    // Users keep what they use; the object can't be found any more, and the node closes after the last of
    // them.
    ~Backend();

    const std::string& id() const noexcept;

    // A user that needs the node, called `name` in errors and lists: "vfio-pci 0000:02:00.0". EACCES, ENOENT,
    // ... from opening it; ESHUTDOWN once deletion has begun.
    Result<User> connect(std::string_view name) const;
    // A user that doesn't.
    Result<User> join(std::string_view name) const;
    Result<Reference> refer(std::string_view name) const;

    // Their names, in the order in which they came.
    std::vector<std::string> users() const;
    std::vector<std::string> references() const;

    // The context while the node is open.
    std::optional<core::Context> context() const;
    bool is_open() const noexcept;
    // Whether the descriptor was given, not opened here.
    bool is_given() const noexcept;

    // What applies to mappings that this process makes now. Opens the node for the question if it is closed.
    Result<Accounting> accounting() const;
    // What this kernel can do. Opens the node for the question if it is closed.
    Result<Capabilities> capabilities() const;

    // Whether both have the same open file description (kcmp); false if either is closed.
    bool shares_context_with(const Backend& other) const;

    // Deletes the object: EBUSY, naming them, while there are users or references; then the handle stays.
    Result<void> destroy() &&;

    // Failures and warnings of the object and its contexts so far, and what the kernel may still hold.
    std::uint64_t notices() const noexcept;
    std::vector<NotReleased> not_released() const;

    sys::Kernel& kernel() const noexcept;
    const std::shared_ptr<backend::State>& state() const noexcept { return state_; }

private:
    explicit Backend(std::shared_ptr<backend::State> state) noexcept;
    std::shared_ptr<backend::State> state_;
};

}  // namespace iommufd::inline v0_1
