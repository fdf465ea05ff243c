// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Page requests of devices whose hwpt names this queue: a device that supports PRI asks for pages that are
// not there, waits, and goes on when it is answered.
//
//     Context --FAULT_QUEUE_ALLOC--> FaultQueue     fd(): readable when a request waits
//                                       ^
//                                       '-- Hwpt::Options::fault_queue
//     loop.add(queue.fd(), [&] {
//         for (auto& group : groups(queue.read(buffer).value())) queue.respond(group.cookie(),
//         Response::success);
//     });
//
// Requests come in groups, all faults up to the one marked `last` sharing one cookie; a group is answered
// once, by its cookie. Faults that nobody answers are answered "invalid" when the device is detached, or its page table is
// replaced; a cookie is given out again at once, so an answer that comes later is the next group's. viommu::PageRequests
// sees to both.
//
// Threads: reads by one thread at a time; answers from any. Linux: 6.11.
#pragma once

#include <span>

#include "iommufd/core/context.hpp"

namespace iommufd::inline v0_1::core {

class ObjectNode;
class QueueNode;

// As the kernel writes it (struct iommu_hwpt_pgfault), so that it is read without a copy.
struct PageFault {
    std::uint32_t flags;
    std::uint32_t device;  // DeviceId
    std::uint32_t pasid;   // if has_pasid()
    std::uint32_t group;   // the device's own number of the request
    std::uint32_t permissions;
    std::uint32_t reserved;
    std::uint64_t address;  // IOVA of the page
    std::uint32_t length;   // 0: one page
    std::uint32_t cookie;   // names the group in respond()

    bool has_pasid() const noexcept { return (flags & 1U) != 0; }
    bool last() const noexcept { return (flags & 2U) != 0; }
    bool reads() const noexcept { return (permissions & 1U) != 0; }
    bool writes() const noexcept { return (permissions & 2U) != 0; }
    bool executes() const noexcept { return (permissions & 4U) != 0; }
    bool privileged() const noexcept { return (permissions & 8U) != 0; }
};

enum class Response : std::uint32_t {
    success = 0,  // the page is there now: try again
    invalid = 1,  // it will never be
};

// As the kernel reads it (struct iommu_hwpt_page_response).
struct PageResponse {
    std::uint32_t cookie;
    Response response;
};

class IOMMUFD_EXPORT FaultQueue {
public:
    struct Options {
        std::string_view label;
    };

    // EMFILE, ENOTTY before Linux 6.11.
    static Result<FaultQueue> alloc(const Context& context);
    static Result<FaultQueue> alloc(const Context& context, Options options);

    FaultQueue(FaultQueue&&) noexcept;
    FaultQueue& operator=(FaultQueue&&) noexcept;
    ~FaultQueue();

    FaultId id() const noexcept;
    // Borrowed; poll() it for POLLIN.
    int fd() const noexcept;

    // Whole groups, as many as fit; none when nothing waits: it never blocks. EINVAL: `buffer` is smaller
    // than the first group.
    Result<std::span<PageFault>> read(std::span<PageFault> buffer) const;
    // EINVAL: no group with that cookie waits for an answer.
    Result<void> respond(std::uint32_t cookie, Response response) const;
    // Several at once; returns how many were taken, from the first on. The kernel stops at a cookie under which no group
    // waits; EINVAL where that is the first.
    Result<std::size_t> respond(std::span<const PageResponse> responses) const;

    Result<void> destroy() &&;

    std::shared_ptr<ObjectNode> node() const noexcept;

private:
    explicit FaultQueue(std::shared_ptr<QueueNode> node) noexcept;
    std::shared_ptr<QueueNode> node_;
};

}  // namespace iommufd::inline v0_1::core
