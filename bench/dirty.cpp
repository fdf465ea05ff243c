// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Runs of the dirty pages in a bitmap of 32 MiB (1 TiB of 4 KiB pages), beside what programs do otherwise, and beside reading
// that much memory. Each is checked against the plain loop before it is timed.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <new>
#include <random>
#include <utility>
#include <vector>

#include "iommufd/dma/dirty_runs.hpp"

namespace iommufd::bench {
namespace {

using dma::BitRun;
using dma::DirtyRuns;

constexpr std::size_t kWords = (32U << 20) / 8;

// On huge pages, as whoever has a bitmap of that size keeps it: with small ones the processor stops at each page's end.
template <class T>
struct HugePages {
    using value_type = T;

    static T* allocate(std::size_t count) {
        const std::size_t bytes = count * sizeof(T);
        void* const memory = std::aligned_alloc(2U << 20, bytes);
        if (memory == nullptr) throw std::bad_alloc();
        (void)::madvise(memory, bytes, MADV_HUGEPAGE);
        return static_cast<T*>(memory);
    }
    static void deallocate(T* memory, std::size_t) noexcept { std::free(memory); }
    bool operator==(const HugePages&) const = default;
};
using Bitmap = std::vector<std::uint64_t, HugePages<std::uint64_t>>;

// How many runs, and a sum over all their ends, so that none can be left out.
struct Seen {
    std::uint64_t runs = 0;
    std::uint64_t sum = 0;

    void add(std::uint64_t first, std::uint64_t end) noexcept {
        ++runs;
        sum += first * 3 + end;
    }
    bool operator==(const Seen&) const = default;
};

// Bit by bit.
struct Plain {
    static Seen scan(const Bitmap& bitmap) {
        Seen seen;
        std::uint64_t first = 0;
        bool inside = false;
        for (std::uint64_t bit = 0; bit < kWords * 64; ++bit) {
            const bool set = (bitmap[bit / 64] >> bit % 64 & 1) != 0;
            if (set && !inside) first = bit;
            if (!set && inside) seen.add(first, bit);
            inside = set;
        }
        if (inside) seen.add(first, kWords * 64);
        return seen;
    }
};

// Over words that are not zero, from one set bit to the next clear one.
struct Ctz {
    static Seen scan(const Bitmap& bitmap) {
        Seen seen;
        std::uint64_t first = 0;
        bool inside = false;
        for (std::size_t i = 0; i < kWords; ++i) {
            std::uint64_t word = inside ? ~bitmap[i] : bitmap[i];
            while (word != 0) {
                const auto at = static_cast<unsigned>(std::countr_zero(word));
                if (inside)
                    seen.add(first, i * 64 + at);
                else
                    first = i * 64 + at;
                inside = !inside;
                word = ~word & ~std::uint64_t{0} << at;
            }
        }
        if (inside) seen.add(first, kWords * 64);
        return seen;
    }
};

template <DirtyRuns::Simd simd>
struct Ours {
    static Seen scan(const Bitmap& bitmap) {
        Seen seen;
        DirtyRuns runs(bitmap, 0, kWords * 64, simd);
        for (auto some = runs.next(); !some.empty(); some = runs.next())
            for (const BitRun& run : some) seen.add(run.first, run.end);
        return seen;
    }
};
using Portable = Ours<DirtyRuns::Simd::portable>;
using Avx2 = Ours<DirtyRuns::Simd::avx2>;
using Avx512 = Ours<DirtyRuns::Simd::avx512>;
struct Best {
    static Seen scan(const Bitmap& bitmap) {
        Seen seen;
        DirtyRuns runs(bitmap);
        for (auto some = runs.next(); !some.empty(); some = runs.next())
            for (const BitRun& run : some) seen.add(run.first, run.end);
        return seen;
    }
};

// Of so many in 1000 pages, at random.
const Bitmap& bitmap_of(std::int64_t per_mille) {
    static std::map<std::int64_t, Bitmap> bitmaps;
    Bitmap& bitmap = bitmaps[per_mille];
    if (!bitmap.empty()) return bitmap;
    bitmap.resize(kWords);
    std::mt19937_64 random(1);
    if (per_mille == 500)
        for (std::uint64_t& word : bitmap) word = random();
    else if (per_mille != 0) {
        std::geometric_distribution<std::uint64_t> gap(static_cast<double>(per_mille) / 1000);
        for (std::uint64_t bit = gap(random); bit < kWords * 64; bit += 1 + gap(random))
            bitmap[bit / 64] |= std::uint64_t{1} << bit % 64;
    }
    return bitmap;
}

Seen expected(std::int64_t per_mille) {
    static std::map<std::int64_t, Seen> all;
    const auto known = all.find(per_mille);
    return known != all.end() ? known->second : all[per_mille] = Plain::scan(bitmap_of(per_mille));
}

template <class Way>
void runs(benchmark::State& state) {
    const Bitmap& bitmap = bitmap_of(state.range(0));
    static std::map<std::int64_t, bool> is_right;
    if (!std::exchange(is_right[state.range(0)], true) && Way::scan(bitmap) != expected(state.range(0))) {
        std::fputs("not the runs that are there\n", stderr);
        std::exit(1);
    }
    for (auto _ : state) benchmark::DoNotOptimize(Way::scan(bitmap));
}
#define IOMMUFD_DENSITIES ->Arg(0)->Arg(1)->Arg(10)->Arg(100)->Arg(500)->Unit(benchmark::kMillisecond)
BENCHMARK(runs<Best>) IOMMUFD_DENSITIES;
BENCHMARK(runs<Avx512>) IOMMUFD_DENSITIES;
BENCHMARK(runs<Avx2>) IOMMUFD_DENSITIES;
BENCHMARK(runs<Portable>) IOMMUFD_DENSITIES;
BENCHMARK(runs<Ctz>) IOMMUFD_DENSITIES;
BENCHMARK(runs<Plain>) IOMMUFD_DENSITIES;

// As many bytes, read and added up: what memory gives.
[[gnu::target_clones("avx512f", "avx2", "default")]] std::uint64_t sum_of(const std::uint64_t* words) {
    std::uint64_t sums[32] = {};
    for (std::size_t i = 0; i < kWords; i += 32)
        for (std::size_t k = 0; k < 32; ++k) sums[k] += words[i + k];
    std::uint64_t sum = 0;
    for (const std::uint64_t part : sums) sum += part;
    return sum;
}

void memory(benchmark::State& state) {
    const Bitmap& bitmap = bitmap_of(500);
    for (auto _ : state) benchmark::DoNotOptimize(sum_of(bitmap.data()));
}
BENCHMARK(memory)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace iommufd::bench

BENCHMARK_MAIN();
