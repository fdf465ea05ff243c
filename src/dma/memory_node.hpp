// SPDX-License-Identifier: Apache-2.0 OR MIT
#pragma once

#include "iommufd/dma/memory.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::dma {

// The memory itself, shared by all its references and mappings.
class Memory::Node {
public:
    Node(std::string label, sys::Fd fd, std::uint64_t page_size)
        : label_(std::move(label)), fd_(std::move(fd)), page_size_(page_size) {}
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    ~Node();

    std::byte* data() const noexcept { return address_; }
    std::uint64_t size() const noexcept { return length_; }
    const std::string& label() const noexcept { return label_; }
    int fd() const noexcept { return fd_.number(); }
    std::uint64_t fd_offset() const noexcept { return fd_offset_; }
    bool is_shared() const noexcept { return shared_; }
    bool is_read_only() const noexcept { return read_only_; }
    bool is_dma_buf() const noexcept { return !address_; }
    std::uint64_t page_size() const noexcept { return page_size_; }

private:
    friend class Memory;

    const std::string label_;
    const sys::Fd fd_;  // none: memory without a file
    const std::uint64_t page_size_;
    sys::Kernel* mapper_ = nullptr;  // who must unmap it; null for borrowed memory
    std::byte* address_ = nullptr;
    std::uint64_t length_ = 0;
    std::uint64_t fd_offset_ = 0;
    bool shared_ = false;
    bool read_only_ = false;
};

}  // namespace iommufd::inline v0_1::dma
