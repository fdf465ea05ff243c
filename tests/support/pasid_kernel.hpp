// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Another kernel whose VFIO devices have 16 PASIDs each, with Linux's rule that only a page table made for
// PASIDs takes one.
#pragma once

#include <cerrno>
#include <cstdint>
#include <map>
#include <set>

#include "sys/faulty_kernel.hpp"
#include "uapi/iommufd.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::support {

class PasidKernel final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;

    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == uapi::kHwptAlloc) return alloc(fd, *static_cast<uapi::HwptAlloc*>(argument));
        if (request == uapi::vfio::kDeviceAttachIommufdPt) {
            const auto& command = *static_cast<uapi::vfio::DeviceAttachIommufdPt*>(argument);
            if ((command.flags & uapi::vfio::kAttachPasid) != 0) return attach(command);
        }
        if (request == uapi::vfio::kDeviceDetachIommufdPt) {
            const auto& command = *static_cast<uapi::vfio::DeviceDetachIommufdPt*>(argument);
            if ((command.flags & uapi::vfio::kAttachPasid) != 0) attached.erase(command.pasid);
        }
        const int result = FaultyKernel::ioctl(fd, request, argument);
        if (request == uapi::kGetHwInfo && result == 0)
            static_cast<uapi::HwInfo*>(argument)->out_max_pasid_log2 = 4;
        return result;
    }

    std::map<std::uint32_t, std::uint32_t> attached;  // ids of page tables, by PASID

private:
    int alloc(int fd, uapi::HwptAlloc& command) {
        const bool pasid = (command.flags & uapi::kHwptPasid) != 0;
        command.flags &= ~uapi::kHwptPasid;
        const int result = FaultyKernel::ioctl(fd, uapi::kHwptAlloc, &command);
        if (result == 0 && pasid) for_pasids_.insert(command.out_hwpt_id);
        return result;
    }
    int attach(const uapi::vfio::DeviceAttachIommufdPt& command) {
        if (!for_pasids_.contains(command.pt_id)) return -EINVAL;
        attached[command.pasid] = command.pt_id;
        return 0;
    }

    std::set<std::uint32_t> for_pasids_;
};

}  // namespace iommufd::inline v0_1::support
