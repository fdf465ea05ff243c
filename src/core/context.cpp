// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/context.hpp"

#include <fcntl.h>

#include <cerrno>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {
namespace {

constexpr const char* kPath = "/dev/iommu";

sys::Kernel& kernel_of(const Context::Options& options) noexcept {
    return options.kernel ? *options.kernel : sys::host_kernel();
}

int get_rlimit_mode(const sys::Fd& fd, std::uint64_t& mode) noexcept {
    uapi::Option command{.size = sizeof command,
                         .option_id = uapi::kOptionRlimitMode,
                         .op = uapi::kOptionGet,
                         .reserved = 0,
                         .object_id = 0,
                         .val64 = 0};
    const int result = fd.ioctl(uapi::kOption, &command);
    mode = command.val64;
    return result;
}

Result<Context> take(sys::Fd fd, Context::Options options) {
    // A query that needs no privilege, and that no other kind of file answers.
    std::uint64_t mode = 0;
    if (const int result = get_rlimit_mode(fd, mode); result < 0) {
        const int number = fd.number();
        return guarded(Operation::option, [&]() -> Result<Context> {
            return Error::refused(-result, compose("descriptor ", number, " is not an iommufd"),
                                  "it does not answer IOMMU_OPTION",
                                  "pass a descriptor that was opened on /dev/iommu, for reading and writing");
        });
    }
    return Context(
        std::make_shared<ContextNode>(std::move(fd), std::move(options.label), std::move(options.report)));
}

}  // namespace

Result<Context> Context::open() { return open(Options{}); }

Result<Context> Context::open(Options options) {
    return guarded(Operation::open, [&]() -> Result<Context> {
        sys::Kernel& kernel = kernel_of(options);
        sys::Fd fd(kernel, kernel.open(kPath, O_RDWR));
        if (!fd)
            return failed(Operation::open, -fd.number(),
                          [&] { return compose("cannot open ", kPath, " for '", options.label, "'"); });
        return Context(std::make_shared<ContextNode>(std::move(fd), std::move(options.label),
                                                     std::move(options.report)));
    });
}

Result<Context> Context::from(AdoptFd fd, Options options) {
    sys::Fd owned(kernel_of(options), fd.number);
    (void)::fcntl(fd.number, F_SETFD, FD_CLOEXEC);  // if it is none, the query says so
    return guarded(Operation::option, [&] { return take(std::move(owned), std::move(options)); });
}

Result<Context> Context::from(DupFd fd, Options options) {
    return guarded(Operation::dup, [&]() -> Result<Context> {
        sys::Kernel& kernel = kernel_of(options);
        sys::Fd copy(kernel, kernel.dup(fd.number));
        if (!copy)
            return failed(Operation::dup, -copy.number(),
                          [&] { return compose("cannot duplicate descriptor ", fd.number); });
        return take(std::move(copy), std::move(options));
    });
}

Context::Context(std::shared_ptr<ContextNode> node) noexcept : node_(std::move(node)) {}
Context::Context(Context&&) noexcept = default;
Context& Context::operator=(Context&&) noexcept = default;
Context::~Context() = default;

int Context::fd() const noexcept { return node_->fd().number(); }
std::string_view Context::label() const noexcept { return node_->label(); }

Result<RlimitMode> Context::rlimit_mode() const {
    std::uint64_t mode = 0;
    if (const int result = get_rlimit_mode(node_->fd(), mode); result < 0)
        return failed(Operation::option, -result,
                      [&] { return compose("cannot read the accounting mode of '", label(), "'"); });
    return static_cast<RlimitMode>(mode);
}

Result<void> Context::set_rlimit_mode(RlimitMode mode) const {
    uapi::Option command{.size = sizeof command,
                         .option_id = uapi::kOptionRlimitMode,
                         .op = uapi::kOptionSet,
                         .reserved = 0,
                         .object_id = 0,
                         .val64 = static_cast<std::uint64_t>(mode)};
    if (const int result = node_->ioctl(uapi::kOption, &command); result < 0)
        return failed(Operation::option, -result,
                      [&] { return compose("cannot set the accounting mode of '", label(), "'"); });
    return {};
}

Result<void> Context::change_process() const {
    uapi::IoasChangeProcess command{.size = sizeof command, .reserved = 0};
    if (const int result = node_->ioctl(uapi::kIoasChangeProcess, &command); result < 0)
        return failed(Operation::ioas_change_process, -result,
                      [&] { return compose("cannot account the pages of '", label(), "' to this process"); });
    return {};
}

std::vector<NotReleased> Context::not_released() const { return node_->not_released(); }
std::size_t Context::retry_releases() const { return node_->retry_releases(); }
std::uint64_t Context::notices() const noexcept { return node_->notices(); }

}  // namespace iommufd::inline v0_1::core
