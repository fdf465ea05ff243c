// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A value, or the Error that says why there is none.
//
//     auto backend = Backend::open().value();            // throws Failure: for programs that stop on errors
//     if (auto space = dma::Space::on(backend); !space)  // or look first
//         return space.error();
//
// Nothing of this library throws but value(), because the caller asked for it, and what returns a list or a string without a
// Result: std::bad_alloc.
#pragma once

#include <concepts>
#include <expected>
#include <type_traits>
#include <utility>

#include "iommufd/error/error.hpp"

namespace iommufd::inline v0_1 {

template <class T>
class [[nodiscard]] Result {
public:
    using value_type = T;

    Result()
        requires std::is_void_v<T>
    = default;
    Result(Error error) noexcept : inner_(std::unexpect, std::move(error)) {}
    template <class From>
        requires(!std::is_void_v<T> && std::constructible_from<T, From> &&
                 !std::same_as<std::remove_cvref_t<From>, Error> &&
                 !std::same_as<std::remove_cvref_t<From>, Result>)
    Result(From&& value) : inner_(std::in_place, std::forward<From>(value)) {}

    explicit operator bool() const noexcept { return inner_.has_value(); }

    // The value; throws Failure where there is none.
    decltype(auto) value() & { return check(), *inner_; }
    decltype(auto) value() const& { return check(), *inner_; }
    decltype(auto) value() && {
        check();
        if constexpr (!std::is_void_v<T>) return *std::move(inner_);
    }

    // The value, for a caller that has looked.
    decltype(auto) operator*() & noexcept { return *inner_; }
    decltype(auto) operator*() const& noexcept { return *inner_; }
    decltype(auto) operator*() && noexcept { return *std::move(inner_); }
    auto operator->() noexcept { return inner_.operator->(); }
    auto operator->() const noexcept { return inner_.operator->(); }

    // The error; only where there is no value.
    const Error& error() const& noexcept { return inner_.error(); }
    Error error() && noexcept { return std::move(inner_).error(); }

    template <class Other>
        requires(!std::is_void_v<T>)
    T value_or(Other&& other) const& {
        return inner_.value_or(std::forward<Other>(other));
    }

    // f(value) is a Result: the next step, if there is a value.
    template <class F>
    auto and_then(F&& f) && {
        if constexpr (std::is_void_v<T>) {
            using Next = std::invoke_result_t<F>;
            return inner_ ? std::forward<F>(f)() : Next(std::move(inner_).error());
        } else {
            using Next = std::invoke_result_t<F, T&&>;
            return inner_ ? std::forward<F>(f)(*std::move(inner_)) : Next(std::move(inner_).error());
        }
    }

    // f(value) is a value, or nothing: the same Result with another value in it.
    template <class F>
    auto transform(F&& f) && {
        if constexpr (std::is_void_v<T>) {
            using Next = Result<std::remove_cvref_t<std::invoke_result_t<F>>>;
            if (!inner_) return Next(std::move(inner_).error());
            if constexpr (std::is_void_v<typename Next::value_type>)
                return std::forward<F>(f)(), Next();
            else
                return Next(std::forward<F>(f)());
        } else {
            using Next = Result<std::remove_cvref_t<std::invoke_result_t<F, T&&>>>;
            if (!inner_) return Next(std::move(inner_).error());
            if constexpr (std::is_void_v<typename Next::value_type>)
                return std::forward<F>(f)(*std::move(inner_)), Next();
            else
                return Next(std::forward<F>(f)(*std::move(inner_)));
        }
    }

    // f(error) is a Result of the same type: another way, or a better error.
    template <class F>
    Result or_else(F&& f) && {
        return inner_ ? std::move(*this) : std::forward<F>(f)(std::move(inner_).error());
    }

private:
    void check() const {
        if (!inner_) throw Failure(inner_.error());
    }

    std::expected<T, Error> inner_;
};

}  // namespace iommufd::inline v0_1
