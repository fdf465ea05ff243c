// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include <utility>
#include <vector>

#include "sys/fd.hpp"

namespace iommufd::inline v0_1::live {

// Descriptors that are ours until somebody takes them, one after another.
class Descriptors {
public:
    Descriptors(sys::Kernel& kernel, std::vector<int> numbers) noexcept
        : kernel_(kernel), numbers_(std::move(numbers)) {}
    Descriptors(const Descriptors&) = delete;
    Descriptors& operator=(const Descriptors&) = delete;
    ~Descriptors() {
        for (; next_ < numbers_.size(); ++next_) (void)kernel_.close(numbers_[next_]);
    }

    std::size_t size() const noexcept { return numbers_.size(); }
    sys::Fd take() noexcept { return {kernel_, numbers_[next_++]}; }
    void add(int number) {
        try {
            numbers_.push_back(number);
        } catch (...) {
            (void)kernel_.close(number);
            throw;
        }
    }
    std::vector<int> release() noexcept { return std::move(numbers_); }

private:
    sys::Kernel& kernel_;
    std::vector<int> numbers_;
    std::size_t next_ = 0;
};

}  // namespace iommufd::inline v0_1::live
