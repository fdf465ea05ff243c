// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What memory can be mapped for DMA, and how it is accounted.
#include <gtest/gtest.h>

#include "model/testing.hpp"

namespace iommufd::model::testing {
namespace {

TEST(ModelPages, MemoryThatCannotBePinnedIsEfaultWhenADomainNeedsIt) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    const Memory none(kPage, PROT_NONE);
    const Memory read_only(kPage, PROT_READ);
    EXPECT_EQ(bench.map(ioas, none.address(), kPage, 0x1000), 0) << "no domain yet";
    EXPECT_EQ(bench.attach(bench.cdev, ioas), -EFAULT) << "now there would be one";
    EXPECT_EQ(bench.ranges(ioas).size(), 1U) << "and nothing of it is left";
    EXPECT_EQ(bench.unmap(ioas, 0x1000, kPage), static_cast<std::int64_t>(kPage));
    EXPECT_GT(bench.attach(bench.cdev, ioas), 0);
    EXPECT_EQ(bench.map(ioas, none.address(), kPage, 0x1000), -EFAULT);
    EXPECT_EQ(bench.map(ioas, 0x1000, kPage, 0x1000), -EFAULT);
    EXPECT_EQ(bench.map(ioas, read_only.address(), kPage, 0x1000), -EFAULT);
    EXPECT_EQ(bench.map(ioas, read_only.address(), kPage, 0x1000, uapi::kMapReadable), 0);
    EXPECT_EQ(bench.machine.leaks().mappings, 1U);
}

TEST(ModelPages, AFileIsReachedThroughAReadOnlyDescriptorAndAfterItIsClosed) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const HostFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.number(), 4 * kPage), 0);
    {
        const HostFd reader(
            ::open(("/proc/self/fd/" + std::to_string(file.number())).c_str(), O_RDONLY | O_CLOEXEC));
        ASSERT_EQ(bench.map_file(ioas, reader.number(), kPage, 2 * kPage, 0x1000), 0);
    }
    const std::string text = "out of the file";
    ASSERT_EQ(::pwrite(file.number(), text.data(), text.size(), 2 * kPage),
              static_cast<ssize_t>(text.size()));
    bench.read_memory(0x2000, kPage);
    bench.write_memory(0x1000, kPage);
    std::string found(text.size(), ' ');
    ASSERT_EQ(::pread(file.number(), found.data(), found.size(), kPage), static_cast<ssize_t>(found.size()));
    EXPECT_EQ(found, text);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 0U);
}

TEST(ModelPages, OnlyWholePagesOfFilesInMemoryCanBeMapped) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const HostFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.number(), kPage + 100), 0);
    const HostFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const Event event;
    EXPECT_EQ(bench.map_file(ioas, file.number(), 0, kPage, 0x1000), 0);
    EXPECT_EQ(bench.map_file(ioas, file.number(), kPage, kPage, 0x2000), -EINVAL)
        << "the last page is partial";
    EXPECT_EQ(bench.map_file(ioas, file.number(), 16 * kPage, kPage, 0x2000), -EINVAL);
    EXPECT_EQ(bench.map_file(ioas, null.number(), 0, kPage, 0x2000), -EINVAL);
    EXPECT_EQ(bench.map_file(ioas, event.number(), 0, kPage, 0x2000), -EINVAL);
    EXPECT_EQ(bench.map_file(ioas, 999, 0, kPage, 0x2000), -EBADF);
    EXPECT_EQ(bench.map_file(ioas, file.number(), 0, 0, 0x2000), -EINVAL);
    EXPECT_EQ(bench.map_file(ioas, file.number(), ~0ULL - kPage + 1, 2 * kPage, 0x2000), -EOVERFLOW);
    EXPECT_EQ(bench.machine.leaks().mappings, 1U);
}

TEST(ModelPages, AFileThatGrewIsMappedAsFarAsItGoes) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const HostFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.number(), kPage), 0);
    ASSERT_EQ(bench.map_file(ioas, file.number(), 0, kPage, 0x1000), 0);
    ASSERT_EQ(::ftruncate(file.number(), 8 * kPage), 0);
    ASSERT_EQ(bench.map_file(ioas, file.number(), 7 * kPage, kPage, 0x2000), 0);
    ASSERT_EQ(::pwrite(file.number(), "grown", 5, 7 * kPage), 5);
    bench.read_memory(0x2000, kPage);
    bench.write_memory(0x1000, kPage);
    char found[6] = {};
    ASSERT_EQ(::pread(file.number(), found, 5, 0), 5);
    EXPECT_STREQ(found, "grown");
}

TEST(ModelPages, APartOfAFileCanBeCopiedToWhereADeviceIs) {
    EduBench bench;
    const std::uint32_t from = bench.ioas();
    const std::uint32_t to = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, to), 0);
    const HostFd file(::memfd_create("test", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.number(), 4 * kPage), 0);
    ASSERT_EQ(::pwrite(file.number(), "third", 5, 2 * kPage), 5);
    ASSERT_EQ(bench.map_file(from, file.number(), 0, 4 * kPage, 0x10000), 0);
    ASSERT_EQ(bench.copy(from, 0x12000, kPage, to, 0x1000), 0);
    ASSERT_EQ(bench.copy(from, 0x10000, kPage, to, 0x2000), 0);
    bench.read_memory(0x1000, kPage);
    bench.write_memory(0x2000, kPage);
    char found[6] = {};
    ASSERT_EQ(::pread(file.number(), found, 5, 0), 5);
    EXPECT_STREQ(found, "third");
    ASSERT_EQ(bench.map_file(from, file.number(), 0, 8 * kPage, 0x100000), 0) << "nobody looks yet";
    EXPECT_EQ(bench.copy(from, 0x106000, kPage, to, 0x3000), -EINVAL) << "beyond the end of the file";
    EXPECT_EQ(bench.copy(from, 0x103000, kPage, to, 0x3000), 0);
}

TEST(ModelPages, APageThatSeveralAreasShowIsPinnedOnce) {
    EduBench bench;
    const std::uint32_t from = bench.ioas();
    const std::uint32_t to = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, to), 0);
    const Memory memory(4 * kPage);
    ASSERT_EQ(bench.map(from, memory.address(), memory.size(), 0x10000), 0);
    ASSERT_EQ(bench.copy(from, 0x10000, kPage, to, 0x1000), 0);
    ASSERT_EQ(bench.copy(from, 0x12000, kPage, to, 0x2000), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, 2 * kPage);
    ASSERT_EQ(bench.copy(from, 0x10000, 4 * kPage, to, 0x100000), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, 4 * kPage);
    ASSERT_EQ(bench.unmap(to, 0x2000, kPage), static_cast<std::int64_t>(kPage));
    EXPECT_EQ(bench.machine.leaks().pinned, 4 * kPage);
    ASSERT_EQ(bench.unmap(to, 0x100000, 4 * kPage), 4 * static_cast<std::int64_t>(kPage));
    EXPECT_EQ(bench.machine.leaks().pinned, kPage);
}

TEST(ModelPages, MemoryThatTheProgramUnmapsMeanwhileIsBlockedAndNoCrash) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    {
        const Memory memory(kPage);
        ASSERT_EQ(bench.map(ioas, memory.address(), kPage, 0x1000), 0);
    }
    bench.write_memory(0x1000, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 1U);
}

Description with_limit(std::uint64_t pages) {
    Description description = everything();
    description.memlock = pages * kPage;
    return description;
}

TEST(ModelPages, EachMapIsChargedAndACopyIsNot) {
    EduBench bench(with_limit(4));
    const std::uint32_t one = bench.ioas();
    const std::uint32_t two = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, one), 0);
    ASSERT_GT(bench.hwpt(bench.device, two), 0);
    const Memory memory(4 * kPage);
    EXPECT_EQ(bench.map(one, memory.address(), 2 * kPage, 0x10000), 0);
    EXPECT_EQ(bench.map(one, memory.address(), 2 * kPage, 0x20000), 0) << "the same pages again";
    EXPECT_EQ(bench.machine.leaks().pinned, 4 * kPage);
    EXPECT_EQ(bench.map(one, memory.address(), kPage, 0x30000), -ENOMEM);
    EXPECT_EQ(bench.machine.leaks().mappings, 2U);
    EXPECT_EQ(bench.copy(one, 0x10000, kPage, two, 0x1000), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, 4 * kPage);
    EXPECT_EQ(bench.unmap(one, 0x10000, 2 * kPage), 2 * static_cast<std::int64_t>(kPage));
    EXPECT_EQ(bench.machine.leaks().pinned, 3 * kPage) << "the copy holds one of them";
    EXPECT_EQ(bench.unmap(two, 0x1000, kPage), static_cast<std::int64_t>(kPage));
    EXPECT_EQ(bench.machine.leaks().pinned, 2 * kPage);
    EXPECT_EQ(bench.detach(bench.cdev), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, 0U) << "without a domain nothing is pinned";
}

TEST(ModelPages, AttachThatExceedsTheLimitIsUndone) {
    EduBench bench(with_limit(2));
    const std::uint32_t ioas = bench.ioas();
    const Memory memory(4 * kPage);
    EXPECT_EQ(bench.map(ioas, memory.address(), 2 * kPage, 0x10000), 0);
    EXPECT_EQ(bench.map(ioas, memory.address(), 2 * kPage, 0x20000), 0);
    EXPECT_EQ(bench.attach(bench.cdev, ioas), -ENOMEM);
    const Leaks leaks = bench.machine.leaks();
    EXPECT_EQ(leaks.pinned, 0U);
    EXPECT_EQ(leaks.objects, 2U) << "device and IOAS";
    bench.read_memory(0x10000, kPage);
    EXPECT_EQ(bench.machine.blocked_dma_count(), 1U) << "the device is not attached";
}

TEST(ModelPages, WithTheCapabilityNothingIsLimited) {
    EduBench bench;
    const std::uint32_t ioas = bench.ioas();
    ASSERT_GT(bench.attach(bench.cdev, ioas), 0);
    const Memory memory(64 * kPage);
    EXPECT_EQ(bench.map(ioas, memory.address(), memory.size(), 0x10000), 0);
    EXPECT_EQ(bench.machine.leaks().pinned, memory.size());
}

TEST(ModelPages, TheAccountingModeIsChosenBeforeAnythingElse) {
    Bench bench;
    EXPECT_EQ(bench.option(uapi::kOptionGet, uapi::kOptionRlimitMode, 0), 0);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionRlimitMode, 0, 1), 0);
    EXPECT_EQ(bench.option(uapi::kOptionGet, uapi::kOptionRlimitMode, 0), 1);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionRlimitMode, 0, 2), -EINVAL);
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionRlimitMode, 1, 1), -EOPNOTSUPP);
    (void)bench.ioas();
    EXPECT_EQ(bench.option(uapi::kOptionSet, uapi::kOptionRlimitMode, 0, 0), -EBUSY);

    Bench unprivileged(Description{.sys_resource = false});
    EXPECT_EQ(unprivileged.option(uapi::kOptionSet, uapi::kOptionRlimitMode, 0, 1), -EPERM);
}

}  // namespace
}  // namespace iommufd::model::testing
