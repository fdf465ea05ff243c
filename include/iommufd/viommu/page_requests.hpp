// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Page requests of devices, in groups, each of which gets one answer.
//
//     auto requests = viommu::PageRequests::alloc(context).value();
//     guest.install(table, {.fault_queue = &requests.queue()});
//     loop.add(requests.fd(), [&] {
//         auto groups = requests.read().value();
//         for (auto& group : groups)
//             std::move(group).answer(provide(group.faults()) ? Response::success : Response::invalid);
//     });
//
// A Group that goes without an answer answers `invalid`: a handler that fails, returns early or throws leaves no device
// waiting. It may be kept for as long as the answer takes (the guest's page response), and answered in any thread.
//
// The kernel answers `invalid` itself when the device is detached or its table replaced, and gives the group's number to the
// next. An answer that comes after that is not sent: it would be another group's. answer() says so.
//
// In Linux 7.3 the faults of a group come in reverse order, but for the last one.
//
// Threads: any calls may run at once; groups may be answered in other threads than the one that reads. Linux: 6.11.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "iommufd/core/fault_queue.hpp"

namespace iommufd::inline v0_1::viommu {

class RequestState;

// A group that waits for its answer.
struct Waiting {
    std::uint32_t cookie;
    DeviceId device;
    std::optional<std::uint32_t> pasid;
    std::uint64_t address;  // of the first fault
    std::size_t pages;
};

class [[nodiscard]] IOMMUFD_EXPORT Group {
public:
    Group(Group&& other) noexcept;
    Group& operator=(Group&& other) noexcept;
    ~Group();  // answers invalid; a failure is reported, and tried again by the next read()

    // All requests of the group, at least one; valid as long as the group.
    std::span<const core::PageFault> faults() const noexcept { return faults_; }
    DeviceId device() const noexcept { return DeviceId{faults_.front().device}; }
    std::optional<std::uint32_t> pasid() const noexcept;
    std::uint32_t cookie() const noexcept { return faults_.front().cookie; }

    // Once. True: the device has it. False: too late, the kernel has answered invalid itself. On failure the group stays, and
    // may be answered again.
    Result<bool> answer(core::Response response) &&;

private:
    friend class PageRequests;
    friend class RequestState;
    Group(std::shared_ptr<RequestState> state, std::shared_ptr<const core::PageFault[]> buffer,
          std::span<const core::PageFault> faults, std::uint64_t ticket) noexcept;
    std::shared_ptr<RequestState> state_;  // null: answered
    std::shared_ptr<const core::PageFault[]> buffer_;
    std::span<const core::PageFault> faults_;
    std::uint64_t ticket_;
};

class IOMMUFD_EXPORT PageRequests {
public:
    struct Options {
        std::string_view label = {};
        std::size_t room = 64;  // faults that one read takes; it grows where one group needs more
    };

    static Result<PageRequests> alloc(const core::Context& context);
    static Result<PageRequests> alloc(const core::Context& context, Options options);

    PageRequests(PageRequests&&) noexcept;
    PageRequests& operator=(PageRequests&&) noexcept;
    ~PageRequests();  // groups keep the queue until they are answered

    // For Hwpt::Options and InstallOptions.
    const core::FaultQueue& queue() const noexcept;
    // Borrowed; poll() it for POLLIN.
    int fd() const noexcept;

    // The groups that wait, as many as one call of the kernel gives; none when nothing waits: it never blocks. Groups that
    // didn't fit keep fd() readable. ENOMEM: they stay in the queue.
    Result<std::vector<Group>> read() const;

    // Answers several groups alike by as few calls as can be. Returns how many took it; the others were too late. All are
    // answered then. On failure those that were not are left as they are.
    Result<std::size_t> answer(std::span<Group> groups, core::Response response) const;

    // Groups that were read and have no answer. One that the kernel has answered itself is among them until its handle
    // is answered or goes.
    std::vector<Waiting> unanswered() const;

    // EBUSY, and the handle stays, while a group waits or a page table sends its faults here.
    Result<void> destroy() &&;

private:
    explicit PageRequests(std::shared_ptr<RequestState> state) noexcept;
    std::shared_ptr<RequestState> state_;
};

}  // namespace iommufd::inline v0_1::viommu
