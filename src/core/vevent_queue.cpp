// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/core/vevent_queue.hpp"

#include <cerrno>
#include <cstring>

#include "core/queue_node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::core {
namespace {

constexpr std::uint32_t kLastSequence = 0x7fffffff;

constexpr std::uint32_t after(std::uint32_t sequence) { return sequence == kLastSequence ? 0 : sequence + 1; }

// How many numbers lie between the one that was expected and the one that came.
constexpr std::uint32_t gap(std::uint32_t expected, std::uint32_t came) {
    return (came - expected) & kLastSequence;
}

}  // namespace

Result<VeventQueue> VeventQueue::alloc(const Context& context, const Viommu& viommu, Options options) {
    return guarded(Operation::veventq_alloc, [&]() -> Result<VeventQueue> {
        auto node = std::make_shared<QueueNode>(context.node(), "event queue", options.label,
                                                ObjectNode::Parents{viommu.node()});
        uapi::VeventqAlloc command{.size = sizeof command,
                                   .flags = 0,
                                   .viommu_id = viommu.id().value,
                                   .type = options.type,
                                   .veventq_depth = options.depth,
                                   .out_veventq_id = 0,
                                   .out_veventq_fd = 0,
                                   .reserved = 0};
        if (const int result =
                context.node()->allocate(uapi::kVeventqAlloc, &command, command.out_veventq_id);
            result < 0)
            return failed(Operation::veventq_alloc, -result, [&] {
                return compose("cannot make an event queue of type ", options.type, " for ",
                               viommu.node()->describe());
            });
        node->born(command.out_veventq_id, static_cast<int>(command.out_veventq_fd));
        return VeventQueue(std::move(node), options.event_size);
    });
}

VeventQueue::VeventQueue(std::shared_ptr<QueueNode> node, std::uint32_t event_size) noexcept
    : node_(std::move(node)), event_size_(event_size) {}
VeventQueue::VeventQueue(VeventQueue&&) noexcept = default;
VeventQueue& VeventQueue::operator=(VeventQueue&&) noexcept = default;
VeventQueue::~VeventQueue() = default;

VeventqId VeventQueue::id() const noexcept { return VeventqId{node_->id()}; }
int VeventQueue::fd() const noexcept { return node_->fd().number(); }

Result<std::optional<Vevent>> VeventQueue::read(std::span<std::byte> buffer) {
    // Room for one event: the kernel then returns one, and a header without data can't be misread.
    const std::size_t most = sizeof(uapi::VeventHeader) + event_size_;
    const std::size_t room = buffer.size() < most ? buffer.size() : most;
    const ssize_t got = node_->context().kernel().read(fd(), buffer.data(), room);
    if (got < 0)
        return failed(Operation::vevent_read, static_cast<int>(-got),
                      [&] { return compose("cannot read ", node_->describe()); });
    if (static_cast<std::size_t>(got) < sizeof(uapi::VeventHeader)) return std::optional<Vevent>();

    uapi::VeventHeader header;
    std::memcpy(&header, buffer.data(), sizeof header);
    const bool only_loss = (header.flags & uapi::kVeventLost) != 0;
    Vevent event{.sequence = header.sequence, .lost = gap(expected_, header.sequence), .data = {}};
    // The news of a loss carries the number of the last event that was lost.
    if (only_loss)
        ++event.lost;
    else
        event.data = buffer.first(static_cast<std::size_t>(got)).subspan(sizeof header);
    expected_ = after(header.sequence);
    return std::optional(event);
}

Result<void> VeventQueue::destroy() && { return core::destroy(node_); }

}  // namespace iommufd::inline v0_1::core
