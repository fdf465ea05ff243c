// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The descriptor of a queue: it keeps the context, and is a user of the queue until it is closed.
#pragma once

#include <memory>
#include <utility>

#include "model/context.hpp"
#include "model/file.hpp"

namespace iommufd::inline v0_1::model {

template <class Queue>
class QueueFile final : public File {
public:
    explicit QueueFile(std::shared_ptr<Context> context) : context_(std::move(context)) {}
    ~QueueFile() override {
        if (queue_ != nullptr) context_->put(*queue_);
    }
    // Before the descriptor is there; its user count is the caller's to raise.
    void serve(Queue& queue) noexcept { queue_ = &queue; }
    // The queue goes with whoever made it: nobody has seen this descriptor.
    void abandon() noexcept { queue_ = nullptr; }

    int ioctl(unsigned long, user::Address) override { return -ENOTTY; }
    ssize_t read(user::Address buffer, std::size_t count) override { return queue_->read(buffer, count); }
    ssize_t write(user::Address buffer, std::size_t count) override {
        if constexpr (requires { queue_->write(buffer, count); })
            return queue_->write(buffer, count);
        else
            return -EINVAL;
    }
    ssize_t pread(user::Address, std::size_t, std::uint64_t) override { return -ESPIPE; }
    ssize_t pwrite(user::Address, std::size_t, std::uint64_t) override { return -ESPIPE; }

private:
    std::shared_ptr<Context> context_;
    Queue* queue_ = nullptr;
};

}  // namespace iommufd::inline v0_1::model
