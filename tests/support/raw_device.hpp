// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A VFIO device driven by bare ioctls, for tests of the layers below the VFIO frontend.
#pragma once

#include <fcntl.h>

#include <cerrno>
#include <string>

#include "core/node.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/attachable.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::support {

class RawDevice final : public dma::Attachable, public dma::IommuDevice {
public:
    // Binds /dev/vfio/devices/vfio0, or another, to the backend.
    static std::shared_ptr<RawDevice> bind(const Backend& backend,
                                           const char* node = "/dev/vfio/devices/vfio0",
                                           unsigned dma_bits = 64) {
        return bind_or_error(backend, node, dma_bits).value();
    }

    static Result<std::shared_ptr<RawDevice>> bind_or_error(const Backend& backend, const char* node,
                                                            unsigned dma_bits) {
        return guarded(Operation::vfio_bind, [&] { return try_bind(backend, node, dma_bits); });
    }

    static Result<std::shared_ptr<RawDevice>> try_bind(const Backend& backend, const char* node,
                                                       unsigned dma_bits) {
        auto user = backend.connect(compose("raw ", node));
        if (!user) return user.error();
        sys::Fd fd(backend.kernel(), backend.kernel().open(node, O_RDWR));
        if (!fd) return Error(Operation::vfio_open, -fd.number());
        uapi::vfio::DeviceBindIommufd command{.argsz = sizeof command,
                                              .flags = 0,
                                              .iommufd = user->context()->fd().number(),
                                              .out_devid = 0,
                                              .token_uuid_ptr = 0};
        if (const int result = fd.ioctl(uapi::vfio::kDeviceBindIommufd, &command); result < 0)
            return Error(Operation::vfio_bind, -result);
        return std::make_shared<RawDevice>(std::move(*user), std::move(fd), DeviceId{command.out_devid},
                                           compose("raw ", node), dma_bits);
    }

    RawDevice(User user, sys::Fd fd, DeviceId id, std::string name, unsigned dma_bits)
        : user_(std::move(user)), fd_(std::move(fd)), id_(id), name_(std::move(name)), dma_bits_(dma_bits) {}

    const std::string& name() const noexcept override { return name_; }
    unsigned dma_bits() const noexcept override { return dma_bits_; }
    dma::IommuDevice* iommu_device() noexcept override { return this; }
    DeviceId id() const noexcept override { return id_; }
    const std::shared_ptr<core::ContextNode>& context() const noexcept override { return user_.context(); }

    Result<HwptId> attach(PageTableId table) override {
        uapi::vfio::DeviceAttachIommufdPt command{
            .argsz = sizeof command, .flags = 0, .pt_id = table.value, .pasid = 0};
        if (const int result = fd_.ioctl(uapi::vfio::kDeviceAttachIommufdPt, &command); result < 0)
            return Error(Operation::vfio_attach, -result);
        return HwptId{command.pt_id};
    }

    Result<void> detach() override {
        uapi::vfio::DeviceDetachIommufdPt command{.argsz = sizeof command, .flags = 0, .pasid = 0};
        if (const int result = fd_.ioctl(uapi::vfio::kDeviceDetachIommufdPt, &command); result < 0)
            return Error(Operation::vfio_detach, -result);
        return {};
    }

    const sys::Fd& fd() const noexcept { return fd_; }

private:
    User user_;  // goes last: the context closes after the device
    sys::Fd fd_;
    const DeviceId id_;
    const std::string name_;
    const unsigned dma_bits_;
};

}  // namespace iommufd::inline v0_1::support
