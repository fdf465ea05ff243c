// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/exec.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cli/account.hpp"
#include "cli/arguments.hpp"
#include "cli/fail.hpp"
#include "cli/launch.hpp"
#include "error/compose.hpp"
#include "host/device_nodes.hpp"
#include "iommufd/core/context.hpp"
#include "iommufd/vfio/device.hpp"
#include "sys/kernel.hpp"
#include "vfio/explain_bind.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

struct OpenDevice {
    std::string name;  // "0000:02:00.0"
    vfio::Cdev cdev;
};

// Descriptors 0 to 2 are the command's, even where whoever started us closed them.
void keep_standard_descriptors() {
    int fd = 0;
    while (fd >= 0 && fd <= STDERR_FILENO) fd = ::open("/dev/null", O_RDWR);
    if (fd > STDERR_FILENO) ::close(fd);
}

// That nobody else has it, that its group is the command's to have, and that an IOMMU stands before it.
Result<void> check_free(sys::Kernel& kernel, const std::string& folder, const std::string& name) {
    const std::string what = compose("cannot give ", name, " to the command");
    if (auto refusal = vfio::group_refuses(kernel, what, folder)) return *std::move(refusal);
    if (vfio::is_noiommu(kernel, folder))
        return Error::refused(
            EPERM, what,
            "there is no IOMMU before it, so the command would reach all of the machine's memory",
            "turn the IOMMU on in the firmware and on the kernel's command line");
    auto nodes = host::device_nodes(kernel, name);
    if (!nodes) return nodes.error();
    auto openers = host::openers(kernel, *nodes);
    if (!openers) return openers.error();
    if (!openers->empty())
        return Error::refused(EBUSY, what, host::text(openers->front()),
                              "end that program, or leave the device to it");
    return {};
}

Result<std::vector<OpenDevice>> open_devices(const std::vector<std::string>& devices) {
    sys::Kernel& kernel = sys::host_kernel();
    std::vector<OpenDevice> opened;
    for (const std::string& where : devices) {
        std::string name = full_name(where);
        if (std::ranges::find(opened, name, &OpenDevice::name) != opened.end())
            return Error::refused(EINVAL, compose("cannot give ", name, " to the command"),
                                  "it is named twice", "name each device once");
        auto cdev = vfio::Cdev::open(where);
        if (!cdev) return cdev.error();
        auto folder = vfio::device_folder(kernel, where);
        if (!folder) return folder.error();
        if (auto free = check_free(kernel, *folder, name); !free) return free.error();
        opened.push_back({.name = std::move(name), .cdev = std::move(*cdev)});
    }
    return opened;
}

// RLIMIT_MEMLOCK for the command. Whether pages count for it alone must be settled before the first object is made.
Result<void> set_limit(const core::Context& iommufd, std::optional<std::uint64_t> memlock) {
    const auto set = iommufd.set_rlimit_mode(core::RlimitMode::per_process);
    if (!set && !memlock)
        return set.error().because(
            "without CAP_SYS_RESOURCE locked memory is accounted per user, and no limit would be none for "
            "all of the user's processes",
            "say how much the command may lock: --memlock SIZE (a guest's memory and 64M)");
    if (!set)
        fmt::print(stderr,
                   "iommufd: warning: locked memory is accounted per user, so what his other processes lock "
                   "counts as well\n");
    const rlim_t limit = memlock ? *memlock : RLIM_INFINITY;
    const rlimit both{.rlim_cur = limit, .rlim_max = limit};
    if (::setrlimit(RLIMIT_MEMLOCK, &both) < 0) {
        const int code = errno;
        rlimit now{};
        ::getrlimit(RLIMIT_MEMLOCK, &now);
        return Error::refused(
            code,
            compose("cannot set RLIMIT_MEMLOCK to ", memlock ? size_text(limit) : std::string("unlimited")),
            compose("the hard limit is ",
                    now.rlim_max == RLIM_INFINITY ? std::string("unlimited") : size_text(now.rlim_max),
                    ", and more takes CAP_SYS_RESOURCE"),
            "run as root, raise the limit (LimitMEMLOCK= of the service), or give a smaller --memlock");
    }
    return {};
}

Result<void> give_up(const Account* account) {
    if (auto emptied = empty_bounding_set(); !emptied) return emptied.error();
    if (account)
        if (auto became = become(*account); !became) return became.error();
    return give_up_capabilities();
}

}  // namespace

int exec(const ExecArguments& arguments) {
    keep_standard_descriptors();
    std::optional<Account> account;
    if (!arguments.user.empty()) {
        auto found = find_account(arguments.user);
        if (!found) return fail(kNotPrepared, found.error());
        account = std::move(*found);
    }
    auto iommufd = core::Context::open();
    if (!iommufd) return fail(kNotPrepared, iommufd.error());
    auto devices = open_devices(arguments.devices);
    if (!devices) return fail(kNotPrepared, devices.error());
    std::vector<PassedDevice> passed;
    for (const OpenDevice& device : *devices) passed.push_back({device.name, device.cdev.fd()});
    auto words = name_descriptors(arguments.command, iommufd->fd(), passed);
    if (!words) return fail(kUsage, words.error());

    if (auto limited = set_limit(*iommufd, arguments.memlock); !limited)
        return fail(kNotPrepared, limited.error());
    const Account* const as = account ? &*account : nullptr;
    auto variables = environment(iommufd->fd(), passed, as);
    if (auto given_up = give_up(as); !given_up) return fail(kNotPrepared, given_up.error());
    // From here on they outlive this program.
    (void)::fcntl(iommufd->fd(), F_SETFD, 0);
    for (const PassedDevice& device : passed) (void)::fcntl(device.fd, F_SETFD, 0);
    return start(std::move(*words), std::move(variables));
}

}  // namespace iommufd::inline v0_1::cli
