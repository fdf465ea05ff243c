// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Makes the n-th allocation of this thread fail: for the walk over every failure point of a sequence.
//
//     for (std::uint64_t n = 1;; ++n) {
//         const auto before = AllocationFaults::live();
//         const bool struck = [&] {
//             AllocationFaults::Armed armed(n);
//             bring_up_and_tear_down();
//             return armed.struck();
//         }();
//         EXPECT_EQ(AllocationFaults::live(), before);
//         if (!struck) break;  // n is past the last allocation
//     }
//
// A test program that links allocation_faults.cpp gets its global operator new and delete replaced; what
// calls malloc() itself is neither counted nor failed. An assertion allocates too, so make it after Armed
// has gone.
//
// Under AddressSanitizer the replaced operators still allocate with malloc(), which the sanitizer watches:
// overflows, uses after free and leaks are found as ever. Only a `new` paired with free(), or `new[]` with
// `delete`, goes unseen, since to the sanitizer both are malloc() and free(). Nothing has to be set for it.
// Clang's ThreadSanitizer lets nobody else replace the operators: there available() is false, nothing is
// counted or failed, and a walk ends at once.
#pragma once

#include <cstdint>

namespace iommufd::inline v0_1 {

class AllocationFaults {
public:
    // While it lives, allocations of the thread that made it are counted from 1, and the n-th one fails,
    // once: operator new throws std::bad_alloc, its nothrow forms return nullptr. 0 fails none. An Armed
    // within an Armed takes over until it goes.
    class Armed {
    public:
        explicit Armed(std::uint64_t n) noexcept;
        ~Armed();
        Armed(const Armed&) = delete;
        Armed& operator=(const Armed&) = delete;

        bool struck() const noexcept;
        std::uint64_t count() const noexcept;

    private:
        std::uint64_t outer_count_;
        std::uint64_t outer_fault_;
    };

    // Whether this program's operators are the replaced ones.
    static bool available() noexcept;

    // The blocks that operator new has given out and operator delete not taken back, of all threads.
    static std::int64_t live() noexcept;
};

}  // namespace iommufd::inline v0_1
