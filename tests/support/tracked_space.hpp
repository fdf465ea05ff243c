// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A space on a kernel with dirty bits that behaves as Linux does, and what it tells of the pages that were written to.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "support/dirty_devices.hpp"
#include "support/dirty_kernel.hpp"
#include "support/raw_device.hpp"

namespace iommufd {

inline void PrintTo(const Range& range, std::ostream* out) {
    *out << std::hex << "[0x" << range.first.value << ", 0x" << range.last.value << "]" << std::dec;
}

}  // namespace iommufd

namespace iommufd::support {

constexpr Iova kBase{0x4000000};
constexpr std::uint64_t kPage = 4096;
using Runs = std::vector<Range>;

// Pages [first, first + count) behind kBase.
inline Range pages(std::uint64_t first, std::uint64_t count = 1) {
    return *Range::of(kBase + first * kPage, count * kPage);
}

class TrackedSpace : public ::testing::Test {
protected:
    void TearDown() override {
        EXPECT_EQ(kernel_.bad_reads(), 0U) << "a read that Linux would answer wrongly";
    }

    Runs sync(const dma::DirtyLog& log, Range range = {Iova{0}, Iova{~0ULL}}) {
        Runs all;
        const auto done = log.sync(
            range, [&](std::span<const Range> runs) { all.insert(all.end(), runs.begin(), runs.end()); });
        EXPECT_TRUE(done) << done.error().text();
        last_ = done.value();
        std::uint64_t bytes = 0;
        for (const Range& run : all) bytes += run.length();
        EXPECT_EQ(last_.bytes, bytes);
        EXPECT_EQ(last_.from, log.from());
        return all;
    }
    void device_writes(std::initializer_list<std::uint64_t> numbers, unsigned table = 1) {
        for (const std::uint64_t number : numbers)
            EXPECT_TRUE(kernel_.device_writes((kBase + number * kPage).value, table));
    }
    dma::Mapping map(std::uint64_t first, std::uint64_t count, Access access = Access::read_write) {
        return space_
            .map(memory_, {.iova = kBase + first * kPage,
                           .offset = first * kPage,
                           .length = count * kPage,
                           .access = access})
            .value();
    }
    std::shared_ptr<RawDevice> device(unsigned number = 0) {
        return RawDevice::bind(backend_, number == 0 ? "/dev/vfio/devices/vfio0" : "/dev/vfio/devices/vfio1");
    }

    model::Machine machine_{
        {.devices = {{.kind = model::DeviceKind::edu}, {.kind = model::DeviceKind::edu}}}};
    DirtyKernel kernel_{machine_.kernel()};
    std::vector<std::string> reports_;
    Backend backend_ =
        Backend::open({.id = "iommufd0",
                       .fd = {},
                       .report = [this](const Notice& notice) { reports_.push_back(notice.error.line()); },
                       .kernel = &kernel_})
            .value();
    dma::Space space_ = dma::Space::on(backend_, {.id = "dma0"}).value();
    dma::Memory memory_ = dma::Memory::memfd(16_MiB, {.label = "ram"}).value();
    dma::DirtySync last_;
};

}  // namespace iommufd::support
