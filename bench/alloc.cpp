// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Choosing IOVAs and giving them back beside what programs do for it otherwise, and buffers of a Pool beside malloc. What
// chooses the lowest range is checked against the std::map that does before it is timed.
#include <benchmark/benchmark.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

#include "dma/iova_allocator.hpp"
#include "iommufd/dma/pool.hpp"
#include "iommufd/dma/space.hpp"

namespace iommufd::bench {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr Range kAllowed{Iova{0}, Iova{(1ULL << 48) - 1}};

// What is compared: the lowest free range of so many bytes at a multiple of a page, and its end.
struct Ours {
    Ours() { allocator.allow({kAllowed}); }
    Iova alloc(std::uint64_t length) {
        allocator.reserve(++taken);
        const auto chosen = allocator.alloc({.length = length, .alignment = kPage});
        if (!chosen) std::abort();
        return chosen->first;
    }
    void free(Iova iova, std::uint64_t length) {
        allocator.give_back(*Range::of(iova, length));
        --taken;
    }
    dma::IovaAllocator allocator;
    std::size_t taken = 0;
};

// The same without what was given back just now going out again first.
struct Lowest : Ours {
    void free(Iova iova, std::uint64_t length) {
        Ours::free(iova, length);
        allocator.settle();
    }
};

// First fit over an ordered map of what is taken: libvfn's way, and QEMU's IOVATree.
struct StdMap {
    Iova alloc(std::uint64_t length) {
        Iova candidate = has_holes || taken.empty() ? Iova{kPage} : taken.rbegin()->second + 1;
        for (auto it = taken.begin(); has_holes && it != taken.end(); ++it) {
            if (it->first.value - candidate.value >= length) break;
            candidate = it->second + 1;
        }
        taken.emplace(candidate, candidate + (length - 1));
        return candidate;
    }
    void free(Iova iova, std::uint64_t) {
        taken.erase(iova);
        has_holes = true;
    }
    std::map<Iova, Iova> taken;
    bool has_holes = false;  // until then it needn't search
};

// Ever higher, and again what was given back of the same power of two: what a power of two can't hold is lost.
struct Bump {
    Iova alloc(std::uint64_t length) {
        auto& list = lists[std::bit_width(length - 1)];
        if (list.empty()) return std::exchange(next, next + std::bit_ceil(length));
        const Iova iova = list.back();
        list.pop_back();
        return iova;
    }
    void free(Iova iova, std::uint64_t length) { lists[std::bit_width(length - 1)].push_back(iova); }
    Iova next{kPage};
    std::vector<Iova> lists[64];
};

// Mostly one to 32 pages, some of up to 2 MiB (from there on ours chooses by larger pages).
std::uint64_t some_length(std::mt19937_64& random) {
    if (random() % 64 == 0) return kPage * (1 + random() % 511);
    return kPage << (random() % 6);
}

template <class Allocator>
class Churn {
public:
    explicit Churn(std::size_t live) {
        places_.resize(live);
        // As it is after a while.
        for (Place& place : places_) fill(place, some_length(random_));
        for (std::size_t i = 0; i < std::min<std::size_t>(2 * live, 4000); ++i) (void)step();
        for (std::size_t i = 0; i < kSteps; ++i) steps_.push_back({random_() % live, some_length(random_)});
    }
    Iova step() {
        Place& place = places_[random_() % places_.size()];
        return step(place, some_length(random_));
    }
    // A step whose choice costs nothing.
    Iova next() {
        const auto& [place, length] = steps_[next_++ % kSteps];
        return step(places_[place], length);
    }

private:
    struct Place {
        Iova iova;
        std::uint64_t length = 0;
    };
    Iova fill(Place& place, std::uint64_t length) {
        place = {allocator_.alloc(length), length};
        return place.iova;
    }
    Iova step(Place& place, std::uint64_t length) {
        allocator_.free(place.iova, place.length);
        return fill(place, length);
    }
    static constexpr std::size_t kSteps = 1 << 16;
    std::mt19937_64 random_{1};
    Allocator allocator_;
    std::vector<Place> places_;
    std::vector<std::pair<std::size_t, std::uint64_t>> steps_;
    std::size_t next_ = 0;
};

void check() {
    Churn<Lowest> ours(1000);
    Churn<StdMap> reference(1000);
    for (int i = 0; i < 5000; ++i)
        if (ours.step() != reference.step()) {
            std::fprintf(stderr, "not the lowest free range\n");
            std::abort();
        }
}

// One alloc and one free beside so many live ranges, of mixed sizes and at random places.
template <class Allocator>
void churn(benchmark::State& state) {
    static const bool checked = (check(), true);
    benchmark::DoNotOptimize(checked);
    // Built once.
    static std::map<std::int64_t, std::unique_ptr<Churn<Allocator>>> scenes;
    auto& scene = scenes[state.range(0)];
    if (!scene) scene = std::make_unique<Churn<Allocator>>(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) benchmark::DoNotOptimize(scene->next());
}
BENCHMARK(churn<Ours>)->Arg(100)->Arg(1000)->Arg(10000)->Arg(100000);
BENCHMARK(churn<Lowest>)->Arg(100)->Arg(1000)->Arg(10000)->Arg(100000);
BENCHMARK(churn<StdMap>)->Arg(100)->Arg(1000)->Arg(10000)->Arg(100000);
BENCHMARK(churn<Bump>)->Arg(100)->Arg(1000)->Arg(10000)->Arg(100000);

// Through a thread's own cache, beside 10^5 live ranges: the last one that was freed, or 256 of them by turns.
void cached(benchmark::State& state) {
    const auto space = dma::Space::without_iommufd({}).value();
    auto others = space.iova_cache().value();
    for (int i = 0; i < 100000; ++i)
        if (!others.alloc(kPage)) std::abort();
    auto cache = space.iova_cache().value();
    std::vector<Range> held;
    for (std::int64_t i = 0; i < state.range(0); ++i) held.push_back(cache.alloc(kPage).value());
    std::size_t i = 0;
    for (auto _ : state) {
        Range& range = held[i++ % held.size()];
        cache.free(range);
        range = *cache.alloc(kPage);
        benchmark::DoNotOptimize(range);
    }
    for (const Range& range : held) cache.free(range);
}
BENCHMARK(cached)->Arg(1)->Arg(256);

// Many taken, then as many given back: through the depot, and the space.
void cached_in_bulk(benchmark::State& state) {
    const auto space = dma::Space::without_iommufd({}).value();
    auto cache = space.iova_cache().value();
    std::vector<Range> held(10000);
    for (auto _ : state) {
        for (Range& range : held) range = *cache.alloc(kPage);
        for (const Range& range : held) cache.free(range);
    }
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(held.size()));
}
BENCHMARK(cached_in_bulk);

// A buffer in place of another one, of 256 live ones.
struct PoolBuffers {
    using Buffer = std::optional<dma::Pool::Buffer>;
    void alloc(Buffer& buffer, std::uint64_t size) {
        buffer.reset();
        buffer = pool.alloc(size);
        if (!buffer) std::abort();
    }
    dma::Space space = dma::Space::without_iommufd({}).value();
    dma::Pool pool = dma::Pool::create(space, 512_MiB).value();
};
struct Malloc {
    struct Buffer {
        Buffer() = default;
        Buffer(const Buffer&) = delete;
        Buffer& operator=(const Buffer&) = delete;
        ~Buffer() { std::free(data); }
        void* data = nullptr;
    };
    static void alloc(Buffer& buffer, std::uint64_t size) {
        std::free(buffer.data);
        buffer.data = std::aligned_alloc(64, size);
    }
};

template <class Allocator>
void buffers(benchmark::State& state) {
    Allocator allocator;
    std::vector<typename Allocator::Buffer> live(256);
    std::vector<std::size_t> places(1 << 12);
    std::mt19937_64 random(1);
    for (std::size_t& place : places) place = random() % live.size();
    const auto size = static_cast<std::uint64_t>(state.range(0));
    for (auto& buffer : live) allocator.alloc(buffer, size);
    std::size_t i = 0;
    for (auto _ : state) allocator.alloc(live[places[i++ % places.size()]], size);
}
BENCHMARK(buffers<PoolBuffers>)->Arg(64)->Arg(512)->Arg(4096)->Arg(65536)->Arg(1 << 20);
BENCHMARK(buffers<Malloc>)->Arg(64)->Arg(512)->Arg(4096)->Arg(65536)->Arg(1 << 20);

}  // namespace
}  // namespace iommufd::bench

BENCHMARK_MAIN();
