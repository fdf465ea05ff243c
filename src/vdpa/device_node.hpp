// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What stands behind the handles of a vhost-vdpa device: its open file, what was found out when it was
// opened, and its IOTLB. Handles, queues and the Space that it is attached to share it; the file is closed
// after the last of them, and the kernel then stops the device and unmaps everything.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <vector>

#include "iommufd/vdpa/device.hpp"
#include "sys/fd.hpp"
#include "vdpa/iotlb_sink.hpp"

namespace iommufd::inline v0_1::vdpa {

class DeviceNode final : public dma::Attachable {
public:
    // `given`: somebody else opened it, and may have set the owner.
    static Result<std::shared_ptr<DeviceNode>> make(sys::Fd fd, std::string name, bool given,
                                                    const Device::Options& options);
    // Use make().
    DeviceNode(std::optional<User> user, sys::Fd fd, std::string name, Report report);
    ~DeviceNode() override;

    const std::string& name() const noexcept override { return name_; }
    dma::Sink* sink() noexcept override { return &*sink_; }

    sys::Kernel& kernel() const noexcept { return fd_.kernel(); }
    int fd() const noexcept { return fd_.number(); }
    std::uint32_t device_id() const noexcept { return device_id_; }
    std::uint64_t backend_features() const noexcept { return backend_features_; }
    bool has(BackendFeature feature) const noexcept { return (backend_features_ & bit(feature)) != 0; }
    std::uint32_t groups() const noexcept { return groups_; }
    std::uint32_t address_spaces() const noexcept { return address_spaces_; }
    std::uint32_t asid() const noexcept { return asid_; }
    const IotlbSink::Terms& terms() const noexcept { return sink_->terms(); }

    // An ioctl of this device, the error of which says "cannot `what` of `name`".
    template <class Argument>
    Result<void> ioctl(Operation operation, unsigned long request, Argument* argument,
                       std::string_view what) const {
        return done(operation, fd_.ioctl(request, argument), what);
    }
    Result<void> ioctl(Operation operation, unsigned long request, std::string_view what) const {
        return done(operation, fd_.ioctl(request, nullptr), what);
    }

    Result<void> reset();
    Result<void> set_group_asid(std::uint32_t group, std::uint32_t asid) const;

    // Once; the destructor does it otherwise.
    Result<void> close() noexcept;

private:
    Result<void> done(Operation operation, int result, std::string_view what) const noexcept;
    Result<void> take(bool given);
    Result<void> agree_on_features(std::uint64_t decline);
    Result<void> choose_address_space(const Device::Options& options);
    Result<void> make_sink();
    Result<void> assign_groups() const;
    std::size_t most_entries() const;

    const std::optional<User> user_;  // leaves the backend after the file is closed
    sys::Fd fd_;
    const std::string name_;
    const Report report_;
    std::uint32_t device_id_ = 0;
    std::uint64_t backend_features_ = 0;
    std::uint32_t groups_ = 1;
    std::uint32_t address_spaces_ = 1;
    std::uint32_t asid_ = 0;
    std::vector<std::uint32_t> moved_;  // the groups that use `asid_` by our choice
    std::optional<IotlbSink> sink_;
};

}  // namespace iommufd::inline v0_1::vdpa
