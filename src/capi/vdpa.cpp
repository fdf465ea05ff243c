// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/capi/vdpa.h"

#include <utility>

#include "capi/attach.hpp"

namespace iommufd::inline v0_1::capi {
namespace {

// make(options) returns Result<vdpa::Device>.
template <class Make>
int open(const iommufd_object* object, const iommufd_vdpa_options* given, iommufd_vdpa** device,
         Make&& make) noexcept {
    return call([&]() -> Result<void> {
        if (!device) return is_null("the pointer to the device");
        auto options = options_of(given);
        if (!options) return options.error();
        vdpa::Device::Options how{.backend = object ? &object->backend : nullptr, .report = {}, .group = {}};
        if (options->kernel) {
            auto kernel = kernel_of(options->kernel);
            if (!kernel) return kernel.error();
            how.kernel = *kernel;
        }
        auto opened = make(std::move(how));
        if (!opened) return opened.error();
        *device = new iommufd_vdpa{*std::move(opened)};
        return {};
    });
}

// f(device) returns a Result.
template <class F>
int on(const iommufd_vdpa* device, F&& f) noexcept {
    return call([&]() -> std::invoke_result_t<F, const vdpa::Device&> {
        if (!device) return is_null("the device");
        return f(device->device);
    });
}

Result<void> start(const vdpa::Vring& ring, const iommufd_vdpa_queue& queue) {
    return ring.set_size(queue.entries)
        .and_then([&] {
            return ring.set_addresses({.descriptors = Iova{queue.descriptors},
                                       .available = Iova{queue.available},
                                       .used = Iova{queue.used}});
        })
        .and_then([&] { return ring.set_base(queue.base); })
        .and_then([&] { return ring.set_kick(queue.kick); })
        .and_then([&] { return ring.set_call(queue.call); })
        .and_then([&] { return ring.enable(); });
}

}  // namespace
}  // namespace iommufd::inline v0_1::capi

using namespace iommufd;
using capi::on;
using vdpa::Device;

int iommufd_vdpa_open(const iommufd_object* object, const char* path, const iommufd_vdpa_options* options,
                      iommufd_vdpa** device) {
    return capi::open(object, options, device, [&](Device::Options how) -> Result<Device> {
        if (!path) return capi::is_null("the path");
        return Device::open(path, std::move(how));
    });
}

int iommufd_vdpa_open_fd(const iommufd_object* object, int fd, const iommufd_vdpa_options* options,
                         iommufd_vdpa** device) {
    return capi::open(object, options, device,
                      [&](Device::Options how) { return Device::from(DupFd{fd}, std::move(how)); });
}

void iommufd_vdpa_free(iommufd_vdpa* device) { delete device; }

int iommufd_vdpa_attach(iommufd_vdpa* device, const iommufd_space* space) {
    return capi::attach(device, space);
}

int iommufd_vdpa_detach(iommufd_vdpa* device) { return capi::detach(device); }

const char* iommufd_vdpa_name(const iommufd_vdpa* device) {
    return device ? device->device.name().c_str() : "";
}

int iommufd_vdpa_fd(const iommufd_vdpa* device) {
    return on(device, [](const Device& it) -> Result<int> { return it.fd(); });
}

int iommufd_vdpa_get_info(const iommufd_vdpa* device, iommufd_vdpa_info* info) {
    return on(device, [&](const Device& it) {
        const Range iovas = it.iova_range();
        return capi::answer(info, {.size = 0,
                                   .backend_features = it.backend_features(),
                                   .iovas = {iovas.first.value, iovas.last.value},
                                   .device_id = it.device_id(),
                                   .uses_addresses = it.uses_addresses(),
                                   .reserved = {}});
    });
}

int iommufd_vdpa_features(const iommufd_vdpa* device, uint64_t* features) {
    return on(device, [&](const Device& it) -> Result<void> {
        if (!features) return capi::is_null("the features");
        return it.features().transform([&](std::uint64_t bits) { *features = bits; });
    });
}

int iommufd_vdpa_set_features(const iommufd_vdpa* device, uint64_t features) {
    return on(device, [&](const Device& it) { return it.set_features(features); });
}

int iommufd_vdpa_status(const iommufd_vdpa* device) {
    return on(device, [](const Device& it) { return it.status(); });
}

int iommufd_vdpa_set_status(const iommufd_vdpa* device, uint8_t status) {
    return on(device, [&](const Device& it) { return it.set_status(status); });
}

int iommufd_vdpa_reset(const iommufd_vdpa* device) {
    return on(device, [](const Device& it) { return it.reset(); });
}

int iommufd_vdpa_suspend(const iommufd_vdpa* device) {
    return on(device, [](const Device& it) { return it.suspend(); });
}

int iommufd_vdpa_resume(const iommufd_vdpa* device) {
    return on(device, [](const Device& it) { return it.resume(); });
}

int iommufd_vdpa_read_config(const iommufd_vdpa* device, uint32_t offset, void* buffer, size_t length) {
    return on(device, [&](const Device& it) -> Result<void> {
        if (!buffer && length != 0) return capi::is_null("the buffer");
        return it.read_config(offset, {static_cast<std::byte*>(buffer), length});
    });
}

int iommufd_vdpa_write_config(const iommufd_vdpa* device, uint32_t offset, const void* buffer,
                              size_t length) {
    return on(device, [&](const Device& it) -> Result<void> {
        if (!buffer && length != 0) return capi::is_null("the buffer");
        return it.write_config(offset, {static_cast<const std::byte*>(buffer), length});
    });
}

int iommufd_vdpa_queue_count(const iommufd_vdpa* device) {
    return on(device, [](const Device& it) { return it.queue_count(); });
}

int iommufd_vdpa_max_queue_size(const iommufd_vdpa* device) {
    return on(device, [](const Device& it) { return it.max_queue_size(); });
}

int iommufd_vdpa_start_queue(const iommufd_vdpa* device, uint32_t index, const iommufd_vdpa_queue* queue) {
    return on(device, [&](const Device& it) -> Result<void> {
        if (!queue) return capi::is_null("the queue");
        auto given = capi::options_of(queue);
        if (!given) return given.error();
        return capi::start(it.vring(index), *given);
    });
}

int iommufd_vdpa_queue_base(const iommufd_vdpa* device, uint32_t index, uint32_t* base) {
    return on(device, [&](const Device& it) -> Result<void> {
        if (!base) return capi::is_null("the base");
        return it.vring(index).base().transform([&](std::uint32_t where) { *base = where; });
    });
}
