// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/top.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <thread>

#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "cli/instance.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

struct Look {
    std::chrono::steady_clock::time_point when;
    double maps = 0;
    double unmaps = 0;
    double seconds = 0;  // in the kernel
};

Look look_at(const Json& counters) {
    const auto number = [&](const char* key) { return counters.at(key).get<double>(); };
    return {.when = std::chrono::steady_clock::now(),
            .maps = number("maps-by-file") + number("maps-by-address") + number("maps-by-copy"),
            .unmaps = number("unmaps"),
            .seconds = number("time-ns") / 1e9};
}

// How much more for each second; none at the first look, and where a new IOAS counts from nothing.
double rate(double now, double before, double seconds) {
    return seconds <= 0 || now < before ? 0 : (now - before) / seconds;
}

Json describe(const Json& space, std::map<std::string, Look>& looks) {
    const Json& counters = space.at("counters");
    const std::string id = space.at("id");
    const Look now = look_at(counters);
    const auto before = looks.contains(id) ? looks.at(id) : now;
    const double seconds = std::chrono::duration<double>(now.when - before.when).count();
    looks[id] = now;
    return {{"space", id},
            {"devices", space.at("devices").size()},
            {"mappings", space.at("mappings").size()},
            {"mapped-bytes", counters.at("mapped-bytes")},
            {"pinned-bytes", counters.at("pinned-bytes")},
            {"maps-per-second", rate(now.maps, before.maps, seconds)},
            {"unmaps-per-second", rate(now.unmaps, before.unmaps, seconds)},
            {"kernel-share", rate(now.seconds, before.seconds, seconds)}};
}

void print_text(const Json& spaces) {
    if (::isatty(STDOUT_FILENO) == 1) fmt::print("\033[H\033[J");
    fmt::print("{:<16} {:>7} {:>8} {:>14} {:>14} {:>10} {:>10} {:>7}\n", "space", "devices", "mappings",
               "mapped", "pinned", "maps/s", "unmaps/s", "kernel");
    for (const Json& space : spaces)
        fmt::print("{:<16} {:>7} {:>8} {:>14} {:>14} {:>10.0f} {:>10.0f} {:>6.1f}%\n",
                   space.at("space").get<std::string>(), space.at("devices").get<std::size_t>(),
                   space.at("mappings").get<std::size_t>(),
                   size_text(space.at("mapped-bytes").get<std::uint64_t>()),
                   size_text(space.at("pinned-bytes").get<std::uint64_t>()),
                   space.at("maps-per-second").get<double>(), space.at("unmaps-per-second").get<double>(),
                   100 * space.at("kernel-share").get<double>());
}

}  // namespace

int top(const TopArguments& arguments) {
    std::map<std::string, Look> looks;
    for (unsigned number = 1;; ++number) {
        const auto instance = look_at_instance(arguments.socket);
        if (!instance) return fail(kFailed, instance.error());
        Json spaces = Json::array();
        for (const Json& space : instance->at("spaces")) spaces.push_back(describe(space, looks));
        if (arguments.json)
            fmt::print("{}\n", Json{{"spaces", std::move(spaces)}}.dump(-1, ' ', false,
                                                                        Json::error_handler_t::replace));
        else
            print_text(spaces);
        (void)std::fflush(stdout);
        if (number == arguments.count) return kDone;
        std::this_thread::sleep_for(std::chrono::duration<double>(arguments.interval));
    }
}

}  // namespace iommufd::inline v0_1::cli
