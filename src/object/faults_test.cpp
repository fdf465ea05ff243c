// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// faults=on of a dma-space: its devices' page requests, and who has none.
#include "iommufd/viommu/page_requests.hpp"
#include "object/testing.hpp"

namespace iommufd::object {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::string_view kFaults = "dma-space,id=dma0,iommufd=iommufd0,faults=on";
constexpr std::string_view kSecond = "vfio-pci,id=edu1,host=0000:00:11.0,iommufd=iommufd0,space=dma0";

TEST(SpaceWithFaults, ItsDevicesShareOneQueueWhichGoesWithTheLastOfThem) {
    model::Machine machine(model::parse("devices=edu:page-requests=on,edu:page-requests=on").value());
    Registry registry({.report = {}, .kernel = &machine.kernel(), .before_attach = {}});
    registry.create(define({kIommufd, kMemory, kFaults, kMapping})).value();
    EXPECT_EQ(registry.page_requests("dma0"), nullptr);
    registry.create(define({kEdu})).value();
    const viommu::PageRequests* const requests = registry.page_requests("dma0");
    ASSERT_NE(requests, nullptr);
    EXPECT_THAT(requests->read().value(), IsEmpty());
    registry.create(define({kSecond})).value();
    EXPECT_EQ(registry.page_requests("dma0"), requests);
    registry.remove("edu0").value();
    EXPECT_EQ(registry.page_requests("dma0"), requests);
    registry.remove("edu1").value();
    EXPECT_EQ(registry.page_requests("dma0"), nullptr);
    EXPECT_EQ(registry.page_requests("iommufd0"), nullptr);
    EXPECT_EQ(registry.page_requests("nothing"), nullptr);
    EXPECT_FALSE(machine.leaks().objects != 0) << machine.leaks().text();
    EXPECT_THAT(registry.clear(), IsEmpty());
    EXPECT_FALSE(machine.leaks().any()) << machine.leaks().text();
}

TEST(SpaceWithFaults, WithoutFaultsOnADeviceWithPageRequestsHasNoQueue) {
    model::Machine machine(model::parse("devices=edu:page-requests=on").value());
    Registry registry({.report = {}, .kernel = &machine.kernel(), .before_attach = {}});
    registry.create(define({kIommufd, kSpace, kEdu})).value();
    EXPECT_EQ(registry.page_requests("dma0"), nullptr);
    EXPECT_EQ(registry.property("dma0", "faults").value(), "off");
}

TEST(SpaceWithFaults, WhereTheKernelTheIommuOrTheDeviceHasNoneOneLineSaysSo) {
    const struct {
        std::string_view machine;
        std::string_view code, cause, next;
    } kWithout[] = {
        {"devices=edu", "ENODEV", "can't ask for pages (PRI)", "dma-space: faults=off"},
        {"devices=edu,iommu=virtio,unsafe-interrupts=on", "EOPNOTSUPP",
         "its IOMMU's driver makes no page table with one", "dma-space: faults=off"},
        {"devices=edu,kernel=6.8", "ENOTTY", "", "6.11"},
    };
    for (const auto& [description, code, cause, next] : kWithout) {
        model::Machine machine(model::parse(description).value());
        Registry registry({.report = {}, .kernel = &machine.kernel(), .before_attach = {}});
        auto created = registry.create(define({kIommufd, kMemory, kFaults, kMapping, kEdu}));
        ASSERT_FALSE(created) << description;
        EXPECT_THAT(created.error().line(), AllOf(HasSubstr(std::string(code)), HasSubstr(std::string(cause)),
                                                  HasSubstr(std::string(next))));
        EXPECT_FALSE(machine.leaks().any()) << description << ": " << machine.leaks().text();
    }
}

}  // namespace
}  // namespace iommufd::object
