// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "cli/arguments.hpp"

namespace iommufd::inline v0_1::cli {

struct BenchArguments {
    Arguments place;
    std::vector<std::string> tests;  // none: all
    std::uint64_t size = 0;          // of the memory that is brought up, in bytes
    unsigned threads = 0;            // as many at most
    unsigned runs = 0;               // of each measurement, of which the median is told
};

// `iommufd bench`: what the library costs on this very machine, with a yardstick beside each figure.
int bench(BenchArguments arguments);

// The names of the tests.
const std::vector<std::string>& bench_tests();

}  // namespace iommufd::inline v0_1::cli
