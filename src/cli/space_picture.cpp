// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/space_picture.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <bit>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

// 2^64 bytes have no number of their own.
std::string size_of(const Segment& segment) {
    const std::uint64_t length = segment.last - segment.first + 1;
    return length == 0 ? "16777216 TiB" : size_text(length);
}

// 1 for a page, 14 for all.
std::size_t weight(const Segment& segment) {
    const auto bits = static_cast<std::size_t>(std::bit_width(segment.last - segment.first));
    return bits <= 12 ? 1 : 1 + (bits - 12) / 4;
}

const char* colour(Segment::Kind kind) {
    constexpr const char* kColours[] = {"\033[32m", "\033[36m", "\033[31m", "\033[2m", "\033[33m"};
    return kColours[static_cast<std::size_t>(kind)];
}

const char* fill(Segment::Kind kind) {
    constexpr const char* kFills[] = {"#7bb662", "#8ec9d4", "#d9534f", "#f2f2f2", "#c9a66b"};
    return kFills[static_cast<std::size_t>(kind)];
}

Segment::Kind kind_of(const std::string& state) {
    if (state == "mapped") return Segment::Kind::mapped;
    if (state == "planned") return Segment::Kind::planned;
    return Segment::Kind::troubled;
}

std::string escaped(const std::string& text) {
    std::string safe;
    for (const char character : text) switch (character) {
            case '<':
                safe += "&lt;";
                break;
            case '>':
                safe += "&gt;";
                break;
            case '&':
                safe += "&amp;";
                break;
            case '"':
                safe += "&quot;";
                break;
            default:
                safe += character;
        }
    return safe;
}

// What lies between two mappings: free where it is within one of the reachable ranges.
void add_gap(std::vector<Segment>& all, const Json& reachable, std::uint64_t first, std::uint64_t last) {
    std::uint64_t next = first;
    for (const Json& range : reachable) {
        const auto from = std::max(range.at("first").get<std::uint64_t>(), first);
        const auto to = std::min(range.at("last").get<std::uint64_t>(), last);
        if (from > to) continue;
        if (from > next)
            all.push_back({.first = next, .last = from - 1, .kind = Segment::Kind::reserved, .text = {}});
        all.push_back({.first = from, .last = to, .kind = Segment::Kind::free, .text = {}});
        if (to == last) return;
        next = to + 1;
    }
    all.push_back({.first = next, .last = last, .kind = Segment::Kind::reserved, .text = {}});
}

}  // namespace

std::string_view word(Segment::Kind kind) {
    constexpr std::string_view kWords[] = {"mapped", "planned", "not as it should be", "free", "reserved"};
    return kWords[static_cast<std::size_t>(kind)];
}

std::vector<Segment> segments(const Json& space) {
    std::vector<Segment> all;
    const Json& reachable = space.at("reachable");
    std::uint64_t next = 0;
    for (const Json& mapping : space.at("mappings")) {
        const auto first = mapping.at("iova").get<std::uint64_t>();
        const auto last = first + (mapping.at("size").get<std::uint64_t>() - 1);
        if (first > next) add_gap(all, reachable, next, first - 1);
        const std::string state = mapping.at("state");
        all.push_back({.first = first,
                       .last = last,
                       .kind = kind_of(state),
                       .text = compose(mapping.at("memory").get<std::string>(), "+",
                                       Hex{mapping.at("offset").get<std::uint64_t>()},
                                       mapping.at("readonly").get<bool>() ? ", read-only" : "",
                                       state == "mapped" ? "" : ", ", state == "mapped" ? "" : state)});
        if (last == ~std::uint64_t{0}) return all;
        next = last + 1;
    }
    add_gap(all, reachable, next, ~std::uint64_t{0});
    return all;
}

std::string draw_text(const std::vector<Segment>& segments, bool coloured) {
    std::string text;
    for (const Segment& segment : segments) {
        std::string bar;
        for (std::size_t i = 0; i < weight(segment); ++i)
            bar += segment.kind == Segment::Kind::free       ? "."
                   : segment.kind == Segment::Kind::reserved ? "x"
                                                             : "#";
        text += fmt::format("  {:#018x}  {:>14}  {}{:<14}{}  {}{}\n", segment.first, size_of(segment),
                            coloured ? colour(segment.kind) : "", bar, coloured ? "\033[0m" : "",
                            word(segment.kind), segment.text.empty() ? "" : "  " + segment.text);
    }
    return text;
}

std::string draw_svg(const Json& spaces) {
    constexpr std::size_t kWidth = 520;
    constexpr std::size_t kTop = 40;
    constexpr std::size_t kStep = 14;
    std::string columns;
    std::size_t highest = kTop;
    std::size_t left = 10;
    for (const Json& space : spaces) {
        std::size_t top = kTop;
        columns += fmt::format("<text x=\"{}\" y=\"24\" font-weight=\"bold\">{}</text>\n", left,
                               escaped(space.at("id").get<std::string>()));
        for (const Segment& segment : segments(space)) {
            const std::size_t height = kStep + 4 + weight(segment) * 2;
            columns += fmt::format(
                "<rect x=\"{}\" y=\"{}\" width=\"110\" height=\"{}\" fill=\"{}\" stroke=\"#555\"/>\n"
                "<text x=\"{}\" y=\"{}\">{:#x}  {}  {}{}</text>\n",
                left, top, height, fill(segment.kind), left + 118, top + kStep, segment.first,
                size_of(segment), word(segment.kind),
                segment.text.empty() ? "" : "  " + escaped(segment.text));
            top += height;
        }
        highest = std::max(highest, top);
        left += kWidth;
    }
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" font-family=\"monospace\" "
        "font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
        left, highest + 10, columns);
}

}  // namespace iommufd::inline v0_1::cli
