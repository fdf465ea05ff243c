// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a device is attached to: itself and each of its PASIDs.
//
// Every attachment is made together with the duty to end it. When the kernel refuses that, the duty goes to
// the context's list, where it is retried. It is void once the device's file is closed, which ends all
// attachments, or once the device is attached again, which replaces what was left.
//
// Threads: one call at a time for the device and for each of its PASIDs; end() by itself. A duty may be
// retried at any moment.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "core/node.hpp"
#include "sys/mutex.hpp"

namespace iommufd::inline v0_1::vfio {

using Pasid = std::optional<std::uint32_t>;  // nothing: the device itself

class Attachments {
public:
    // All outlive it; `device` names it in errors.
    Attachments(core::ContextNode& context, const sys::Fd& file, const std::string& device);
    ~Attachments();

    Result<HwptId> attach(PageTableId table, Pasid pasid);
    Result<void> detach(Pasid pasid);

    // Of the device itself, made by the process before this one. Asks the kernel nothing.
    Result<void> adopt();
    bool have_pasids() noexcept;
    bool have_device() noexcept;

    // The file is about to be closed: afterwards no duty uses it. Returns whether there are duties on the
    // context's list, which are void now.
    bool end() noexcept;

private:
    class Duty;

    // Of a duty, wherever it is; shared with the attachment that it stands for.
    enum class State : std::uint8_t { owed, retrying, attaching, ended };
    struct Entry {
        Pasid pasid;
        std::shared_ptr<std::atomic<State>> state;
        std::unique_ptr<Duty> duty;  // null once it was handed over
    };

    using Entries = std::list<Entry>;  // of which nodes move without memory

    Entries make(Pasid pasid) const;
    Entries::iterator find(Pasid pasid) noexcept IOMMUFD_REQUIRES(mutex_);

    core::ContextNode& context_;
    const sys::Fd& file_;
    const std::string& device_;
    sys::Mutex mutex_;
    Entries entries_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::vfio
