// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "backend/state.hpp"

#include <algorithm>
#include <cerrno>

#include "core/delayed_reports.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::backend {

State::State(Backend::Options options, std::shared_ptr<core::ContextNode> given)
    : id_(std::move(options.id)),
      kernel_(options.kernel ? *options.kernel : sys::host_kernel()),
      report_(std::move(options.report)),
      given_(given != nullptr),
      context_(std::move(given)) {}

bool State::anybody_connects() const {
    return std::ranges::any_of(entries_, [](const Entry& entry) { return entry.claim == Claim::connects; });
}

Result<std::uint64_t> State::enter(std::string_view name, Claim claim) {
    if (deleted_)
        return Error::refused(ESHUTDOWN, compose("cannot connect ", name, " to '", id_, "'"),
                              "the object is being deleted", "create it again, under this or another id");
    const std::uint64_t ticket = next_ticket_++;
    entries_.push_back({.ticket = ticket, .claim = claim, .name = std::string(name)});
    return ticket;
}

Result<core::Context> State::open_node() const {
    auto context = core::Context::open({.label = id_, .report = report_, .kernel = &kernel_});
    if (!context) return context;
    // Per process, where that is permitted (CAP_SYS_RESOURCE); otherwise the kernel's per-user accounting
    // stays, which accounting() tells.
    (void)context->set_rlimit_mode(core::RlimitMode::per_process);
    return context;
}

Result<User> State::connect(std::string_view name) {
    return guarded(Operation::open, [&]() -> Result<User> {
        std::uint64_t ticket = 0;
        bool open_it = false;
        std::shared_ptr<core::ContextNode> context;
        {
            const sys::Lock lock(mutex_);
            auto entered = enter(name, Claim::connects);
            if (!entered) return entered.error();
            ticket = *entered;
            while (opening_) opened_.wait(mutex_);
            context = context_;
            open_it = opening_ = !context;
        }
        // From here on the user leaves if this function fails.
        User user(shared_from_this(), ticket, nullptr);
        if (open_it) {
            auto opened = guarded(Operation::open, [&] { return open_node(); });
            const sys::Lock lock(mutex_);
            opening_ = false;
            opened_.notify_all();
            if (!opened) return opened.error().within(compose("cannot connect ", name, " to '", id_, "'"));
            context = context_ = opened->node();
        }
        user.context_ = std::move(context);
        return user;
    });
}

Result<User> State::join(std::string_view name) {
    return guarded(Operation::none, [&]() -> Result<User> {
        const sys::Lock lock(mutex_);
        auto entered = enter(name, Claim::joins);
        if (!entered) return entered.error();
        return User(shared_from_this(), *entered, nullptr);
    });
}

Result<Reference> State::refer(std::string_view name) {
    return guarded(Operation::none, [&]() -> Result<Reference> {
        const sys::Lock lock(mutex_);
        auto entered = enter(name, Claim::refers);
        if (!entered) return entered.error();
        return Reference(shared_from_this(), *entered);
    });
}

std::shared_ptr<core::ContextNode> State::close_if_idle() {
    const bool keep = given_ ? !deleted_ || anybody_connects() : anybody_connects();
    if (keep || !context_ || opening_) return nullptr;
    other_notices_ += context_->notices();
    return std::move(context_);
}

void State::leave(std::uint64_t ticket) noexcept {
    std::shared_ptr<core::ContextNode> closing;  // closed without the mutex: it may have much to unpin
    const sys::Lock lock(mutex_);
    std::erase_if(entries_, [&](const Entry& entry) { return entry.ticket == ticket; });
    closing = close_if_idle();
}

std::vector<std::string> State::names(bool users) const {
    std::vector<std::string> names;
    const sys::Lock lock(mutex_);
    for (const Entry& entry : entries_)
        if ((entry.claim != Claim::refers) == users) names.push_back(entry.name);
    return names;
}

std::shared_ptr<core::ContextNode> State::context() const {
    const sys::Lock lock(mutex_);
    return context_;
}

void State::notice(Severity severity, Error error) noexcept {
    {
        const sys::Lock lock(mutex_);
        ++other_notices_;
    }
    core::deliver(report_, severity, std::move(error));
}

std::uint64_t State::notices() const {
    const sys::Lock lock(mutex_);
    return other_notices_ + (context_ ? context_->notices() : 0);
}

std::vector<NotReleased> State::not_released() const {
    const auto open = context();
    return open ? open->not_released() : std::vector<NotReleased>();
}

Result<core::Context> State::context_for_question() {
    if (auto open = context()) return core::Context(std::move(open));
    return guarded(Operation::open, [&] { return open_node(); });
}

Result<void> State::close_if_unused() {
    std::shared_ptr<core::ContextNode> closing;
    const sys::Lock lock(mutex_);
    if (!entries_.empty()) {
        std::string who;
        for (const Entry& entry : entries_) who += compose(who.empty() ? "" : ", ", entry.name);
        return Error::refused(EBUSY, compose("cannot delete '", id_, "'"), compose("it is used by ", who),
                              "delete those first");
    }
    deleted_ = true;
    closing = close_if_idle();
    return {};
}

void State::let_go() noexcept {
    std::shared_ptr<core::ContextNode> closing;
    const sys::Lock lock(mutex_);
    deleted_ = true;
    closing = close_if_idle();
}

}  // namespace iommufd::inline v0_1::backend
