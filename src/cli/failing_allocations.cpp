// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/failing_allocations.hpp"

#include <cstdlib>
#include <new>
#include <utility>

namespace iommufd::inline v0_1::cli {
namespace {

// Constant-initialized: operator new is called before any constructor of this program has run.
constinit thread_local std::uint64_t until_failure = 0;

class OwnFailures final : public intercept::AllocationFailures {
public:
    void arm(std::uint64_t n) override { until_failure = n; }
    std::uint64_t disarm() override { return std::exchange(until_failure, 0); }
};

void* allocate(std::size_t size) {
    if (until_failure != 0 && --until_failure == 0) throw std::bad_alloc();
    if (void* const block = std::malloc(size == 0 ? 1 : size)) return block;
    throw std::bad_alloc();
}

}  // namespace

intercept::AllocationFailures& allocation_failures() noexcept {
    static OwnFailures failures;
    return failures;
}

}  // namespace iommufd::inline v0_1::cli

// The library's other forms come to these.
void* operator new(std::size_t size) { return iommufd::cli::allocate(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
