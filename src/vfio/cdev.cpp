// SPDX-License-Identifier: Apache-2.0 OR MIT
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <charconv>

#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/vfio/device.hpp"
#include "uapi/vfio.hpp"
#include "vfio/device_node.hpp"
#include "vfio/explain_bind.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::vfio {

namespace abi = uapi::vfio;

struct Cdev::State {
    sys::Fd fd;
    std::string name;
    std::string folder;  // in /sys; empty where it isn't known
    bool translated = true;
};

namespace {

sys::Kernel& kernel_of(const Cdev::Options& options) noexcept {
    return options.kernel ? *options.kernel : sys::host_kernel();
}

// "vfio-pci 0000:02:00.0": the driver that gives the device, and the device.
std::string device_name(sys::Kernel& kernel, const std::string& folder) {
    const std::string driver = link_target_name(kernel, folder, "driver");
    return compose(driver.empty() ? "vfio" : driver, " ", base_name(folder));
}

// Which device a descriptor belongs to, by its number; empty where sysfs doesn't tell.
std::string folder_of(sys::Kernel& kernel, dev_t number) {
    const std::string link = compose("/sys/dev/char/", major(number), ":", minor(number));
    std::string target;
    if (kernel.readlink(link.c_str(), target) < 0) return {};
    // ../../devices/pci0000:00/0000:00:10.0/vfio-dev/vfio0
    const std::size_t end = target.rfind("/vfio-dev/");
    const std::size_t start = target.find("devices/");
    if (end == std::string::npos || start == std::string::npos || start > end) return {};
    return compose("/sys/", std::string_view(target).substr(start, end - start));
}

// A descriptor that is a VFIO device's, and not bound yet: the kernel refuses every ioctl before the bind
// with EINVAL, and other files don't know this one.
Result<void> check_unbound(const sys::Fd& fd) {
    const std::string what = compose("cannot use descriptor ", fd.number(), " as a VFIO device");
    abi::DeviceInfo info{};
    info.argsz = sizeof info;
    switch (const int result = fd.ioctl(abi::kDeviceGetInfo, &info)) {
        case -EINVAL:
            return {};
        case 0:
            return Error::refused(EBUSY, what, "it is bound already, or was opened through its group",
                                  "open /dev/vfio/devices/vfioN again, and pass that");
        default:
            return Error::refused(result == -ENOTTY ? ENODEV : -result, what,
                                  "it does not answer as one that VFIO opened",
                                  "pass a descriptor of /dev/vfio/devices/vfioN");
    }
}

}  // namespace

std::optional<VfToken> parse_vf_token(std::string_view text) {
    VfToken token{};
    std::size_t digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash != (text[i] == '-') || text.size() != 36) return std::nullopt;
        if (dash) continue;
        unsigned value = 0;
        if (std::from_chars(&text[i], &text[i] + 1, value, 16).ec != std::errc()) return std::nullopt;
        token[digits / 2] = static_cast<std::uint8_t>(token[digits / 2] * 16U + value);
        ++digits;
    }
    if (digits != 32) return std::nullopt;
    return token;
}

Result<Cdev> Cdev::open(std::string_view where) { return open(where, {}); }

Result<Cdev> Cdev::open(std::string_view where, Options options) {
    return guarded(Operation::vfio_open, [&]() -> Result<Cdev> {
        sys::Kernel& kernel = kernel_of(options);
        auto folder = device_folder(kernel, where);
        if (!folder) return folder.error();
        auto file = device_file(kernel, *folder);
        if (!file) return file.error();
        auto state = std::make_unique<State>();
        state->name = device_name(kernel, *folder);
        state->translated = !is_noiommu(kernel, *folder);
        state->folder = std::move(*folder);
        state->fd = sys::Fd(kernel, kernel.open(file->path.c_str(), O_RDWR));
        const auto what = [&] { return compose("cannot open ", file->path, " of ", state->name); };
        if (!state->fd) return failed(Operation::vfio_open, -state->fd.number(), what);
        sys::FileStatus status{};
        if (const int result = kernel.fstat(state->fd.number(), status); result < 0)
            return failed(Operation::vfio_open, -result, what);
        if (!S_ISCHR(status.mode) || status.device != file->number)
            return Error::refused(ENXIO, what(), "it is another device than the one that sysfs names",
                                  compose("make the node again with the number ", major(file->number), ":",
                                          minor(file->number)));
        return Cdev(std::move(state));
    });
}

Result<Cdev> Cdev::from(AdoptFd fd) { return from(fd, {}); }
Result<Cdev> Cdev::from(DupFd fd) { return from(fd, {}); }

Result<Cdev> Cdev::from(AdoptFd fd, Options options) {
    sys::Fd owned(kernel_of(options), fd.number);
    (void)::fcntl(fd.number, F_SETFD, FD_CLOEXEC);  // if it is none, what follows says so
    return guarded(Operation::vfio_open, [&]() -> Result<Cdev> {
        sys::Kernel& kernel = owned.kernel();
        sys::FileStatus status{};
        const int result = kernel.fstat(owned.number(), status);
        if (result < 0 || !S_ISCHR(status.mode))
            return Error::refused(
                result < 0 ? -result : ENODEV, compose("descriptor ", owned.number(), " is no VFIO device"),
                result < 0 ? "it is not open" : "it is no character device",
                "pass a descriptor that was opened on /dev/vfio/devices/vfioN, for reading and writing");
        if (auto unbound = check_unbound(owned); !unbound) return unbound.error();
        auto state = std::make_unique<State>();
        state->folder = folder_of(kernel, status.device);
        state->name = !options.name.empty()    ? options.name
                      : !state->folder.empty() ? device_name(kernel, state->folder)
                                               : compose("vfio descriptor ", owned.number());
        if (!state->folder.empty()) state->translated = !is_noiommu(kernel, state->folder);
        state->fd = std::move(owned);
        return Cdev(std::move(state));
    });
}

Result<Cdev> Cdev::from(DupFd fd, Options options) {
    sys::Kernel& kernel = kernel_of(options);
    const int copy = kernel.dup(fd.number);
    if (copy < 0)
        return failed(Operation::dup, -copy,
                      [&] { return compose("cannot duplicate descriptor ", fd.number); });
    return from(AdoptFd{copy}, std::move(options));
}

Cdev::Cdev(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Cdev::Cdev(Cdev&&) noexcept = default;
Cdev& Cdev::operator=(Cdev&&) noexcept = default;
Cdev::~Cdev() = default;

int Cdev::fd() const noexcept { return state_->fd.number(); }
const std::string& Cdev::name() const noexcept { return state_->name; }

Result<Device> Cdev::bind(const Backend& backend) && { return bind(backend, nullptr); }
Result<Device> Cdev::bind(const Backend& backend, const VfToken& token) && { return bind(backend, &token); }

Result<Device> Cdev::bind(const Backend& backend, const VfToken* token) {
    return guarded(Operation::vfio_bind, [&]() -> Result<Device> {
        const std::unique_ptr<State> state = std::move(state_);  // closed, whatever happens
        sys::Kernel& kernel = state->fd.kernel();
        if (&kernel != &backend.kernel())
            return Error::refused(EXDEV, compose("cannot bind ", state->name),
                                  "device and iommufd belong to two kernels", "open both on the same one");
        auto user = backend.connect(state->name);
        if (!user) return user.error();
        // From here on the node closes the device's file before the user leaves the iommufd.
        const auto node = std::make_shared<DeviceNode>(std::move(*user), std::move(state->fd), state->name,
                                                       state->translated);
        if (const int result = node->bind(token); result < 0)
            return explain_bind(kernel, state->name, state->folder, token != nullptr, -result);
        if (auto started = node->start(); !started) return started.error();
        return Device(node);
    });
}

}  // namespace iommufd::inline v0_1::vfio
