// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An address space as a picture: the whole of its IOVAs in ascending order, divided into what is mapped, free and out of reach.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace iommufd::inline v0_1::cli {

struct Segment {
    enum class Kind : std::uint8_t { mapped, planned, troubled, free, reserved };
    std::uint64_t first;
    std::uint64_t last;
    Kind kind;
    std::string text;  // of what is mapped: "ram+0x0, 2M pages"
};

// `space` is one of query-address-spaces'. Mappings are told in full; of the rest what `reachable` leaves out is reserved.
std::vector<Segment> segments(const nlohmann::ordered_json& space);

// "free", "mapped": as the picture's legend has it.
std::string_view word(Segment::Kind kind);

// Lines, of which the bar grows with the logarithm of the size.
std::string draw_text(const std::vector<Segment>& segments, bool coloured);
// A whole SVG file of all the spaces, side by side.
std::string draw_svg(const nlohmann::ordered_json& spaces);

}  // namespace iommufd::inline v0_1::cli
