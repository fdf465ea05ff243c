// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The edge between C and C++: what every function of the C API is made of.
//
//     return call([&]() -> Result<int> { ... });    a Result becomes 0, a count, or a negative errno; the error is kept
//                                                   for iommufd_error_text()
//     auto given = options_of(options);             a struct that may be older or newer than this library
//     return answer(info, {...});                   the same on the way out
//
// Threads: a thread's last error is its own.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>

#include "capi/kernel_handle.hpp"
#include "iommufd/capi/error.h"
#include "iommufd/error/result.hpp"

// Keeps an error as the last of this thread; returns its errno, negative. For the model's library: no part of the API.
extern "C" [[gnu::visibility("default")]] int iommufd_private_fail(const iommufd::Error& error) noexcept;

namespace iommufd::inline v0_1::capi {

// A sentence and its reasons; without memory the errno alone.
inline Error refused(int code, std::string_view what, std::string_view cause,
                     std::string_view next_step) noexcept {
    try {
        return Error::refused(code, std::string(what), std::string(cause), std::string(next_step));
    } catch (const std::bad_alloc&) {
        return Error(Operation::none, code);
    }
}

inline Error is_null(std::string_view what) noexcept {
    try {
        return Error::refused(EINVAL, "cannot do without " + std::string(what), "it is NULL",
                              "make it first");
    } catch (const std::bad_alloc&) {
        return Error(Operation::none, EINVAL);
    }
}

// f() returns Result<T>: T is void or an integer that is not negative.
template <class F>
auto call(F&& f) noexcept {
    using T = std::invoke_result_t<F>::value_type;
    using Answer =
        std::conditional_t<sizeof(std::conditional_t<std::is_void_v<T>, int, T>) == 8, std::int64_t, int>;
    try {
        auto result = std::forward<F>(f)();
        if (!result) return Answer{iommufd_private_fail(result.error())};
        if constexpr (std::is_void_v<T>)
            return Answer{0};
        else
            return static_cast<Answer>(*result);
    } catch (const std::bad_alloc&) {
        return Answer{iommufd_private_fail(Error(Operation::none, ENOMEM))};
    }
}

// What the caller gave, with zeroes for what is not there.
template <class Options>
Result<Options> options_of(const Options* given) noexcept {
    Options options{};
    options.size = sizeof options;
    if (!given) return options;
    if (given->size < sizeof options)
        return refused(EINVAL, "cannot read the options", "their size is that of no version of this library",
                       "set it: {.size = sizeof options}");
    const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
    for (std::size_t i = sizeof options; i < given->size; ++i)
        if (bytes[i] != 0)
            return refused(E2BIG, "cannot read the options", "one that is set is newer than this library",
                           "install a newer libiommufd-c1, or do without it");
    std::memcpy(&options, given, sizeof options);
    return options;
}

template <class Flags>
Result<void> check_flags(Flags given, Flags known) noexcept {
    if ((given & ~known) == 0) return {};
    return refused(EINVAL, "cannot read the options", "a flag or value is none of this version's",
                   "take those of the header");
}

// Writes as much as the caller has room for.
template <class Answer>
Result<void> answer(Answer* to, Answer value) noexcept {
    if (!to) return is_null("the answer");
    const std::size_t size = to->size;
    if (size < sizeof(std::size_t))
        return refused(EINVAL, "cannot answer", "the answer's size is not set",
                       "set it: {.size = sizeof answer}");
    value.size = size;
    if (size > sizeof value) std::memset(reinterpret_cast<char*>(to) + sizeof value, 0, size - sizeof value);
    std::memcpy(static_cast<void*>(to), &value, size < sizeof value ? size : sizeof value);
    return {};
}

// As snprintf; a length that int can't tell is cut off.
inline Result<int> write_text(std::string_view from, char* text, std::size_t length) noexcept {
    if (!text && length != 0) return is_null("the text");
    if (length != 0) {
        const std::size_t copied = from.size() < length ? from.size() : length - 1;
        std::memcpy(text, from.data(), copied);
        text[copied] = '\0';
    }
    constexpr auto kMost = static_cast<std::size_t>(std::numeric_limits<int>::max());
    return static_cast<int>(from.size() < kMost ? from.size() : kMost);
}

// "IOAS_MAP"; ENOENT.
Result<Operation> operation_called(std::string_view text) noexcept;

// Null: the machine's own.
Result<sys::Kernel*> kernel_of(const iommufd_kernel* given) noexcept;

}  // namespace iommufd::inline v0_1::capi
