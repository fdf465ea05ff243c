// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Queues that a program reads from a descriptor of their own.
#include <cerrno>

#include "model/context.hpp"
#include "model/fault_queue.hpp"
#include "model/queue_file.hpp"
#include "model/viommu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint32_t kMostEvents = 1U << 19;

}  // namespace

int Context::fault_queue_alloc(uapi::FaultQueueAlloc& command, const Call& call) {
    if (command.flags != 0) return -EOPNOTSUPP;
    ProgramsEnd end;
    ReadySignal ready;
    if (const int rc = ready.make(ReadySignal::Polls::readable_and_writable, end); rc < 0) return rc;
    // Destroyed without the lock.
    const auto file = std::make_shared<QueueFile<FaultQueue>>(shared_from_this());
    const sys::Lock lock(mutex_);
    FaultQueue& queue = objects_.add(std::make_unique<FaultQueue>(std::move(ready)));
    ++queue.users;
    file->serve(queue);
    const int fd = files_.adopt(end.release(), file);
    int rc = fd;
    if (fd >= 0) {
        command.out_fault_id = queue.id;
        command.out_fault_fd = static_cast<std::uint32_t>(fd);
        rc = call.reply(command);
        if (rc == 0) return 0;
        (void)files_.close(fd);
    }
    file->abandon();
    objects_.remove(queue);
    return rc;
}

int Context::veventq_alloc(uapi::VeventqAlloc& command, const Call& call) {
    if (command.flags != 0 || command.reserved != 0 || command.type == uapi::kVeventqDefault)
        return -EOPNOTSUPP;
    if (command.veventq_depth == 0 || command.veventq_depth > kMostEvents) return -EINVAL;
    // Destroyed without the lock.
    const auto file = std::make_shared<QueueFile<VeventQueue>>(shared_from_this());
    const sys::Lock lock(mutex_);
    auto* const viommu = objects_.find<Viommu>(command.viommu_id);
    if (viommu == nullptr) return -ENOENT;
    if (viommu->events_of(command.type) != nullptr) return -EEXIST;
    ProgramsEnd end;
    ReadySignal ready;
    if (const int rc = ready.make(ReadySignal::Polls::readable, end); rc < 0) return rc;
    viommu->event_queues.reserve(viommu->event_queues.size() + 1);
    VeventQueue& queue = objects_.add(
        std::make_unique<VeventQueue>(std::move(ready), *viommu, command.type, command.veventq_depth));
    ++queue.users;
    file->serve(queue);
    const int fd = files_.adopt(end.release(), file);
    int rc = fd;
    if (fd >= 0) {
        command.out_veventq_id = queue.id;
        command.out_veventq_fd = static_cast<std::uint32_t>(fd);
        rc = call.reply(command);
        if (rc == 0) {
            viommu->event_queues.push_back(&queue);
            ++viommu->users;
            return 0;
        }
        (void)files_.close(fd);
    }
    file->abandon();
    objects_.remove(queue);
    return rc;
}

}  // namespace iommufd::inline v0_1::model
