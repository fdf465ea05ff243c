// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The object's own state: who uses it, and the node while it is open.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/node.hpp"
#include "iommufd/backend/backend.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::backend {

class State : public std::enable_shared_from_this<State> {
public:
    enum class Claim : std::uint8_t {
        connects,  // keeps the node open
        joins,     // a user that doesn't
        refers,    // no user
    };

    State(Backend::Options options, std::shared_ptr<core::ContextNode> given);

    const std::string& id() const noexcept { return id_; }
    sys::Kernel& kernel() const noexcept { return kernel_; }
    bool is_given() const noexcept { return given_; }

    Result<User> connect(std::string_view name);
    Result<User> join(std::string_view name);
    Result<Reference> refer(std::string_view name);
    void leave(std::uint64_t ticket) noexcept;

    std::vector<std::string> names(bool users) const;
    std::shared_ptr<core::ContextNode> context() const;
    // Of who stands on the object, whether the node is open or not.
    void notice(Severity severity, Error error) noexcept;
    std::uint64_t notices() const;
    std::vector<NotReleased> not_released() const;

    // An open context, the object's own or one for this question alone.
    Result<core::Context> context_for_question();

    // EBUSY while somebody stands on the object.
    Result<void> close_if_unused();
    // No new users; those who are there keep what they use.
    void let_go() noexcept;

private:
    struct Entry {
        std::uint64_t ticket;
        Claim claim;
        std::string name;
    };

    Result<std::uint64_t> enter(std::string_view name, Claim claim) IOMMUFD_REQUIRES(mutex_);
    Result<core::Context> open_node() const;
    std::shared_ptr<core::ContextNode> close_if_idle() IOMMUFD_REQUIRES(mutex_);
    bool anybody_connects() const IOMMUFD_REQUIRES(mutex_);

    const std::string id_;
    sys::Kernel& kernel_;
    const Report report_;
    const bool given_;

    mutable sys::Mutex mutex_;
    sys::Condition opened_;
    std::vector<Entry> entries_ IOMMUFD_GUARDED_BY(mutex_);
    std::shared_ptr<core::ContextNode> context_ IOMMUFD_GUARDED_BY(mutex_);
    // Without those of the context that is open.
    std::uint64_t other_notices_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::uint64_t next_ticket_ IOMMUFD_GUARDED_BY(mutex_) = 1;
    bool opening_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool deleted_ IOMMUFD_GUARDED_BY(mutex_) = false;
};

}  // namespace iommufd::inline v0_1::backend
