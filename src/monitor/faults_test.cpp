// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// IOMMU_FAULT: from a device of the model that asks for a page to a client's line.
#include <poll.h>

#include "iommufd/vfio/device.hpp"
#include "iommufd/vfio/region.hpp"
#include "iommufd/viommu/page_requests.hpp"
#include "monitor/testing.hpp"

namespace iommufd::monitor {
namespace {

using namespace testing;
using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class FaultsTest : public MonitorTest {
protected:
    FaultsTest() : MonitorTest(model::parse("devices=edu:page-requests=on,edu").value()) {
        client_->negotiated();
        add(R"({"qom-type":"iommufd","id":"iommufd0"})");
        add(R"({"qom-type":"dma-space","id":"dma0","iommufd":"iommufd0","faults":true})");
    }
    void TearDown() override {
        bar_.reset();
        client_.reset();
        MonitorTest::TearDown();
    }

    void add(const std::string& arguments) {
        EXPECT_EQ(client_->say(R"({"execute":"object-add","arguments":)" + arguments + "}"),
                  R"({"return": {}})");
    }
    std::string add_device(const std::string& id, const std::string& host) {
        return client_->say(R"({"execute":"device_add","arguments":{"driver":"vfio-pci","id":")" + id +
                            R"(","host":")" + host + R"(","iommufd":"iommufd0","space":"dma0"}})");
    }
    void start_edu() {
        EXPECT_EQ(add_device("edu0", "0000:00:10.0"), R"({"return": {}})");
        const vfio::Device& device = *registry_.get<vfio::Device>("edu0").value();
        device.enable().value();
        bar_.emplace(device.region(0).value());
    }
    // The device begins to write to memory.
    void write(std::uint64_t iova) {
        bar_->write<std::uint64_t>(0x80, 0x40000).value();
        bar_->write<std::uint64_t>(0x88, iova).value();
        bar_->write<std::uint64_t>(0x90, 16).value();
        bar_->write<std::uint64_t>(0x98, 3).value();
    }
    bool is_running() { return (bar_->read<std::uint64_t>(0x98).value() & 1) != 0; }
    bool ends() {
        for (int i = 0; is_running(); ++i) {
            if (i == 2000) return false;
            (void)::poll(nullptr, 0, 1);
        }
        return true;
    }

    std::optional<Client> client_{std::in_place, monitor_};
    std::optional<vfio::Region> bar_;
};

TEST_F(FaultsTest, APageThatADeviceAsksForIsToldAndAnsweredThatThereIsNone) {
    start_edu();
    EXPECT_EQ(registry_.property("dma0", "faults").value(), "on");
    write(0x123456);
    EXPECT_TRUE(is_running()) << "it waits";
    EXPECT_EQ(monitor_.serve_faults("dma0").value(), std::nullopt);
    EXPECT_EQ(
        client_->take(),
        R"({"timestamp": {"seconds": 1700000000, "microseconds": 42}, "event": "IOMMU_FAULT", "data": )"
        R"({"permissions": ["write"], "device": "edu0", "group": 0, "path": "/machine/peripheral/edu0", )"
        R"("space": "dma0", "iova": 1191936}})");
    EXPECT_TRUE(ends()) << "the device goes on";
    EXPECT_EQ(machine_.blocked_dma_count(), 1U);
    EXPECT_THAT(unheard_, IsEmpty());
}

TEST_F(FaultsTest, WhereNobodyListensTheWordsGoToTheCommand) {
    start_edu();
    client_.emplace(monitor_);
    write(0x123456);
    (void)monitor_.serve_faults("dma0").value();
    EXPECT_THAT(unheard_,
                ElementsAre("'edu0' asks for 0x123000 (write, group 0), where nothing is mapped in 'dma0'"));
    EXPECT_TRUE(ends());
}

TEST_F(FaultsTest, BeyondAMostFaultsAreAnsweredAndCountedAndTheirCountIsToldWhenTheSecondIsOver) {
    start_edu();
    const auto begin = now_;
    for (std::uint64_t i = 0; i < Monitor::kMostFaults + 3; ++i) {
        write(0x100000 + i * 4096);
        const auto due = monitor_.serve_faults("dma0").value();
        EXPECT_EQ(due,
                  i < Monitor::kMostFaults ? std::nullopt : std::optional(begin + Monitor::kFaultPeriod));
        EXPECT_EQ(client_->take().empty(), i >= Monitor::kMostFaults);
        ASSERT_TRUE(ends());
    }
    now_ += milliseconds(999);
    EXPECT_EQ(monitor_.serve_faults("dma0").value(), begin + Monitor::kFaultPeriod);
    EXPECT_EQ(client_->take(), "");
    now_ += milliseconds(1);
    EXPECT_EQ(monitor_.serve_faults("dma0").value(), std::nullopt);
    EXPECT_THAT(client_->take(), AllOf(HasSubstr(R"("event": "IOMMU_FAULTS_LOST")"),
                                       HasSubstr(R"("count": 3)"), HasSubstr(R"("space": "dma0")")));
    write(0x100000);
    (void)monitor_.serve_faults("dma0").value();
    EXPECT_THAT(client_->take(), HasSubstr(R"("event": "IOMMU_FAULT")"));
    ASSERT_TRUE(ends());
}

TEST_F(FaultsTest, WhatWasLeftOutIsToldWhenTheSpaceIsServedNoMore) {
    start_edu();
    for (std::uint64_t i = 0; i <= Monitor::kMostFaults; ++i) {
        write(0x100000);
        (void)monitor_.serve_faults("dma0").value();
        ASSERT_TRUE(ends());
    }
    (void)client_->take();
    monitor_.end_faults("dma0");
    EXPECT_THAT(client_->take(), HasSubstr(R"("count": 1)"));
    monitor_.end_faults("dma0");
    EXPECT_EQ(client_->take(), "");
}

TEST_F(FaultsTest, ADeviceThatWaitsIsClosedAllTheSameAndTheQueueGoesWithTheLast) {
    start_edu();
    EXPECT_NE(registry_.page_requests("dma0"), nullptr);
    write(0x123456);
    bar_.reset();
    EXPECT_THAT(client_->say(R"({"execute":"device_del","arguments":{"id":"edu0"}})"),
                HasSubstr(R"({"return": {}})"));
    EXPECT_EQ(registry_.page_requests("dma0"), nullptr);
    EXPECT_EQ(monitor_.serve_faults("dma0").value(), std::nullopt);
}

TEST_F(FaultsTest, ADeviceThatCannotAskForPagesIsRefusedInOneLineThatSaysWhatToDo) {
    const std::string answer = add_device("edu1", "0000:00:11.0");
    EXPECT_THAT(answer, AllOf(HasSubstr("ENODEV"), HasSubstr("the device can't ask for pages (PRI)"),
                              HasSubstr("dma-space: faults=off")));
    EXPECT_EQ(registry_.page_requests("dma0"), nullptr);
    EXPECT_EQ(registry_.property("dma0", "devices").value(), "");
}

TEST_F(FaultsTest, TheSchemaTellsTheEventsWithTheirData) {
    const std::string schema = client_->say(R"({"execute":"query-qmp-schema"})");
    for (const std::string_view name : {"IOMMU_FAULT", "IOMMU_FAULTS_LOST", "DEVICE_DELETED", "SHUTDOWN"})
        EXPECT_THAT(schema, HasSubstr("\"" + std::string(name) + "\""));
    EXPECT_THAT(schema, HasSubstr(R"("meta-type": "event")"));
    EXPECT_THAT(schema, HasSubstr(R"("permissions")"));
}

}  // namespace
}  // namespace iommufd::monitor
