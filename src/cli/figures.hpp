// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a benchmark measured, before anybody decides how it is shown.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "core/node.hpp"
#include "iommufd/dma/space.hpp"

namespace iommufd::inline v0_1::cli {

struct Figure {
    std::string test;  // "translate"
    std::string what;  // "4096 mappings"
    double value;
    std::string unit;  // "ns", "ms"
    // The same done in another way, in the same unit; empty: there is none.
    std::string yardstick = {};
    double yardstick_value = 0;
};

struct Bench {
    unsigned runs;
    unsigned threads;
    std::uint64_t size;
    // Where there is a kernel to measure; null: no dma-space is given.
    const dma::Space* space;
    // Another one of the same iommufd; null: there is none.
    const dma::Space* second_space;
    // Of its iommufd; null: it has none open.
    std::shared_ptr<core::ContextNode> context;
    std::vector<Figure> figures = {};
    std::vector<std::string> left_out = {};  // and why
};

// Each measures one thing, and adds what it found.
Result<void> bench_translate(Bench& bench);
Result<void> bench_alloc(Bench& bench);
Result<void> bench_dirty(Bench& bench);
Result<void> bench_map(Bench& bench);
Result<void> bench_bring_up(Bench& bench);

// How long it took, in nanoseconds.
template <class Work>
double nanoseconds(Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

inline double median(std::vector<double> values) {
    std::ranges::nth_element(values, values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2));
    return values[values.size() / 2];
}

}  // namespace iommufd::inline v0_1::cli
