// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/vdpa/device.hpp"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vhost.hpp"
#include "vdpa/device_node.hpp"

namespace iommufd::inline v0_1::vdpa {
namespace {

using namespace uapi::vhost;

sys::Kernel& kernel_of(const Device::Options& options) noexcept {
    if (options.kernel) return *options.kernel;
    return options.backend ? options.backend->kernel() : sys::host_kernel();
}

// The path that a descriptor was opened by, if there still is one.
std::string name_of(sys::Kernel& kernel, int fd) {
    std::string path;
    if (kernel.readlink(compose("/proc/self/fd/", fd).c_str(), path) < 0 || !path.starts_with("/dev/"))
        return compose("vhost-vdpa descriptor ", fd);
    return compose("vhost-vdpa ", path);
}

// The argument of VHOST_VDPA_GET_CONFIG and SET_CONFIG: the bytes follow their header.
std::vector<std::byte> config_argument(std::uint32_t offset, std::size_t length) {
    const VdpaConfig header{.off = offset, .len = static_cast<std::uint32_t>(length)};
    std::vector<std::byte> argument(sizeof header + length);
    std::memcpy(argument.data(), &header, sizeof header);
    return argument;
}

}  // namespace

Result<Device> Device::open(const std::string& path) { return open(path, {}); }

Result<Device> Device::open(const std::string& path, Options options) {
    return guarded(Operation::vdpa_open, [&]() -> Result<Device> {
        sys::Kernel& kernel = kernel_of(options);
        std::string name = compose("vhost-vdpa ", path);
        sys::Fd fd(kernel, kernel.open(path.c_str(), O_RDWR));
        if (!fd)
            return failed(Operation::vdpa_open, -fd.number(), [&] { return compose("cannot open ", name); });
        auto node = DeviceNode::make(std::move(fd), std::move(name), false, options);
        if (!node) return node.error();
        return Device(std::move(*node));
    });
}

Result<Device> Device::from(AdoptFd fd, Options options) {
    sys::Fd owned(kernel_of(options), fd.number);
    return guarded(Operation::vdpa_open, [&]() -> Result<Device> {
        std::string name = name_of(owned.kernel(), owned.number());
        auto node = DeviceNode::make(std::move(owned), std::move(name), true, options);
        if (!node) return node.error();
        return Device(std::move(*node));
    });
}

Result<Device> Device::from(DupFd fd, Options options) {
    return guarded(Operation::dup, [&]() -> Result<Device> {
        sys::Kernel& kernel = kernel_of(options);
        sys::Fd copy(kernel, kernel.dup(fd.number));
        if (!copy)
            return failed(Operation::dup, -copy.number(),
                          [&] { return compose("cannot duplicate descriptor ", fd.number); });
        std::string name = name_of(kernel, fd.number);
        auto node = DeviceNode::make(std::move(copy), std::move(name), true, options);
        if (!node) return node.error();
        return Device(std::move(*node));
    });
}

Device::Device(std::shared_ptr<DeviceNode> node) noexcept : attachable_(std::move(node)) {}
Device::Device(Device&&) noexcept = default;
Device& Device::operator=(Device&&) noexcept = default;
Device::~Device() = default;

DeviceNode& Device::node() const noexcept { return static_cast<DeviceNode&>(*attachable_); }

const std::string& Device::name() const noexcept { return node().name(); }
int Device::fd() const noexcept { return node().fd(); }
sys::Kernel& Device::kernel() const noexcept { return node().kernel(); }
std::uint32_t Device::device_id() const noexcept { return node().device_id(); }
std::uint64_t Device::backend_features() const noexcept { return node().backend_features(); }
Range Device::iova_range() const noexcept { return node().terms().range; }
bool Device::uses_addresses() const noexcept { return node().terms().uses_addresses; }
std::uint32_t Device::group_count() const noexcept { return node().groups(); }
std::uint32_t Device::address_space_count() const noexcept { return node().address_spaces(); }
std::uint32_t Device::asid() const noexcept { return node().asid(); }

Result<std::uint64_t> Device::features() const {
    std::uint64_t features = 0;
    auto got = node().ioctl(Operation::vdpa_features, kGetFeatures, &features, "read the features");
    return std::move(got).transform([&] { return features; });
}

Result<void> Device::set_features(std::uint64_t features) const {
    return node().ioctl(Operation::vdpa_features, kSetFeatures, &features, "set the features");
}

Result<std::uint8_t> Device::status() const {
    std::uint8_t status = 0;
    auto got = node().ioctl(Operation::vdpa_status, kVdpaGetStatus, &status, "read the status");
    return std::move(got).transform([&] { return status; });
}

Result<void> Device::set_status(std::uint8_t status) const {
    if (status == 0) return reset();
    return node().ioctl(Operation::vdpa_status, kVdpaSetStatus, &status, "set the status");
}

Result<void> Device::reset() const { return node().reset(); }

Result<void> Device::suspend() const {
    return node().ioctl(Operation::vdpa_suspend, kVdpaSuspend, "suspend the queues");
}

Result<void> Device::resume() const {
    return node().ioctl(Operation::vdpa_suspend, kVdpaResume, "resume the queues");
}

Result<std::uint32_t> Device::config_size() const {
    std::uint32_t size = 0;
    auto got = node().ioctl(Operation::vdpa_config, kVdpaGetConfigSize, &size, "read the size of the config");
    return std::move(got).transform([&] { return size; });
}

Result<void> Device::read_config(std::uint32_t offset, std::span<std::byte> to) const {
    return guarded(Operation::vdpa_config, [&]() -> Result<void> {
        auto argument = config_argument(offset, to.size());
        auto got = node().ioctl(Operation::vdpa_config, kVdpaGetConfig, argument.data(), "read the config");
        if (got) std::memcpy(to.data(), argument.data() + sizeof(VdpaConfig), to.size());
        return got;
    });
}

Result<void> Device::write_config(std::uint32_t offset, std::span<const std::byte> from) const {
    return guarded(Operation::vdpa_config, [&]() -> Result<void> {
        auto argument = config_argument(offset, from.size());
        std::memcpy(argument.data() + sizeof(VdpaConfig), from.data(), from.size());
        return node().ioctl(Operation::vdpa_config, kVdpaSetConfig, argument.data(), "write the config");
    });
}

Result<void> Device::set_config_call(int eventfd) const {
    return node().ioctl(Operation::vdpa_config, kVdpaSetConfigCall, &eventfd, "set the config's eventfd");
}

Result<std::uint32_t> Device::queue_count() const {
    std::uint32_t count = 0;
    auto got = node().ioctl(Operation::vdpa_vring, kVdpaGetVqsCount, &count, "read the number of queues");
    return std::move(got).transform([&] { return count; });
}

Result<std::uint16_t> Device::max_queue_size() const {
    std::uint16_t entries = 0;
    auto got = node().ioctl(Operation::vdpa_vring, kVdpaGetVringNum, &entries, "read the largest queue size");
    return std::move(got).transform([&] { return entries; });
}

Vring Device::vring(std::uint32_t index) const noexcept {
    return {std::static_pointer_cast<DeviceNode>(attachable_), index};
}

Result<void> Device::set_group_asid(std::uint32_t group, std::uint32_t asid) const {
    return node().set_group_asid(group, asid);
}

Result<void> Device::destroy() && {
    if (!attachable_) return {};
    if (const long others = attachable_.use_count() - 1; others > 0)
        return guarded(Operation::close, [&]() -> Result<void> {
            return Error::refused(
                EBUSY, compose("cannot close ", name()),
                compose(others, others == 1 ? " space or queue keeps it" : " spaces or queues keep it"),
                "detach it first, or let the handle go: the file follows the last of them");
        });
    auto closed = node().close();
    attachable_.reset();
    return closed;
}

}  // namespace iommufd::inline v0_1::vdpa
