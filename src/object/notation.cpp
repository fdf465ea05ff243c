// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/notation.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::object {
namespace {

// Not <cctype>, which asks the locale.
bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool is_letter(char c) noexcept { return lower(c) >= 'a' && lower(c) <= 'z'; }
bool is_hex_digit(char c) noexcept { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f'); }

// All of the text, which begins with a digit.
std::optional<std::uint64_t> read_digits(std::string_view text, int base) noexcept {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// What a decimal fraction (digits after the point) is of `unit` bytes, to the nearest.
std::optional<std::uint64_t> read_fraction(std::string_view digits, std::uint64_t unit) noexcept {
    if (!std::ranges::all_of(digits, is_digit)) return std::nullopt;
    long double fraction = 0;
    for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit)
        fraction = (fraction + static_cast<long double>(*digit - '0')) / 10;
    return static_cast<std::uint64_t>(std::llround(fraction * static_cast<long double>(unit)));
}

std::string_view cut(std::string_view& text, char separator) noexcept {
    const std::size_t end = text.find(separator);
    const std::string_view piece = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return piece;
}

}  // namespace

bool is_id(std::string_view text) noexcept {
    return !text.empty() && is_letter(text.front()) && std::ranges::all_of(text, [](char c) {
        return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_';
    });
}

std::optional<std::uint64_t> read_number(std::string_view text) noexcept {
    if (text.starts_with("0x") || text.starts_with("0X")) return read_digits(text.substr(2), 16);
    return read_digits(text, 10);
}

std::optional<std::uint64_t> read_size(std::string_view text) noexcept {
    if (const auto bytes = read_number(text)) return bytes;
    constexpr std::string_view kUnits = "bkmgtpe";
    const std::size_t exponent = text.empty() ? kUnits.npos : kUnits.find(lower(text.back()));
    if (exponent == kUnits.npos) return std::nullopt;
    const std::uint64_t unit = std::uint64_t{1} << 10 * exponent;
    text.remove_suffix(1);
    const std::size_t point = text.find('.');
    const auto whole = read_digits(text.substr(0, point), 10);
    const bool has_fraction = point != text.npos;
    // A fraction of a byte is no size.
    const auto fraction = !has_fraction   ? std::optional<std::uint64_t>(0)
                          : exponent == 0 ? std::nullopt
                                          : read_fraction(text.substr(point + 1), unit);
    constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();
    if (!whole || !fraction || *whole > kMost / unit || *fraction > kMost - *whole * unit)
        return std::nullopt;
    return *whole * unit + *fraction;
}

std::optional<bool> read_boolean(std::string_view text) noexcept {
    constexpr std::array kTrue = {"on", "yes", "true", "y"};
    constexpr std::array kFalse = {"off", "no", "false", "n"};
    if (std::ranges::find(kTrue, text) != kTrue.end()) return true;
    if (std::ranges::find(kFalse, text) != kFalse.end()) return false;
    return std::nullopt;
}

std::optional<std::pair<std::uint64_t, std::uint64_t>> read_node_range(std::string_view text) noexcept {
    const bool is_range = text.contains('-');
    const auto first = read_digits(cut(text, '-'), 10);
    const auto last = is_range ? read_digits(text, 10) : first;
    if (!first || !last || *first > *last) return std::nullopt;
    return std::pair(*first, *last);
}

std::optional<std::string> read_pci_address(std::string_view text) {
    std::string_view rest = text;
    const bool has_domain = std::ranges::count(text, ':') == 2;
    const std::string_view domain = has_domain ? cut(rest, ':') : "0";
    const std::string_view bus = cut(rest, ':');
    const std::string_view slot = cut(rest, '.');
    std::string address;
    struct Part {
        std::string_view digits;
        std::uint64_t most;
        std::size_t width;
        std::string_view before;
    };
    for (const Part& part : {Part{domain, 0xffff'ffff, 4, ""}, Part{bus, 0xff, 2, ":"},
                             Part{slot, 0x1f, 2, ":"}, Part{rest, 7, 1, "."}}) {
        const auto number = read_digits(part.digits, 16);
        if (!number || *number > part.most) return std::nullopt;
        std::string digits;
        append(digits, Hex{*number});
        digits.erase(0, 2);
        address += part.before;
        address.append(part.width - std::min(part.width, digits.size()), '0').append(digits);
    }
    return address;
}

bool is_uuid(std::string_view text) noexcept {
    constexpr std::string_view kForm = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    return std::ranges::equal(text, kForm,
                              [](char c, char form) { return form == 'x' ? is_hex_digit(c) : c == form; });
}

std::string_view value_noun(const PropertyInfo& property) noexcept {
    switch (property.kind) {
        case ValueKind::text:
            return "text";
        case ValueKind::path:
            return "path";
        case ValueKind::descriptor:
            return "descriptor";
        case ValueKind::size:
            return "size";
        case ValueKind::address:
            return "address";
        case ValueKind::boolean:
            return "boolean";
        case ValueKind::number:
            return "number that it takes";
        case ValueKind::nodes:
            return "NUMA node";
        case ValueKind::choice:
            return "value that it takes";
        case ValueKind::reference:
            return "id";
        case ValueKind::pci_address:
            return "PCI address";
        case ValueKind::uuid:
            return "UUID";
    }
    return {};
}

std::string canonical(const PropertyInfo& property, std::string_view value) {
    switch (property.kind) {
        case ValueKind::size:
            return compose(read_size(value).value_or(0));
        case ValueKind::address:
            return compose(Hex{read_size(value).value_or(0)});
        case ValueKind::boolean:
            return read_boolean(value).value_or(false) ? "on" : "off";
        case ValueKind::descriptor:
        case ValueKind::number:
            return compose(read_number(value).value_or(0));
        case ValueKind::pci_address:
            return read_pci_address(value).value_or("");
        default:
            return std::string(value);
    }
}

}  // namespace iommufd::inline v0_1::object
