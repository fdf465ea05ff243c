// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/vdpa/vring.hpp"

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vhost.hpp"
#include "vdpa/device_node.hpp"

namespace iommufd::inline v0_1::vdpa {
namespace {

using namespace uapi::vhost;

Error refused(const DeviceNode& device, Operation operation, int result, std::string_view what,
              std::uint32_t index) noexcept {
    return failed(operation, -result,
                  [&] { return compose("cannot ", what, " of queue ", index, " of ", device.name()); });
}

// An ioctl with a struct that starts with the queue's index.
template <class Argument>
Result<void> call(const DeviceNode& device, unsigned long request, Argument argument, std::string_view what) {
    if (const int result = device.kernel().ioctl(device.fd(), request, &argument); result < 0)
        return refused(device, Operation::vdpa_vring, result, what, argument.index);
    return {};
}

// One that answers with a number.
Result<std::uint32_t> ask(const DeviceNode& device, Operation operation, unsigned long request,
                          std::uint32_t index, std::string_view what) {
    VringState state{.index = index, .num = 0};
    if (const int result = device.kernel().ioctl(device.fd(), request, &state); result < 0)
        return refused(device, operation, result, what, index);
    return state.num;
}

}  // namespace

Vring::Vring(std::shared_ptr<DeviceNode> device, std::uint32_t index) noexcept
    : device_(std::move(device)), index_(index) {}
Vring::Vring(const Vring&) noexcept = default;
Vring::Vring(Vring&&) noexcept = default;
Vring& Vring::operator=(const Vring&) noexcept = default;
Vring& Vring::operator=(Vring&&) noexcept = default;
Vring::~Vring() = default;

Result<void> Vring::set_size(std::uint16_t entries) const {
    return call(*device_, kSetVringNum, VringState{.index = index_, .num = entries}, "set the size");
}

Result<std::uint16_t> Vring::max_size() const {
    return ask(*device_, Operation::vdpa_vring, kVdpaGetVringSize, index_, "read the largest size")
        .transform([](std::uint32_t entries) { return static_cast<std::uint16_t>(entries); });
}

Result<void> Vring::set_addresses(const RingAddresses& addresses) const {
    return call(*device_, kSetVringAddr,
                VringAddr{.index = index_,
                          .flags = 0,
                          .desc_user_addr = addresses.descriptors.value,
                          .used_user_addr = addresses.used.value,
                          .avail_user_addr = addresses.available.value,
                          .log_guest_addr = 0},
                "set the addresses");
}

Result<void> Vring::set_base(std::uint32_t base) const {
    return call(*device_, kSetVringBase, VringState{.index = index_, .num = base}, "set the base");
}

Result<std::uint32_t> Vring::base() const {
    return ask(*device_, Operation::vdpa_vring, kGetVringBase, index_, "read the base");
}

Result<void> Vring::set_kick(int eventfd) const {
    return call(*device_, kSetVringKick, VringFile{.index = index_, .fd = eventfd}, "set the kick eventfd");
}

Result<void> Vring::set_call(int eventfd) const {
    return call(*device_, kSetVringCall, VringFile{.index = index_, .fd = eventfd}, "set the call eventfd");
}

Result<void> Vring::set_error(int eventfd) const {
    return call(*device_, kSetVringErr, VringFile{.index = index_, .fd = eventfd}, "set the error eventfd");
}

Result<void> Vring::enable() const {
    return call(*device_, kVdpaSetVringEnable, VringState{.index = index_, .num = 1},
                "change the ready state");
}

Result<void> Vring::disable() const {
    return call(*device_, kVdpaSetVringEnable, VringState{.index = index_, .num = 0},
                "change the ready state");
}

Result<std::uint32_t> Vring::group() const {
    return ask(*device_, Operation::vdpa_address_space, kVdpaGetVringGroup, index_, "read the group");
}

Result<std::uint32_t> Vring::descriptor_group() const {
    return ask(*device_, Operation::vdpa_address_space, kVdpaGetVringDescGroup, index_,
               "read the ring's group");
}

}  // namespace iommufd::inline v0_1::vdpa
