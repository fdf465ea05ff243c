// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/backend/backend.hpp"

#include "backend/state.hpp"
#include "error/guarded.hpp"
#include "iommufd/host/process.hpp"

namespace iommufd::inline v0_1 {

User::User(std::shared_ptr<backend::State> state, std::uint64_t ticket,
           std::shared_ptr<core::ContextNode> context) noexcept
    : state_(std::move(state)), ticket_(ticket), context_(std::move(context)) {}

User::User(User&&) noexcept = default;

User& User::operator=(User&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(ticket_, other.ticket_);
    std::swap(context_, other.context_);
    return *this;
}

User::~User() {
    context_.reset();
    if (state_) state_->leave(ticket_);
}

int User::context_fd() const noexcept { return context_ ? context_->fd().number() : -1; }

Reference::Reference(std::shared_ptr<backend::State> state, std::uint64_t ticket) noexcept
    : state_(std::move(state)), ticket_(ticket) {}

Reference::Reference(Reference&&) noexcept = default;

Reference& Reference::operator=(Reference&& other) noexcept {
    std::swap(state_, other.state_);
    std::swap(ticket_, other.ticket_);
    return *this;
}

Reference::~Reference() {
    if (state_) state_->leave(ticket_);
}

Result<Backend> Backend::open() { return open(Options{}); }

Result<Backend> Backend::open(Options options) {
    const auto* const adopted = std::get_if<AdoptFd>(&options.fd);
    // Ours from here on, whatever fails.
    sys::Fd owned(options.kernel ? *options.kernel : sys::host_kernel(), adopted ? adopted->number : -1);
    return guarded(Operation::open, [&]() -> Result<Backend> {
        std::shared_ptr<core::ContextNode> given;
        core::Context::Options context{
            .label = options.id, .report = options.report, .kernel = options.kernel};
        if (adopted) {
            auto taken = core::Context::from(AdoptFd{owned.release()}, std::move(context));
            if (!taken) return taken.error();
            given = taken->node();
        } else if (const auto* const lent = std::get_if<DupFd>(&options.fd)) {
            auto taken = core::Context::from(*lent, std::move(context));
            if (!taken) return taken.error();
            given = taken->node();
        }
        return Backend(std::make_shared<backend::State>(std::move(options), std::move(given)));
    });
}

Result<Backend> Backend::adopt(int fd) { return open({.fd = AdoptFd{fd}, .report = {}}); }
Result<Backend> Backend::on(sys::Kernel& kernel) { return open({.fd = {}, .report = {}, .kernel = &kernel}); }

Backend::Backend(std::shared_ptr<backend::State> state) noexcept : state_(std::move(state)) {}
Backend::Backend(Backend&&) noexcept = default;

Backend& Backend::operator=(Backend&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
}

Backend::~Backend() {
    if (state_) state_->let_go();
}

const std::string& Backend::id() const noexcept { return state_->id(); }

Result<User> Backend::connect(std::string_view name) const { return state_->connect(name); }
Result<User> Backend::join(std::string_view name) const { return state_->join(name); }
Result<Reference> Backend::refer(std::string_view name) const { return state_->refer(name); }

std::vector<std::string> Backend::users() const { return state_->names(true); }
std::vector<std::string> Backend::references() const { return state_->names(false); }

std::optional<core::Context> Backend::context() const {
    if (auto open = state_->context()) return core::Context(std::move(open));
    return std::nullopt;
}

bool Backend::is_open() const noexcept { return state_->context() != nullptr; }
bool Backend::is_given() const noexcept { return state_->is_given(); }

std::string_view name(Accounting accounting) noexcept {
    switch (accounting) {
        case Accounting::none:
            return "none";
        case Accounting::per_user:
            return "per-user";
        case Accounting::per_process:
            return "per-process";
    }
    return {};
}

Result<Accounting> Backend::accounting() const {
    auto process = host::process(kernel());
    if (!process) return process.error();
    if (process->cap_ipc_lock) return Accounting::none;
    auto context = state_->context_for_question();
    if (!context) return context.error();
    return context->rlimit_mode().transform([](core::RlimitMode mode) {
        return mode == core::RlimitMode::per_process ? Accounting::per_process : Accounting::per_user;
    });
}

Result<Capabilities> Backend::capabilities() const {
    return state_->context_for_question().transform(
        [](const core::Context& context) { return Capabilities::probe(context); });
}

bool Backend::shares_context_with(const Backend& other) const {
    const auto mine = state_->context();
    const auto its = other.state_->context();
    return mine && its && &mine->kernel() == &its->kernel() &&
           mine->kernel().same_file(mine->fd().number(), its->fd().number()) == 1;
}

Result<void> Backend::destroy() && {
    if (!state_) return {};
    return guarded(Operation::none, [&]() -> Result<void> {
        auto closed = state_->close_if_unused();
        if (closed) state_.reset();
        return closed;
    });
}

std::uint64_t Backend::notices() const noexcept { return state_->notices(); }
std::vector<NotReleased> Backend::not_released() const { return state_->not_released(); }
sys::Kernel& Backend::kernel() const noexcept { return state_->kernel(); }

}  // namespace iommufd::inline v0_1
