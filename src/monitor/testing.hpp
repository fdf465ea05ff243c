// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For the tests: a monitor over the model kernel, and clients of it.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "iommufd/model/machine.hpp"
#include "monitor/monitor.hpp"
#include "monitor/session.hpp"

namespace iommufd::inline v0_1::monitor::testing {

// A client without a socket.
class Client {
public:
    explicit Client(Monitor& monitor) : session(monitor) { greeting = take(); }

    // What came back of these bytes, without the ends of lines where it is one line.
    std::string say(std::string_view bytes, std::vector<sys::Fd> descriptors = {}) {
        session.receive(bytes, std::move(descriptors));
        while (session.handle_one()) {
        }
        return take();
    }
    Client& negotiated() {
        EXPECT_EQ(say(R"({"execute":"qmp_capabilities"})"), R"({"return": {}})");
        return *this;
    }
    std::string take() {
        std::string text(session.output());
        session.sent(text.size());
        const std::size_t end = text.find("\r\n");
        if (end != std::string::npos && end + 2 == text.size()) text.resize(end);
        return text;
    }

    Session session;
    std::string greeting;
};

class MonitorTest : public ::testing::Test {
protected:
    explicit MonitorTest(const model::Description& description = model::everything())
        : machine_(description) {}

    void TearDown() override {
        monitor_.dirty_logs().clear();
        EXPECT_TRUE(registry_.clear().empty());
        EXPECT_FALSE(machine_.leaks().any()) << machine_.leaks().text();
    }

    sys::Fd open(const char* path) { return {machine_.kernel(), machine_.kernel().open(path, O_RDWR)}; }
    // An iommufd, memory, a space, and the memory in it.
    void create_objects(Client& client) {
        for (const char* const arguments :
             {R"({"qom-type":"iommufd","id":"iommufd0"})",
              R"({"qom-type":"memory-backend-memfd","id":"ram","size":1048576})",
              R"({"qom-type":"dma-space","id":"dma0","iommufd":"iommufd0"})",
              R"({"qom-type":"dma-mapping","id":"map0","space":"dma0","memdev":"ram","iova":67108864})"})
            EXPECT_EQ(client.say(std::string(R"({"execute":"object-add","arguments":)") + arguments + "}"),
                      R"({"return": {}})");
    }
    void create_edu(Client& client) {
        EXPECT_EQ(client.say(R"({"execute":"device_add","arguments":{"driver":"vfio-pci","id":"edu0",)"
                             R"("host":"0000:00:10.0","iommufd":"iommufd0","space":"dma0"}})"),
                  R"({"return": {}})");
    }

    model::Machine machine_;
    RateLimit::Time now_{std::chrono::hours(1)};
    std::vector<std::string> unheard_;
    object::Registry registry_{{.report = {}, .kernel = &machine_.kernel(), .before_attach = {}}};
    int quits_ = 0;
    std::vector<std::string> devices_;  // "+edu0", "-edu0"
    Monitor monitor_{registry_,
                     {.version = {.major = 1, .minor = 2, .micro = 3, .package = "tested"},
                      .quit = [this] { ++quits_; },
                      .device_added = [this](const std::string& id) { devices_.push_back("+" + id); },
                      .device_leaves = [this](const std::string& id) { devices_.push_back("-" + id); },
                      .clock = [] { return std::chrono::microseconds(1'700'000'000'000'042); },
                      .unheard = [this](const std::string& line) { unheard_.push_back(line); },
                      .steady_clock = [this] { return now_; }}};
};

}  // namespace iommufd::inline v0_1::monitor::testing
