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
    if (!is_callers()) return -EPERM;
    if (asid != 0) return -EINVAL;
    const bool makes_address_space = message.type == kIotlbUpdate || message.type == kIotlbBatchBegin;
    if (!has_address_space_ && !makes_address_space) return -EINVAL;
    try {
        const int rc = change_table(message);
        has_address_space_ = true;
        return rc;
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
}

// Throws where there is no memory, with nothing changed.
int VdpaDevice::change_table(const IotlbMsg& message) {
    switch (message.type) {
        case kIotlbUpdate:
            return update(message);
        case kIotlbInvalidate: {
            Iotlb changed;
            if (!in_batch_) {
                changed = table_;
                changed.remove(message.iova, message.iova + message.size - 1);
            }
            table_.remove(message.iova, message.iova + message.size - 1);
            if (!in_batch_) port_.iotlb() = std::move(changed);
            return 0;
        }
        case kIotlbBatchBegin:
            in_batch_ = true;
            return 0;
        case kIotlbBatchEnd:
            if (in_batch_) port_.iotlb() = Iotlb(table_);
            in_batch_ = false;
            return 0;
        default:
            return -EINVAL;
    }
}

int VdpaDevice::update(const IotlbMsg& message) {
    const std::uint64_t last = message.iova + message.size - 1;
    if (last < message.iova) return -EINVAL;
    if (table_.overlaps(message.iova, last)) return -EEXIST;
    Iotlb added;
    if (const int rc = pieces_of(message, added); rc < 0) {
        // Linux has told the device of the first pieces, and tells it of their end.
        if (!in_batch_) port_.iotlb() = Iotlb(table_);
        return rc;
    }
    if (added.size() != 0 && !in_batch_) {
        Iotlb changed(table_);
        Iotlb more(added);
        changed.merge(more);
        port_.iotlb() = std::move(changed);
    }
    table_.merge(added);
    return 0;
}

// Piece by piece of the program's memory. What is private is passed over, and nobody is told.
int VdpaDevice::pieces_of(const IotlbMsg& message, Iotlb& added) const {
    std::uint64_t done = 0;
    for (const MappedPiece& piece : user::pieces_from(message.uaddr)) {
        if (done == message.size) break;
        const user::Address start = message.uaddr + done;
        const std::uint64_t length = std::min(message.size - done - 1, piece.last - start) + 1;
        if (piece.shared)
            added.add({.first = message.iova + done,
                       .last = message.iova + done + length - 1,
                       .memory = physical::in_space(memory_ ? memory_->tag() : 0, start),
                       .permissions = message.perm});
        done += length;
    }
    return done < message.size ? -EINVAL : 0;  // the address space ends before
}

}  // namespace iommufd::inline v0_1::model
