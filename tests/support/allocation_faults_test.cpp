// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "support/allocation_faults.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "error/guarded.hpp"

namespace iommufd {
namespace {

class AllocationFaultsTest : public testing::Test {
protected:
    void SetUp() override {
        if (!AllocationFaults::available()) GTEST_SKIP() << "the sanitizer keeps operator new for itself";
    }
};

// The compiler may leave out a new and its delete; not these.
void* get(std::size_t size) { return ::operator new(size); }
void put(void* block) { ::operator delete(block); }

// Which of the first `calls` allocations fail when the n-th is to.
std::vector<bool> failures(std::uint64_t n, int calls) {
    std::vector<bool> failed(static_cast<std::size_t>(calls));
    const AllocationFaults::Armed armed(n);
    for (std::size_t i = 0; i < failed.size(); ++i) {
        try {
            put(get(16));
        } catch (const std::bad_alloc&) {
            failed[i] = true;
        }
    }
    return failed;
}

TEST_F(AllocationFaultsTest, FailTheNthAllocationOnce) {
    EXPECT_EQ(failures(1, 4), (std::vector<bool>{true, false, false, false}));
    EXPECT_EQ(failures(3, 4), (std::vector<bool>{false, false, true, false}));
    EXPECT_EQ(failures(5, 4), (std::vector<bool>{false, false, false, false}));
}

TEST_F(AllocationFaultsTest, FailNothingAtZero) { EXPECT_EQ(failures(0, 3), std::vector<bool>(3, false)); }

TEST_F(AllocationFaultsTest, ReturnNullFromTheNothrowForms) {
    void* plain = nullptr;
    void* array = nullptr;
    void* aligned = nullptr;
    {
        const AllocationFaults::Armed armed(1);
        plain = ::operator new(16, std::nothrow);
    }
    {
        const AllocationFaults::Armed armed(1);
        array = ::operator new[](16, std::nothrow);
    }
    {
        const AllocationFaults::Armed armed(1);
        aligned = ::operator new(16, std::align_val_t{64}, std::nothrow);
    }
    EXPECT_EQ(plain, nullptr);
    EXPECT_EQ(array, nullptr);
    EXPECT_EQ(aligned, nullptr);
}

TEST_F(AllocationFaultsTest, CountAllocationsSinceArmedAndSayWhetherTheyStruck) {
    std::uint64_t count = 0;
    bool early = true;
    bool struck = false;
    {
        const AllocationFaults::Armed armed(2);
        put(get(16));
        early = armed.struck();
        put(::operator new(16, std::nothrow));
        struck = armed.struck();
        put(get(16));
        count = armed.count();
    }
    EXPECT_FALSE(early);
    EXPECT_TRUE(struck);
    EXPECT_EQ(count, 3U);
}

TEST_F(AllocationFaultsTest, EndWithTheirScope) {
    {
        const AllocationFaults::Armed armed(1);
    }
    EXPECT_NO_THROW(put(get(16)));
}

TEST_F(AllocationFaultsTest, GiveWayToAnInnerOneUntilItGoes) {
    bool inner_failed = false;
    bool outer_failed = false;
    {
        const AllocationFaults::Armed outer(2);
        put(get(16));
        {
            const AllocationFaults::Armed inner(1);
            inner_failed = ::operator new(16, std::nothrow) == nullptr;
        }
        outer_failed = ::operator new(16, std::nothrow) == nullptr;
    }
    EXPECT_TRUE(inner_failed);
    EXPECT_TRUE(outer_failed);
}

TEST_F(AllocationFaultsTest, LeaveOtherThreadsAlone) {
    bool failed = false;
    std::atomic<bool> go = false;
    std::jthread other([&] {
        go.wait(false);
        try {
            put(get(16));
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    });
    {
        const AllocationFaults::Armed armed(1);
        go = true;
        go.notify_one();
        other.join();
    }
    EXPECT_FALSE(failed);
}

TEST_F(AllocationFaultsTest, KnowTheBlocksThatAreLeft) {
    const std::int64_t before = AllocationFaults::live();
    void* const block = get(16);
    void* const aligned = ::operator new[](16, std::align_val_t{64});
    const std::int64_t with = AllocationFaults::live();
    put(block);
    ::operator delete[](aligned, std::align_val_t{64});
    const std::int64_t after = AllocationFaults::live();
    EXPECT_EQ(with, before + 2);
    EXPECT_EQ(after, before);
}

TEST_F(AllocationFaultsTest, KeepAlignment) {
    for (const std::size_t alignment : {16U, 64U, 4096U}) {
        void* const block = ::operator new(10, std::align_val_t{alignment});
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignment, 0U);
        ::operator delete(block, std::align_val_t{alignment});
    }
}

TEST_F(AllocationFaultsTest, ReachAllocationsInsideTheStandardLibrary) {
    bool failed = false;
    std::string text;
    {
        const AllocationFaults::Armed armed(1);
        try {
            text.assign(1000, 'x');
        } catch (const std::bad_alloc&) {
            failed = true;
        }
    }
    EXPECT_TRUE(failed);
    EXPECT_TRUE(text.empty());
}

// What they are for, tried on the errors themselves: at every n an error has its errno and its operation,
// and no memory is left.
TEST_F(AllocationFaultsTest, WalkOverEveryFailureOfMakingAnError) {
    for (std::uint64_t n = 1;; ++n) {
        const std::int64_t before = AllocationFaults::live();
        bool struck = false;
        int code = 0;
        Operation operation = Operation::none;
        {
            const AllocationFaults::Armed armed(n);
            const Error error = failed(Operation::ioas_map, ENOSPC, [] {
                return std::string("cannot map a range whose description needs memory of its own");
            });
            const Error wider = error.within("cannot start a virtual machine with a long name");
            code = wider.code();
            operation = wider.operation();
            struck = armed.struck();
        }
        EXPECT_EQ(code, ENOSPC) << n;
        EXPECT_EQ(operation, Operation::ioas_map) << n;
        EXPECT_EQ(AllocationFaults::live(), before) << n;
        if (!struck) {
            EXPECT_GT(n, 3U);
            break;
        }
    }
}

}  // namespace
}  // namespace iommufd
