// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What is mapped, and what finds it: the library, and the ordered maps that programs use otherwise.
#pragma once

#include <absl/container/btree_map.h>
#include <glib.h>

#include <map>
#include <random>

#include "iommufd/dma/space.hpp"

namespace iommufd::bench {

constexpr std::uint64_t kPage = 4096;

// N pages of one memory, in the order of a shuffle: IOVA page -> page of the memory. Two are neighbours, then two are holes.
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
    }

    static Iova iova_of(std::size_t index) { return Iova{0x10000000 + (index + index / 2 * 2) * kPage}; }
    static constexpr std::uint64_t kToAHole = 2 * kPage;
    std::byte* address_of(std::size_t index) const { return memory.data() + pages[index] * kPage; }

    dma::Memory memory;
    dma::Space space;
    std::vector<std::size_t> pages;
};

// Forward by IOVA and back by address return 0 for a miss; `crossing` looks up `length` bytes that lie in two mappings, and returns
// the address of the second part.
struct Ours {
    explicit Ours(const Scene& scene) : reader(scene.space.reader("bench")), guard(reader.enter()) {}
    std::uint64_t forward(std::uint64_t iova) const {
        return reinterpret_cast<std::uintptr_t>(guard.translate(Iova{iova}, 64, Access::read).data());
    }
    std::uint64_t back(std::uint64_t address) const {
        return guard.iova_of(reinterpret_cast<void*>(address), 64).value_or(Iova{0}).value;
    }
    std::uint64_t crossing(std::uint64_t iova, std::uint64_t length) const {
        pieces.clear();
        guard.translate(Iova{iova}, length, Access::read, pieces);
        return reinterpret_cast<std::uintptr_t>(pieces.back().data() + pieces.back().size()) -
               (iova + length) % kPage;
    }
    dma::Reader reader;
    dma::Guard guard;
    mutable std::vector<std::span<std::byte>> pieces;
};

// Entering and leaving for each look-up, instead of one guard for all.
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
    // The range at or before a key.
    static auto before(const Map& map, std::uint64_t key) {
        auto it = map.upper_bound(key);
        return it == map.begin() ? map.end() : --it;
    }
    static std::uint64_t find(const Map& map, std::uint64_t key) {
        const auto it = before(map, key);
        return it != map.end() && key - it->first < kPage ? it->second + (key - it->first) : 0;
    }
    std::uint64_t forward(std::uint64_t iova) const { return find(by_iova, iova); }
    std::uint64_t back(std::uint64_t address) const { return find(by_address, address); }
    std::uint64_t crossing(std::uint64_t iova, std::uint64_t length) const {
        auto it = before(by_iova, iova);
        if (it == by_iova.end() || iova - it->first >= kPage) return 0;
        const std::uint64_t end = it->first + kPage;
        if (iova + length <= end) return it->second + (iova - it->first);
        ++it;
        return it != by_iova.end() && it->first == end ? it->second : 0;
    }
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
    std::uint64_t crossing(std::uint64_t iova, std::uint64_t length) const {
        const std::uint64_t first = find(by_iova, iova);
        const std::uint64_t end = (iova / kPage + 1) * kPage;
        return first == 0 || iova + length <= end ? first : find(by_iova, end);
    }
    GTree* by_iova;
    GTree* by_address;
    std::vector<Entry> entries;
};

}  // namespace iommufd::bench
