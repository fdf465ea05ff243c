// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// vfio-pci
#include <cerrno>

#include "error/compose.hpp"
#include "iommufd/core/hw_info.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/vfio/device.hpp"
#include "object/kinds.hpp"
#include "object/notation.hpp"
#include "object/words.hpp"

namespace iommufd::inline v0_1::object {
namespace {

// One PASID of a device, which a Space attaches as if it were the device.
class PasidDevice final : public dma::Attachable, public dma::IommuDevice {
public:
    // Borrows the device, which the object that owns both lets go of after its attachment.
    PasidDevice(const vfio::Device& device, std::uint32_t pasid)
        : device_(device), pasid_(pasid), name_(compose(device.name(), " (PASID ", pasid, ")")) {}

    const std::string& name() const noexcept override { return name_; }
    unsigned dma_bits() const noexcept override { return device_.attachable()->dma_bits(); }
    dma::IommuDevice* iommu_device() noexcept override { return this; }

    DeviceId id() const noexcept override { return device_.id(); }
    const std::shared_ptr<core::ContextNode>& context() const noexcept override {
        return device_.attachable()->iommu_device()->context();
    }
    bool is_pasid() const noexcept override { return true; }
    Result<HwptId> attach(PageTableId table) override { return device_.attach(table, pasid_); }
    Result<void> detach() override { return device_.detach(pasid_); }

private:
    const vfio::Device& device_;
    const std::uint32_t pasid_;
    const std::string name_;
};

// The kernel attaches a PASID of a device without PASIDs, and does nothing.
Result<void> check_pasid(const vfio::Device& device, std::uint64_t pasid) {
    const core::Context context(device.attachable()->iommu_device()->context());
    auto info = core::hw_info(context, device.id());
    if (!info) return info.error();
    const std::string what = compose("cannot attach PASID ", pasid, " of ", device.name());
    if (info->max_pasid_log2 == 0)
        return Error::refused(EOPNOTSUPP, what, "the device, or its IOMMU, has no PASIDs",
                              "leave pasid= out");
    const std::uint64_t count = std::uint64_t{1} << info->max_pasid_log2;
    if (pasid == 0 || pasid >= count)
        return Error::refused(EINVAL, what, compose("its PASIDs are those from 1 to ", count - 1),
                              "choose one of them; without pasid= the device itself is attached");
    return {};
}

class VfioObject final : public Object {
public:
    explicit VfioObject(vfio::Device device) : device_(std::move(device)) {}

    Result<void> attach(const dma::Space& space, const std::optional<std::uint32_t>& pasid,
                        std::shared_ptr<const viommu::PageRequests> requests) {
        const dma::AttachOptions options{.fault_queue = requests ? &requests->queue() : nullptr};
        auto attached = pasid ? space.attach(std::make_shared<PasidDevice>(*device_, *pasid), options)
                              : space.attach(*device_, options);
        if (!attached) return attached.error();
        attachment_ = *std::move(attached);
        requests_ = std::move(requests);
        return {};
    }

    const vfio::Device& device() const noexcept { return *device_; }

    Handle handle() const noexcept override { return &*device_; }
    int descriptor() const noexcept override { return device_->fd(); }
    std::optional<std::string> value(std::string_view key) const override {
        if (key == "name") return device_->name();
        return std::nullopt;
    }
    Result<void> destroy() override {
        Result<void> detached;
        if (attachment_) detached = std::move(*attachment_).detach();
        attachment_.reset();
        requests_.reset();
        // Closing detaches and unbinds it, whatever was said before.
        auto closed = device_ ? std::move(*device_).destroy() : Result<void>();
        const bool is_used = !closed && closed.error().code() == EBUSY;
        if (!is_used) device_.reset();
        return closed ? std::move(detached) : std::move(closed);
    }
    bool is_gone() const noexcept override { return !device_; }

private:
    std::optional<vfio::Device> device_;
    std::shared_ptr<const viommu::PageRequests> requests_;  // null: none of its space
    std::optional<dma::Attachment> attachment_;
};

Result<vfio::Cdev> open_cdev(const Values& values, const Site& site) {
    vfio::Cdev::Options options{.kernel = &site.kernel(), .name = {}};
    if (values.has("host"))
        return vfio::Cdev::open(read_pci_address(values.text("host")).value_or(""), std::move(options));
    if (values.has("sysfsdev")) return vfio::Cdev::open(values.text("sysfsdev"), std::move(options));
    return vfio::Cdev::from(AdoptFd{site.descriptors.release(values.descriptor("fd"))}, std::move(options));
}

}  // namespace

Made create_vfio_pci(const Values& values, const Site& site) {
    const auto backend = site.registry.get<Backend>(values.text("iommufd"));
    if (!backend) return backend.error();
    auto cdev = open_cdev(values, site);
    if (!cdev) return cdev.error();
    const auto token = values.has("vf-token") ? vfio::parse_vf_token(values.text("vf-token")) : std::nullopt;
    auto device = token ? (*std::move(cdev)).bind(**backend, *token) : (*std::move(cdev)).bind(**backend);
    if (!device) return device.error();
    auto object = std::make_unique<VfioObject>(*std::move(device));

    std::optional<std::uint32_t> pasid;
    if (values.has("pasid")) {
        pasid = static_cast<std::uint32_t>(values.number("pasid"));
        if (auto good = check_pasid(object->device(), *pasid); !good) return good.error();
    }
    if (site.options.before_attach) site.options.before_attach(object->device());
    if (values.has("space")) {
        const auto space = site.registry.get<dma::Space>(values.text("space"));
        if (!space) return space.error();
        auto requests =
            site.object(values.text("space"))
                .page_requests(core::Context(object->device().attachable()->iommu_device()->context()));
        if (!requests) return requests.error();
        if (auto attached = object->attach(**space, pasid, *std::move(requests)); !attached)
            return attached.error();
    }
    return object;
}

Result<void> check_vfio(const Values& values) {
    if (values.has("pasid") && !values.has("space"))
        return cannot_create(values.definition(),
                             "pasid= is given without space=", "add space=ID: a PASID is attached to one");
    return {};
}

Result<void> check_vfio_references(const Values& values, const FindDefinition& find) {
    if (!values.has("space")) return {};
    const std::string* const other = find(values.text("space"))->find("iommufd");
    const std::string mine = values.text("iommufd");
    if (other && *other == mine) return {};
    const std::string space = values.text("space");
    if (!other)
        return cannot_create(values.definition(),
                             compose("space=", space, " has no iommufd=, and takes vhost-vdpa devices only"),
                             compose("define it with iommufd=", mine));
    return cannot_create(values.definition(),
                         compose("space=", space, " is on '", *other, "', but iommufd= is '", mine, "'"),
                         compose("give iommufd=", *other, ", or a space on '", mine, "'"));
}

}  // namespace iommufd::inline v0_1::object
