// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The commands about the session itself, the program, and passed descriptors.
#include "error/compose.hpp"
#include "monitor/commands.hpp"

namespace iommufd::inline v0_1::monitor {
namespace {

Json version_of(const Monitor& monitor) {
    const Version& version = monitor.options().version;
    return {{"qemu", {{"major", version.major}, {"minor", version.minor}, {"micro", version.micro}}},
            {"package", version.package}};
}

}  // namespace

Json greeting(const Monitor& monitor) {
    return {{"QMP", {{"version", version_of(monitor)}, {"capabilities", Json::array()}}}};
}

Answer negotiate(const Call& call) {
    // In QEMU's words, whose list has no name for its elements.
    if (const Json* const enable = call.find("enable"))
        for (const Json& capability : *enable)
            if (capability.get_ref<const std::string&>() != "oob")
                return refuse(compose("Parameter 'null' does not accept value '",
                                      capability.get_ref<const std::string&>(), "'"));
    if (!call.session.is_negotiating())
        return refuse_command("Capabilities negotiation is already complete, command ignored");
    if (const Json* const enable = call.find("enable"); enable && !enable->empty())
        return refuse("Capability oob not available");
    call.session.end_negotiation();
    return Json::object();
}

Answer query_version(const Call& call) { return version_of(call.monitor); }

Answer query_commands(const Call&) {
    Json list = Json::array();
    for (const Command& command : commands()) list.push_back({{"name", command.name}});
    return list;
}

Answer query_status(const Call&) { return Json{{"running", true}, {"status", "running"}}; }

Answer quit(const Call& call) {
    call.monitor.shut_down("host-qmp-quit");
    if (call.monitor.options().quit) call.monitor.options().quit();
    return Json::object();
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
    return Json::object();
}

Answer close_descriptor(const Call& call) {
    const std::string& name = call.text("fdname");
    if (!call.session.descriptors().take(name))
        return refuse(compose("File descriptor named '", name, "' not found"));
    return Json::object();
}

}  // namespace iommufd::inline v0_1::monitor
