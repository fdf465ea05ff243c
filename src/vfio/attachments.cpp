// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vfio/attachments.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

namespace {

std::string with_pasid(const std::string& device, Pasid pasid) {
    return pasid ? compose(device, " (PASID ", *pasid, ")") : device;
}

int send_detach(const core::ContextNode& context, const sys::Fd& file, Pasid pasid) noexcept {
    abi::DeviceDetachIommufdPt command{
        .argsz = sizeof command, .flags = pasid ? abi::kAttachPasid : 0, .pasid = pasid.value_or(0)};
    // Kernels without PASIDs know a shorter struct.
    if (!pasid) command.argsz = offsetof(abi::DeviceDetachIommufdPt, pasid);
    return context.ioctl(file, abi::kDeviceDetachIommufdPt, &command);
}

}  // namespace

class Attachments::Duty final : public core::Obligation {
public:
    Duty(const core::ContextNode& context, const sys::Fd& file, std::string what, Pasid pasid,
         std::shared_ptr<std::atomic<State>> state)
        : Obligation(Operation::vfio_detach),
          context_(context),
          file_(file),
          what_(std::move(what)),
          pasid_(pasid),
          state_(std::move(state)) {}

    std::string describe() const override { return what_; }

    int fulfil() noexcept override {
        // Neither a closed file nor an attachment that was made since is touched.
        State expected = State::owed;
        if (!state_->compare_exchange_strong(expected, State::retrying))
            return expected == State::ended ? 0 : -EBUSY;
        const int result = send_detach(context_, file_, pasid_);
        *state_ = State::owed;
        state_->notify_all();
        return result;
    }

private:
    const core::ContextNode& context_;  // outlives what it keeps
    const sys::Fd& file_;               // while `state_` says that it is owed
    const std::string what_;
    const Pasid pasid_;
    const std::shared_ptr<std::atomic<State>> state_;
};

Attachments::Attachments(core::ContextNode& context, const sys::Fd& file, const std::string& device)
    : context_(context), file_(file), device_(device) {}

Attachments::~Attachments() = default;

Attachments::Entries::iterator Attachments::find(Pasid pasid) noexcept {
    return std::ranges::find(entries_, pasid, &Entry::pasid);
}

bool Attachments::end() noexcept {
    const sys::Lock lock(mutex_);
    bool handed_over = false;
    for (const Entry& entry : entries_) {
        handed_over |= entry.duty == nullptr;
        for (State expected = State::owed; !entry.state->compare_exchange_strong(expected, State::ended);
             expected = State::owed)
            entry.state->wait(expected);
    }
    return handed_over;
}

Attachments::Entries Attachments::make(Pasid pasid) const {
    Entries made(1);
    Entry& entry = made.front();
    entry.pasid = pasid;
    entry.state = std::make_shared<std::atomic<State>>(State::owed);
    entry.duty = std::make_unique<Duty>(
        context_, file_,
        compose("the attachment of ", with_pasid(device_, pasid), " in '", context_.label(), "'"), pasid,
        entry.state);
    return made;
}

Result<void> Attachments::adopt() {
    return guarded(Operation::vfio_attach, [&]() -> Result<void> {
        Entries made = make(Pasid());
        const sys::Lock lock(mutex_);
        entries_.splice(entries_.end(), made);
        return {};
    });
}

bool Attachments::have_pasids() noexcept {
    const sys::Lock lock(mutex_);
    return std::ranges::any_of(entries_, [](const Entry& entry) { return entry.pasid.has_value(); });
}

bool Attachments::have_device() noexcept {
    const sys::Lock lock(mutex_);
    return find(Pasid()) != entries_.end();
}

Result<HwptId> Attachments::attach(PageTableId table, Pasid pasid) {
    return guarded(Operation::vfio_attach, [&]() -> Result<HwptId> {
        const auto what = [&] {
            return compose("cannot attach ", with_pasid(device_, pasid), " to page table ", table.value,
                           " of '", context_.label(), "'");
        };
        Entries made = make(pasid);

        // Of a detachment that was refused: not to be tried again while this goes on, and never after it.
        std::shared_ptr<std::atomic<State>> refused;
        {
            const sys::Lock lock(mutex_);
            const auto old = find(pasid);
            if (old != entries_.end() && !old->duty) refused = old->state;
        }
        if (State expected = State::owed;
            refused && !refused->compare_exchange_strong(expected, State::attaching))
            return Error::refused(EBUSY, what(), "an earlier detachment is being tried again at this moment",
                                  "try again");
        abi::DeviceAttachIommufdPt command{.argsz = sizeof command,
                                           .flags = pasid ? abi::kAttachPasid : 0,
                                           .pt_id = table.value,
                                           .pasid = pasid.value_or(0)};
        if (!pasid) command.argsz = offsetof(abi::DeviceAttachIommufdPt, pasid);
        const int result = context_.ioctl(file_, abi::kDeviceAttachIommufdPt, &command);
        if (refused) *refused = result < 0 ? State::owed : State::ended;
        if (result < 0) return failed(Operation::vfio_attach, -result, what);
        const sys::Lock lock(mutex_);
        const auto old = find(pasid);
        const bool replaces =
            old != entries_.end() && !refused;  // the kernel has one attachment, and we one duty
        if (old != entries_.end() && refused) entries_.erase(old);
        if (!replaces) entries_.splice(entries_.end(), made);
        return HwptId{command.pt_id};
    });
}

Result<void> Attachments::detach(Pasid pasid) {
    std::unique_ptr<Duty> duty;
    {
        const sys::Lock lock(mutex_);
        const auto entry = find(pasid);
        if (entry != entries_.end()) duty = std::move(entry->duty);
    }
    if (!duty) {
        // Nothing that we know of; the kernel is asked all the same, and takes it where there was nothing.
        if (const int result = send_detach(context_, file_, pasid); result < 0)
            return failed(Operation::vfio_detach, -result,
                          [&] { return compose("cannot detach ", with_pasid(device_, pasid)); });
        return {};
    }
    auto released = context_.release(std::move(duty));
    if (!released) return released;
    const sys::Lock lock(mutex_);
    entries_.erase(find(pasid));
    return released;
}

}  // namespace iommufd::inline v0_1::vfio
