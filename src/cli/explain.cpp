// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/explain.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "error/compose.hpp"
#include "error/operations.hpp"
#include "error/table.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr int kLastErrno = 4095;

std::string upper(std::string_view text) {
    std::string result(text);
    std::ranges::transform(result, result.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? char(c - 'a' + 'A') : c; });
    return result;
}

// Those of that name; else those that have it after a prefix.
std::vector<const OperationFacts*> find_operations(std::string_view text) {
    const std::string wanted = upper(text);
    std::vector<const OperationFacts*> exact;
    std::vector<const OperationFacts*> prefixed;
    for (const OperationFacts& facts : kOperations) {
        if (facts.operation == Operation::none) continue;
        const std::string name = upper(facts.name);
        if (name == wanted) exact.push_back(&facts);
        if (name.ends_with("_" + wanted)) prefixed.push_back(&facts);
    }
    return exact.empty() ? prefixed : exact;
}

std::optional<int> find_errno(const std::string& text) {
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc() && end == text.data() + text.size() && number >= 1 && number <= kLastErrno)
        return number;
    std::string wanted = upper(text);
    for (const auto& [other, name] : {std::pair("EWOULDBLOCK", "EAGAIN"), std::pair("ENOTSUP", "EOPNOTSUPP"),
                                      std::pair("EDEADLOCK", "EDEADLK")})
        if (wanted == other) wanted = name;
    for (int code = 1; code <= kLastErrno; ++code)
        if (errno_name(code) == wanted) return code;
    return std::nullopt;
}

std::string title(const OperationFacts& facts) {
    return facts.since.empty() ? std::string(facts.name) : compose(facts.name, " (Linux ", facts.since, ")");
}

std::string entry(const OperationFacts& facts, int code) {
    const Explanation found = iommufd::explain(facts.operation, code);
    const bool own = std::ranges::any_of(
        table_rows(), [&](const Row& row) { return row.operation == facts.operation && row.code == code; });
    return compose(title(facts), ": ", errno_name(code), own ? "" : ", as of any operation", "\n  ",
                   found.cause, "\n  ", found.next_step, "\n");
}

std::string all_operations() {
    std::string text;
    for (const OperationFacts& facts : kOperations)
        if (facts.operation != Operation::none) text += title(facts) + "\n";
    return text;
}

}  // namespace

Result<std::string> explain_table(const std::string& operation, const std::string& code) {
    if (operation.empty()) return all_operations();
    const auto found = find_operations(operation);
    if (found.empty())
        return Error::refused(ENOENT, compose("cannot explain '", operation, "'"),
                              "there is no such operation", "`iommufd explain` lists them");
    const auto number = find_errno(code);
    if (!code.empty() && !number)
        return Error::refused(EINVAL, compose("cannot explain '", code, "'"), "there is no such errno",
                              "give its name, ENOMEM, or its number");
    std::string text;
    for (const OperationFacts* const facts : found) {
        if (number) text += entry(*facts, *number);
        if (number) continue;
        for (const Row& row : table_rows())
            if (row.operation == facts->operation) text += entry(*facts, row.code);
    }
    return text;
}

int explain(const std::string& operation, const std::string& code) {
    const auto text = explain_table(operation, code);
    if (!text) return fail(kUsage, text.error());
    fmt::print("{}", *text);
    return kDone;
}

}  // namespace iommufd::inline v0_1::cli
