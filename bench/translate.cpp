// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From an IOVA to a pointer and back, beside what programs use for it otherwise. Each structure is checked against std::map
// before it is timed.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "translators.hpp"

namespace iommufd::bench {
namespace {

using Indices = std::vector<std::size_t>;

// Which mappings are asked for, by index.
struct Random {
    static Indices of(std::size_t count, std::size_t queries = 1 << 16) {
        std::mt19937_64 random(2);
        Indices indices(queries);
        for (std::size_t& index : indices) index = random() % count;
        return indices;
    }
};
// So many that one isn't asked for twice while a cache remembers it.
struct Cold {
    static Indices of(std::size_t count) { return Random::of(count, 1 << 20); }
};
// The n-th most wanted is asked for 1/n as often as the first.
struct Zipf {
    static Indices of(std::size_t count) {
        std::mt19937_64 random(2);
        std::vector<double> weights(count);
        for (std::size_t i = 0; i < count; ++i) weights[i] = 1.0 / static_cast<double>(i + 1);
        std::discrete_distribution<std::size_t> rank(weights.begin(), weights.end());
        Indices by_rank(count);
        std::iota(by_rank.begin(), by_rank.end(), 0);
        std::ranges::shuffle(by_rank, random);
        Indices indices(1 << 16);
        for (std::size_t& index : indices) index = by_rank[rank(random)];
        return indices;
    }
};
struct Sequential {
    static Indices of(std::size_t count) {
        Indices indices(1 << 16);
        for (std::size_t i = 0; i < indices.size(); ++i) indices[i] = i % count;
        return indices;
    }
};

// 64 bytes within the page of an index: from its IOVA, or from its address.
constexpr std::uint64_t kLength = 64;
struct Forward {
    static std::uint64_t key(const Scene& scene, std::size_t index) {
        return scene.iova_of(index).value + index % 61 * kLength;
    }
    template <class Structure>
    static std::uint64_t run(const Structure& structure, std::uint64_t key) {
        return structure.forward(key);
    }
};
struct Back {
    static std::uint64_t key(const Scene& scene, std::size_t index) {
        return reinterpret_cast<std::uintptr_t>(scene.address_of(index)) + index % 61 * kLength;
    }
    template <class Structure>
    static std::uint64_t run(const Structure& structure, std::uint64_t key) {
        return structure.back(key);
    }
};
// Half of them in a page, half in its neighbour.
struct Crossing {
    static std::uint64_t key(const Scene& scene, std::size_t index) {
        return scene.iova_of(index / 2 * 2).value + kPage - kLength / 2;
    }
    template <class Structure>
    static std::uint64_t run(const Structure& structure, std::uint64_t key) {
        return structure.crossing(key, kLength);
    }
};

template <class Direction, class Pattern>
std::vector<std::uint64_t> keys_of(const Scene& scene) {
    std::vector<std::uint64_t> keys;
    for (const std::size_t index : Pattern::of(scene.pages.size()))
        keys.push_back(Direction::key(scene, index));
    return keys;
}

[[noreturn]] void wrong(std::uint64_t key) {
    std::fprintf(stderr, "wrong answer for %#llx\n", static_cast<unsigned long long>(key));
    std::abort();
}

template <class Direction, class Structure>
void check(const Structure& structure, const StdMap& reference, const Scene& scene) {
    for (const std::uint64_t key : keys_of<Direction, Random>(scene)) {
        if (Direction::run(structure, key) != Direction::run(reference, key)) wrong(key);
        if constexpr (std::is_same_v<Direction, Forward>)
            if (Direction::run(structure, key + Scene::kToAHole) != 0) wrong(key + Scene::kToAHole);
    }
}

// Built and checked once.
template <class Structure>
const Structure& structure_of(const Scene& scene) {
    static std::map<const Scene*, std::unique_ptr<Structure>> structures;
    auto& structure = structures[&scene];
    if (structure) return *structure;
    structure = std::make_unique<Structure>(scene);
    if constexpr (!std::is_same_v<Structure, StdMap>) {
        const StdMap& reference = structure_of<StdMap>(scene);
        check<Forward>(*structure, reference, scene);
        check<Back>(*structure, reference, scene);
        if constexpr (requires { structure->crossing(0, 0); }) check<Crossing>(*structure, reference, scene);
    }
    return *structure;
}

void set_items(benchmark::State& state, std::size_t each) {
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(each));
}

template <class Structure, class Direction, class Pattern>
void throughput(benchmark::State& state) {
    const Scene& scene = Scene::of(static_cast<std::size_t>(state.range(0)));
    const Structure& structure = structure_of<Structure>(scene);
    const std::vector<std::uint64_t> keys = keys_of<Direction, Pattern>(scene);
    for (auto _ : state)
        for (const std::uint64_t key : keys) benchmark::DoNotOptimize(Direction::run(structure, key));
    set_items(state, keys.size());
}

// The next key depends on the answer.
template <class Structure, class Direction, class Pattern>
void chain(benchmark::State& state) {
    const Scene& scene = Scene::of(static_cast<std::size_t>(state.range(0)));
    const Structure& structure = structure_of<Structure>(scene);
    const std::vector<std::uint64_t> keys = keys_of<Direction, Pattern>(scene);
    for (auto _ : state) {
        std::uint64_t before = 0;
        for (const std::uint64_t key : keys) before = Direction::run(structure, key + (before & 1));
        benchmark::DoNotOptimize(before);
    }
    set_items(state, keys.size());
}

// As a driver has them: 64 blocks at once.
template <class Pattern>
void batch(benchmark::State& state) {
    constexpr std::size_t kAtOnce = 64;
    const Scene& scene = Scene::of(static_cast<std::size_t>(state.range(0)));
    const Ours& ours = structure_of<Ours>(scene);
    std::vector<Iova> iovas;
    for (const std::uint64_t key : keys_of<Forward, Pattern>(scene)) iovas.push_back(Iova{key});
    std::byte* addresses[kAtOnce];
    for (std::size_t at = 0; at < iovas.size(); at += kAtOnce) {
        ours.guard.translate_each(std::span(iovas).subspan(at, kAtOnce), kLength, Access::read, addresses);
        for (std::size_t i = 0; i < kAtOnce; ++i)
            if (reinterpret_cast<std::uintptr_t>(addresses[i]) != ours.forward(iovas[at + i].value))
                wrong(iovas[at + i].value);
    }
    for (auto _ : state)
        for (std::size_t at = 0; at < iovas.size(); at += kAtOnce) {
            ours.guard.translate_each(std::span(iovas).subspan(at, kAtOnce), kLength, Access::read,
                                      addresses);
            benchmark::DoNotOptimize(addresses);
            benchmark::ClobberMemory();
        }
    set_items(state, iovas.size());
}

#define SIZES Arg(16)->Arg(256)->Arg(4096)->Arg(65536)->Arg(1000000)
#define BOTH_WAYS(structure, pattern)                          \
    BENCHMARK(throughput<structure, Forward, pattern>)->SIZES; \
    BENCHMARK(throughput<structure, Back, pattern>)->SIZES;    \
    BENCHMARK(chain<structure, Forward, pattern>)->SIZES;      \
    BENCHMARK(chain<structure, Back, pattern>)->SIZES;
#define STRUCTURE(structure)                                       \
    BOTH_WAYS(structure, Random)                                   \
    BOTH_WAYS(structure, Zipf)                                     \
    BOTH_WAYS(structure, Sequential)                               \
    BENCHMARK(throughput<structure, Crossing, Random>)->SIZES;     \
    BENCHMARK(throughput<structure, Forward, Cold>)->Arg(1000000); \
    BENCHMARK(throughput<structure, Back, Cold>)->Arg(1000000);

STRUCTURE(Ours)
STRUCTURE(StdMap)
STRUCTURE(Btree)
STRUCTURE(Glib)
BOTH_WAYS(OursGuarded, Random)
BENCHMARK(batch<Random>)->SIZES;
BENCHMARK(batch<Cold>)->Arg(1000000);

}  // namespace
}  // namespace iommufd::bench

BENCHMARK_MAIN();
