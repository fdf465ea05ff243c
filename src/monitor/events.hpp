// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The events that clients are told of, for query-qmp-schema.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace iommufd::inline v0_1::monitor {

struct EventMember {
    enum class Kind : std::uint8_t { text, texts, boolean, number };
    std::string_view name;
    Kind kind = Kind::text;
    bool always = true;
};

struct EventInfo {
    std::string_view name;
    std::span<const EventMember> data;
};

std::span<const EventInfo> events() noexcept;

}  // namespace iommufd::inline v0_1::monitor
