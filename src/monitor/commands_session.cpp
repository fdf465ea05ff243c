// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The commands about the session itself, the program, and passed descriptors.
#include "error/compose.hpp"
#include "monitor/commands.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

Json version_of(const Monitor& monitor) {
    const Version& version = monitor.options().version;
    return Json::of("qemu", Json::of("major", version.major, "minor", version.minor, "micro", version.micro),
                    "package", version.package);
}

}  // namespace

Json greeting(const Monitor& monitor) {
    return Json::of("QMP", Json::of("version", version_of(monitor), "capabilities", Json::Array{}));
}

Answer negotiate(const Call& call) {
    const Json* const enable = call.find("enable");
    const Json::Array wanted = enable ? *enable->array() : Json::Array();
    // In QEMU's words, whose list has no name for its elements.
    for (const Json& capability : wanted)
        if (*capability.text() != "oob")
            return refuse(compose("Parameter 'null' does not accept value '", *capability.text(), "'"));
    if (!call.session.is_negotiating())
        return refuse_command("Capabilities negotiation is already complete, command ignored");
    if (!wanted.empty()) return refuse("Capability oob not available");
    call.session.end_negotiation();
    return nothing();
}

Answer query_version(const Call& call) { return version_of(call.monitor); }

Answer query_commands(const Call&) {
    Json list(Json::Array{});
    for (const Command& command : commands()) list.push_back(Json::of("name", command.name));
    return list;
}

Answer query_status(const Call&) { return Json::of("running", true, "status", "running"); }

Answer quit(const Call& call) {
    call.monitor.shut_down("host-qmp-quit");
    if (call.monitor.options().quit) call.monitor.options().quit();
    return nothing();
}

Answer get_descriptor(const Call& call) {
    PassedDescriptors& descriptors = call.session.descriptors();
    auto received = descriptors.take_received();
    if (!received) return refuse("No file descriptor supplied via SCM_RIGHTS");
    const std::string& name = call.text("fdname");
    if (!name.empty() && name[0] >= '0' && name[0] <= '9')
        return refuse("Parameter 'fdname' expects a name not starting with a digit");
    if (!descriptors.put(name, *std::move(received)))
        return refuse(compose("A client may have ", PassedDescriptors::kMostNames,
                              " named file descriptors: use closefd"));
    return nothing();
}

Answer close_descriptor(const Call& call) {
    const std::string& name = call.text("fdname");
    if (!call.session.descriptors().take(name))
        return refuse(compose("File descriptor named '", name, "' not found"));
    return nothing();
}

}  // namespace iommufd::inline v0_1::monitor
