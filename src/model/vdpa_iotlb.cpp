// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The memory of a vDPA device: IOTLB messages.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>

#include "model/vdpa_device.hpp"

namespace iommufd::inline v0_1::model {

using namespace uapi::vhost;

ssize_t VdpaDevice::write(user::Address address, std::size_t length) {
    // The padding at the end of a message may be missing.
    constexpr std::size_t kUsed = offsetof(MsgV2, iotlb) + sizeof(IotlbMsg);
    MsgV2 message{};
    if (length < sizeof message.type) return -EINVAL;
    std::array<std::byte, sizeof message> copy{};
    if (user::copy_from(copy.data(), address, std::min(length, kUsed)) < 0) return -EINVAL;
    std::memcpy(&message, copy.data(), sizeof message);
    if (message.type != kMsgIotlbV2 || length < kUsed) return -EINVAL;
    if (message.iotlb.type == kIotlbUpdate && message.iotlb.size == 0) return -EINVAL;
    const sys::Lock lock(mutex_);
    const bool names_asid = (backend_features_ >> kIotlbAsid & 1) != 0;
    const int rc = handle(names_asid ? message.asid : 0, message.iotlb);
    return rc < 0 ? -EFAULT : static_cast<ssize_t>(sizeof message);  // whatever the handler said
}

int VdpaDevice::handle(std::uint32_t asid, const IotlbMsg& message) {
    if (!owned_) return -EPERM;
    if (asid != 0) return -EINVAL;
    if (message.type == kIotlbUpdate || message.type == kIotlbBatchBegin) has_address_space_ = true;
    if (!has_address_space_) return -EINVAL;
    switch (message.type) {
        case kIotlbUpdate:
            return update(message);
        case kIotlbInvalidate:
            table_.remove(message.iova, message.iova + message.size - 1);
            (void)tell_device();
            return 0;
        case kIotlbBatchBegin:
            in_batch_ = true;
            return 0;
        case kIotlbBatchEnd:
            if (std::exchange(in_batch_, false)) (void)tell_device();  // Linux does not look either
            return 0;
        default:
            return -EINVAL;
    }
}

int VdpaDevice::tell_device() {
    if (in_batch_) return 0;
    try {
        port_.iotlb() = Iotlb(table_);
        return 0;
    } catch (const std::bad_alloc&) {
        port_.iotlb().clear();
        return -ENOMEM;
    }
}

int VdpaDevice::update(const IotlbMsg& message) {
    const std::uint64_t last = message.iova + message.size - 1;
    if (last < message.iova) return -EINVAL;
    if (table_.overlaps(message.iova, last)) return -EEXIST;
    int rc = 0;
    try {
        rc = add_pieces(message);
    } catch (const std::bad_alloc&) {
        rc = -ENOMEM;
    }
    if (rc < 0) {
        table_.remove(message.iova, last);
        (void)tell_device();
    }
    return rc;
}

// Piece by piece of the program's memory. What is private is passed over, and nobody is told.
int VdpaDevice::add_pieces(const IotlbMsg& message) {
    std::uint64_t done = 0;
    bool added = false;
    for (const user::Piece& piece : user::pieces_from(message.uaddr)) {
        if (done == message.size) break;
        const user::Address start = message.uaddr + done;
        const std::uint64_t length = std::min(message.size - done - 1, piece.last - start) + 1;
        if (piece.shared) {
            table_.add({.first = message.iova + done,
                        .last = message.iova + done + length - 1,
                        .memory = start,
                        .permissions = message.perm});
            added = true;
        }
        done += length;
    }
    if (done < message.size) return -EINVAL;  // the address space ends before
    return added ? tell_device() : 0;
}

}  // namespace iommufd::inline v0_1::model
