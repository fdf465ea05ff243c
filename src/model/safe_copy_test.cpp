// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/safe_copy.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <string>

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::size_t kPage = 4096;

// Two pages, of which the second one may not be touched.
class OnePage {
public:
    OnePage()
        : start_(static_cast<char*>(
              ::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
        std::memset(start_, 'a', kPage);
        ::mprotect(start_ + kPage, kPage, PROT_NONE);
    }
    OnePage(const OnePage&) = delete;
    OnePage& operator=(const OnePage&) = delete;
    ~OnePage() { ::munmap(start_, 2 * kPage); }
    char* last(std::size_t bytes) const { return start_ + kPage - bytes; }

private:
    char* start_;
};

class SafeCopyTest : public ::testing::Test {
protected:
    SafeCopyTest() { expect_faults(); }
    OnePage page_;
    std::string mine_ = std::string(2 * kPage, 'b');
};

TEST_F(SafeCopyTest, CopiesAndIsRefusedWhereEitherSideEnds) {
    for (auto *const copy : {&checked_copy, +[](void* to, const void* from, std::size_t length) noexcept {
                                 return safe_copy(to, from, length);
                             }}) {
        mine_.assign(mine_.size(), 'b');
        EXPECT_EQ(copy(mine_.data(), page_.last(100), 100), 0);
        EXPECT_EQ(mine_.substr(0, 101), std::string(100, 'a') + "b");
        EXPECT_EQ(copy(mine_.data(), page_.last(50), 101), -EFAULT);
        EXPECT_EQ(copy(page_.last(50), mine_.data(), 101), -EFAULT);
        EXPECT_EQ(copy(mine_.data(), page_.last(0), 1), -EFAULT);
        EXPECT_EQ(copy(mine_.data(), page_.last(0), 0), 0);
        EXPECT_EQ(copy(mine_.data(), reinterpret_cast<void*>(0x8000'0000'0000'0000), 1), -EFAULT);
    }
}

// Around the lengths and places at which a copy goes another way.
TEST_F(SafeCopyTest, WhatIsThereIsCopiedToTheByteHoweverMuchThatIs) {
    std::string from(kPage, '\0');
    std::ranges::generate(from, [value = 0U]() mutable { return static_cast<char>(value = value * 5 + 1); });
    std::memcpy(page_.last(kPage), from.data(), kPage);
    const auto copied = [&](auto* copy, std::size_t there, std::size_t missing) {
        mine_.assign(mine_.size(), 'b');
        EXPECT_EQ(copy(mine_.data() + 1, page_.last(there), there + missing), missing == 0 ? 0 : -EFAULT);
        return mine_.substr(0, there + 2) == 'b' + from.substr(kPage - there) + 'b';
    };
    for (const std::size_t there : std::to_array<std::size_t>(
             {0, 1, 255, 256, 257, 1023, 1024, 1025, 1279, 1280, 1281, 2047, 4095, 4096}))
        for (const std::size_t missing :
             std::to_array<std::size_t>({0, 1, 63, 64, 65, 256, 1023, 1024, 4000})) {
            EXPECT_TRUE(copied(&safe_copy, there, missing)) << there << " of " << there + missing;
            EXPECT_TRUE(copied(&safe_copy_to_cached, there, missing)) << there << " of " << there + missing;
        }
}

TEST_F(SafeCopyTest, WhatLiesBeforeTheMissingPageIsCopied) {
    EXPECT_EQ(safe_copy(mine_.data(), page_.last(50), 101), -EFAULT);
    EXPECT_EQ(mine_.substr(0, 51), std::string(50, 'a') + "b");
    EXPECT_EQ(safe_copy(page_.last(50), mine_.data() + kPage, 101), -EFAULT);
    EXPECT_EQ(std::string(page_.last(51), 51), "a" + std::string(50, 'b'));
}

TEST_F(SafeCopyTest, AFileThatWasCutOffIsRefusedToo) {
    const int file = ::memfd_create("cut", MFD_CLOEXEC);
    ASSERT_EQ(::ftruncate(file, kPage), 0);
    void* const mapped = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    EXPECT_EQ(safe_copy(mine_.data(), mapped, kPage), 0);
    ASSERT_EQ(::ftruncate(file, 0), 0);
    EXPECT_EQ(safe_copy(mine_.data(), mapped, kPage), -EFAULT);
    ::munmap(mapped, kPage);
    ::close(file);
}

// In a process of its own: the handlers are set once.
void fault() {
    const volatile char* const nothing = nullptr;
    (void)*nothing;
}

TEST(SafeCopyDeathTest, EveryOtherFaultIsThePrograms) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(
        {
            std::signal(SIGSEGV, [](int) { ::_exit(3); });
            expect_faults();
            fault();
        },
        ::testing::ExitedWithCode(3), "");
    EXPECT_EXIT(
        {
            std::signal(SIGSEGV, SIG_DFL);
            expect_faults();
            fault();
        },
        ::testing::KilledBySignal(SIGSEGV), "");
    EXPECT_EXIT(
        {
            std::signal(SIGSEGV, SIG_IGN);
            expect_faults();
            std::raise(SIGSEGV);
            ::_exit(4);
        },
        ::testing::ExitedWithCode(4), "");
    EXPECT_EXIT(
        {
            std::signal(SIGBUS, SIG_DFL);
            expect_faults();
            std::raise(SIGBUS);
        },
        ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace iommufd::inline v0_1::model
