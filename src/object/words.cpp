// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "object/words.hpp"

#include <algorithm>
#include <cerrno>
#include <numeric>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::object {
namespace {

// How many letters must be inserted, deleted, replaced, or swapped with their neighbour.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> before_last(b.size() + 1);
    std::vector<std::size_t> last(b.size() + 1);
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::swap(before_last, last);
        std::swap(last, row);
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
    }
    return row[b.size()];
}

}  // namespace

std::string quote(std::string_view text) {
    constexpr std::size_t kMost = 80;
    constexpr std::string_view kDigits = "0123456789abcdef";
    const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) == 0x80; };
    std::size_t length = std::min(text.size(), kMost);
    // Not within a character of UTF-8, which has at most three bytes more.
    for (int i = 0; i < 3 && length < text.size() && continues(text[length]); ++i) --length;
    std::string quoted = "'";
    for (const char c : text.substr(0, length)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte != 0x7f)
            quoted += c;
        else
            quoted.append("\\x").append({kDigits[byte >> 4], kDigits[byte & 0xf]});
    }
    return quoted += text.size() > length ? "...'" : "'";
}

std::string list_text(const std::vector<std::string>& items, std::string_view last) {
    std::string text;
    for (std::size_t i = 0; i < items.size(); ++i) {
        if (i != 0) text += i + 1 == items.size() ? compose(" ", last, " ") : std::string(", ");
        text += items[i];
    }
    return text;
}

std::string joined(const std::vector<std::string>& items) {
    std::string text;
    for (const std::string& item : items) text += compose(text.empty() ? "" : ",", item);
    return text;
}

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& words) {
    constexpr std::size_t kLongest = 64;  // of what a hand has typed; the effort grows with its square
    if (word.empty() || word.size() > kLongest) return {};
    std::string_view best;
    std::size_t least = (word.size() + 2) / 3 + 1;
    constexpr std::size_t kTelling = 3;  // letters of a beginning that say what was meant
    for (const std::string_view candidate : words)
        if (word.size() >= kTelling && candidate.starts_with(word)) return candidate;
    for (const std::string_view candidate : words)
        if (const std::size_t distance = edit_distance(word, candidate); distance < least) {
            best = candidate;
            least = distance;
        }
    return best;
}

std::string suggestion(std::string_view word, const std::vector<std::string_view>& words,
                       std::string_view otherwise) {
    if (const std::string_view meant = nearest(word, words); !meant.empty())
        return compose("did you mean '", meant, "'?");
    return compose(otherwise, list_text({words.begin(), words.end()}, "and"));
}

std::string call(const Definition& definition) {
    if (!definition.id.empty() && !definition.type.empty())
        return compose(find_type(definition.type) ? definition.type : quote(definition.type), " ",
                       quote(definition.id));
    if (!definition.origin.empty()) return quote(definition.origin);
    if (!definition.type.empty()) return compose("a ", quote(definition.type));
    return definition.id.empty() ? "an object" : quote(definition.id);
}

Error cannot_create(const Definition& definition, std::string cause, std::string next_step, int code) {
    return Error::refused(code, compose("cannot create ", call(definition)), std::move(cause),
                          std::move(next_step));
}

Error cannot_create(const Definition& definition, std::string cause, std::string next_step) {
    return cannot_create(definition, std::move(cause), std::move(next_step), EINVAL);
}

}  // namespace iommufd::inline v0_1::object
