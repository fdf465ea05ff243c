// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/show.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "cli/instance.hpp"
#include "cli/space_picture.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

std::string joined(const Json& names) {
    std::string text;
    for (const Json& name : names) text += compose(text.empty() ? "" : ", ", name.get<std::string>());
    return text.empty() ? "nobody" : text;
}

bool is_coloured() {
    const char* const no_colour = std::getenv("NO_COLOR");  // NOLINT(concurrency-mt-unsafe)
    return ::isatty(STDOUT_FILENO) == 1 && (!no_colour || *no_colour == '\0');
}

void print_text(const Json& all) {
    for (const Json& iommufd : all.at("iommufds"))
        fmt::print("{}  {}, used by {}; accounting: {}\n", iommufd.at("id").get<std::string>(),
                   iommufd.at("open").get<bool>() ? "open" : "closed", joined(iommufd.at("users")),
                   iommufd.value("accounting", "unknown while closed"));
    for (const Json& device : all.at("devices"))
        fmt::print("{}  {}{}\n", device.at("id").get<std::string>(), device.at("name").get<std::string>(),
                   device.contains("space") ? " in " + device.at("space").get<std::string>() : "");
    for (const Json& space : all.at("spaces")) {
        const Json& counters = space.at("counters");
        fmt::print("\n{}  devices: {}; {} mapped, {} pinned; I/O pages: {} of 1 GiB, {} of 2 MiB, {} small\n",
                   space.at("id").get<std::string>(), joined(space.at("devices")),
                   size_text(counters.at("mapped-bytes").get<std::uint64_t>()),
                   size_text(counters.at("pinned-bytes").get<std::uint64_t>()),
                   counters.at("pages-of-1g").get<std::uint64_t>(),
                   counters.at("pages-of-2m").get<std::uint64_t>(),
                   counters.at("small-pages").get<std::uint64_t>());
        fmt::print("{}", draw_text(segments(space), is_coloured()));
    }
}

}  // namespace

int show(const ShowArguments& arguments) {
    const auto all = look_at_instance(arguments.socket);
    if (!all) return fail(kFailed, all.error());
    if (!arguments.svg.empty()) {
        std::ofstream file(arguments.svg);
        file << draw_svg(all->at("spaces"));
        file.close();
        if (!file)
            return fail(kFailed, Error::refused(
                                     EIO, compose("cannot write the picture to '", arguments.svg, "'"),
                                     "the file can't be made, or there is no room", "choose another place"));
    }
    if (arguments.json)
        fmt::print("{}\n", all->dump(2, ' ', false, Json::error_handler_t::replace));
    else
        print_text(*all);
    return kDone;
}

}  // namespace iommufd::inline v0_1::cli
