// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A kernel object that is read through a descriptor of its own. The kernel refuses to destroy it while the
// descriptor is open, so that goes first.
#pragma once

#include "core/node.hpp"

namespace iommufd::inline v0_1::core {

class QueueNode final : public ObjectNode {
public:
    using ObjectNode::ObjectNode;
    ~QueueNode() { close(); }

    void born(std::uint32_t id, int fd) noexcept {
        ObjectNode::born(id);
        fd_ = sys::Fd(context().kernel(), fd);
    }

    const sys::Fd& fd() const noexcept { return fd_; }
    void close() noexcept { (void)fd_.close(); }

private:
    sys::Fd fd_;
};

// destroy() of a queue's handle.
Result<void> destroy(std::shared_ptr<QueueNode>& node) noexcept;

}  // namespace iommufd::inline v0_1::core
