// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A guest's IOMMU, and what belongs to it: its devices, its events, its queues in memory, and a window of
// registers that a program may map. The only IOMMU here that has any is the mock's.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <vector>

#include "model/access_object.hpp"
#include "model/objects.hpp"
#include "model/vevent_queue.hpp"
#include "uapi/iommufd_test.hpp"

namespace iommufd::inline v0_1::model {

struct HwQueue;

// Memory that a program may map. It lies in a file of its own, or, once another program has mapped it, in the one that this
// program's descriptor stands for.
class RegisterWindow {
public:
    RegisterWindow() noexcept = default;
    RegisterWindow(const RegisterWindow&) = delete;
    RegisterWindow& operator=(const RegisterWindow&) = delete;
    ~RegisterWindow();

    // -ENOMEM where there is none.
    int make(std::uint64_t offset, std::uint64_t length, std::uint32_t first_word);

    // 0, -ENOMEM: another file holds it from then on, at its offset.
    int show_in(int file);
    // Whether it is mapped from there.
    bool is_mapped() const;

    std::uint64_t offset() const noexcept { return offset_; }  // of the iommufd; 0: no window
    std::uint64_t length() const noexcept { return length_; }
    int fd() const noexcept { return fd_; }

private:
    int fd_ = -1;
    std::uint64_t offset_ = 0;
    std::uint64_t length_ = 0;
    std::optional<FileIdentity> shown_in_;
};

struct Viommu final : Object {
    const void* iommu = nullptr;
    PagingHwpt* parent = nullptr;
    std::map<std::uint64_t, Vdevice*> vdevices;  // by the guest's number
    std::vector<VeventQueue*> event_queues;
    // By index. Of one that went, it may still hold the address (see Context::drop()).
    std::array<HwQueue*, uapi::mock::kHwQueueMax> hw_queues = {};
    RegisterWindow window;

    VeventQueue* events_of(std::uint32_t type) const {
        for (VeventQueue* const queue : event_queues)
            if (queue->type == type) return queue;
        return nullptr;
    }
};

// A device as the guest numbers it.
struct Vdevice final : Object {
    Viommu* viommu = nullptr;
    BoundDevice* device = nullptr;
    std::uint64_t number = 0;
};

// A queue in the guest's memory that hardware reads by physical address.
struct HwQueue final : Object {
    Viommu* viommu = nullptr;
    AccessObject* access = nullptr;  // holds the memory
    std::uint64_t first_page = 0;
    std::uint64_t length = 0;  // of whole pages
    HwQueue* previous = nullptr;
    bool built = false;
};

}  // namespace iommufd::inline v0_1::model
