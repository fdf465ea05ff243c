// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/error/error.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <new>

#include "error/compose.hpp"
#include "error/probes.hpp"

namespace iommufd::inline v0_1 {

struct Error::Words {
    std::atomic<unsigned> owners = 1;
    int code;
    Operation operation;
    std::string what;
    std::string cause;  // empty: the table knows
    std::string next_step;
};

namespace {

constexpr std::uintptr_t kBare = 1;

constexpr std::uintptr_t bare(Operation operation, int code) noexcept {
    return kBare | (static_cast<std::uintptr_t>(operation) << 8) | (static_cast<std::uintptr_t>(code) << 16);
}

void tell(Operation operation, int code) noexcept {
    if (iommufd_error_semaphore != 0) probes::error(name(operation).data(), code);
}

}  // namespace

Error::Error(Operation operation, int code, std::string what) noexcept : state_(bare(operation, code)) {
    if (auto* const words = new (std::nothrow) Words{
            .code = code, .operation = operation, .what = std::move(what), .cause = {}, .next_step = {}})
        state_ = reinterpret_cast<std::uintptr_t>(words);
    tell(operation, code);
}

Error::Error(Operation operation, int code) noexcept : state_(bare(operation, code)) {
    tell(operation, code);
}

Error Error::refused(int code, std::string what, std::string cause, std::string next_step) noexcept {
    Error error(Operation::none, code, std::move(what));
    error.put(std::move(cause), std::move(next_step));
    return error;
}

void Error::put(std::string cause, std::string next_step) noexcept {
    if (state_ & kBare) return;
    auto* const words = reinterpret_cast<Words*>(state_);
    words->cause = std::move(cause);
    words->next_step = std::move(next_step);
}

Error Error::because(std::string cause, std::string next_step) const noexcept {
    try {
        Error error(operation(), code(), std::string(what()));
        error.put(std::move(cause), std::move(next_step));
        return error;
    } catch (const std::bad_alloc&) {
        return *this;
    }
}

Error::Error(const Error& other) noexcept : state_(other.state_) {
    if (!(state_ & kBare)) reinterpret_cast<Words*>(state_)->owners.fetch_add(1, std::memory_order_relaxed);
}

Error::Error(Error&& other) noexcept : state_(other.state_) { other.state_ = bare(Operation::none, 0); }

Error& Error::operator=(Error other) noexcept {
    std::swap(state_, other.state_);
    return *this;
}

Error::~Error() {
    if (state_ & kBare) return;
    auto* const words = reinterpret_cast<Words*>(state_);
    if (words->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete words;
}

int Error::code() const noexcept {
    return state_ & kBare ? static_cast<int>(state_ >> 16) : reinterpret_cast<Words*>(state_)->code;
}

Operation Error::operation() const noexcept {
    return state_ & kBare ? static_cast<Operation>((state_ >> 8) & 0xff)
                          : reinterpret_cast<Words*>(state_)->operation;
}

std::string_view Error::what() const noexcept {
    return state_ & kBare ? name(operation()) : std::string_view(reinterpret_cast<Words*>(state_)->what);
}

std::string_view Error::cause() const noexcept {
    if (!(state_ & kBare) && !reinterpret_cast<Words*>(state_)->cause.empty())
        return reinterpret_cast<Words*>(state_)->cause;
    return explain(operation(), code()).cause;
}

std::string_view Error::next_step() const noexcept {
    if (!(state_ & kBare) && !reinterpret_cast<Words*>(state_)->cause.empty())
        return reinterpret_cast<Words*>(state_)->next_step;
    return explain(operation(), code()).next_step;
}

std::string Error::text() const {
    std::string text = compose(what(), ": ", errno_name(code()));
    if (!cause().empty()) text += compose("\n  ", cause());
    if (!next_step().empty()) text += compose("\n  ", next_step());
    return text;
}

std::string Error::line() const {
    std::string text = compose(what(), ": ", errno_name(code()));
    if (!cause().empty()) text += compose(" (", cause(), ")");
    if (!next_step().empty()) text += compose("; ", next_step());
    // Paths and labels may have anything in them, line ends and what a terminal obeys included.
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (std::size_t at = 0; at < text.size(); ++at) {
        const auto byte = static_cast<unsigned char>(text[at]);
        if (byte >= 0x20 && byte != 0x7f) continue;
        text.replace(at, 1, {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 0xf]});
    }
    return text;
}

Error Error::within(std::string_view wider) const noexcept {
    try {
        Error error(operation(), code(), compose(wider, ": ", what()));
        if (!(error.state_ & kBare) && !(state_ & kBare)) {
            reinterpret_cast<Words*>(error.state_)->cause = reinterpret_cast<Words*>(state_)->cause;
            reinterpret_cast<Words*>(error.state_)->next_step = reinterpret_cast<Words*>(state_)->next_step;
        }
        return error;
    } catch (const std::bad_alloc&) {
        return *this;
    }
}

std::string errno_name(int code) {
    if (const char* const name = ::strerrorname_np(code)) return name;
    return compose("errno ", code);
}

std::string size_text(std::uint64_t bytes) {
    constexpr std::string_view kUnits[] = {" bytes", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    std::size_t unit = 0;
    while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits)) {
        bytes /= 1024;
        ++unit;
    }
    return compose(bytes, kUnits[unit]);
}

Failure::Failure(Error error) : error_(std::move(error)), text_(error_.text()) {}

}  // namespace iommufd::inline v0_1
