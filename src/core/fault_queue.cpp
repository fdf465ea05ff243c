// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/fault_queue.hpp"

#include <cerrno>

#include "core/queue_node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {

static_assert(sizeof(PageFault) == sizeof(uapi::HwptPgfault));
static_assert(offsetof(PageFault, address) == offsetof(uapi::HwptPgfault, addr));
static_assert(offsetof(PageFault, cookie) == offsetof(uapi::HwptPgfault, cookie));

Result<FaultQueue> FaultQueue::alloc(const Context& context) { return alloc(context, {}); }

Result<FaultQueue> FaultQueue::alloc(const Context& context, Options options) {
    return guarded(Operation::fault_queue_alloc, [&]() -> Result<FaultQueue> {
        auto node =
            std::make_shared<QueueNode>(context.node(), "fault queue", options.label, ObjectNode::Parents{});
        uapi::FaultQueueAlloc command{
            .size = sizeof command, .flags = 0, .out_fault_id = 0, .out_fault_fd = 0};
        if (const int result =
                context.node()->allocate(uapi::kFaultQueueAlloc, &command, command.out_fault_id);
            result < 0)
            return failed(Operation::fault_queue_alloc, -result,
                          [&] { return compose("cannot make a fault queue in '", context.label(), "'"); });
        node->born(command.out_fault_id, static_cast<int>(command.out_fault_fd));
        return FaultQueue(std::move(node));
    });
}

FaultQueue::FaultQueue(std::shared_ptr<QueueNode> node) noexcept : node_(std::move(node)) {}
FaultQueue::FaultQueue(FaultQueue&&) noexcept = default;
FaultQueue& FaultQueue::operator=(FaultQueue&&) noexcept = default;
FaultQueue::~FaultQueue() = default;

FaultId FaultQueue::id() const noexcept { return FaultId{node_->id()}; }
int FaultQueue::fd() const noexcept { return node_->fd().number(); }
std::shared_ptr<ObjectNode> FaultQueue::node() const noexcept { return node_; }

Result<std::span<PageFault>> FaultQueue::read(std::span<PageFault> buffer) const {
    const ssize_t got = node_->context().kernel().read(fd(), buffer.data(), buffer.size_bytes());
    if (got < 0)
        return failed(Operation::fault_read, static_cast<int>(-got),
                      [&] { return compose("cannot read ", node_->describe()); });
    return buffer.first(static_cast<std::size_t>(got) / sizeof(PageFault));
}

Result<void> FaultQueue::respond(std::uint32_t cookie, Response response) const {
    const PageResponse one{.cookie = cookie, .response = response};
    return respond({&one, 1}).transform([](std::size_t) {});
}

Result<std::size_t> FaultQueue::respond(std::span<const PageResponse> responses) const {
    static_assert(sizeof(PageResponse) == sizeof(uapi::HwptPageResponse));
    if (responses.empty()) return std::size_t{0};
    const ssize_t put = node_->context().kernel().write(fd(), responses.data(), responses.size_bytes());
    if (put < 0)
        return failed(Operation::fault_respond, static_cast<int>(-put), [&] {
            return compose("cannot answer the page request with cookie ", responses.front().cookie, " of ",
                           node_->describe());
        });
    return static_cast<std::size_t>(put) / sizeof(PageResponse);
}

Result<void> FaultQueue::destroy() && { return core::destroy(node_); }

}  // namespace iommufd::inline v0_1::core
