// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/fault_watch.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asio/io_context.hpp>
#include <optional>

#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/device.hpp"
#include "iommufd/vfio/region.hpp"

namespace iommufd::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kPatience{10};

class FaultWatchTest : public ::testing::Test {
protected:
    void add(object::Option option, std::string_view text) {
        monitor_.create(object::parse(option, text).value(), {}).value();
    }
    void add_device(const char* id, const char* host) {
        add(object::Option::device,
            std::string("vfio-pci,iommufd=iommufd0,space=dma0,id=") + id + ",host=" + host);
    }
    void SetUp() override {
        add(object::Option::object, "iommufd,id=iommufd0");
        add(object::Option::object, "dma-space,id=dma0,iommufd=iommufd0,faults=on");
    }
    void TearDown() override {
        faults_.reset();
        EXPECT_TRUE(registry_.clear().empty());
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    }
    // The device writes to where nothing is mapped.
    void fault(const char* id, std::uint64_t iova) {
        const vfio::Device& device = *registry_.get<vfio::Device>(id).value();
        device.enable().value();
        const vfio::Region bar = device.region(0).value();
        bar.write<std::uint64_t>(0x80, 0x40000).value();
        bar.write<std::uint64_t>(0x88, iova).value();
        bar.write<std::uint64_t>(0x90, 16).value();
        bar.write<std::uint64_t>(0x98, 3).value();
        const auto is_running = [&] { return (bar.read<std::uint64_t>(0x98).value() & 1) != 0; };
        for (int i = 0; is_running() && i < 10000; ++i) (void)loop_.run_one_for(std::chrono::milliseconds(1));
        EXPECT_FALSE(is_running()) << id << " goes on";
    }

    model::Machine machine_{model::parse("devices=edu:page-requests=on,edu:page-requests=on").value()};
    object::Registry registry_{{.report = {}, .kernel = &machine_.kernel(), .before_attach = {}}};
    asio::io_context loop_;
    std::vector<std::string> lines_;
    monitor::RateLimit::Time now_ = std::chrono::steady_clock::now();
    monitor::Monitor monitor_{registry_,
                              {.device_added = [this](const std::string& id) { faults_->watch(id); },
                               .device_leaves = [this](const std::string& id) { faults_->leave(id); },
                               .unheard = [this](const std::string& line) { lines_.push_back(line); },
                               .steady_clock = [this] { return now_; }}};
    std::optional<FaultWatch> faults_{std::in_place, loop_, monitor_};
};

TEST_F(FaultWatchTest, EachDeviceOfASpaceIsServedUntilItLeavesAndTheNextThatComesToo) {
    add_device("one", "0000:00:10.0");
    add_device("two", "0000:00:11.0");
    fault("one", 0x1000);
    fault("two", 0x2000);
    monitor_.remove("one").value();
    fault("two", 0x3000);
    monitor_.remove("two").value();
    add_device("three", "0000:00:10.0");
    fault("three", 0x4000);
    EXPECT_THAT(lines_,
                ElementsAre(HasSubstr("'one' asks for 0x1000"), HasSubstr("'two' asks for 0x2000"),
                            HasSubstr("'two' asks for 0x3000"), HasSubstr("'three' asks for 0x4000")));
}

TEST_F(FaultWatchTest, WhatALimitLeftOutIsToldWhenItsSecondIsOver) {
    add_device("one", "0000:00:10.0");
    for (std::uint64_t i = 0; i < monitor::Monitor::kMostFaults + 5; ++i) fault("one", 0x1000);
    ASSERT_EQ(lines_.size(), monitor::Monitor::kMostFaults);
    now_ += monitor::Monitor::kFaultPeriod;
    while (lines_.size() == monitor::Monitor::kMostFaults && loop_.run_one_for(kPatience) != 0) {
    }
    ASSERT_EQ(lines_.size(), monitor::Monitor::kMostFaults + 1);
    EXPECT_EQ(lines_.back(), "5 more faults in 'dma0' answered and not told");
}

}  // namespace
}  // namespace iommufd::cli
