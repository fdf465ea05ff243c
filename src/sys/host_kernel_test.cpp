// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "sys/kernel.hpp"

namespace iommufd::sys {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A folder of its own that is gone with the test.
class HostKernel : public testing::Test {
protected:
    HostKernel() {
        std::string pattern = testing::TempDir() + "host_kernel_test.XXXXXX";
        folder_ = ::mkdtemp(pattern.data());
    }
    ~HostKernel() override { std::filesystem::remove_all(folder_); }

    std::string path(const std::string& name) const { return folder_ + "/" + name; }
    std::string file(const std::string& name, const std::string& content) const {
        std::ofstream(path(name)) << content;
        return path(name);
    }

    Kernel& kernel_ = host_kernel();
    std::string folder_;
};

bool closes_on_exec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

TEST_F(HostKernel, IsOneForTheProcess) { EXPECT_EQ(&host_kernel(), &kernel_); }

TEST_F(HostKernel, OpensCloseOnExecWhateverTheFlagsSay) {
    const int fd = kernel_.open("/dev/null", O_RDWR);
    ASSERT_GE(fd, 0);
    EXPECT_TRUE(closes_on_exec(fd));
    EXPECT_EQ(kernel_.close(fd), 0);
}

TEST_F(HostKernel, DuplicatesCloseOnExec) {
    const int fd = kernel_.open("/dev/null", O_RDWR);
    const int copy = kernel_.dup(fd);
    ASSERT_GE(copy, 0);
    EXPECT_NE(copy, fd);
    EXPECT_TRUE(closes_on_exec(copy));
    EXPECT_EQ(kernel_.close(copy), 0);
    EXPECT_EQ(kernel_.close(fd), 0);
}

TEST_F(HostKernel, SaysFailuresAsNegativeErrnos) {
    char byte = 0;
    FileStatus status{};
    std::string text;
    std::vector<std::string> names;
    void* address = nullptr;
    EXPECT_EQ(kernel_.open(path("absent").c_str(), O_RDONLY), -ENOENT);
    EXPECT_EQ(kernel_.dup(-1), -EBADF);
    EXPECT_EQ(kernel_.close(-1), -EBADF);
    EXPECT_EQ(kernel_.ioctl(-1, 0, nullptr), -EBADF);
    EXPECT_EQ(kernel_.read(-1, &byte, 1), -EBADF);
    EXPECT_EQ(kernel_.write(-1, &byte, 1), -EBADF);
    EXPECT_EQ(kernel_.pread(-1, &byte, 1, 0), -EBADF);
    EXPECT_EQ(kernel_.pwrite(-1, &byte, 1, 0), -EBADF);
    EXPECT_EQ(kernel_.mmap(&address, 4096, PROT_READ, MAP_SHARED, -1, 0), -EBADF);
    EXPECT_EQ(kernel_.munmap(&byte, 0), -EINVAL);
    EXPECT_EQ(kernel_.fstat(-1, status), -EBADF);
    EXPECT_EQ(kernel_.stat(path("absent").c_str(), status), -ENOENT);
    EXPECT_EQ(kernel_.readlink(path("absent").c_str(), text), -ENOENT);
    EXPECT_EQ(kernel_.readdir(path("absent").c_str(), names), -ENOENT);
    EXPECT_EQ(kernel_.read_file(path("absent").c_str(), text), -ENOENT);
    EXPECT_EQ(address, nullptr);
}

TEST_F(HostKernel, PassesIoctlsOn) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    ASSERT_EQ(kernel_.write(ends[1], "abc", 3), 3);
    int waiting = 0;
    EXPECT_EQ(kernel_.ioctl(ends[0], FIONREAD, &waiting), 0);
    EXPECT_EQ(waiting, 3);
    EXPECT_EQ(kernel_.ioctl(ends[0], 0x3b80, nullptr), -ENOTTY);
    EXPECT_EQ(kernel_.close(ends[0]), 0);
    EXPECT_EQ(kernel_.close(ends[1]), 0);
}

TEST_F(HostKernel, ReadsAndWritesAtOffsetsBeyond4GiB) {
    constexpr std::uint64_t kFar = 6ULL << 30;
    const int fd = kernel_.open(file("sparse", "").c_str(), O_RDWR);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(kernel_.pwrite(fd, "far", 3, kFar), 3);
    char back[4] = {};
    EXPECT_EQ(kernel_.pread(fd, back, 3, kFar), 3);
    EXPECT_STREQ(back, "far");
    EXPECT_EQ(kernel_.pread(fd, back, 3, kFar + 3), 0);
    EXPECT_EQ(kernel_.close(fd), 0);
}

TEST_F(HostKernel, MapsAndUnmaps) {
    const int fd = kernel_.open(file("page", std::string(4096, 'x')).c_str(), O_RDONLY);
    ASSERT_GE(fd, 0);
    void* address = nullptr;
    ASSERT_EQ(kernel_.mmap(&address, 4096, PROT_READ, MAP_PRIVATE, fd, 0), 0);
    EXPECT_EQ(static_cast<const char*>(address)[4095], 'x');
    EXPECT_EQ(kernel_.munmap(address, 4096), 0);
    EXPECT_EQ(kernel_.close(fd), 0);
}

TEST_F(HostKernel, PollsForWhatIsReady) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    pollfd wait[] = {{.fd = ends[0], .events = POLLIN, .revents = 0}};
    EXPECT_EQ(kernel_.poll(wait, 0), 0);
    ASSERT_EQ(kernel_.write(ends[1], "a", 1), 1);
    EXPECT_EQ(kernel_.poll(wait, 0), 1);
    EXPECT_EQ(wait[0].revents, POLLIN);
    EXPECT_EQ(kernel_.close(ends[0]), 0);
    EXPECT_EQ(kernel_.close(ends[1]), 0);
}

TEST_F(HostKernel, TellsWhatADescriptorIs) {
    const int fd = kernel_.open(file("five", "12345").c_str(), O_RDONLY);
    FileStatus by_fd{};
    FileStatus by_path{};
    ASSERT_EQ(kernel_.fstat(fd, by_fd), 0);
    ASSERT_EQ(kernel_.stat(path("five").c_str(), by_path), 0);
    EXPECT_TRUE(S_ISREG(by_fd.mode));
    EXPECT_EQ(by_fd.size, 5U);
    EXPECT_EQ(by_fd.inode, by_path.inode);
    EXPECT_EQ(by_fd.container, by_path.container);
    EXPECT_EQ(kernel_.close(fd), 0);
}

TEST_F(HostKernel, TellsTheNumberOfADeviceNode) {
    FileStatus status{};
    ASSERT_EQ(kernel_.stat("/dev/null", status), 0);
    EXPECT_TRUE(S_ISCHR(status.mode));
    EXPECT_EQ(status.device, makedev(1, 3));
}

TEST_F(HostKernel, ReadsALinkWithoutFollowingIt) {
    ASSERT_EQ(::symlink("../../bus/pci/drivers/vfio-pci", path("driver").c_str()), 0);
    std::string target = "old";
    EXPECT_EQ(kernel_.readlink(path("driver").c_str(), target), 0);
    EXPECT_EQ(target, "../../bus/pci/drivers/vfio-pci");
    EXPECT_EQ(kernel_.readlink(file("plain", "").c_str(), target), -EINVAL);
}

TEST_F(HostKernel, ListsAFolderSortedWithoutItselfAndItsParent) {
    // Enough of them that no file system has them sorted by chance.
    std::vector<std::string> made = {".hidden", "noiommu-vfio1"};
    for (int i = 0; i < 50; ++i) made.push_back("vfio" + std::to_string(i * 37 % 50));
    for (const std::string& name : made) file(name, "");
    std::ranges::sort(made);
    std::vector<std::string> names = {"old"};
    EXPECT_EQ(kernel_.readdir(folder_.c_str(), names), 0);
    EXPECT_EQ(names, made);
}

TEST_F(HostKernel, ListsAnEmptyFolder) {
    std::vector<std::string> names = {"old"};
    EXPECT_EQ(kernel_.readdir(folder_.c_str(), names), 0);
    EXPECT_THAT(names, IsEmpty());
}

TEST_F(HostKernel, ReadsASmallFileWhole) {
    std::string content = "old";
    EXPECT_EQ(kernel_.read_file(file("vendor", "0x1234\n").c_str(), content), 0);
    EXPECT_EQ(content, "0x1234\n");
    EXPECT_EQ(kernel_.read_file(file("empty", "").c_str(), content), 0);
    EXPECT_THAT(content, IsEmpty());
}

TEST_F(HostKernel, ReadsAFileOfProcThatStatesNoSize) {
    std::string content;
    EXPECT_EQ(kernel_.read_file("/proc/self/status", content), 0);
    EXPECT_THAT(content, HasSubstr("VmPin:"));
}

TEST_F(HostKernel, ReadsNoMoreOfAFileThan64KiB) {
    std::string content;
    EXPECT_EQ(kernel_.read_file(file("large", std::string(100000, 'x')).c_str(), content), 0);
    EXPECT_THAT(content, SizeIs(65536));
}

TEST_F(HostKernel, LeavesNoDescriptorBehindWhenReadingFails) {
    std::vector<std::string> before;
    std::vector<std::string> after;
    std::string content;
    ASSERT_EQ(kernel_.readdir("/proc/self/fd", before), 0);
    EXPECT_EQ(kernel_.read_file(folder_.c_str(), content), -EISDIR);
    EXPECT_EQ(kernel_.read_file(file("vendor", "0x1234\n").c_str(), content), 0);
    ASSERT_EQ(kernel_.readdir("/proc/self/fd", after), 0);
    EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace iommufd::sys
