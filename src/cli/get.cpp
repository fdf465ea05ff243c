// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/get.hpp"

#include <fcntl.h>
#include <fmt/core.h>

#include "cli/arguments.hpp"
#include "cli/exec.hpp"
#include "cli/fail.hpp"
#include "cli/launch.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {

int get(const GetArguments& arguments) {
    auto broker = broker::Client::connect(arguments.socket);
    if (!broker) return fail(kNotPrepared, broker.error());
    auto given = broker->get(arguments.wanted);
    if (!given) return fail(kNotPrepared, given.error());
    for (const std::string& note : given->notes()) fmt::print(stderr, "iommufd: note: {}\n", note);

    int iommufd = -1;
    std::vector<PassedDevice> devices;
    for (const broker::Descriptors::Entry& entry : given->entries())
        if (entry.kind == "iommufd")
            iommufd = entry.number;
        else
            devices.push_back({entry.name, entry.number, entry.kind == "vdpa"});
    auto words = name_descriptors(arguments.command, iommufd, devices);
    if (!words) return fail(kUsage, words.error());
    auto variables = environment(iommufd, devices, nullptr);
    variables.push_back(compose("IOMMUFD_BROKER_FD=", broker->fd()));
    // The connection as well: what was given is taken back when it ends.
    for (const broker::Descriptors::Entry& entry : given->entries()) (void)::fcntl(entry.number, F_SETFD, 0);
    (void)::fcntl(broker->fd(), F_SETFD, 0);
    return start(*std::move(words), std::move(variables));
}

}  // namespace iommufd::inline v0_1::cli
