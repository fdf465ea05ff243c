// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The runs of dirty pages in a bitmap of 1 TiB of memory, beside a loop over its bits.
#include <random>

#include "cli/figures.hpp"
#include "error/compose.hpp"
#include "iommufd/dma/dirty_runs.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::size_t kWords = (32U << 20) / 8;  // 32 MiB of bits for pages of 4 KiB
using Bitmap = std::vector<std::uint64_t>;

Bitmap make(unsigned per_mille) {
    std::mt19937_64 random(1);
    Bitmap bitmap(kWords);
    for (std::size_t i = 0; i < kWords * 64 / 1000 * per_mille; ++i) {
        const std::uint64_t page = random() % (kWords * 64);
        bitmap[page / 64] |= std::uint64_t{1} << page % 64;
    }
    return bitmap;
}

std::uint64_t by_runs(const Bitmap& bitmap) {
    std::uint64_t pages = 0;
    dma::DirtyRuns runs(bitmap);
    for (auto some = runs.next(); !some.empty(); some = runs.next())
        for (const dma::BitRun& run : some) pages += run.end - run.first;
    return pages;
}

std::uint64_t by_bits(const Bitmap& bitmap) {
    std::uint64_t pages = 0;
    std::uint64_t first = 0;
    bool inside = false;
    for (std::uint64_t bit = 0; bit < kWords * 64; ++bit) {
        const bool set = (bitmap[bit / 64] >> bit % 64 & 1) != 0;
        if (set && !inside) first = bit;
        if (!set && inside) pages += bit - first;
        inside = set;
    }
    return inside ? pages + kWords * 64 - first : pages;
}

template <class Scan>
double one_scan(unsigned runs, std::uint64_t& pages, Scan&& scan) {
    std::vector<double> times;
    for (unsigned run = 0; run < runs; ++run) times.push_back(nanoseconds([&] { pages = scan(); }));
    return median(std::move(times)) / 1e6;
}

}  // namespace

Result<void> bench_dirty(Bench& bench) {
    for (const auto& [per_mille, text] :
         {std::pair(0U, "0 %"), std::pair(10U, "1 %"), std::pair(100U, "10 %")}) {
        const Bitmap bitmap = make(per_mille);
        std::uint64_t ours = 0;
        std::uint64_t theirs = 0;
        const double by_run = one_scan(bench.runs, ours, [&] { return by_runs(bitmap); });
        const double by_bit = one_scan(1, theirs, [&] { return by_bits(bitmap); });
        if (ours != theirs)
            return Error::refused(EIO, "cannot measure the scan of dirty pages",
                                  compose(ours, " pages were found where ", theirs, " are dirty"),
                                  "report this");
        bench.figures.push_back({.test = "dirty",
                                 .what = compose("runs of 1 TiB of pages, ", text, " dirty"),
                                 .value = by_run,
                                 .unit = "ms",
                                 .yardstick = "a loop over the bits",
                                 .yardstick_value = by_bit});
    }
    return {};
}

}  // namespace iommufd::inline v0_1::cli
