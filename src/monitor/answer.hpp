// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a command says: a value, or why not, in one of QMP's classes.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "iommufd/error/error.hpp"
#include "monitor/json.hpp"

namespace iommufd::inline v0_1::monitor {

struct Refusal {
    std::string text;
    std::string_view error_class = "GenericError";
};

using Answer = std::expected<Json, Refusal>;

// What a command says that has nothing to say.
inline Json nothing() { return Json::Object{}; }

inline std::unexpected<Refusal> refuse(std::string text) {
    return std::unexpected(Refusal{.text = std::move(text)});
}
// In the library's own words.
inline std::unexpected<Refusal> refuse(const Error& error) { return refuse(error.line()); }
inline std::unexpected<Refusal> refuse_command(std::string text) {
    return std::unexpected(Refusal{.text = std::move(text), .error_class = "CommandNotFound"});
}
inline std::unexpected<Refusal> refuse_device(std::string text) {
    return std::unexpected(Refusal{.text = std::move(text), .error_class = "DeviceNotFound"});
}

}  // namespace iommufd::inline v0_1::monitor
