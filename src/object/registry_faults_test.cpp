// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Every system call and every allocation of a registry's life fails once: nothing is left, whichever it was.
#include <array>
#include <filesystem>

#include "error/compose.hpp"
#include "object/testing.hpp"
#include "support/allocation_faults.hpp"
#include "sys/faulty_kernel.hpp"

namespace iommufd::object {
namespace {

using namespace testing;
using ::testing::HasSubstr;

const std::vector<std::string_view> kEverything{kMapping, kEdu, kBlk, kSpace, kMemory, kIommufd};

std::size_t open_descriptors() {
    std::size_t count = 0;
    for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
    return count;
}

// So that copies of it need memory.
constexpr const char* kLongId = "iommufd-with-a-name-that-no-string-holds-in-itself";

// Descriptors of every kind, given by number.
std::vector<Definition> everything_given(sys::Kernel& kernel) {
    const auto fd = [&](const char* path) { return compose(kernel.open(path, O_RDWR)); };
    return {{.type = "iommufd", .id = kLongId, .properties = {{"fd", fd("/dev/iommu")}}},
            {.type = "memory-backend-memfd", .id = "mem0", .properties = {{"size", "1M"}}},
            {.type = "dma-space", .id = "dma0", .properties = {{"iommufd", kLongId}}},
            {.type = "dma-mapping", .id = "map0", .properties = {{"space", "dma0"}, {"memdev", "mem0"}}},
            {.type = "vfio-pci",
             .id = "edu0",
             .properties = {{"fd", fd("/dev/vfio/devices/vfio0")}, {"iommufd", kLongId}, {"space", "dma0"}}},
            {.type = "vhost-vdpa",
             .id = "blk0",
             .properties = {{"vhostfd", fd("/dev/vhost-vdpa-0")}, {"iommufd", kLongId}, {"space", "dma0"}}}};
}

class FaultWalk : public ::testing::TestWithParam<bool> {};

TEST_P(FaultWalk, LeavesNothingWhicheverSystemCallFails) {
    model::Machine machine;
    const std::size_t before = open_descriptors();
    std::uint64_t n = 1;
    for (;; ++n) {
        const std::string where = compose("at call ", n);
        sys::FaultyKernel kernel(machine.kernel(), {.call = n, .error = EIO, .after_effect = GetParam()});
        {
            unsigned reports = 0;
            Registry registry(
                {.report = [&](const Notice&) { ++reports; }, .kernel = &kernel, .before_attach = {}});
            if (auto created = registry.create(define(kEverything)); !created) {
                EXPECT_TRUE(registry.list().empty()) << where;
                EXPECT_THAT(created.error().line(), HasSubstr("cannot create ")) << where;
                EXPECT_FALSE(machine.leaks().any()) << where << ": " << machine.leaks().text();
            }
            // Also what is taken apart object by object, as far as it goes.
            for (const std::string_view id : {"map0", "blk0", "edu0"}) (void)registry.remove(id);
            (void)registry.clear();
        }
        EXPECT_FALSE(machine.leaks().any()) << where << ": " << machine.leaks().text();
        ASSERT_EQ(open_descriptors(), before) << where;
        if (!kernel.struck()) break;
    }
    EXPECT_GT(n, 50U);
}

INSTANTIATE_TEST_SUITE_P(BeforeAndAfterItsEffect, FaultWalk, ::testing::Bool());

TEST(FaultWalkOfMemory, LeavesNothingWhicheverAllocationFails) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "the sanitizer owns operator new";
    const auto definitions = define(kEverything);
    std::uint64_t n = 1;
    for (bool struck = true; struck; ++n) {
        // The machine's own books come and go with it.
        const auto live = AllocationFaults::live();
        const std::size_t before = open_descriptors();
        {
            model::Machine machine;
            {
                AllocationFaults::Armed armed(n);
                {
                    Registry registry({.report = {}, .kernel = &machine.kernel(), .before_attach = {}});
                    (void)registry.create(definitions);
                    (void)registry.remove("map0");
                    (void)registry.clear();
                }
                struck = armed.struck();
            }
            EXPECT_FALSE(machine.leaks().any()) << "at allocation " << n << ": " << machine.leaks().text();
        }
        EXPECT_EQ(AllocationFaults::live(), live) << "at allocation " << n;
        ASSERT_EQ(open_descriptors(), before) << "at allocation " << n;
    }
    EXPECT_GT(n, 100U);
}

TEST(FaultWalkOfMemory, ClosesOrKeepsEveryDescriptorThatWasGiven) {
    if (!AllocationFaults::available()) GTEST_SKIP() << "the sanitizer owns operator new";
    model::Machine machine;
    const std::size_t before = open_descriptors();
    bool struck = true;
    for (std::uint64_t n = 1; struck; ++n) {
        const auto definitions = everything_given(machine.kernel());
        {
            // So does a copy of this report.
            const std::array<std::byte, 64> ballast{};
            Registry registry({.report = [ballast](const Notice&) { (void)ballast; },
                               .kernel = &machine.kernel(),
                               .before_attach = {}});
            AllocationFaults::Armed armed(n);
            (void)registry.create(definitions);
            struck = armed.struck();
        }
        // All three, or none.
        const std::size_t left = open_descriptors() - before;
        EXPECT_TRUE(left == 0 || left == 3) << left << " at allocation " << n;
        for (const Definition& definition : definitions)
            for (const Property& property : definition.properties)
                if (left != 0 && property.key.ends_with("fd") && property.key != "iommufd")
                    (void)machine.kernel().close(std::stoi(property.value));
        ASSERT_EQ(open_descriptors(), before) << "at allocation " << n;
        EXPECT_FALSE(machine.leaks().any()) << "at allocation " << n << ": " << machine.leaks().text();
    }
}

// Each object in turn can't be created; those before it are gone again.
TEST_F(RegistryTest, AFailureAtAnyObjectTakesDownThoseBeforeIt) {
    const std::vector<std::pair<std::vector<std::string_view>, std::string_view>> broken{
        {{"iommufd,id=iommufd0", "memory-backend-file,id=mem0,size=4k,mem-path=/nowhere"}, "mem0"},
        {{kIommufd, kMemory, kSpace, "dma-mapping,id=map0,space=dma0,memdev=mem0,iova=1"}, "map0"},
        {{kIommufd, kMemory, kSpace, kMapping, "vfio-pci,id=edu0,host=ff:1f.7,iommufd=iommufd0,space=dma0"},
         "edu0"},
        {{kIommufd, kMemory, kSpace, kMapping, kEdu,
          "vhost-vdpa,id=blk0,vhostdev=/dev/vhost-vdpa-9,space=dma0"},
         "blk0"},
        {{kIommufd, "memory-backend-ram,id=mem0,size=1M", kSpace, kMapping, kEdu, kBlk}, "blk0"},
    };
    for (const auto& [texts, id] : broken) {
        EXPECT_THAT(refusal(texts), HasSubstr(compose("'", id, "'")));
        EXPECT_TRUE(ids().empty());
        EXPECT_TRUE(nothing_is_left()) << id;
    }
    EXPECT_TRUE(reported_.empty());
}

}  // namespace
}  // namespace iommufd::object
