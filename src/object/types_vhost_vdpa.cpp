// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// vhost-vdpa
#include "error/compose.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/vdpa/device.hpp"
#include "object/kinds.hpp"

namespace iommufd::inline v0_1::object {
namespace {

class VdpaObject final : public Object {
public:
    explicit VdpaObject(vdpa::Device device) : device_(std::move(device)) {}

    Result<void> attach(const dma::Space& space) {
        auto attached = space.attach(*device_);
        if (!attached) return attached.error();
        attachment_ = *std::move(attached);
        return {};
    }

    Handle handle() const noexcept override { return &*device_; }
    int descriptor() const noexcept override { return device_->fd(); }
    std::optional<std::string> value(std::string_view key) const override {
        if (key == "name") return device_->name();
        if (key == "device-id") return compose(device_->device_id());
        if (key == "uses-addresses") return device_->uses_addresses() ? "on" : "off";
        return std::nullopt;
    }
    Result<void> destroy() override {
        Result<void> detached;
        if (attachment_) detached = std::move(*attachment_).detach();
        attachment_.reset();
        // Closing takes away whatever the device still has.
        auto closed = device_ ? std::move(*device_).destroy() : Result<void>();
        const bool is_used = !closed && closed.error().code() == EBUSY;
        if (!is_used) device_.reset();
        return closed ? std::move(detached) : std::move(closed);
    }
    bool is_gone() const noexcept override { return !device_; }

private:
    std::optional<vdpa::Device> device_;
    std::optional<dma::Attachment> attachment_;
};

}  // namespace

Made create_vhost_vdpa(const Values& values, const Site& site) {
    vdpa::Device::Options options{.report = site.options.report,
                                  .kernel = &site.kernel(),
                                  .asid = static_cast<std::uint32_t>(values.number("asid")),
                                  .group = {}};
    if (values.has("group")) options.group = static_cast<std::uint32_t>(values.number("group"));
    if (values.has("iommufd")) {
        const auto backend = site.registry.get<Backend>(values.text("iommufd"));
        if (!backend) return backend.error();
        options.backend = *backend;
    }
    auto device = values.has("vhostdev")
                      ? vdpa::Device::open(values.text("vhostdev"), std::move(options))
                      : vdpa::Device::from(AdoptFd{site.descriptors.release(values.descriptor("vhostfd"))},
                                           std::move(options));
    if (!device) return device.error();
    auto object = std::make_unique<VdpaObject>(*std::move(device));
    if (values.has("space")) {
        const auto space = site.registry.get<dma::Space>(values.text("space"));
        if (!space) return space.error();
        if (auto attached = object->attach(**space); !attached) return attached.error();
    }
    return object;
}

}  // namespace iommufd::inline v0_1::object
