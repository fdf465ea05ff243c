// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What becomes of descriptors that a client passes.
#include "error/compose.hpp"
#include "iommufd/backend/backend.hpp"
#include "monitor/testing.hpp"

namespace iommufd::monitor {
namespace {

using namespace testing;
using ::testing::HasSubstr;

constexpr const char* kDone = R"({"return": {}})";

class DescriptorsTest : public MonitorTest {
protected:
    DescriptorsTest() { client_.negotiated(); }
    void TearDown() override {
        held_.reset();
        MonitorTest::TearDown();
    }

    std::vector<sys::Fd> one(const char* path) {
        std::vector<sys::Fd> passed;
        passed.push_back(open(path));
        return passed;
    }
    std::string name(std::string_view name, std::vector<sys::Fd> passed) {
        return client_.say(compose(R"({"execute":"getfd","arguments":{"fdname":")", name, R"("}})"),
                           std::move(passed));
    }
    std::string add_iommufd(std::string_view fd) {
        return client_.say(
            compose(R"({"execute":"object-add","arguments":{"qom-type":"iommufd","id":"iommufd0","fd":")", fd,
                    R"("}})"));
    }

    std::optional<Client> held_{std::in_place, monitor_};
    Client& client_ = *held_;
};

TEST_F(DescriptorsTest, ANameIsConsumedByTheObjectThatTakesIt) {
    EXPECT_EQ(name("given", one("/dev/iommu")), kDone);
    EXPECT_EQ(add_iommufd("given"), kDone);
    EXPECT_TRUE(registry_.get<Backend>("iommufd0").value()->is_given());
    EXPECT_THAT(client_.say(R"({"execute":"closefd","arguments":{"fdname":"given"}})"),
                HasSubstr("File descriptor named 'given' not found"));
}

TEST_F(DescriptorsTest, ANameIsConsumedAndItsDescriptorClosedWhereTheObjectIsRefused) {
    EXPECT_EQ(name("given", one("/dev/iommu")), kDone);
    // For its id.
    EXPECT_THAT(
        client_.say(R"({"execute":"object-add","arguments":{"qom-type":"iommufd","id":"1","fd":"given"}})"),
        HasSubstr("Parameter 'id' expects an identifier"));
    EXPECT_THAT(
        add_iommufd("given"),
        HasSubstr("Could not parse remote object fd given:File descriptor named 'given' has not been found"));
    EXPECT_EQ(machine_.leaks().descriptors, 0U);
    // For what it is, once creation has begun.
    EXPECT_EQ(name("given", one("/dev/vfio/devices/vfio0")), kDone);
    EXPECT_THAT(add_iommufd("given"), HasSubstr("is not an iommufd"));
    EXPECT_EQ(machine_.leaks().descriptors, 0U);
    // By the registry, before that.
    EXPECT_EQ(name("given", one("/dev/iommu")), kDone);
    EXPECT_THAT(
        client_.say(
            R"({"execute":"device_add","arguments":{"driver":"vfio-pci","id":"a","fd":"given","iommufd":"nosuch"}})"),
        HasSubstr("nosuch"));
    EXPECT_EQ(machine_.leaks().descriptors, 0U);
}

TEST_F(DescriptorsTest, ADeviceIsBoundByADescriptorThatWasPassed) {
    EXPECT_EQ(name("iommu", one("/dev/iommu")), kDone);
    EXPECT_EQ(name("cdev", one("/dev/vfio/devices/vfio0")), kDone);
    EXPECT_EQ(add_iommufd("iommu"), kDone);
    EXPECT_EQ(
        client_.say(
            R"({"execute":"device_add","arguments":{"driver":"vfio-pci","id":"edu0","fd":"cdev","iommufd":"iommufd0"}})"),
        kDone);
}

TEST_F(DescriptorsTest, ADescriptorOfAnotherClientIsOutOfReach) {
    Client other(monitor_);
    other.negotiated();
    auto passed = one("/dev/iommu");
    const int number = passed.front().number();
    EXPECT_EQ(other.say(R"({"execute":"getfd","arguments":{"fdname":"mine"}})", std::move(passed)), kDone);
    EXPECT_THAT(add_iommufd("mine"), HasSubstr("has not been found"));
    EXPECT_THAT(add_iommufd(compose(number)), HasSubstr("is a client's"));
    // It may still be only on its way to a name.
    passed = one("/dev/iommu");
    const int nameless = passed.front().number();
    EXPECT_THAT(other.say(R"({"execute":"query-status"})", std::move(passed)), HasSubstr("running"));
    EXPECT_THAT(add_iommufd(compose(nameless)), HasSubstr("is a client's"));
    EXPECT_EQ(other.say(R"({"execute":"closefd","arguments":{"fdname":"mine"}})"), kDone);
}

TEST_F(DescriptorsTest, ANewOneTakesTheOldOnesPlaceWhichIsClosed) {
    EXPECT_EQ(name("x", one("/dev/iommu")), kDone);
    EXPECT_EQ(name("x", one("/dev/iommu")), kDone);
    EXPECT_EQ(machine_.leaks().descriptors, 1U);
    // Only the first of several gets a name.
    std::vector<sys::Fd> two;
    two.push_back(open("/dev/iommu"));
    two.push_back(open("/dev/iommu"));
    EXPECT_EQ(name("x", std::move(two)), kDone);
    EXPECT_EQ(machine_.leaks().descriptors, 1U);
    EXPECT_THAT(name("y", {}), HasSubstr("No file descriptor supplied via SCM_RIGHTS"));
}

TEST_F(DescriptorsTest, AClientsNamesAreLimited) {
    for (std::size_t i = 0; i < PassedDescriptors::kMostNames; ++i)
        EXPECT_EQ(name(compose("x", i), one("/dev/iommu")), kDone);
    EXPECT_THAT(name("one-more", one("/dev/iommu")), HasSubstr("use closefd"));
    EXPECT_EQ(machine_.leaks().descriptors, PassedDescriptors::kMostNames);
    EXPECT_EQ(name("x0", one("/dev/iommu")), kDone);
}

TEST_F(DescriptorsTest, AreClosedWhenTheClientGoes) {
    {
        Client other(monitor_);
        other.negotiated();
        EXPECT_EQ(other.say(R"({"execute":"getfd","arguments":{"fdname":"x"}})", one("/dev/iommu")), kDone);
        other.session.receive("", one("/dev/iommu"));
        EXPECT_EQ(machine_.leaks().descriptors, 2U);
    }
    EXPECT_EQ(machine_.leaks().descriptors, 0U);
}

}  // namespace
}  // namespace iommufd::monitor
