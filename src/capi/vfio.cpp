// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/vfio.h"

#include <utility>

#include "capi/attach.hpp"
#include "iommufd/vfio/features.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

// cdev(options) returns Result<Cdev>.
template <class Open>
int open(const iommufd_object* object, const iommufd_vfio_options* given, iommufd_vfio** device,
         Open&& cdev) noexcept {
    return call([&]() -> Result<void> {
        if (!object || !device) return is_null("object and the pointer to the device");
        auto options = options_of(given);
        if (!options) return options.error();
        if (options->dma_bits > 64)
            return refused(EINVAL, "cannot open the device", "it has no more than 64 address bits",
                           "give 1 to 64");
        std::optional<vfio::VfToken> token;
        if (options->vf_token && !(token = vfio::parse_vf_token(options->vf_token)))
            return refused(EINVAL, "cannot open the device", "its VF token is no UUID",
                           "write it as 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
        auto opened = cdev(vfio::Cdev::Options{.kernel = &object->backend.kernel(),
                                               .name = options->name ? options->name : ""});
        if (!opened) return opened.error();
        auto bound = token ? std::move(*opened).bind(object->backend, *token)
                           : std::move(*opened).bind(object->backend);
        if (!bound) return bound.error();
        if (options->dma_bits != 0) bound->set_dma_bits(options->dma_bits);
        *device = new iommufd_vfio{*std::move(bound)};
        return {};
    });
}

// f(device) returns a Result.
template <class F>
int on(const iommufd_vfio* device, F&& f) noexcept {
    return call([&]() -> std::invoke_result_t<F, const vfio::Device&> {
        if (!device) return is_null("the device");
        return f(device->device);
    });
}

Result<int> eventfd_of(int fd) noexcept {
    if (fd >= 0) return fd;
    return refused(ENOENT, "there is no descriptor", "the device has no such interrupt", "do without it");
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::on;
using vfio::Device;

int iommufd_vfio_open(const iommufd_object* object, const char* where, const iommufd_vfio_options* options,
                      iommufd_vfio** device) {
    return capi::open(object, options, device, [&](vfio::Cdev::Options how) -> Result<vfio::Cdev> {
        if (!where) return capi::is_null("the device's address");
        return vfio::Cdev::open(where, std::move(how));
    });
}

int iommufd_vfio_open_fd(const iommufd_object* object, int fd, const iommufd_vfio_options* options,
                         iommufd_vfio** device) {
    return capi::open(object, options, device,
                      [&](vfio::Cdev::Options how) { return vfio::Cdev::from(DupFd{fd}, std::move(how)); });
}

int iommufd_vfio_close(iommufd_vfio* device) {
    return capi::call([&]() -> Result<void> {
        if (!device) return capi::is_null("the device");
        if (auto detached = capi::detach_if_attached(*device); !detached) return detached;
        if (auto closed = std::move(device->device).destroy(); !closed) return closed;
        delete device;
        return {};
    });
}

void iommufd_vfio_free(iommufd_vfio* device) { delete device; }

int iommufd_vfio_attach(iommufd_vfio* device, const iommufd_space* space) {
    return capi::attach(device, space);
}

int iommufd_vfio_detach(iommufd_vfio* device) { return capi::detach(device); }

const char* iommufd_vfio_name(const iommufd_vfio* device) {
    return device ? device->device.name().c_str() : "";
}

int iommufd_vfio_fd(const iommufd_vfio* device) {
    return on(device, [](const Device& it) -> Result<int> { return it.fd(); });
}

int iommufd_vfio_get_info(const iommufd_vfio* device, iommufd_vfio_info* info) {
    return on(device, [&](const Device& it) {
        const vfio::DeviceInfo& known = it.info();
        return capi::answer(info, {.size = 0,
                                   .id = it.id().value,
                                   .regions = known.regions,
                                   .interrupts = known.interrupts,
                                   .is_pci = known.is_pci,
                                   .resets = known.resets,
                                   .translated = known.translated,
                                   .reserved = 0});
    });
}

int iommufd_vfio_enable(const iommufd_vfio* device) {
    return on(device, [](const Device& it) { return it.enable(); });
}

int iommufd_vfio_reset(const iommufd_vfio* device) {
    return on(device, [](const Device& it) { return it.reset(); });
}

int iommufd_vfio_hot_reset(const iommufd_vfio* device) {
    return on(device, [](const Device& it) { return it.hot_reset(); });
}

int iommufd_vfio_request_fd(const iommufd_vfio* device) {
    return on(device, [](const Device& it) { return capi::eventfd_of(it.request_fd()); });
}

int iommufd_vfio_error_fd(const iommufd_vfio* device) {
    return on(device, [](const Device& it) { return capi::eventfd_of(it.error_fd()); });
}

int iommufd_vfio_get_irq_info(const iommufd_vfio* device, uint32_t irq, iommufd_irq_info* info) {
    return on(device, [&](const Device& it) {
        return it.irq_info(static_cast<vfio::Irq>(irq)).and_then([&](const vfio::IrqInfo& known) {
            return capi::answer(info, {.size = 0,
                                       .count = known.count,
                                       .eventfd = known.eventfd,
                                       .maskable = known.maskable,
                                       .automasked = known.automasked,
                                       .noresize = known.noresize});
        });
    });
}

int iommufd_vfio_set_irqs(const iommufd_vfio* device, uint32_t irq, uint32_t first, const int* eventfds,
                          size_t count) {
    return on(device, [&](const Device& it) -> Result<void> {
        if (!eventfds) return capi::is_null("the eventfds");
        return it.set_irqs(static_cast<vfio::Irq>(irq), first, {eventfds, count});
    });
}

int iommufd_vfio_disable_irqs(const iommufd_vfio* device, uint32_t irq) {
    return on(device, [&](const Device& it) { return it.disable_irqs(static_cast<vfio::Irq>(irq)); });
}

int iommufd_vfio_mask_irq(const iommufd_vfio* device, uint32_t irq, uint32_t vector) {
    return on(device, [&](const Device& it) { return it.mask(static_cast<vfio::Irq>(irq), vector); });
}

int iommufd_vfio_unmask_irq(const iommufd_vfio* device, uint32_t irq, uint32_t vector) {
    return on(device, [&](const Device& it) { return it.unmask(static_cast<vfio::Irq>(irq), vector); });
}

int iommufd_vfio_trigger_irq(const iommufd_vfio* device, uint32_t irq, uint32_t vector) {
    return on(device, [&](const Device& it) { return it.trigger(static_cast<vfio::Irq>(irq), vector); });
}

int iommufd_vfio_export_dma_buf(const iommufd_vfio* device, uint32_t bar, uint64_t offset, uint64_t length) {
    return on(device, [&](const Device& it) { return vfio::export_dma_buf(it, bar, offset, length); });
}

int iommufd_vfio_region(const iommufd_vfio* device, uint32_t index, struct iommufd_region** region) {
    return on(device, [&](const Device& it) -> Result<void> {
        if (!region) return capi::is_null("the pointer to the region");
        auto opened = it.region(index);
        if (!opened) return opened.error();
        *region = new iommufd_region{*std::move(opened)};
        return {};
    });
}
