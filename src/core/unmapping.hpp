// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "core/node.hpp"

namespace iommufd::inline v0_1::core {

// Registers mapped into this process, which must be unmapped.
class Unmapping final : public Obligation {
public:
    Unmapping(sys::Kernel& kernel, std::string what)
        : Obligation(Operation::munmap), kernel_(kernel), what_(std::move(what)) {}

    void mapped(void* address, std::size_t length) noexcept {
        address_ = address;
        length_ = length;
    }
    void* address() const noexcept { return address_; }
    std::size_t length() const noexcept { return length_; }

    std::string describe() const override { return what_; }
    int fulfil() noexcept override { return address_ ? kernel_.munmap(address_, length_) : 0; }
    bool outlives_the_file() const noexcept override { return true; }

private:
    sys::Kernel& kernel_;
    const std::string what_;
    void* address_ = nullptr;
    std::size_t length_ = 0;
};

}  // namespace iommufd::inline v0_1::core
