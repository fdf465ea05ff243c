// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From nothing to memory that devices reach, in all the ways there are, beside the clearing of the pages alone.
#include "cli/figures.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

using Options = dma::Memory::Options;

struct Way {
    const char* name;
    bool by_file;
    dma::Memory::HugePages huge_pages;
};

constexpr Way kWays[] = {
    {"anonymous, 4 KiB pages", false, dma::Memory::HugePages::never},
    {"anonymous, transparent huge pages", false, dma::Memory::HugePages::transparent},
    {"memfd, 4 KiB pages, by file", true, dma::Memory::HugePages::never},
    {"memfd, huge pages, by file", true, dma::Memory::HugePages::hugetlb},
};

Result<dma::Memory> make(const Way& way, std::uint64_t size, unsigned threads) {
    const Options options{.label = "bench",
                          .huge_pages = way.huge_pages,
                          .prealloc = threads != 0,
                          .prealloc_threads = threads};
    return way.by_file ? dma::Memory::memfd(size, options) : dma::Memory::anonymous(size, options);
}

// In nanoseconds; an error of the last run.
template <class Work>
Result<double> timed(unsigned runs, Work&& work) {
    std::vector<double> times;
    Result<void> done;
    for (unsigned run = 0; done && run < runs; ++run) times.push_back(nanoseconds([&] { done = work(); }));
    if (!done) return done.error();
    return median(std::move(times));
}

Result<void> measure(Bench& bench, const Way& way, unsigned threads) {
    const auto clearing =
        timed(bench.runs, [&] { return make(way, bench.size, threads).transform([](auto&&) {}); });
    if (!clearing) {
        bench.left_out.push_back(compose("bringup of a ", way.name, ": ", clearing.error().line()));
        return {};
    }
    const auto whole = timed(bench.runs, [&]() -> Result<void> {
        auto memory = make(way, bench.size, 0);
        if (!memory) return memory.error();
        auto mapped = bench.space->map(*memory, {}, {.threads = threads});
        return mapped ? Result<void>() : mapped.error();
    });
    if (!whole) return whole.error();
    bench.figures.push_back({.test = "bringup",
                             .what = compose(way.name, ", ", threads, threads == 1 ? " thread" : " threads"),
                             .value = *whole / 1e6,
                             .unit = "ms",
                             .yardstick = "clearing and freeing it",
                             .yardstick_value = *clearing / 1e6});
    return {};
}

bool reaches_a_device(const dma::Space* space) { return space && !space->sinks().empty(); }

// The same memory in a second space: pinned once more, or not.
Result<void> measure_second(Bench& bench, const Way& way) {
    auto memory = make(way, bench.size, bench.threads);
    if (!memory) return {};  // measure() has said why
    const auto first = bench.space->map(*memory);
    if (!first) return first.error();
    std::vector<double> anew;
    std::vector<double> copied;
    Result<void> done;
    const auto map_once = [&](const dma::Space* pinned_by, std::vector<double>& times) {
        if (!done) return;
        times.push_back(nanoseconds([&] {
            auto mapped = bench.second_space->map(*memory, {.pinned_by = pinned_by});
            done = mapped ? std::move(*mapped).unmap() : Result<void>(mapped.error());
        }));
    };
    for (unsigned run = 0; run < bench.runs; ++run) {
        map_once(bench.space, copied);
        map_once(nullptr, anew);
    }
    if (!done) {
        bench.left_out.push_back(
            compose("bringup of a ", way.name, " in a second space: ", done.error().line()));
        return {};
    }
    bench.figures.push_back({.test = "bringup",
                             .what = compose(way.name, ", in a second space, pinned once"),
                             .value = median(std::move(copied)) / 1e6,
                             .unit = "ms",
                             .yardstick = "pinned and charged again",
                             .yardstick_value = median(std::move(anew)) / 1e6});
    return {};
}

}  // namespace

Result<void> bench_bring_up(Bench& bench) {
    if (!reaches_a_device(bench.space)) {
        bench.left_out.emplace_back("bringup: no dma-space with a device is given");
        return {};
    }
    for (const Way& way : kWays) {
        const std::size_t left_out = bench.left_out.size();
        for (unsigned threads = 1; threads <= bench.threads && bench.left_out.size() == left_out;
             threads *= 2)
            if (auto measured = measure(bench, way, threads); !measured) return measured;
    }
    if (!reaches_a_device(bench.second_space)) {
        bench.left_out.emplace_back(
            "bringup in a second space: no other dma-space of the same iommufd with a device is given");
        return {};
    }
    for (const Way& way : kWays)
        if (auto measured = measure_second(bench, way); !measured) return measured;
    return {};
}

}  // namespace iommufd::inline v0_1::cli
