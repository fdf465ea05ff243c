// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The memory backends, and what is measured when there is not enough.
#include <sys/stat.h>

#include <cstdlib>

#include "object/testing.hpp"
#include "sys/faulty_kernel.hpp"

namespace iommufd::object {
namespace {

using namespace testing;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

const dma::Memory& memory(const Registry& registry, std::string_view id) {
    return *registry.get<dma::Memory>(id).value();
}

class MemoryBackendTest : public RegistryTest {
protected:
    MemoryBackendTest() {
        const int fd = ::mkstemp(path_.data());
        EXPECT_EQ(::ftruncate(fd, 64 << 10), 0);
        (void)::close(fd);
    }
    ~MemoryBackendTest() override { (void)::unlink(path_.c_str()); }

    std::string path_ = ::testing::TempDir() + "iommufd-memory-XXXXXX";
};

TEST_F(MemoryBackendTest, ShareDecidesWhetherThereIsADescriptor) {
    create({"memory-backend-memfd,id=a,size=64k", "memory-backend-memfd,id=b,size=64k,share=off",
            "memory-backend-ram,id=c,size=64k", "memory-backend-ram,id=d,size=64k,share=on"})
        .value();
    for (const auto& [id, shared] :
         {std::pair("a", true), std::pair("b", false), std::pair("c", false), std::pair("d", true)}) {
        EXPECT_EQ(memory(registry_, id).is_shared(), shared) << id;
        EXPECT_EQ(memory(registry_, id).fd() >= 0, shared) << id;
        EXPECT_EQ(memory(registry_, id).label(), id);
    }
}

TEST_F(MemoryBackendTest, ASizeIsRoundedUpToWholePagesAndToldAsItIs) {
    create({"memory-backend-ram,id=a,size=5000"}).value();
    EXPECT_EQ(registry_.property("a", "size").value(), "8192");
}

TEST_F(MemoryBackendTest, AFileIsSharedOnlyWhereThatIsSaid) {
    registry_
        .create(std::vector<Definition>{
            {.type = "memory-backend-file", .id = "a", .properties = {{"mem-path", path_}, {"size", "64k"}}},
            {.type = "memory-backend-file",
             .id = "b",
             .properties = {{"mem-path", path_}, {"size", "32k"}, {"offset", "32k"}, {"share", "on"}}},
            {.type = "memory-backend-file",
             .id = "c",
             .properties = {{"mem-path", path_}, {"size", "64k"}, {"share", "on"}, {"readonly", "on"}}}})
        .value();
    EXPECT_FALSE(memory(registry_, "a").is_shared());
    EXPECT_TRUE(memory(registry_, "b").is_shared());
    EXPECT_TRUE(memory(registry_, "c").is_read_only());
    memory(registry_, "b").data()[0] = std::byte{7};
    EXPECT_EQ(memory(registry_, "c").data()[32 << 10], std::byte{7});
}

TEST_F(MemoryBackendTest, AFileThatIsTooShortOrMissingOrWithoutHugePagesIsRefused) {
    const auto refusal_of = [&](std::vector<Property> properties) {
        auto created =
            registry_.create({.type = "memory-backend-file", .id = "a", .properties = std::move(properties)});
        return created ? "nothing was refused" : created.error().line();
    };
    EXPECT_THAT(refusal_of({{"mem-path", path_}, {"size", "128k"}}), HasSubstr("the file has 65536 bytes"));
    EXPECT_THAT(refusal_of({{"mem-path", path_ + "x"}, {"size", "4k"}}), HasSubstr("ENOENT"));
    EXPECT_THAT(refusal_of({{"mem-path", path_}, {"size", "64k"}, {"hugetlb", "on"}}),
                HasSubstr("hugetlb=on, but its pages have 4 KiB"));
    EXPECT_THAT(ids(), IsEmpty());
}

TEST_F(MemoryBackendTest, PreallocTouchesEveryPage) {
    create({"memory-backend-memfd,id=a,size=1M,prealloc=on,prealloc-threads=2",
            "memory-backend-memfd,id=b,size=1M"})
        .value();
    struct stat status{};
    ASSERT_EQ(::fstat(memory(registry_, "a").fd(), &status), 0);
    EXPECT_EQ(status.st_blocks * 512, 1 << 20);
    ASSERT_EQ(::fstat(memory(registry_, "b").fd(), &status), 0);
    EXPECT_EQ(status.st_blocks, 0);
}

TEST_F(MemoryBackendTest, AReadOnlyFileIsMappedReadOnly) {
    create({kIommufd, kSpace}).value();
    registry_
        .create({.type = "memory-backend-file",
                 .id = "ro",
                 .properties = {{"mem-path", path_}, {"size", "64k"}, {"share", "on"}, {"readonly", "on"}}})
        .value();
    EXPECT_THAT(refusal({"dma-mapping,id=p,space=dma0,memdev=ro"}), HasSubstr("map it readonly"));
    create({"dma-mapping,id=p,space=dma0,memdev=ro,readonly=on,iova=64k"}).value();
    EXPECT_THAT(registry_.get<dma::Space>("dma0").value()->mappings().at(0).access, Access::read);
}

// --- evidence -----------------------------------------------------------------------------------

// A process without privileges that may lock half a MiB, whatever runs the tests.
class Confined final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int read_file(const char* path, std::string& content) override {
        if (std::string_view(path) == "/proc/self/status")
            content = "VmPin:\t     128 kB\nVmLck:\t       0 kB\nCapEff:\t0000000000000000\n";
        else if (std::string_view(path) == "/proc/self/limits")
            content = "Max locked memory         524288               524288               bytes     \n";
        else
            return FaultyKernel::read_file(path, content);
        return 0;
    }
};

TEST(Evidence, ComesWithTheErrorOfAMappingThatIsAboveTheLimit) {
    model::Description description = model::everything();
    description.memlock = 512 << 10;
    description.sys_resource = false;
    model::Machine machine(description);
    Confined kernel(machine.kernel());
    Registry registry({.report = {}, .kernel = &kernel, .before_attach = {}});
    registry.create(define({kIommufd, kMemory, kSpace, kEdu})).value();
    auto mapped = registry.create(define({kMapping}));
    ASSERT_FALSE(mapped);
    EXPECT_EQ(mapped.error().code(), ENOMEM);
    EXPECT_THAT(mapped.error().what(), AllOf(StartsWith("cannot create dma-mapping 'map0': "),
                                             HasSubstr("cannot map 0x4000000+0x100000")));
    EXPECT_EQ(mapped.error().cause(),
              "RLIMIT_MEMLOCK is 512 KiB; this process has pinned 128 KiB (VmPin); accounting: per user; "
              "what other "
              "processes of this user have pinned counts as well");
    EXPECT_THAT(mapped.error().next_step(), HasSubstr("raise the limit"));

    // The same when the mapping was planned, and its first device attaches.
    registry.remove("edu0").value();
    registry.create(define({kMapping})).value();
    auto attached = registry.create(define({kEdu}));
    ASSERT_FALSE(attached);
    EXPECT_THAT(attached.error().cause(), HasSubstr("this process has pinned 128 KiB"));
    registry.clear();
    EXPECT_FALSE(machine.leaks().any()) << machine.leaks().text();
}

// A machine of one MiB.
class Small final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int read_file(const char* path, std::string& content) override {
        if (std::string_view(path) != "/proc/meminfo") return FaultyKernel::read_file(path, content);
        content = "MemFree:             512 kB\nMemTotal:           1024 kB\n";
        return 0;
    }
};

TEST(Evidence, WhatTheMachineHasNotIsNeitherPinnedNorTouched) {
    model::Machine machine(model::everything());
    Small kernel(machine.kernel());
    Registry registry({.report = {}, .kernel = &kernel, .before_attach = {}});
    // Without pages it may be as large as anybody likes.
    registry.create(define({kIommufd, kSpace, "memory-backend-memfd,id=mem0,size=2M"})).value();
    const auto whole = registry.create(define({kMapping}));
    ASSERT_FALSE(whole);
    EXPECT_EQ(
        whole.error().line(),
        "cannot create dma-mapping 'map0': cannot have 2 MiB of 'mem0' in memory: ENOMEM (this machine has "
        "1 MiB); choose a smaller size");
    registry.create(define({"dma-mapping,id=a,space=dma0,memdev=mem0,iova=0x4000000,offset=1M"})).value();
    registry.create(define({"dma-mapping,id=b,space=dma0,memdev=mem0,iova=0x8000000,size=1M"})).value();
    const auto touched = registry.create(define({"memory-backend-memfd,id=c,size=2M,prealloc=on"}));
    ASSERT_FALSE(touched);
    EXPECT_THAT(touched.error().line(), HasSubstr("this machine has 1 MiB"));
}

}  // namespace
}  // namespace iommufd::object
