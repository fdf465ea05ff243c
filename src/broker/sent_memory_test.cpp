// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/sent_memory.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "broker/testing.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;
constexpr Part kRead{.offset = 0, .length = kMiB, .write = false};
constexpr Part kWrite{.offset = 0, .length = kMiB, .write = true};

int code_of(int fd, const Part& part) {
    const auto checked = check_memory(fd, part);
    return checked ? 0 : checked.error().code();
}

sys::Fd reopened(const sys::Fd& file, int flags) {
    const std::string path = "/proc/self/fd/" + std::to_string(file.number());
    const int number = ::open(path.c_str(), flags | O_CLOEXEC);
    EXPECT_GE(number, 0);
    return {sys::host_kernel(), number};
}

TEST(SentMemory, that_is_as_it_must_be_pins_what_is_mapped) {
    const sys::Fd memory = sealed_memory(kMiB);
    EXPECT_TRUE(is_memory(memory.number()));
    EXPECT_EQ(check_memory(memory.number(), kWrite).value(), kMiB);
    EXPECT_TRUE(check_touched(memory.number(), kWrite));
    EXPECT_EQ(check_memory(memory.number(), {.offset = 4096, .length = 8192}).value(), 8192U);
}

TEST(SentMemory, descriptors_of_other_kinds_are_none) {
    const auto [one, other] = socket_pair();
    const sys::Fd event(sys::host_kernel(), ::eventfd(0, EFD_CLOEXEC));
    const sys::Fd node(sys::host_kernel(), ::open("/dev/null", O_RDWR | O_CLOEXEC));
    const sys::Fd folder(sys::host_kernel(), ::open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const sys::Fd program(sys::host_kernel(), ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
    const sys::Fd path = reopened(sealed_memory(kMiB), O_PATH);
    for (const int fd : {one.number(), event.number(), node.number(), folder.number(), program.number(),
                         path.number(), -1}) {
        EXPECT_FALSE(is_memory(fd)) << fd;
        EXPECT_EQ(code_of(fd, kRead), EBADF) << fd;
    }
}

TEST(SentMemory, whose_size_is_not_sealed_is_refused_since_it_could_be_truncated) {
    for (const int seals : {0, F_SEAL_SHRINK, F_SEAL_GROW}) {
        const sys::Fd memory = sealed_memory(kMiB, seals);
        EXPECT_EQ(code_of(memory.number(), kRead), EPERM) << seals;
        EXPECT_THAT(check_memory(memory.number(), kRead).error().line(), HasSubstr("its size isn't sealed"));
    }
    const sys::Fd sealed = sealed_memory(kMiB);
    EXPECT_EQ(::ftruncate(sealed.number(), 4096), -1) << "so that this can't be";
    EXPECT_EQ(::ftruncate(sealed.number(), 2 * kMiB), -1);
}

TEST(SentMemory, that_was_opened_for_reading_only_is_not_mapped_for_writing) {
    const sys::Fd memory = sealed_memory(kMiB);
    const sys::Fd reader = reopened(memory, O_RDONLY);
    EXPECT_EQ(code_of(reader.number(), kWrite), EACCES);
    EXPECT_EQ(code_of(reader.number(), kRead), 0);
    EXPECT_EQ(code_of(reopened(memory, O_WRONLY).number(), kRead), EBADF);
}

TEST(SentMemory, that_is_sealed_against_writing_is_not_mapped_for_writing) {
    constexpr int kFutureWrite = 0x0010;
    for (const int seal : {F_SEAL_WRITE, kFutureWrite}) {
        const sys::Fd memory = sealed_memory(kMiB, F_SEAL_SHRINK | F_SEAL_GROW | seal);
        EXPECT_EQ(code_of(memory.number(), kWrite), EPERM) << seal;
        EXPECT_EQ(code_of(memory.number(), kRead), 0) << seal;
    }
}

TEST(SentMemory, a_tebibyte_that_is_not_there_is_refused_and_so_is_one_page_of_it) {
    const sys::Fd memory = sealed_memory(0, 0);
    ASSERT_EQ(::ftruncate(memory.number(), off_t{1} << 40), 0);
    ASSERT_EQ(::fcntl(memory.number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    EXPECT_EQ(code_of(memory.number(), {.offset = 0, .length = std::uint64_t{1} << 40}), ENODATA);
    EXPECT_EQ(code_of(memory.number(), {.offset = 0, .length = 4096}), ENODATA);
}

TEST(SentMemory, with_a_hole_is_refused) {
    const sys::Fd memory = sealed_memory(kMiB);
    ASSERT_EQ(::fallocate(memory.number(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, kMiB / 2, kMiB / 4),
              0);
    EXPECT_EQ(code_of(memory.number(), kRead), ENODATA);
}

TEST(SentMemory, that_was_allocated_and_never_touched_is_refused_since_it_would_be_cleared_later) {
    const sys::Fd memory = sealed_memory(0, 0);
    ASSERT_EQ(::posix_fallocate(memory.number(), 0, kMiB), 0);
    ASSERT_EQ(::fcntl(memory.number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    EXPECT_EQ(code_of(memory.number(), kRead), 0) << "it is all there";
    EXPECT_EQ(check_touched(memory.number(), kRead).error().code(), ENODATA);
    ASSERT_EQ(::pwrite(memory.number(), "", 1, 0), 1);
    ASSERT_EQ(::lseek(memory.number(), 77, SEEK_SET), 77);
    EXPECT_TRUE(check_touched(memory.number(), {.offset = 0, .length = 4096}));
    EXPECT_EQ(check_touched(memory.number(), kRead).error().code(), ENODATA);
    EXPECT_EQ(::lseek(memory.number(), 0, SEEK_CUR), 77) << "its position is the client's";
}

TEST(SentMemory, of_which_more_is_asked_for_than_there_is_or_no_whole_pages_is_refused) {
    const sys::Fd memory = sealed_memory(kMiB);
    for (const Part& part :
         {Part{.offset = 0, .length = 0}, Part{.offset = 0, .length = 2 * kMiB},
          Part{.offset = 4096, .length = kMiB}, Part{.offset = 1, .length = 4096},
          Part{.offset = 0, .length = 4095}, Part{.offset = ~std::uint64_t{4095}, .length = 8192},
          Part{.offset = 4096, .length = ~std::uint64_t{4095}}})
        EXPECT_EQ(code_of(memory.number(), part), EINVAL) << part.offset << "+" << part.length;
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
