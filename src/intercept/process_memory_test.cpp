// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/process_memory.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <thread>

#include "intercept/known_threads.hpp"
#include "intercept/map_query.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

// Waits for a byte, and then becomes another program, which waits for ever.
class Child {
public:
    Child() {
        EXPECT_EQ(::pipe2(ends_, O_CLOEXEC), 0);
        process_ = ::fork();
        if (process_ != 0) return;
        char byte = 0;
        (void)!::read(ends_[0], &byte, 1);
        (void)::execlp("sleep", "sleep", "1000", nullptr);
        ::_exit(1);
    }
    ~Child() { end(); }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    pid_t number() const { return process_; }
    void become_another() const {
        const std::string before = name();
        EXPECT_EQ(::write(ends_[1], "", 1), 1);
        while (name() == before) std::this_thread::yield();
    }
    void end() {
        if (process_ > 0) (void)::kill(process_, SIGKILL);
        if (process_ > 0) (void)::waitpid(process_, nullptr, 0);
        process_ = -1;
        for (int& end : ends_)
            if (end >= 0) (void)::close(std::exchange(end, -1));
    }

private:
    std::string name() const {
        char target[256] = {};
        (void)!::readlink(proc_path(process_, "exe").c_str(), target, sizeof target - 1);
        return target;
    }

    int ends_[2] = {-1, -1};
    pid_t process_ = -1;
};

TEST(ProcessMemoriesTest, AProcessHasOneMemoryHoweverOftenItIsAskedFor) {
    const LastCloses made;
    ProcessMemories memories{made};
    const Child child;
    std::shared_ptr<ProcessMemory> first;
    std::shared_ptr<ProcessMemory> second;
    ASSERT_EQ(memories.of(child.number(), first), 0);
    ASSERT_EQ(memories.of(child.number(), second), 0);
    EXPECT_EQ(first, second);
    EXPECT_EQ(memories.known(child.number()), first);
}

TEST(ProcessMemoriesTest, ItsMemoryIsThereAsFarAsItMayBeReachedAndItsFilesReach) {
    const sys::Fd file(sys::host_kernel(), ::memfd_create("cut", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.number(), 0x1000), 0);
    // Its own, what it may read only, of a file the part that is there and the part that isn't, and nothing.
    auto* const start = static_cast<char*>(
        ::mmap(nullptr, 0x6000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_EQ(::mprotect(start + 0x2000, 0x1000, PROT_READ), 0);
    ASSERT_NE(
        ::mmap(start + 0x3000, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file.number(), 0),
        MAP_FAILED);
    ASSERT_EQ(::munmap(start + 0x5000, 0x1000), 0);
    const LastCloses made;
    ProcessMemories memories{made};
    const Child child;
    std::shared_ptr<ProcessMemory> memory;
    ASSERT_EQ(memories.of(child.number(), memory), 0);
    const auto populated = [&](std::uint64_t from, std::uint64_t length, bool write) {
        return memory->populate(reinterpret_cast<std::uint64_t>(start) + from, length, write);
    };
    EXPECT_EQ(populated(0x10, 0x1ff0, true), 0);
    EXPECT_EQ(populated(0x1000, 0x2000, false), 0);
    EXPECT_EQ(populated(0x1000, 0x2000, true), -EFAULT);
    EXPECT_EQ(populated(0x2000, 0x2000, false), 0);
    EXPECT_EQ(populated(0x3000, 0x1000, true), 0);
    EXPECT_EQ(populated(0x3000, 0x1001, true), -EFAULT);
    EXPECT_EQ(populated(0x4000, 0x10, false), -EFAULT);
    EXPECT_EQ(populated(0x4000, 0x1001, false), -EFAULT);
    EXPECT_EQ(populated(0x5000, 0x10, false), -EFAULT);
    ::munmap(start, 0x5000);
}

TEST(ProcessMemoriesTest, OfAProcessThatHasEndedThereIsNone) {
    const LastCloses made;
    ProcessMemories memories{made};
    Child child;
    const pid_t number = child.number();
    std::shared_ptr<ProcessMemory> memory;
    ASSERT_EQ(memories.of(number, memory), 0);
    child.end();
    memories.forget_ended(number);
    EXPECT_EQ(memories.known(number), nullptr);
    EXPECT_EQ(memories.of(number, memory), -EACCES);
}

TEST(ProcessMemoriesTest, AProcessThatBecameAnotherProgramHasAnotherMemory) {
    const LastCloses made;
    ProcessMemories memories{made};
    const Child child;
    std::shared_ptr<ProcessMemory> before;
    std::shared_ptr<ProcessMemory> after;
    ASSERT_EQ(memories.of(child.number(), before), 0);
    memories.forget_shared(child.number());
    EXPECT_EQ(memories.known(child.number()), before) << "it isn't yet";
    child.become_another();
    EXPECT_EQ(memories.known(child.number()), nullptr);
    ASSERT_EQ(memories.of(child.number(), after), 0);
    EXPECT_NE(before, after);
    EXPECT_FALSE(before->alive());
    EXPECT_TRUE(after->alive());
}

#ifdef __has_feature
constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#else
constexpr bool kThreadSanitizer = false;
#endif

// In a process that has this one's thread-local storage.
__attribute__((no_sanitize("address", "undefined"))) int wait_for(void* end) {
    char byte = 0;
    return static_cast<int>(::syscall(SYS_read, *static_cast<int*>(end), &byte, 1)) - 1;
}

TEST(ProcessMemoriesTest, MemoryThatLivesOnInAnotherProcessIsNotThatOfWhoGetsTheNumber) {
    if (kThreadSanitizer) GTEST_SKIP() << "this sanitizer knows no process that shares the memory of another";
    const LastCloses made;
    ProcessMemories memories{made};
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    alignas(16) static std::array<char, 65536> stack;
    const pid_t sharing = ::clone(wait_for, stack.data() + stack.size(), CLONE_VM | SIGCHLD, ends);
    ASSERT_GT(sharing, 0);
    std::shared_ptr<ProcessMemory> memory;
    ASSERT_EQ(memories.of(sharing, memory), 0);
    memories.forget_ended(sharing);
    EXPECT_EQ(memories.known(sharing), memory);
    memories.forget_shared(sharing);
    EXPECT_EQ(memories.known(sharing), nullptr);
    ASSERT_EQ(memories.of(sharing, memory), 0);
    ASSERT_EQ(::write(ends[1], "", 1), 1);
    ASSERT_EQ(::waitpid(sharing, nullptr, 0), sharing);
    EXPECT_TRUE(memory->alive());
    memories.forget_ended(sharing);
    EXPECT_EQ(memories.known(sharing), nullptr);
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST(ProcessMemoriesTest, ManyProcessesThatMapNothingMoreKeepNoDescriptors) {
    const LastCloses made;
    ProcessMemories memories{made};
    const auto open_descriptors = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    constexpr int kMany = 80;
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < kMany; ++i) children.push_back(std::make_unique<Child>());
    const auto before = open_descriptors();
    for (const auto& child : children) {
        std::shared_ptr<ProcessMemory> memory;
        ASSERT_EQ(memories.of(child->number(), memory), 0);
    }
    EXPECT_LT(open_descriptors() - before, 3 * 17 + 1);
}

TEST(MapQueryTest, SaysOfARangeWhatTheWholeListSays) {
    const sys::Fd file(sys::host_kernel(), ::memfd_create("piece", MFD_CLOEXEC));
    ASSERT_EQ(::ftruncate(file.number(), 0x4000), 0);
    // A hole, a piece that can be read, one that can't, and one of a file, side by side.
    auto* const start =
        static_cast<char*>(::mmap(nullptr, 0x6000, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_EQ(::mprotect(start + 0x1000, 0x1000, PROT_READ), 0);
    ASSERT_NE(
        ::mmap(start + 0x3000, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file.number(), 0x1000),
        MAP_FAILED);
    ASSERT_EQ(::munmap(start, 0x1000), 0);
    const sys::Fd maps(sys::host_kernel(), ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
    const auto first = reinterpret_cast<std::uint64_t>(start);
    for (const auto& [from, last] :
         {std::pair(first, first + 0x5fff), std::pair(first + 0x1800, first + 0x3000),
          std::pair(first, first + 0xfff), std::pair(first + 0x4fff, first + 0x4fff)}) {
        std::vector<model::MappedPiece> found;
        if (!query_maps(maps.number(), from, last, found)) GTEST_SKIP() << "needs Linux 6.11";
        std::vector<model::MappedPiece> listed = model::read_maps("/proc/self/maps");
        std::erase_if(listed, [low = from, high = last](const auto& piece) {
            return piece.last < low || piece.first > high;
        });
        const auto text = [](const std::vector<model::MappedPiece>& pieces) {
            std::string all;
            for (const auto& piece : pieces)
                all += std::to_string(piece.first) + ' ' + std::to_string(piece.last) + ' ' +
                       std::to_string(piece.container) + ' ' + std::to_string(piece.inode) + ' ' +
                       std::to_string(piece.offset) + (piece.shared ? " shared" : "") +
                       (piece.readable ? " r" : "") + (piece.writable ? " w\n" : "\n");
            return all;
        };
        EXPECT_EQ(text(found), text(listed));
    }
    ::munmap(start + 0x1000, 0x5000);
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
