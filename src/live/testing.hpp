// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Two instances on one model machine: the old one, and its successor in the same process, by duplicates of the descriptors.
#pragma once

#include <gmock/gmock.h>

#include <cerrno>
#include <string>
#include <vector>

#include "iommufd/live/handover.hpp"
#include "iommufd/model/machine.hpp"
#include "vfio/overlay.hpp"

namespace iommufd::inline v0_1::live::testing {

inline constexpr Iova kBase{0x4000000};

class LiveTest : public ::testing::Test {
protected:
    void TearDown() override { EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text(); }

    LiveTest() { kernel_.files["/proc/self/status"] = "CapEff:\t0000000000000000\n"; }
    sys::Kernel& kernel() { return kernel_; }

    Backend open() {
        return Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = &kernel()}).value();
    }
    vfio::Device bind(const Backend& backend) {
        return vfio::Cdev::open("00:10.0", {.kernel = &kernel(), .name = {}}).value().bind(backend).value();
    }
    dma::Memory memfd(std::uint64_t size = 4_MiB, const char* label = "ram") {
        return dma::Memory::memfd(size, {.label = label, .host_nodes = {}, .kernel = &kernel()}).value();
    }

    // As SCM_RIGHTS would bring it to another process.
    Package received(const Package& package) {
        Package copy{.state = package.state, .fds = {}};
        for (const int fd : package.fds) copy.fds.push_back(kernel().dup(fd));
        return copy;
    }
    Result<Prepared> restore(Package package) {
        return live::restore(std::move(package), {.report = {}, .kernel = &kernel()});
    }

    static std::vector<std::string> lines(const std::vector<Error>& obstacles) {
        std::vector<std::string> lines;
        for (const Error& obstacle : obstacles) lines.push_back(obstacle.line());
        return lines;
    }

    model::Machine machine_;
    // Without capabilities.
    vfio::Overlay kernel_{machine_.kernel()};
};

}  // namespace iommufd::inline v0_1::live::testing
