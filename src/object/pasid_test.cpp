// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// pasid=: on the model, whose device has no PASIDs, and on the model as it would be if it had.
#include "object/testing.hpp"
#include "support/pasid_kernel.hpp"

namespace iommufd::object {
namespace {

using namespace testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr std::string_view kPasid = "vfio-pci,id=edu0,host=0000:00:10.0,iommufd=iommufd0,space=dma0,pasid=5";

TEST_F(RegistryTest, APasidIsRefusedWhereTheDeviceHasNone) {
    EXPECT_EQ(refusal({kIommufd, kSpace, kPasid}),
              "cannot create vfio-pci 'edu0': cannot attach PASID 5 of vfio-pci 0000:00:10.0: EOPNOTSUPP "
              "(the device, "
              "or its IOMMU, has no PASIDs); leave pasid= out");
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(RegistryTest, APasidIsAttachedToAPageTableMadeForPasidsAndDetachedAgain) {
    support::PasidKernel kernel(machine_.kernel());
    Registry registry({.report = {}, .kernel = &kernel, .before_attach = {}});
    registry.create(define({kIommufd, kMemory, kSpace, kMapping, kPasid})).value();
    EXPECT_THAT(kernel.attached, ElementsAre(Pair(5U, ::testing::_)));
    EXPECT_EQ(registry.property("map0", "state").value(), "mapped");
    EXPECT_EQ(registry.property("dma0", "devices").value(), "vfio-pci 0000:00:10.0 (PASID 5)");
    registry.remove("edu0").value();
    EXPECT_THAT(kernel.attached, IsEmpty());
    EXPECT_EQ(registry.property("map0", "state").value(), "planned");
    EXPECT_THAT(registry.clear(), IsEmpty());
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(RegistryTest, APasidIsOneOfThoseThatTheDeviceHas) {
    support::PasidKernel kernel(machine_.kernel());
    Registry registry({.report = {}, .kernel = &kernel, .before_attach = {}});
    for (const std::string_view pasid : {"0", "16"}) {
        const std::string text =
            "vfio-pci,id=e,host=0:10.0,iommufd=iommufd0,space=dma0,pasid=" + std::string(pasid);
        auto created = registry.create(define({kIommufd, kSpace, text}));
        ASSERT_FALSE(created) << pasid;
        EXPECT_THAT(created.error().line(), HasSubstr("(its PASIDs are those from 1 to 15)"));
    }
    EXPECT_TRUE(nothing_is_left());
}

}  // namespace
}  // namespace iommufd::object
