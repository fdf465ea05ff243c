// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/known_threads.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iterator>
#include <latch>
#include <system_error>
#include <thread>

namespace iommufd::inline v0_1::intercept {
namespace {

ino_t inode_of(int fd) {
    struct stat found{};
    EXPECT_EQ(::fstat(fd, &found), 0);
    return found.st_ino;
}

// A thread while it lives.
class Waiting {
public:
    Waiting() {
        thread_ = std::thread([this] {
            number_ = ::gettid();
            is_there_.count_down();
            may_end_.wait();
        });
        is_there_.wait();
    }
    ~Waiting() { end(); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;

    pid_t number() const { return number_; }
    void end() {
        if (!thread_.joinable()) return;
        may_end_.count_down();
        thread_.join();
        // The kernel wakes who joins it before the number is free.
        std::error_code ends;
        while (std::filesystem::exists(proc_path(number_, "fd"), ends)) std::this_thread::yield();
    }

private:
    std::latch is_there_{1};
    std::latch may_end_{1};
    std::thread thread_;
    pid_t number_ = -1;
};

TEST(KnownThreadsTest, ADescriptorIsWhatItIsAtTheTimeOfTheCallAndItsProcessIsTold) {
    KnownThreads threads;
    const Waiting thread;
    struct stat found{};
    const sys::Fd first(sys::host_kernel(), ::memfd_create("first", MFD_CLOEXEC));
    const sys::Fd second(sys::host_kernel(), ::memfd_create("second", MFD_CLOEXEC));
    EXPECT_EQ(threads.stat(thread.number(), first.number(), found), -1) << "it is unknown";
    threads.know(thread.number());
    EXPECT_EQ(threads.stat(thread.number(), first.number(), found), ::getpid());
    EXPECT_EQ(found.st_ino, inode_of(first.number()));
    ASSERT_EQ(::dup2(second.number(), first.number()), first.number());
    EXPECT_EQ(threads.stat(thread.number(), first.number(), found), ::getpid());
    EXPECT_EQ(found.st_ino, inode_of(second.number()));
    EXPECT_EQ(threads.stat(thread.number(), 100'000, found), -1);
    EXPECT_EQ(threads.stat(thread.number(), -1, found), -1);
}

TEST(KnownThreadsTest, OfAThreadThatHasEndedThereIsNothing) {
    KnownThreads threads;
    Waiting thread;
    struct stat found{};
    threads.know(thread.number());
    ASSERT_EQ(threads.stat(thread.number(), 1, found), ::getpid());
    thread.end();
    EXPECT_EQ(threads.stat(thread.number(), 1, found), -1);
    threads.know(thread.number());
    EXPECT_EQ(threads.stat(thread.number(), 1, found), -1);
}

TEST(KnownThreadsTest, ManyThreadsThatEndedKeepFewDescriptors) {
    KnownThreads threads;
    const auto open_descriptors = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    const auto before = open_descriptors();
    for (int i = 0; i < 200; ++i) {
        Waiting thread;
        threads.know(thread.number());
        thread.end();
    }
    EXPECT_LE(open_descriptors() - before, 64);
}

}  // namespace
}  // namespace iommufd::inline v0_1::intercept
