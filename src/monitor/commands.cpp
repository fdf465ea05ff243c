// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "monitor/commands.hpp"

#include <algorithm>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

using enum Parameter::Kind;

constexpr Parameter kEnable[] = {{.name = "enable", .kind = texts, .required = false}};
constexpr Parameter kFdname[] = {{.name = "fdname"}};
constexpr Parameter kTypeAndId[] = {{.name = "qom-type"}, {.name = "id"}};
constexpr Parameter kId[] = {{.name = "id"}};
constexpr Parameter kPath[] = {{.name = "path"}};
constexpr Parameter kPathAndProperty[] = {{.name = "path"}, {.name = "property"}};
constexpr Parameter kTypes[] = {{.name = "implements", .required = false},
                                {.name = "abstract", .kind = boolean, .required = false}};
constexpr Parameter kTypename[] = {{.name = "typename"}};
constexpr Parameter kOneSpace[] = {{.name = "id", .required = false}};
constexpr Parameter kDirtyStart[] = {{.name = "id"}, {.name = "from", .required = false}};
constexpr Parameter kDirtySync[] = {{.name = "id"},
                                    {.name = "iova", .kind = number, .required = false},
                                    {.name = "size", .kind = number, .required = false}};

constexpr Command kCommands[] = {
    {.name = "qmp_capabilities", .run = negotiate, .parameters = kEnable, .negotiates = true},
    {.name = "query-version", .run = query_version},
    {.name = "query-commands", .run = query_commands},
    {.name = "query-qmp-schema", .run = query_schema},
    {.name = "query-status", .run = query_status},
    {.name = "quit", .run = quit},
    {.name = "getfd", .run = get_descriptor, .parameters = kFdname},
    {.name = "closefd", .run = close_descriptor, .parameters = kFdname},
    {.name = "object-add", .run = add_object, .parameters = kTypeAndId, .takes_more = true},
    {.name = "object-del", .run = delete_object, .parameters = kId},
    {.name = "device_add", .run = add_device, .takes_more = true},
    {.name = "device_del", .run = delete_device, .parameters = kId},
    {.name = "qom-list", .run = list_node, .parameters = kPath},
    {.name = "qom-get", .run = get_property, .parameters = kPathAndProperty},
    {.name = "qom-list-types", .run = list_types, .parameters = kTypes},
    {.name = "qom-list-properties", .run = list_properties, .parameters = kTypename},
    {.name = "device-list-properties", .run = list_device_properties, .parameters = kTypename},
    {.name = "query-iommufd", .run = query_iommufd},
    {.name = "query-address-spaces", .run = query_address_spaces, .parameters = kOneSpace},
    {.name = "query-devices", .run = query_devices},
    {.name = "dirty-log-start", .run = start_dirty_log, .parameters = kDirtyStart},
    {.name = "dirty-log-sync", .run = sync_dirty_log, .parameters = kDirtySync},
    {.name = "dirty-log-stop", .run = stop_dirty_log, .parameters = kId},
};

Refusal wrong_kind(std::string_view name, std::string_view expected) {
    return {.text = compose("Invalid parameter type for '", name, "', expected: ", expected)};
}

std::optional<Refusal> check_kind(const Parameter& parameter, const Json& value) {
    switch (parameter.kind) {
        case text:
            if (!value.text()) return wrong_kind(parameter.name, "string");
            break;
        case boolean:
            if (!value.boolean()) return wrong_kind(parameter.name, "boolean");
            break;
        case number:
            if (!value.natural())
                return Refusal{.text = compose("Parameter '", parameter.name, "' expects uint64")};
            break;
        case texts: {
            const Json::Array* const elements = value.array();
            if (!elements) return wrong_kind(parameter.name, "array");
            for (std::size_t i = 0; i < elements->size(); ++i)
                if (!(*elements)[i].text()) return wrong_kind(compose(parameter.name, "[", i, "]"), "string");
        }
    }
    return std::nullopt;
}

}  // namespace

std::span<const Command> commands() noexcept { return kCommands; }

const Command* find_command(std::string_view name) noexcept {
    const auto* const found = std::ranges::find(kCommands, name, &Command::name);
    return found == std::end(kCommands) ? nullptr : found;
}

std::optional<Refusal> check_arguments(const Command& command, const Json& arguments) {
    for (const Parameter& parameter : command.parameters) {
        if (const Json* const given = arguments.find(parameter.name)) {
            if (auto refusal = check_kind(parameter, *given)) return refusal;
        } else if (parameter.required) {
            return Refusal{.text = compose("Parameter '", parameter.name, "' is missing")};
        }
    }
    if (command.takes_more) return std::nullopt;
    for (const Json::Member& member : *arguments.object())
        if (std::ranges::find(command.parameters, member.key, &Parameter::name) == command.parameters.end())
            return Refusal{.text = compose("Parameter '", member.key, "' is unexpected")};
    return std::nullopt;
}

}  // namespace iommufd::inline v0_1::monitor
