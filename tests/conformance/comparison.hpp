// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Makes random sequences of calls on two kernels, one call at a time on each, until they differ; then leaves out all
// calls without which they still do.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "conformance/generator.hpp"
#include "conformance/side.hpp"

namespace iommufd::inline v0_1::conformance {

struct Difference {
    std::vector<Call> calls;  // the last one differs
    Outcome first;
    Outcome second;

    std::string text() const;
};

// How often each call ended with each errno (0: none).
using Coverage = std::map<std::string, std::map<int, std::uint64_t>>;
std::string text_of(const Coverage& coverage);

class Comparison {
public:
    // `first` is the one from whose answers later arguments are chosen.
    Comparison(Side& first, Side& second, Arena& arena) : first_(first), second_(second), arena_(arena) {}

    // A sequence of so many calls, and what can be seen of the state in between; the first difference, shrunk.
    std::optional<Difference> run(Generator& generator, std::size_t length);

    std::uint64_t calls() const { return calls_; }
    const Coverage& coverage() const { return coverage_; }

private:
    bool differs(const Call& call, Outcome& first, Outcome& second);
    void begin();
    void detach_pasids(const std::optional<Reference>& stdev);
    bool pins_left();
    void await_faults(const std::vector<Call>& calls);
    std::optional<Difference> replay(const std::vector<Call>& calls);
    Difference shrink(Difference found);

    Side& first_;
    Side& second_;
    Arena& arena_;
    struct Attached {
        Reference stdev;
        std::uint32_t pasid;
    };
    std::vector<Attached> pasids_;  // since the sequence began
    std::uint64_t calls_ = 0;
    Coverage coverage_;
};

}  // namespace iommufd::inline v0_1::conformance
