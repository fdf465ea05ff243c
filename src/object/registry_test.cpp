// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/object/registry.hpp"

#include "iommufd/vfio/region.hpp"
#include "object/testing.hpp"

namespace iommufd::object {
namespace {

using namespace testing;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// --- bringing up, and what is there then --------------------------------------------------------

TEST_F(RegistryTest, BringsUpOneIommufdSharedByAVfioAndAVdpaDevice) {
    create({kIommufd, kMemory, kSpace, kMapping, kEdu, kBlk}).value();
    EXPECT_THAT(ids(), ElementsAre("iommufd0", "mem0", "dma0", "map0", "edu0", "blk0"));
    const auto* const backend = registry_.get<Backend>("iommufd0").value();
    EXPECT_THAT(backend->users(), ElementsAre("vfio-pci 0000:00:10.0", "vhost-vdpa /dev/vhost-vdpa-0"));
    EXPECT_EQ(registry_.get<dma::Mapping>("map0").value()->state(), dma::MappingState::mapped);
    EXPECT_EQ(registry_.get<dma::Space>("dma0").value()->sinks().size(), 2U);
    EXPECT_EQ(registry_.get<dma::Memory>("mem0").value()->size(), 1_MiB);
    EXPECT_GE(registry_.get<vfio::Device>("edu0").value()->fd(), 0);
    EXPECT_EQ(registry_.get<vdpa::Device>("blk0").value()->device_id(), 2U);
    EXPECT_EQ(machine_.leaks().mappings, 2U);  // one in each sink

    EXPECT_THAT(registry_.clear(), IsEmpty());
    EXPECT_THAT(ids(), IsEmpty());
    EXPECT_TRUE(nothing_is_left());
    EXPECT_THAT(reported_, IsEmpty());
}

TEST_F(RegistryTest, TheOrderOfDefinitionsDoesNotMatter) {
    create({kBlk, kEdu, kMapping, kSpace, kMemory, kIommufd}).value();
    EXPECT_THAT(ids(), ElementsAre("iommufd0", "dma0", "blk0", "edu0", "mem0", "map0"));
    EXPECT_EQ(registry_.get<dma::Mapping>("map0").value()->state(), dma::MappingState::mapped);
}

TEST_F(RegistryTest, ObjectsCanReferToThoseOfEarlierCalls) {
    for (const std::string_view text : {kIommufd, kMemory, kSpace, kEdu, kMapping, kBlk})
        create({text}).value();
    EXPECT_EQ(registry_.get<dma::Mapping>("map0").value()->state(), dma::MappingState::mapped);
}

TEST_F(RegistryTest, ASpaceOnItsOwnServesVdpaWithoutDevIommu) {
    create({"dma-space,id=s", kMemory, "dma-mapping,id=p,space=s,memdev=mem0",
            "vhost-vdpa,id=b,vhostdev=/dev/vhost-vdpa-0,space=s"})
        .value();
    EXPECT_EQ(registry_.get<dma::Mapping>("p").value()->state(), dma::MappingState::mapped);
    EXPECT_EQ(machine_.leaks().contexts, 0U);
}

TEST_F(RegistryTest, AMappingWithoutADeviceIsCheckedAndPlanned) {
    create({kIommufd, kMemory, kSpace, kMapping}).value();
    EXPECT_EQ(registry_.property("map0", "state").value(), "planned");
    EXPECT_FALSE(registry_.get<Backend>("iommufd0").value()->is_open());
    EXPECT_THAT(refusal({"dma-mapping,id=map1,space=dma0,memdev=mem0,iova=0x4080000"}),
                HasSubstr("cannot create dma-mapping 'map1': "));
    EXPECT_THAT(refusal({"dma-mapping,id=map1,space=dma0,memdev=mem0,iova=0x123"}),
                HasSubstr("no multiple of"));
    EXPECT_THAT(refusal({"dma-mapping,id=map1,space=dma0,memdev=mem0,iova=0xfffffffffffff000"}),
                HasSubstr("EOVERFLOW"));
}

TEST_F(RegistryTest, AfterTheLastVfioDeviceTheNodeIsClosedAndALaterOneGetsTheMappingsBack) {
    create({kIommufd, kMemory, kSpace, kMapping, kEdu}).value();
    registry_.remove("edu0").value();
    EXPECT_EQ(machine_.leaks().contexts, 0U);
    EXPECT_EQ(machine_.leaks().pinned, 0U);
    EXPECT_EQ(registry_.property("map0", "state").value(), "planned");
    create({kEdu}).value();
    EXPECT_EQ(registry_.property("map0", "state").value(), "mapped");
    EXPECT_EQ(machine_.leaks().mappings, 1U);
}

TEST_F(RegistryTest, ADriverCanSayWhatItKnowsBeforeItsDeviceIsAttached) {
    std::vector<std::string> asked;
    Registry registry(
        {.report = {}, .kernel = &machine_.kernel(), .before_attach = [&](const vfio::Device& device) {
             asked.push_back(device.name());
             device.set_dma_bits(28);
         }});
    registry.create(define({kIommufd, kMemory, kSpace, kEdu})).value();
    EXPECT_THAT(asked, ElementsAre("vfio-pci 0000:00:10.0"));
    auto beyond = registry.create(define({"dma-mapping,id=p,space=dma0,memdev=mem0,iova=0x10000000"}));
    ASSERT_FALSE(beyond);
    EXPECT_THAT(beyond.error().line(), HasSubstr("vfio-pci 0000:00:10.0"));
}

// --- deleting -----------------------------------------------------------------------------------

TEST_F(RegistryTest, DeletionIsRefusedAndNamesTheReferrers) {
    create({kIommufd, kMemory, kSpace, kMapping, kEdu}).value();
    const auto refused = registry_.remove("iommufd0");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), EBUSY);
    EXPECT_EQ(
        refused.error().line(),
        "cannot delete 'iommufd0': EBUSY (it is used by dma-space 'dma0' and vfio-pci 'edu0'); delete those "
        "first");
    EXPECT_THAT(registry_.remove("dma0").error().line(), HasSubstr("dma-mapping 'map0' and vfio-pci 'edu0'"));
    EXPECT_THAT(registry_.remove("mem0").error().line(), HasSubstr("dma-mapping 'map0'"));
    for (const std::string_view id : {"edu0", "map0", "mem0", "dma0", "iommufd0"})
        registry_.remove(id).value();
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(RegistryTest, DeletionIsRefusedWhileTheProgramItselfUsesTheObject) {
    create({kIommufd}).value();
    {
        const User user = registry_.get<Backend>("iommufd0").value()->connect("my driver").value();
        EXPECT_THAT(registry_.remove("iommufd0").error().line(), HasSubstr("it is used by my driver"));
        EXPECT_THAT(ids(), ElementsAre("iommufd0"));
    }
    registry_.remove("iommufd0").value();
}

TEST_F(RegistryTest, ADeviceStaysWhileTheProgramKeepsAPartOfItAndCanBeRemovedThen) {
    create({kIommufd, kMemory, kSpace, kMapping, kEdu}).value();
    {
        const vfio::Region bar = registry_.get<vfio::Device>("edu0").value()->region(0).value();
        EXPECT_EQ(registry_.remove("edu0").error().code(), EBUSY);
        EXPECT_THAT(ids(), Contains("edu0"));
        EXPECT_EQ(registry_.property("map0", "state").value(), "planned");  // it can do no more DMA
    }
    registry_.remove("edu0").value();
    EXPECT_EQ(machine_.leaks().devices, 0U);
}

TEST_F(RegistryTest, ADevicesDeletionDetachesAndClosesItAndAMappingsUnmaps) {
    create({kIommufd, kMemory, kSpace, kMapping, kEdu, kBlk}).value();
    registry_.remove("map0").value();
    EXPECT_EQ(machine_.leaks().mappings, 0U);
    EXPECT_EQ(machine_.leaks().devices, 2U);
    registry_.remove("blk0").value();
    registry_.remove("edu0").value();
    EXPECT_EQ(machine_.leaks().devices, 0U);
    EXPECT_EQ(machine_.leaks().contexts, 0U);
}

TEST_F(RegistryTest, WhatIsNotThereCannotBeDeleted) {
    EXPECT_EQ(registry_.remove("iommufd0").error().line(),
              "there is no object 'iommufd0': ENOENT (no object has that id); create it first");
    create({kIommufd}).value();
    EXPECT_THAT(registry_.remove("iommufd1").error().line(), HasSubstr("did you mean 'iommufd0'?"));
}

TEST_F(RegistryTest, AnIdIsFreeAgainOnceItsObjectIsGone) {
    for (int round = 0; round < 3; ++round) {
        create({kIommufd}).value();
        registry_.remove("iommufd0").value();
    }
}

TEST_F(RegistryTest, TheRegistryTakesEverythingDownWhenItGoes) {
    {
        Registry registry({.report = {}, .kernel = &machine_.kernel(), .before_attach = {}});
        registry.create(define({kIommufd, kMemory, kSpace, kMapping, kEdu, kBlk})).value();
    }
    EXPECT_TRUE(nothing_is_left());
}

// --- references, ids ----------------------------------------------------------------------------

TEST_F(RegistryTest, AnIdIsGivenOnce) {
    EXPECT_EQ(refusal({kIommufd, kIommufd}),
              "cannot create iommufd 'iommufd0': EEXIST (id=iommufd0 is the id of another iommufd already); "
              "give every "
              "object and device an id of its own");
    create({kIommufd}).value();
    EXPECT_THAT(refusal({"memory-backend-ram,id=iommufd0,size=4k"}),
                HasSubstr("id=iommufd0 is the id of an iommufd already"));
    EXPECT_THAT(ids(), ElementsAre("iommufd0"));
}

TEST_F(RegistryTest, AReferenceLeadsToAnObjectOfTheRightType) {
    EXPECT_EQ(refusal({kMemory, "dma-space,id=s,iommufd=mem0"}),
              "cannot create dma-space 's': EINVAL ('mem0' is a memory-backend-memfd; iommufd= wants an "
              "iommufd); give "
              "iommufd= the id of such an object");
    EXPECT_THAT(
        refusal({kIommufd, kMemory, kSpace, "dma-mapping,id=p,space=dma0,memdev=dma0"}),
        HasSubstr("'dma0' is a dma-space; memdev= wants a memory-backend-memfd, memory-backend-file or "
                  "memory-backend-ram"));
    EXPECT_THAT(refusal({"dma-space,id=s,iommufd=s"}),
                HasSubstr("'s' is a dma-space; iommufd= wants an iommufd"));
    EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(RegistryTest, AReferenceLeadsSomewhere) {
    EXPECT_EQ(
        refusal({"dma-space,id=s,iommufd=iommufd0"}),
        "cannot create dma-space 's': ENOENT (iommufd=iommufd0: no object has that id); define it: -object "
        "iommufd,id=iommufd0,...");
    EXPECT_THAT(refusal({kIommufd, "dma-space,id=s,iommufd=iomufd0"}), HasSubstr("did you mean 'iommufd0'?"));
}

TEST_F(RegistryTest, ADeviceAndItsSpaceAreOnOneIommufd) {
    EXPECT_THAT(
        refusal({kIommufd, "iommufd,id=iommufd1", "dma-space,id=dma0,iommufd=iommufd1", kEdu}),
        HasSubstr("cannot create vfio-pci 'edu0': EINVAL (space=dma0 is on 'iommufd1', but iommufd= is "
                  "'iommufd0')"));
    EXPECT_THAT(refusal({kIommufd, "dma-space,id=dma0", kEdu}),
                HasSubstr("space=dma0 has no iommufd=, and takes vhost-vdpa devices only"));
}

TEST_F(RegistryTest, AHandleIsOfTheKindThatIsAskedFor) {
    create({kIommufd}).value();
    EXPECT_EQ(registry_.get<dma::Space>("iommufd0").error().code(), EINVAL);
    EXPECT_EQ(registry_.get<Backend>("iommufd1").error().code(), ENOENT);
}

// --- looking at what is there -------------------------------------------------------------------

TEST_F(RegistryTest, ListsWhoUsesWhom) {
    create({kIommufd, kMemory, kSpace, kMapping, kEdu}).value();
    const std::vector<ObjectInfo> list = registry_.list();
    EXPECT_THAT(list[0].used_by, ElementsAre("dma0", "edu0"));
    EXPECT_THAT(list[2].uses, ElementsAre("iommufd0"));
    EXPECT_THAT(list[2].used_by, ElementsAre("map0", "edu0"));
    EXPECT_THAT(list[4].uses, ElementsAre("iommufd0", "dma0"));
    EXPECT_EQ(print(list[0].definition), kIommufd);
}

TEST_F(RegistryTest, PropertiesAreWhatWasGivenWhatIsStandardAndTheState) {
    create({kIommufd, kMemory, kSpace, "dma-mapping,id=map0,space=dma0,memdev=mem0,iova=64M,size=0.5M", kEdu,
            kBlk})
        .value();
    EXPECT_THAT(
        registry_.properties("map0").value(),
        ElementsAre(Property{"space", "dma0"}, Property{"memdev", "mem0"}, Property{"iova", "0x4000000"},
                    Property{"offset", "0"}, Property{"size", "524288"}, Property{"readonly", "off"},
                    Property{"granule", "0"}, Property{"state", "mapped"}));
    EXPECT_EQ(registry_.property("iommufd0", "open").value(), "on");
    EXPECT_EQ(registry_.property("iommufd0", "users").value(),
              "vfio-pci 0000:00:10.0,vhost-vdpa /dev/vhost-vdpa-0");
    EXPECT_EQ(registry_.property("iommufd0", "references").value(), "dma-space 'dma0'");
    EXPECT_EQ(registry_.property("mem0", "size").value(), "1048576");
    EXPECT_EQ(registry_.property("mem0", "share").value(), "on");
    EXPECT_EQ(registry_.property("dma0", "mappings").value(), "1");
    EXPECT_EQ(registry_.property("edu0", "host").value(), "0000:00:10.0");
    EXPECT_EQ(registry_.property("blk0", "uses-addresses").value(), "on");
    EXPECT_EQ(registry_.property("iommufd0", "fd").error().line(),
              "cannot read 'fd' of iommufd 'iommufd0': ENOENT (it has no value now); a descriptor of "
              "/dev/iommu that "
              "somebody opened; without it the node is opened for the first user");
    EXPECT_THAT(registry_.property("iommufd0", "user").error().line(), HasSubstr("did you mean 'users'?"));
    EXPECT_EQ(registry_.properties("nobody").error().code(), ENOENT);
}

TEST_F(RegistryTest, EveryPropertyOfEveryObjectIsOneThatTheTableHas) {
    create({kIommufd, kMemory, kSpace, kMapping, kEdu, kBlk}).value();
    for (const ObjectInfo& info : registry_.list()) {
        const std::vector<Property> properties = registry_.properties(info.definition.id).value();
        EXPECT_FALSE(properties.empty()) << info.definition.id;
        for (const Property& property : properties)
            EXPECT_NE(find_type(info.definition.type)->find(property.key), nullptr) << property.key;
    }
}

}  // namespace
}  // namespace iommufd::object
