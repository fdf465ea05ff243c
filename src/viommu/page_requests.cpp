// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/viommu/page_requests.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::viommu {
namespace {

constexpr std::size_t kMostRoom = std::size_t{1} << 16;

std::optional<std::uint32_t> pasid_of(const core::PageFault& fault) noexcept {
    return fault.has_pasid() ? std::optional(fault.pasid) : std::nullopt;
}

}  // namespace

// The queue, and the groups that were read from it. The mutex is held while the kernel reads and writes, which never blocks:
// a cookie is given out again as soon as the kernel itself has answered it, and an answer must not meet the next group.
class RequestState : public std::enable_shared_from_this<RequestState> {
public:
    RequestState(core::FaultQueue queue, std::size_t room) : queue_(std::move(queue)), room_(room) {}

    core::FaultQueue& queue() noexcept { return queue_; }

    // EINVAL: the room is too small for the first group.
    Result<std::vector<Group>> read(std::size_t room);
    // Groups that have nothing to answer any more get ticket 0.
    Result<std::size_t> answer(std::span<Group* const> groups, core::Response response);
    void abandon(std::uint64_t ticket) noexcept;
    std::vector<Waiting> unanswered() const;

    std::size_t room() const {
        const sys::Lock lock(mutex_);
        return room_;
    }
    void grow(std::size_t room) {
        const sys::Lock lock(mutex_);
        room_ = std::max(room_, room);
    }

private:
    struct Slot {
        Waiting group;
        std::uint64_t ticket;  // of the one Group
        bool abandoned;        // it went, and could not be answered
    };

    std::vector<Slot>::iterator find(std::uint64_t ticket) noexcept IOMMUFD_REQUIRES(mutex_) {
        return std::ranges::find(slots_, ticket, &Slot::ticket);
    }
    // Answers invalid, unless the kernel has.
    Result<void> settle(const Slot& slot) noexcept IOMMUFD_REQUIRES(mutex_);

    core::FaultQueue queue_;
    mutable sys::Mutex mutex_;
    std::size_t room_ IOMMUFD_GUARDED_BY(mutex_);
    std::uint64_t tickets_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    std::vector<Slot> slots_ IOMMUFD_GUARDED_BY(mutex_);
};

Result<void> RequestState::settle(const Slot& slot) noexcept {
    auto answered = queue_.respond(slot.group.cookie, core::Response::invalid);
    return answered || answered.error().code() == EINVAL ? Result<void>() : std::move(answered);
}

Result<std::vector<Group>> RequestState::read(std::size_t room) {
    // All memory first: a group that was read must not get lost.
    const auto buffer = std::make_shared<core::PageFault[]>(room);
    std::vector<Group> groups;
    groups.reserve(room);
    const sys::Lock lock(mutex_);
    slots_.reserve(slots_.size() + room);
    for (auto slot = slots_.begin(); slot != slots_.end();)
        slot = slot->abandoned && settle(*slot) ? slots_.erase(slot) : slot + 1;
    auto faults = queue_.read({buffer.get(), room});
    if (!faults) return faults.error();
    for (auto rest = *faults; !rest.empty();) {
        const core::PageFault& first = rest.front();
        const auto end = std::ranges::find_if(
            rest, [&](const core::PageFault& fault) { return fault.cookie != first.cookie; });
        const auto group = rest.first(static_cast<std::size_t>(end - rest.begin()));
        rest = rest.subspan(group.size());
        // The kernel has answered whoever had the cookie before.
        std::erase_if(slots_, [&](const Slot& slot) { return slot.group.cookie == first.cookie; });
        slots_.push_back({.group = {.cookie = first.cookie,
                                    .device = DeviceId{first.device},
                                    .pasid = pasid_of(first),
                                    .address = first.address,
                                    .pages = group.size()},
                          .ticket = ++tickets_,
                          .abandoned = false});
        groups.push_back(Group(shared_from_this(), buffer, group, tickets_));
    }
    return groups;
}

Result<std::size_t> RequestState::answer(std::span<Group* const> groups, core::Response response) {
    const sys::Lock lock(mutex_);
    std::size_t taken = 0;
    while (!groups.empty()) {
        std::array<core::PageResponse, 32> responses{};
        std::array<Group*, 32> asked{};
        std::size_t count = 0;
        std::size_t seen = 0;
        for (; seen < groups.size() && count < responses.size(); ++seen) {
            Group& group = *groups[seen];
            if (find(group.ticket_) == slots_.end()) {  // answered, or too late
                group.ticket_ = 0;
                continue;
            }
            responses[count] = {.cookie = group.cookie(), .response = response};
            asked[count++] = &group;
        }
        std::size_t settled = 0;
        while (settled < count) {
            auto put = queue_.respond(std::span(responses).subspan(settled, count - settled));
            // The first of them is none that waits: the kernel has answered it.
            const bool too_late = !put && put.error().code() == EINVAL;
            if (!put && !too_late) return put;
            const std::size_t now = too_late ? 1 : *put;
            if (now == 0) return Error(Operation::fault_respond, EIO);
            if (!too_late) taken += now;
            for (std::size_t i = 0; i < now; ++i) {
                slots_.erase(find(asked[settled + i]->ticket_));
                asked[settled + i]->ticket_ = 0;
            }
            settled += now;
        }
        groups = groups.subspan(seen);
    }
    return taken;
}

void RequestState::abandon(std::uint64_t ticket) noexcept {
    Result<void> settled;
    {
        const sys::Lock lock(mutex_);
        const auto slot = find(ticket);
        if (slot == slots_.end()) return;
        settled = settle(*slot);
        if (settled)
            slots_.erase(slot);
        else
            slot->abandoned = true;
    }
    if (!settled) queue_.node()->context().notice(Severity::error, settled.error());
}

std::vector<Waiting> RequestState::unanswered() const {
    const sys::Lock lock(mutex_);
    std::vector<Waiting> list;
    list.reserve(slots_.size());
    for (const Slot& slot : slots_) list.push_back(slot.group);
    return list;
}

Group::Group(std::shared_ptr<RequestState> state, std::shared_ptr<const core::PageFault[]> buffer,
             std::span<const core::PageFault> faults, std::uint64_t ticket) noexcept
    : state_(std::move(state)), buffer_(std::move(buffer)), faults_(faults), ticket_(ticket) {}

Group::Group(Group&& other) noexcept = default;

Group& Group::operator=(Group&& other) noexcept {
    Group taken = std::move(other);
    state_.swap(taken.state_);
    buffer_.swap(taken.buffer_);
    std::swap(faults_, taken.faults_);
    std::swap(ticket_, taken.ticket_);
    return *this;
}

Group::~Group() {
    if (state_) state_->abandon(ticket_);
}

std::optional<std::uint32_t> Group::pasid() const noexcept { return pasid_of(faults_.front()); }

Result<bool> Group::answer(core::Response response) && {
    if (!state_) return false;
    Group* const self = this;
    auto answered = state_->answer({&self, 1}, response);
    if (!answered) return answered.error();
    state_.reset();
    return *answered == 1;
}

Result<PageRequests> PageRequests::alloc(const core::Context& context) { return alloc(context, {}); }

Result<PageRequests> PageRequests::alloc(const core::Context& context, Options options) {
    return guarded(Operation::fault_queue_alloc, [&]() -> Result<PageRequests> {
        auto queue = core::FaultQueue::alloc(context, {.label = options.label});
        if (!queue) return queue.error();
        return PageRequests(std::make_shared<RequestState>(
            std::move(*queue), std::clamp(options.room, std::size_t{1}, kMostRoom)));
    });
}

PageRequests::PageRequests(std::shared_ptr<RequestState> state) noexcept : state_(std::move(state)) {}
PageRequests::PageRequests(PageRequests&&) noexcept = default;
PageRequests& PageRequests::operator=(PageRequests&&) noexcept = default;
PageRequests::~PageRequests() = default;

const core::FaultQueue& PageRequests::queue() const noexcept { return state_->queue(); }
int PageRequests::fd() const noexcept { return state_->queue().fd(); }

Result<std::vector<Group>> PageRequests::read() const {
    return guarded(Operation::fault_read, [&]() -> Result<std::vector<Group>> {
        for (std::size_t room = state_->room();; room *= 2) {
            auto groups = state_->read(room);
            if (groups) {
                state_->grow(room);
                return groups;
            }
            if (groups.error().code() != EINVAL || room >= kMostRoom) return groups;
        }
    });
}

Result<std::size_t> PageRequests::answer(std::span<Group> groups, core::Response response) const {
    return guarded(Operation::fault_respond, [&]() -> Result<std::size_t> {
        std::vector<Group*> own;
        own.reserve(groups.size());
        for (Group& group : groups)
            if (group.state_ == state_) own.push_back(&group);
        auto answered = state_->answer(own, response);
        for (Group* const group : own)
            if (group->ticket_ == 0) group->state_.reset();
        return answered;
    });
}

std::vector<Waiting> PageRequests::unanswered() const { return state_->unanswered(); }

Result<void> PageRequests::destroy() && {
    if (!state_) return {};
    return guarded(Operation::destroy, [&]() -> Result<void> {
        if (const long groups = state_.use_count() - 1; groups > 0)
            return Error::refused(
                EBUSY, compose("cannot destroy ", queue().node()->describe()),
                compose(groups,
                        groups == 1 ? " group of page requests waits" : " groups of page requests wait",
                        " for an answer"),
                "answer them, or let them go");
        auto destroyed = std::move(state_->queue()).destroy();
        if (!queue().node()) state_.reset();  // else a page table sends its faults there
        return destroyed;
    });
}

}  // namespace iommufd::inline v0_1::viommu
