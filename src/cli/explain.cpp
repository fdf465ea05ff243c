// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/explain.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "error/compose.hpp"
#include "error/operations.hpp"
#include "error/table.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

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

ExplainedError of(const OperationFacts& facts) { return {.operation = facts.name, .since = facts.since}; }

ExplainedError of(const OperationFacts& facts, int code) {
    const Explanation found = iommufd::explain(facts.operation, code);
    const bool own = std::ranges::any_of(
        table_rows(), [&](const Row& row) { return row.operation == facts.operation && row.code == code; });
    return {.operation = facts.name,
            .since = facts.since,
            .errno_name = std::string(errno_name(code)),
            .of_any_operation = !own,
            .cause = found.cause,
            .next_step = found.next_step};
}

std::vector<ExplainedError> all_operations() {
    std::vector<ExplainedError> all;
    for (const OperationFacts& facts : kOperations)
        if (facts.operation != Operation::none) all.push_back(of(facts));
    return all;
}

}  // namespace

Result<std::vector<ExplainedError>> explained(const std::string& operation, const std::string& code) {
    if (operation.empty()) return all_operations();
    const auto found = find_operations(operation);
    if (found.empty())
        return Error::refused(ENOENT, compose("cannot explain '", operation, "'"),
                              "there is no such operation", "`iommufd explain` lists them");
    const auto number = find_errno(code);
    if (!code.empty() && !number)
        return Error::refused(EINVAL, compose("cannot explain '", code, "'"), "there is no such errno",
                              "give its name, ENOMEM, or its number");
    std::vector<ExplainedError> errors;
    for (const OperationFacts* const facts : found) {
        if (number) errors.push_back(of(*facts, *number));
        if (number) continue;
        for (const Row& row : table_rows())
            if (row.operation == facts->operation) errors.push_back(of(*facts, row.code));
    }
    return errors;
}

std::string text_of(const std::vector<ExplainedError>& errors) {
    std::string text;
    for (const ExplainedError& error : errors) {
        text += error.operation;
        if (!error.since.empty()) text += compose(" (Linux ", error.since, ")");
        if (!error.errno_name.empty())
            text += compose(": ", error.errno_name, error.of_any_operation ? ", as of any operation" : "",
                            "\n  ", error.cause, "\n  ", error.next_step);
        text += '\n';
    }
    return text;
}

std::string json_of(const std::vector<ExplainedError>& errors) {
    Json all = Json::array();
    for (const ExplainedError& error : errors) {
        Json row = {{"operation", error.operation},
                    {"since", error.since.empty() ? Json() : Json(error.since)}};
        if (!error.errno_name.empty())
            row.update({{"errno", error.errno_name},
                        {"of-any-operation", error.of_any_operation},
                        {"cause", error.cause},
                        {"next-step", error.next_step}});
        all.push_back(std::move(row));
    }
    return all.dump(2);
}

int explain(const std::string& operation, const std::string& code, bool json) {
    const auto errors = explained(operation, code);
    if (!errors) return fail(kUsage, errors.error());
    json ? fmt::print("{}\n", json_of(*errors)) : fmt::print("{}", text_of(*errors));
    return kDone;
}

}  // namespace iommufd::inline v0_1::cli
