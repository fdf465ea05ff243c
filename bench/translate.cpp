// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// From an IOVA to a pointer and back, beside what programs use for it otherwise. Each structure is checked against std::map
// before it is timed.
#include <absl/container/btree_map.h>
#include <benchmark/benchmark.h>
#include <glib.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "iommufd/dma/space.hpp"

namespace iommufd::bench {
namespace {

constexpr std::uint64_t kPage = 4096;

// N pages of one memory, in the order of a shuffle, with holes between them: IOVA page -> page of the memory.
class Scene {
public:
    static const Scene& of(std::size_t count) {
        static std::map<std::size_t, std::unique_ptr<Scene>> scenes;
        auto& scene = scenes[count];
        if (!scene) scene = std::make_unique<Scene>(count);
        return *scene;
    }

    explicit Scene(std::size_t count)
        : memory(dma::Memory::anonymous(count * kPage).value()),
          space(dma::Space::without_iommufd({}).value()) {
        std::mt19937_64 random(1);
        for (std::size_t i = 0; i < count; ++i) pages.push_back(i);
        std::ranges::shuffle(pages, random);
        for (std::size_t i = 0; i < count; ++i)
            space.map(memory, {.iova = iova_of(i), .offset = pages[i] * kPage, .length = kPage})
                .value()
                .leave();
        for (std::size_t i = 0; i < kQueries; ++i) queries.push_back(random() % count);
    }

    // Every other page: neighbours are holes.
    static Iova iova_of(std::size_t index) { return Iova{0x10000000 + index * 2 * kPage}; }
    std::byte* address_of(std::size_t index) const { return memory.data() + pages[index] * kPage; }

    static constexpr std::size_t kQueries = 1 << 16;
    dma::Memory memory;
    dma::Space space;
    std::vector<std::uint64_t> pages;
    std::vector<std::size_t> queries;  // random indices
};

// What is compared: forward by IOVA and back by address; each returns 0 for a miss.
struct Ours {
    explicit Ours(const Scene& scene) : reader(scene.space.reader("bench")), guard(reader.enter()) {}
    std::uint64_t forward(std::uint64_t iova) const {
        return reinterpret_cast<std::uintptr_t>(guard.translate(Iova{iova}, 64, Access::read).data());
    }
    std::uint64_t back(std::uint64_t address) const {
        return guard.iova_of(reinterpret_cast<void*>(address), 64).value_or(Iova{0}).value;
    }
    dma::Reader reader;
    dma::Guard guard;
};

template <class Map>
struct Ordered {
    explicit Ordered(const Scene& scene) {
        for (std::size_t i = 0; i < scene.pages.size(); ++i) {
            const std::uint64_t iova = Scene::iova_of(i).value;
            const auto address = reinterpret_cast<std::uintptr_t>(scene.address_of(i));
            by_iova[iova] = address;
            by_address[address] = iova;
        }
    }
    static std::uint64_t find(const Map& map, std::uint64_t key) {
        auto it = map.upper_bound(key);
        if (it == map.begin()) return 0;
        --it;
        return key - it->first < kPage ? it->second + (key - it->first) : 0;
    }
    std::uint64_t forward(std::uint64_t iova) const { return find(by_iova, iova); }
    std::uint64_t back(std::uint64_t address) const { return find(by_address, address); }
    Map by_iova;
    Map by_address;
};
using StdMap = Ordered<std::map<std::uint64_t, std::uint64_t>>;
using Btree = Ordered<absl::btree_map<std::uint64_t, std::uint64_t>>;

// As QEMU's IOVA tree does.
struct Glib {
    struct Entry {
        std::uint64_t key;
        std::uint64_t value;
    };
    explicit Glib(const Scene& scene) {
        by_iova = g_tree_new(compare);
        by_address = g_tree_new(compare);
        entries.reserve(scene.pages.size() * 2);
        const auto add = [&](GTree* tree, std::uint64_t key, std::uint64_t value) {
            entries.push_back({key, value});
            g_tree_insert(tree, &entries.back(), &entries.back());
        };
        for (std::size_t i = 0; i < scene.pages.size(); ++i) {
            const auto address = reinterpret_cast<std::uintptr_t>(scene.address_of(i));
            add(by_iova, Scene::iova_of(i).value, address);
            add(by_address, address, Scene::iova_of(i).value);
        }
    }
    ~Glib() {
        g_tree_destroy(by_iova);
        g_tree_destroy(by_address);
    }
    // Overlapping is equal.
    static gint compare(gconstpointer a, gconstpointer b) {
        const std::uint64_t x = static_cast<const Entry*>(a)->key;
        const std::uint64_t y = static_cast<const Entry*>(b)->key;
        return x + kPage <= y ? -1 : y + kPage <= x ? 1 : 0;
    }
    static gint search(gconstpointer entry, gconstpointer key) {
        const std::uint64_t x = static_cast<const Entry*>(entry)->key;
        const std::uint64_t wanted = *static_cast<const std::uint64_t*>(key);
        return wanted < x ? -1 : wanted - x >= kPage ? 1 : 0;
    }
    static std::uint64_t find(GTree* tree, std::uint64_t key) {
        const auto* const entry = static_cast<const Entry*>(g_tree_search(tree, search, &key));
        return entry ? entry->value + (key - entry->key) : 0;
    }
    std::uint64_t forward(std::uint64_t iova) const { return find(by_iova, iova); }
    std::uint64_t back(std::uint64_t address) const { return find(by_address, address); }
    GTree* by_iova;
    GTree* by_address;
    std::vector<Entry> entries;
};

struct Forward {
    static std::uint64_t key(const Scene& scene, std::size_t index) {
        return scene.iova_of(index).value + index % 61 * 64;
    }
    template <class Structure>
    static std::uint64_t run(const Structure& structure, std::uint64_t key) {
        return structure.forward(key);
    }
};
struct Back {
    static std::uint64_t key(const Scene& scene, std::size_t index) {
        return reinterpret_cast<std::uintptr_t>(scene.address_of(index)) + index % 61 * 64;
    }
    template <class Structure>
    static std::uint64_t run(const Structure& structure, std::uint64_t key) {
        return structure.back(key);
    }
};

template <class Direction, class Structure>
void check(const Structure& structure, const StdMap& reference, const Scene& scene) {
    for (const std::size_t index : scene.queries) {
        const std::uint64_t key = Direction::key(scene, index);
        const std::uint64_t hole = key + kPage;
        if (Direction::run(structure, key) == Direction::run(reference, key) &&
            (std::is_same_v<Direction, Back> ||
             Direction::run(structure, hole) == Direction::run(reference, hole)))
            continue;
        std::fprintf(stderr, "wrong answer for %#llx\n", static_cast<unsigned long long>(key));
        std::abort();
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
        check<Forward>(*structure, structure_of<StdMap>(scene), scene);
        check<Back>(*structure, structure_of<StdMap>(scene), scene);
    }
    return *structure;
}

template <class Direction>
std::vector<std::uint64_t> keys_of(const Scene& scene) {
    std::vector<std::uint64_t> keys;
    for (const std::size_t index : scene.queries) keys.push_back(Direction::key(scene, index));
    return keys;
}

template <class Structure, class Direction>
void throughput(benchmark::State& state) {
    const Scene& scene = Scene::of(static_cast<std::size_t>(state.range(0)));
    const Structure& structure = structure_of<Structure>(scene);
    const std::vector<std::uint64_t> keys = keys_of<Direction>(scene);
    for (auto _ : state)
        for (const std::uint64_t key : keys) benchmark::DoNotOptimize(Direction::run(structure, key));
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(keys.size()));
}

// The next key depends on the answer.
template <class Structure, class Direction>
void chain(benchmark::State& state) {
    const Scene& scene = Scene::of(static_cast<std::size_t>(state.range(0)));
    const Structure& structure = structure_of<Structure>(scene);
    const std::vector<std::uint64_t> keys = keys_of<Direction>(scene);
    for (auto _ : state) {
        std::uint64_t before = 0;
        for (const std::uint64_t key : keys) before = Direction::run(structure, key + (before & 1));
        benchmark::DoNotOptimize(before);
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(keys.size()));
}

// Entering and leaving for each look-up, beside one guard for all.
struct OursGuarded {
    explicit OursGuarded(const Scene& scene) : reader(scene.space.reader("bench")) {}
    std::uint64_t forward(std::uint64_t iova) const {
        const dma::Guard guard = reader.enter();
        return reinterpret_cast<std::uintptr_t>(guard.translate(Iova{iova}, 64, Access::read).data());
    }
    std::uint64_t back(std::uint64_t address) const {
        const dma::Guard guard = reader.enter();
        return guard.iova_of(reinterpret_cast<void*>(address), 64).value_or(Iova{0}).value;
    }
    mutable dma::Reader reader;
};

#define SIZES Arg(16)->Arg(256)->Arg(4096)->Arg(65536)->Arg(1000000)
#define STRUCTURE(structure)                          \
    BENCHMARK(throughput<structure, Forward>)->SIZES; \
    BENCHMARK(throughput<structure, Back>)->SIZES;    \
    BENCHMARK(chain<structure, Forward>)->SIZES;

STRUCTURE(Ours)
STRUCTURE(OursGuarded)
STRUCTURE(StdMap)
STRUCTURE(Btree)
STRUCTURE(Glib)

}  // namespace
}  // namespace iommufd::bench

BENCHMARK_MAIN();
