// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An owned descriptor together with the kernel that it belongs to, so that two kernels can't be mixed.
#pragma once

#include <utility>

#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::sys {

class Fd {
public:
    Fd() noexcept = default;
    Fd(Kernel& kernel, int number) noexcept : kernel_(&kernel), number_(number) {}
    Fd(Fd&& other) noexcept : kernel_(other.kernel_), number_(std::exchange(other.number_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            (void)close();
            kernel_ = other.kernel_;
            number_ = std::exchange(other.number_, -1);
        }
        return *this;
    }
    ~Fd() { (void)close(); }

    explicit operator bool() const noexcept { return number_ >= 0; }
    int number() const noexcept { return number_; }
    Kernel& kernel() const noexcept { return *kernel_; }

    int ioctl(unsigned long request, void* argument) const {
        return kernel_->ioctl(number_, request, argument);
    }

    // Gives the descriptor away without closing it.
    int release() noexcept { return std::exchange(number_, -1); }

    // 0, or the negative errno of close(2); the descriptor is gone either way. Does nothing when empty.
    int close() noexcept { return number_ < 0 ? 0 : kernel_->close(std::exchange(number_, -1)); }

private:
    Kernel* kernel_ = nullptr;
    int number_ = -1;
};

}  // namespace iommufd::inline v0_1::sys
