// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The commands of a session: one table, from which come the look-up, the checks of the arguments, and query-commands.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "monitor/answer.hpp"
#include "monitor/monitor.hpp"
#include "monitor/session.hpp"

namespace iommufd::inline v0_1::monitor {

struct Call {
    Monitor& monitor;
    Session& session;
    const Json& arguments;  // of the kinds that the table says, and there where they are required

    const std::string& text(std::string_view name) const { return *arguments.find(name)->text(); }
    // Null: it isn't given.
    const Json* find(std::string_view name) const { return arguments.find(name); }
};

struct Parameter {
    enum class Kind : std::uint8_t { text, boolean, number, texts };
    std::string_view name;
    Kind kind = Kind::text;
    bool required = true;
};

struct Command {
    std::string_view name;
    Answer (*run)(const Call& call);
    std::span<const Parameter> parameters = {};
    bool takes_more = false;  // other arguments besides those, which it checks itself
    bool negotiates = false;  // the one that is allowed before all others
};

std::span<const Command> commands() noexcept;
// Null: there is none.
const Command* find_command(std::string_view name) noexcept;
// Nothing: they are all right.
std::optional<Refusal> check_arguments(const Command& command, const Json& arguments);

// {"QMP": ...}
Json greeting(const Monitor& monitor);

// Of QEMU.
Answer negotiate(const Call& call);
Answer query_version(const Call& call);
Answer query_commands(const Call& call);
Answer query_schema(const Call& call);
Answer query_status(const Call& call);
Answer quit(const Call& call);
Answer get_descriptor(const Call& call);
Answer close_descriptor(const Call& call);
Answer add_object(const Call& call);
Answer delete_object(const Call& call);
Answer add_device(const Call& call);
Answer delete_device(const Call& call);
Answer list_node(const Call& call);
Answer get_property(const Call& call);
Answer list_types(const Call& call);
Answer list_properties(const Call& call);
Answer list_device_properties(const Call& call);
// Ours.
Answer query_iommufd(const Call& call);
Answer query_address_spaces(const Call& call);
Answer query_devices(const Call& call);
Answer start_dirty_log(const Call& call);
Answer sync_dirty_log(const Call& call);
Answer stop_dirty_log(const Call& call);

}  // namespace iommufd::inline v0_1::monitor
