// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Two VFIO devices in one IOAS, of whichever kernel, for the property of a Space.
#pragma once

#include <array>

#include "backend/state.hpp"
#include "core/node.hpp"
#include "support/raw_device.hpp"
#include "support/space_property.hpp"
#include "sys/faulty_kernel.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::support {

class FailsMapsAt final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;
    int ioctl(int fd, unsigned long request, void* argument) override {
        if (request == uapi::kIoasMap && iova && static_cast<uapi::IoasMap*>(argument)->iova == iova->value)
            return -ENOMEM;
        return FaultyKernel::ioctl(fd, request, argument);
    }
    std::optional<Iova> iova;
};

class IoasDevices final : public Devices {
public:
    IoasDevices(sys::Kernel& kernel, std::array<const char*, 2> nodes) : kernel_(kernel), nodes_(nodes) {}

    dma::Space make_space() override { return dma::Space::on(backend_).value(); }
    std::shared_ptr<dma::Attachable> make(unsigned which) override {
        return RawDevice::bind(backend_, nodes_[which]);
    }
    void fail_at(std::optional<Iova> iova) override { kernel_.iova = iova; }

    // The kernel copies a page to another IOAS, if it is there.
    std::set<Iova> reached(const dma::Space& space, dma::Attachable&,
                           const std::vector<Iova>& pages) override {
        const core::ContextNode& context = *backend_.state()->context();
        uapi::IoasAlloc scratch{.size = sizeof scratch, .flags = 0, .out_ioas_id = 0};
        EXPECT_EQ(context.ioctl(uapi::kIoasAlloc, &scratch), 0);
        std::set<Iova> found;
        for (const Iova iova : pages) {
            uapi::IoasCopy copy{.size = sizeof copy,
                                .flags = 5,  // at this IOVA, readable
                                .dst_ioas_id = scratch.out_ioas_id,
                                .src_ioas_id = space.ioas()->value,
                                .length = kPage,
                                .dst_iova = iova.value,
                                .src_iova = iova.value};
            const int result = context.ioctl(uapi::kIoasCopy, &copy);
            if (result == 0)
                found.insert(iova);
            else
                EXPECT_EQ(result, -ENOENT);
        }
        uapi::Destroy destroy{.size = sizeof destroy, .id = scratch.out_ioas_id};
        EXPECT_EQ(context.ioctl(uapi::kDestroy, &destroy), 0);
        return found;
    }

private:
    FailsMapsAt kernel_;
    const std::array<const char*, 2> nodes_;
    Backend backend_ = Backend::on(kernel_).value();
};

}  // namespace iommufd::inline v0_1::support
