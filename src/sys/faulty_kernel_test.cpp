// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "sys/faulty_kernel.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <map>

#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::sys {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Takes every call, and keeps which ones reached it.
class Recorder final : public Kernel {
public:
    std::vector<std::string> seen;

    int open(const char*, int) override { return note("open"); }
    int dup(int) override { return note("dup"); }
    int close(int) override { return note("close"); }
    int ioctl(int, unsigned long, void*) override { return note("ioctl"); }
    ssize_t read(int, void*, std::size_t) override { return note("read"); }
    ssize_t write(int, const void*, std::size_t) override { return note("write"); }
    ssize_t pread(int, void*, std::size_t, std::uint64_t) override { return note("pread"); }
    ssize_t pwrite(int, const void*, std::size_t, std::uint64_t) override { return note("pwrite"); }
    int mmap(void**, std::size_t, int, int, int, std::uint64_t) override { return note("mmap"); }
    int munmap(void*, std::size_t) override { return note("munmap"); }
    int poll(std::span<pollfd>, int) override { return note("poll"); }
    int fstat(int, FileStatus&) override { return note("fstat"); }
    int stat(const char*, FileStatus&) override { return note("stat"); }
    int readlink(const char*, std::string&) override { return note("readlink"); }
    int readdir(const char*, std::vector<std::string>&) override { return note("readdir"); }
    int read_file(const char*, std::string&) override { return note("read_file"); }

private:
    int note(const char* call) {
        seen.emplace_back(call);
        return 0;
    }
};

// Each call of the interface once, by name, with its result.
std::map<std::string, long> call_all(Kernel& kernel) {
    char byte = 0;
    void* address = nullptr;
    FileStatus status{};
    std::string text;
    std::vector<std::string> names;
    return {{"open", kernel.open("", 0)},
            {"dup", kernel.dup(0)},
            {"close", kernel.close(0)},
            {"ioctl", kernel.ioctl(0, uapi::kIoasMap, nullptr)},
            {"read", kernel.read(0, &byte, 1)},
            {"write", kernel.write(0, &byte, 1)},
            {"pread", kernel.pread(0, &byte, 1, 0)},
            {"pwrite", kernel.pwrite(0, &byte, 1, 0)},
            {"mmap", kernel.mmap(&address, 1, 0, 0, 0, 0)},
            {"munmap", kernel.munmap(&byte, 1)},
            {"poll", kernel.poll({}, 0)},
            {"fstat", kernel.fstat(0, status)},
            {"stat", kernel.stat("", status)},
            {"readlink", kernel.readlink("", text)},
            {"readdir", kernel.readdir("", names)},
            {"read_file", kernel.read_file("", text)}};
}

constexpr std::uint64_t kCalls = 16;

TEST(FaultyKernel, PassesEveryCallOnWithoutAFault) {
    Recorder inner;
    FaultyKernel kernel(inner);
    for (const auto& [call, result] : call_all(kernel)) EXPECT_EQ(result, 0) << call;
    EXPECT_EQ(inner.seen.size(), kCalls);
    EXPECT_EQ(kernel.calls(), kCalls);
    EXPECT_FALSE(kernel.struck());
}

TEST(FaultyKernel, FailsTheNthCallAndNoOther) {
    for (std::uint64_t n = 1; n <= kCalls; ++n) {
        Recorder inner;
        FaultyKernel kernel(inner, {.call = n, .error = ENOMEM});
        int failed = 0;
        for (const auto& [call, result] : call_all(kernel)) {
            if (result == 0) continue;
            EXPECT_EQ(result, -ENOMEM) << call;
            ++failed;
        }
        EXPECT_EQ(failed, 1) << n;
        EXPECT_TRUE(kernel.struck());
        EXPECT_EQ(kernel.calls(), kCalls);
    }
}

TEST(FaultyKernel, IsPastTheLastCallWhenNothingFails) {
    Recorder inner;
    FaultyKernel kernel(inner, {.call = kCalls + 1, .error = ENOMEM});
    for (const auto& [call, result] : call_all(kernel)) EXPECT_EQ(result, 0) << call;
    EXPECT_FALSE(kernel.struck());
}

TEST(FaultyKernel, FailsOnceOnly) {
    Recorder inner;
    FaultyKernel kernel(inner, {.call = 2, .error = EMFILE});
    EXPECT_EQ(kernel.open("", 0), 0);
    EXPECT_EQ(kernel.open("", 0), -EMFILE);
    EXPECT_EQ(kernel.open("", 0), 0);
    EXPECT_THAT(inner.seen, ElementsAre("open", "open"));
}

TEST(FaultyKernel, KeepsAnAcquiringCallFromItsEffectEvenAfterEffect) {
    for (const bool after_effect : {false, true}) {
        Recorder inner;
        FaultyKernel kernel(inner, {.call = 1, .error = ENOSPC, .after_effect = after_effect});
        EXPECT_EQ(kernel.ioctl(3, uapi::kIoasMap, nullptr), -ENOSPC);
        EXPECT_THAT(inner.seen, IsEmpty());
    }
}

class ReleasingIoctl : public testing::TestWithParam<unsigned long> {};

TEST_P(ReleasingIoctl, FailsBeforeItsEffect) {
    Recorder inner;
    FaultyKernel kernel(inner, {.call = 1, .error = EBUSY});
    EXPECT_EQ(kernel.ioctl(3, GetParam(), nullptr), -EBUSY);
    EXPECT_THAT(inner.seen, IsEmpty());
}

TEST_P(ReleasingIoctl, FailsAfterItsEffect) {
    Recorder inner;
    FaultyKernel kernel(inner, {.call = 1, .error = EBUSY, .after_effect = true});
    EXPECT_EQ(kernel.ioctl(3, GetParam(), nullptr), -EBUSY);
    EXPECT_THAT(inner.seen, ElementsAre("ioctl"));
}

INSTANTIATE_TEST_SUITE_P(FaultyKernel, ReleasingIoctl,
                         testing::Values(uapi::kDestroy, uapi::kIoasUnmap,
                                         uapi::vfio::kDeviceDetachIommufdPt));

TEST(FaultyKernel, FailsAnUnmapBeforeAndAfterItsEffect) {
    for (const bool after_effect : {false, true}) {
        Recorder inner;
        FaultyKernel kernel(inner, {.call = 1, .error = ENOMEM, .after_effect = after_effect});
        EXPECT_EQ(kernel.munmap(nullptr, 4096), -ENOMEM);
        EXPECT_EQ(inner.seen.size(), after_effect ? 1U : 0U);
    }
}

ssize_t send(Kernel& kernel, std::uint8_t type) {
    uapi::vhost::MsgV2 message{};
    message.type = uapi::vhost::kMsgIotlbV2;
    message.iotlb.type = type;
    return kernel.write(3, &message, sizeof message);
}

TEST(FaultyKernel, TakesAnIotlbInvalidateForReleasingAndAnUpdateNot) {
    Recorder inner;
    FaultyKernel invalidate(inner, {.call = 1, .error = EFAULT, .after_effect = true});
    EXPECT_EQ(send(invalidate, uapi::vhost::kIotlbInvalidate), -EFAULT);
    EXPECT_THAT(inner.seen, ElementsAre("write"));

    FaultyKernel update(inner, {.call = 1, .error = EFAULT, .after_effect = true});
    EXPECT_EQ(send(update, uapi::vhost::kIotlbUpdate), -EFAULT);
    EXPECT_THAT(inner.seen, ElementsAre("write"));
}

TEST(FaultyKernel, ClosesTheDescriptorWhateverItSays) {
    for (const bool after_effect : {false, true}) {
        FaultyKernel kernel(host_kernel(), {.call = 2, .error = EIO, .after_effect = after_effect});
        const int fd = kernel.open("/dev/null", O_RDONLY);
        ASSERT_GE(fd, 0);
        EXPECT_EQ(kernel.close(fd), -EIO);
        EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
        EXPECT_EQ(errno, EBADF);
    }
}

}  // namespace
}  // namespace iommufd::sys
