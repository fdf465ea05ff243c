// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/closer.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <semaphore>
#include <thread>

#include "sys/faulty_kernel.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

// Where closing waits, as on a file system that never answers.
class StuckKernel final : public sys::FaultyKernel {
public:
    StuckKernel() : FaultyKernel(sys::host_kernel()) {}
    int close(int) override {
        answers.acquire();
        ++closed;
        closed.notify_all();
        return 0;
    }
    std::counting_semaphore<> answers{0};
    std::atomic<int> closed = 0;
};

TEST(CloserTest, does_not_wait_for_files_that_hang_and_says_when_there_are_many) {
    // For ever: the thread outlives the test by a moment.
    static StuckKernel& kernel = *new StuckKernel;
    int count = 0;
    {
        Closer closer;
        for (; count < 1000 && !closer.is_full(); ++count) closer.close(sys::Fd(kernel, 1000 + count));
        EXPECT_GT(count, 1);
        EXPECT_LT(count, 1000);
        EXPECT_EQ(kernel.closed, 0);
        kernel.answers.release();
        kernel.closed.wait(0);
        while (closer.is_full()) std::this_thread::yield();
    }
    // It has gone, and what is left is closed when it can be.
    kernel.answers.release(count);
    for (int closed = kernel.closed; closed < count; closed = kernel.closed) kernel.closed.wait(closed);
    EXPECT_EQ(kernel.closed, count);
}

}  // namespace
}  // namespace iommufd::inline v0_1::broker
