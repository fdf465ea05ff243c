// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/metrics.hpp"

#include <fmt/core.h>

#include <map>

#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "cli/http_server.hpp"
#include "cli/instance.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

std::string quoted(const std::string& text) {
    std::string safe = "\"";
    for (const char character : text)
        if (character == '\n')
            safe += "\\n";
        else if (character == '"' || character == '\\')
            (safe += '\\') += character;
        else
            safe += character;
    return safe + '"';
}

// The lines of one name stand together, below what it means.
class Metrics {
public:
    void name(const char* metric, const char* type, const char* help) {
        metric_ = metric;
        text_ += fmt::format("# HELP {} {}\n# TYPE {} {}\n", metric, help, metric, type);
    }
    template <class Value>
    void value(const std::string& labels, Value value) {
        text_ += fmt::format("{}{{{}}} {}\n", metric_, labels, value);
    }
    std::string text() const { return text_; }

private:
    const char* metric_ = "";
    std::string text_;
};

struct Counter {
    const char* metric;
    const char* type;
    const char* help;
    const char* key;
    const char* label;  // besides the space
};

constexpr Counter kCounters[] = {
    {"iommufd_space_mapped_bytes", "gauge", "Bytes that are mapped.", "mapped-bytes", ""},
    {"iommufd_space_pinned_bytes", "gauge", "Bytes that the kernel holds for the IOAS.", "pinned-bytes", ""},
    {"iommufd_space_unmaps_total", "counter", "Unmap calls, of the IOAS in use.", "unmaps", ""},
    {"iommufd_space_maps_total", "counter", "Map calls, of the IOAS in use.", "maps-by-file",
     ",way=\"file\""},
    {"iommufd_space_maps_total", "counter", "", "maps-by-address", ",way=\"address\""},
    {"iommufd_space_maps_total", "counter", "", "maps-by-copy", ",way=\"copy\""},
    {"iommufd_space_io_pages", "gauge", "I/O pages by size, if the IOMMU has them.", "pages-of-1g",
     ",size=\"1g\""},
    {"iommufd_space_io_pages", "gauge", "", "pages-of-2m", ",size=\"2m\""},
    {"iommufd_space_io_pages", "gauge", "", "small-pages", ",size=\"small\""},
};

std::string space_label(const Json& space) { return "space=" + quoted(space.at("id").get<std::string>()); }

}  // namespace

std::string metrics_text(const Json& instance) {
    Metrics metrics;
    for (const Counter& counter : kCounters) {
        if (*counter.help != '\0') metrics.name(counter.metric, counter.type, counter.help);
        for (const Json& space : instance.at("spaces"))
            metrics.value(space_label(space) + counter.label,
                          space.at("counters").at(counter.key).get<std::uint64_t>());
    }
    metrics.name("iommufd_space_kernel_seconds_total", "counter",
                 "Time in map and unmap calls of 2 MiB and more.");
    for (const Json& space : instance.at("spaces"))
        metrics.value(space_label(space), space.at("counters").at("time-ns").get<double>() / 1e9);
    metrics.name("iommufd_space_mappings", "gauge", "Mappings by state.");
    for (const Json& space : instance.at("spaces")) {
        std::map<std::string, std::size_t> states;
        for (const Json& mapping : space.at("mappings")) ++states[mapping.at("state").get<std::string>()];
        for (const auto& [state, count] : states)
            metrics.value(space_label(space) + ",state=" + quoted(state), count);
    }
    metrics.name("iommufd_space_devices", "gauge", "Devices that are attached.");
    for (const Json& space : instance.at("spaces"))
        metrics.value(space_label(space), space.at("devices").size());
    metrics.name("iommufd_space_not_released", "gauge", "What a sink may still have though it was unmapped.");
    for (const Json& space : instance.at("spaces"))
        metrics.value(space_label(space), space.at("not-released").size());

    const auto of_each = [&](const char* metric, const char* type, const char* help, auto&& value) {
        metrics.name(metric, type, help);
        for (const Json& iommufd : instance.at("iommufds"))
            metrics.value("iommufd=" + quoted(iommufd.at("id").get<std::string>()), value(iommufd));
    };
    of_each("iommufd_open", "gauge", "Whether /dev/iommu is open.",
            [](const Json& iommufd) { return iommufd.at("open").get<bool>() ? 1 : 0; });
    of_each("iommufd_users", "gauge", "Devices that use it.",
            [](const Json& iommufd) { return iommufd.at("users").size(); });
    of_each("iommufd_notices_total", "counter", "Failures and warnings.",
            [](const Json& iommufd) { return iommufd.at("notices").get<std::uint64_t>(); });
    return metrics.text();
}

int metrics(const MetricsArguments& arguments) {
    if (!arguments.listen.empty()) {
        const auto served = serve_http(arguments.listen, [&]() -> Result<std::string> {
            return look_at_instance(arguments.socket).transform([](const Json& instance) {
                return metrics_text(instance);
            });
        });
        return served ? kDone : fail(kFailed, served.error());
    }
    const auto instance = look_at_instance(arguments.socket);
    if (!instance) return fail(kFailed, instance.error());
    fmt::print("{}", metrics_text(*instance));
    return kDone;
}

}  // namespace iommufd::inline v0_1::cli
