// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The property of tests/support/space_property.hpp, on sinks that keep books and on the model kernel. (On the real one:
// tests/kernel/space_property_test.cpp.)
#include "support/space_property.hpp"

#include "iommufd/model/machine.hpp"
#include "support/fake_sink.hpp"
#include "support/ioas_devices.hpp"

namespace iommufd::dma {
namespace {

using support::FakeSink;

class FakeDevices final : public support::Devices {
public:
    Space make_space() override { return Space::without_iommufd({.id = "random"}).value(); }
    std::shared_ptr<Attachable> make(unsigned which) override {
        auto sink = std::make_shared<FakeSink>("sink");
        if (which == 0) first_ = sink;
        return sink;
    }
    void fail_at(std::optional<Iova> iova) override {
        if (const auto sink = first_.lock()) sink->fail_map_at = iova;
    }
    std::set<Iova> reached(const Space&, Attachable& device, const std::vector<Iova>&) override {
        std::set<Iova> found;
        for (const auto& [iova, length] : static_cast<FakeSink&>(device).pieces())
            for (std::uint64_t at = 0; at < length; at += support::kPage) found.insert(iova + at);
        return found;
    }

private:
    std::weak_ptr<FakeSink> first_;
};

TEST(SpacePropertyTest, SaysAndDoesWhatAnArrayOfPagesDoes) {
    support::run_space_property(100000, 50, [] { return std::make_unique<FakeDevices>(); });
}

TEST(SpacePropertyTest, SoItDoesOnTheModelKernel) {
    model::Machine machine(model::parse("devices=edu,edu").value());
    support::run_space_property(100000, 200, [&] {
        return std::make_unique<support::IoasDevices>(
            machine.kernel(), std::array{"/dev/vfio/devices/vfio0", "/dev/vfio/devices/vfio1"});
    });
    EXPECT_FALSE(machine.leaks().any()) << machine.leaks().text();
}

}  // namespace
}  // namespace iommufd::dma
