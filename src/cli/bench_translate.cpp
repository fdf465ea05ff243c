// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From random IOVAs to pointers, beside std::map.
#include <map>
#include <random>

#include "cli/figures.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kQueries = 1 << 20;

template <class Translate>
double one_hit(unsigned runs, const std::vector<Iova>& queries, Translate&& translate) {
    std::vector<double> times;
    for (unsigned run = 0; run < runs; ++run) {
        std::uintptr_t sum = 0;
        times.push_back(nanoseconds([&] {
            for (const Iova iova : queries) sum += translate(iova);
        }));
        asm volatile("" : : "r"(sum));
    }
    return median(std::move(times)) / static_cast<double>(queries.size());
}

Result<void> measure(Bench& bench, std::size_t mappings) {
    auto space = dma::Space::without_iommufd({.id = "bench"});
    if (!space) return space.error();
    auto memory = dma::Memory::anonymous(mappings * kPage);
    if (!memory) return memory.error();
    // In any order, with holes between them.
    std::vector<std::size_t> pages(mappings);
    for (std::size_t i = 0; i < mappings; ++i) pages[i] = i;
    std::mt19937_64 random(1);
    std::ranges::shuffle(pages, random);
    std::map<Iova, std::byte*> yardstick;
    for (std::size_t i = 0; i < mappings; ++i) {
        const Iova iova{0x10000000 + i * 2 * kPage};
        auto mapped = space->map(*memory, {.iova = iova, .offset = pages[i] * kPage, .length = kPage});
        if (!mapped) return mapped.error();
        std::move(*mapped).leave();
        yardstick[iova] = memory->data() + pages[i] * kPage;
    }
    std::vector<Iova> queries(kQueries);
    for (Iova& query : queries) query = Iova{0x10000000 + random() % mappings * 2 * kPage};

    dma::Reader reader = space->reader("bench");
    const auto guard = reader.enter();
    const double one = one_hit(bench.runs, queries, [&](Iova iova) {
        return reinterpret_cast<std::uintptr_t>(guard.translate(iova, 64, Access::read).data());
    });
    std::vector<std::byte*> addresses(kQueries);
    std::vector<double> times;
    for (unsigned run = 0; run < bench.runs; ++run)
        times.push_back(
            nanoseconds([&] { (void)guard.translate_each(queries, 64, Access::read, addresses.data()); }));
    const double each = median(std::move(times)) / kQueries;
    const double map = one_hit(bench.runs, queries, [&](Iova iova) {
        return reinterpret_cast<std::uintptr_t>(std::prev(yardstick.upper_bound(iova))->second);
    });
    const auto add = [&](std::string_view what, double value) {
        bench.figures.push_back({.test = "translate",
                                 .what = compose(what, " among ", mappings, " mappings"),
                                 .value = value,
                                 .unit = "ns",
                                 .yardstick = "std::map",
                                 .yardstick_value = map});
    };
    add("a random hit", one);
    add("one of many hits at once", each);
    return {};
}

}  // namespace

Result<void> bench_translate(Bench& bench) {
    for (const std::size_t mappings : {64U, 4096U, 1000000U})
        if (auto measured = measure(bench, mappings); !measured) return measured;
    return {};
}

}  // namespace iommufd::inline v0_1::cli
