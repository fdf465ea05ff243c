// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/dma_port.hpp"

#include "model/objects.hpp"

namespace iommufd::inline v0_1::model {

void DmaPort::point_at(std::shared_ptr<Domain> domain, std::shared_ptr<FirstStage> nested,
                       PageRequestRoute requests) {
    {
        const sys::OwnedLock lock(mutex_);
        domain_.swap(domain);
        nested_.swap(nested);
        requests_ = requests;
    }
    if (nested) nested->flush();
}

bool DmaPort::ask_for_page(std::uint64_t iova, std::uint64_t length, bool write) {
    constexpr std::uint32_t kRequestIndices = 512;  // of PRI: 9 bits
    const sys::OwnedLock lock(mutex_);
    if (requests_.queue == nullptr || (!domain_ && !nested_) || !bus_master_) return false;
    const unsigned permission = write ? kWritable : kReadable;
    const auto missing = domain_ ? domain_->first_missing(iova, length, permission)
                                 : nested_->first_missing(iova, length, permission);
    if (!missing) return false;
    uapi::HwptPgfault fault{};
    fault.flags = uapi::kFaultLastPage;
    fault.dev_id = requests_.attachment.device->id;
    fault.grpid = requested_++ % kRequestIndices;
    fault.perm = write ? uapi::kFaultPermWrite : uapi::kFaultPermRead;
    fault.addr = *missing & ~(user::kPage - 1);
    try {
        requests_.queue->deliver(requests_.attachment, fault, answered_);
    } catch (const std::bad_alloc&) {
        return false;
    }
    return true;
}

}  // namespace iommufd::inline v0_1::model
