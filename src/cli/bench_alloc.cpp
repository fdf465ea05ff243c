// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Choosing IOVAs and giving them back beside so many live ranges, beside a first fit over std::map.
#include <map>
#include <random>

#include "cli/figures.hpp"
#include "dma/iova_allocator.hpp"
#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr std::uint64_t kPage = 4096;

struct Ours {
    Ours() { allocator.allow({{Iova{0}, Iova{(1ULL << 48) - 1}}}); }
    Iova take(std::uint64_t length) {
        allocator.reserve(++taken);
        return allocator.alloc({.length = length, .alignment = kPage})->first;
    }
    void give_back(Iova iova, std::uint64_t length) {
        allocator.give_back(*Range::of(iova, length));
        --taken;
    }
    dma::IovaAllocator allocator;
    std::size_t taken = 0;
};

// What is taken, in order; it looks through all of it.
struct FirstFit {
    Iova take(std::uint64_t length) {
        Iova candidate{kPage};
        for (const auto& [first, last] : taken) {
            if (first.value - candidate.value >= length) break;
            candidate = last + 1;
        }
        taken.emplace(candidate, candidate + (length - 1));
        return candidate;
    }
    void give_back(Iova iova, std::uint64_t) { taken.erase(iova); }
    std::map<Iova, Iova> taken;
};

struct Live {
    Iova iova;
    std::uint64_t length;
};

// One to 32 pages each.
std::uint64_t some_length(std::mt19937_64& random) { return kPage << random() % 6; }

// Nanoseconds to give one of them back, at random, and to take another.
template <class Allocator>
double one_pair(unsigned runs, std::size_t ranges, std::size_t pairs) {
    std::mt19937_64 random(1);
    Allocator allocator;
    std::vector<Live> live(ranges);
    Iova next{kPage};
    for (Live& range : live) {
        range.length = some_length(random);
        if constexpr (std::is_same_v<Allocator, FirstFit>) {
            allocator.taken.emplace(next, next + (range.length - 1));  // (as it would choose, but at once)
            range.iova = std::exchange(next, next + range.length);
        } else {
            range.iova = allocator.take(range.length);
        }
    }
    std::vector<double> times;
    for (unsigned run = 0; run < runs; ++run) {
        std::vector<std::pair<std::size_t, std::uint64_t>> steps;
        for (std::size_t i = 0; i < pairs; ++i) steps.emplace_back(random() % ranges, some_length(random));
        times.push_back(nanoseconds([&] {
            for (const auto& [index, length] : steps) {
                allocator.give_back(live[index].iova, live[index].length);
                live[index] = {allocator.take(length), length};
            }
        }));
    }
    return median(std::move(times)) / static_cast<double>(pairs);
}

}  // namespace

Result<void> bench_alloc(Bench& bench) {
    for (const std::size_t ranges : {1000U, 100000U})
        bench.figures.push_back({.test = "alloc",
                                 .what = compose("give back an IOVA and take one, ", ranges, " live"),
                                 .value = one_pair<Ours>(bench.runs, ranges, 100000),
                                 .unit = "ns",
                                 .yardstick = "first fit over std::map",
                                 .yardstick_value = one_pair<FirstFit>(bench.runs, ranges, 200)});
    return {};
}

}  // namespace iommufd::inline v0_1::cli
