// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/bench.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "backend/state.hpp"
#include "cli/fail.hpp"
#include "cli/figures.hpp"
#include "cli/workplace.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

struct Test {
    const char* name;
    Result<void> (*run)(Bench&);
};

constexpr Test kTests[] = {
    {"translate", bench_translate}, {"alloc", bench_alloc}, {"dirty", bench_dirty}, {"map", bench_map},
    {"bringup", bench_bring_up},
};

// The first space of the definitions, its iommufd, and the next space of the same.
void find_spaces(object::Registry& registry, Bench& bench) {
    std::string iommufd;
    for (const object::ObjectInfo& info : registry.list()) {
        if (info.definition.type != "dma-space") continue;
        const auto space = registry.get<dma::Space>(info.definition.id);
        const auto* const of = info.definition.find("iommufd");
        if (!space) continue;
        if (!bench.space) {
            bench.space = *space;
            if (!of) return;
            iommufd = *of;
            if (const auto backend = registry.get<Backend>(iommufd))
                bench.context = (*backend)->state()->context();
        } else if (of && *of == iommufd) {
            bench.second_space = *space;
            return;
        }
    }
}

Result<void> run(Bench& bench, const std::vector<std::string>& chosen) {
    for (const Test& test : kTests) {
        if (!chosen.empty() && std::ranges::find(chosen, test.name) == chosen.end()) continue;
        fmt::print(stderr, "{}...\n", test.name);
        if (auto done = test.run(bench); !done) return done.error().within(compose("bench ", test.name));
    }
    return {};
}

void print_text(const Bench& bench) {
    for (const Figure& figure : bench.figures) {
        fmt::print("{:<10} {:<44} {:>10.2f} {}", figure.test, figure.what, figure.value, figure.unit);
        if (!figure.yardstick.empty())
            fmt::print("   {} {:.2f} {} ({:.2f}x)", figure.yardstick, figure.yardstick_value, figure.unit,
                       figure.yardstick_value / figure.value);
        fmt::print("\n");
    }
    for (const std::string& why : bench.left_out) fmt::print("left out: {}\n", why);
}

void print_json(const Bench& bench) {
    nlohmann::ordered_json figures = nlohmann::ordered_json::array();
    for (const Figure& figure : bench.figures) {
        nlohmann::ordered_json entry = {
            {"test", figure.test}, {"what", figure.what}, {"value", figure.value}, {"unit", figure.unit}};
        if (!figure.yardstick.empty())
            entry["yardstick"] = {{"what", figure.yardstick}, {"value", figure.yardstick_value}};
        figures.push_back(std::move(entry));
    }
    const nlohmann::ordered_json whole = {{"runs", bench.runs},
                                          {"threads", bench.threads},
                                          {"size", bench.size},
                                          {"figures", std::move(figures)},
                                          {"left-out", bench.left_out}};
    fmt::print("{}\n", whole.dump(2));
}

}  // namespace

const std::vector<std::string>& bench_tests() {
    static const std::vector<std::string> names = [] {
        std::vector<std::string> list;
        for (const Test& test : kTests) list.emplace_back(test.name);
        return list;
    }();
    return names;
}

int bench(BenchArguments arguments) {
    auto place = Workplace::open(arguments.place);
    if (!place) return fail(kFailed, place.error());
    Bench bench{.runs = arguments.runs,
                .threads = arguments.threads,
                .size = arguments.size,
                .space = nullptr,
                .second_space = nullptr,
                .context = nullptr};
    find_spaces((*place)->registry(), bench);
    const auto measured = run(bench, arguments.tests);
    const bool closed = (*place)->close();
    if (!measured) return fail(kFailed, measured.error());
    arguments.place.json ? print_json(bench) : print_text(bench);
    return closed ? kDone : kFailed;
}

}  // namespace iommufd::inline v0_1::cli
