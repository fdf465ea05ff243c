// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/rebind.hpp"

#include <cerrno>

#include "cli/slow_write.hpp"
#include "error/compose.hpp"
#include "host/device_uses.hpp"
#include "host/first_line.hpp"
#include "vfio/group.hpp"
#include "vfio/sysfs.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

std::string driver_file(const std::string& driver, std::string_view file) {
    return compose("/sys/bus/pci/drivers/", driver, "/", file);
}

Write set_override(const std::string& device, const std::string& driver) {
    return {.path = compose(vfio::pci_folder(device), "/driver_override"), .text = driver};
}

}  // namespace

Driven driven(sys::Kernel& kernel, const std::string& device) {
    const std::string folder = vfio::pci_folder(device);
    std::string driver_override = host::first_line(kernel, compose(folder, "/driver_override"));
    if (driver_override == "(null)") driver_override.clear();
    return {.driver = vfio::link_target_name(kernel, folder, "driver"),
            .driver_override = std::move(driver_override),
            .by_vfio = vfio::is_of_vfio(kernel, folder)};
}

std::string text(const Write& write) {
    return compose("echo ", write.text.empty() ? "''" : write.text, " > ", write.path);
}

std::vector<Write> writes_to_bind(const std::string& device, const Driven& now, const std::string& driver) {
    if (now.driver == driver) return {};
    std::vector<Write> writes = {set_override(device, driver)};
    if (!now.driver.empty()) writes.push_back({.path = driver_file(now.driver, "unbind"), .text = device});
    writes.push_back({.path = driver_file(driver, "bind"), .text = device});
    return writes;
}

std::vector<Write> writes_to_unbind(const std::string& device, const Driven& now,
                                    const std::optional<BindRecord>& record) {
    std::vector<Write> writes;
    const BindRecord wanted = record.value_or(BindRecord());
    if (now.driver_override != wanted.driver_override)
        writes.push_back(set_override(device, wanted.driver_override));
    if (record && now.driver == record->driver) return writes;
    if (!now.driver.empty()) writes.push_back({.path = driver_file(now.driver, "unbind"), .text = device});
    if (!record)
        writes.push_back({.path = "/sys/bus/pci/drivers_probe", .text = device});
    else if (!record->driver.empty())
        writes.push_back({.path = driver_file(record->driver, "bind"), .text = device});
    return writes;
}

Result<void> check_taken(const std::string& device, const Driven& now,
                         const std::optional<BindRecord>& record) {
    if (record || now.by_vfio) return {};
    return Error::refused(ENODEV, compose("cannot give ", device, " back"),
                          compose(now.driver.empty() ? "no driver" : now.driver,
                                  " has it, which is none of VFIO's, and nobody took it by `iommufd bind`"),
                          "name a device that `iommufd bind` took");
}

Result<void> Rebinder::perform(const std::string& what, const std::string& device,
                               const std::vector<Write>& writes) const {
    // Looked at before: a node is gone as soon as its driver has been asked to let go.
    const auto uses = host::device_uses(kernel_, device);
    for (const Write& write : writes) {
        const int result = write_within(limit_, kernel_, write.path, write.text + "\n");
        if (result >= 0) continue;
        if (result == -ETIMEDOUT) {
            const std::string who =
                uses && !uses->empty() ? host::list_uses(*uses) : std::string("nobody says why");
            return Error::refused(
                ETIMEDOUT, what,
                compose("within ", limit_.count() / 1000, " s its driver didn't let go of it: ", who),
                "end that use, which the kernel goes on waiting for, and run this again");
        }
        std::string next = "look at `dmesg | tail`";
        if (result == -ENOENT)
            next = compose("load the driver: modprobe ",
                           vfio::base_name(write.path.substr(0, write.path.rfind('/'))));
        if (result == -EACCES || result == -EPERM) next = "run as root, where /sys is writable";
        return Error::refused(-result, what, compose("`", text(write), "` fails"), std::move(next));
    }
    return {};
}

Result<void> Rebinder::bind(const std::string& device, const std::string& driver) const {
    const Driven now = driven(kernel_, device);
    if (now.driver == driver) return {};
    const auto before = records_.find(device);
    // A device without a driver, or with ours as its override, is half way: what is recorded is older, and true.
    const bool half_way = before && (now.driver.empty() || now.driver_override == driver);
    if (!half_way)
        if (auto saved =
                records_.save(device, {.driver = now.driver, .driver_override = now.driver_override});
            !saved)
            return saved.error();
    auto done =
        perform(compose("cannot bind ", device, " to ", driver), device, writes_to_bind(device, now, driver));
    if (done || done.error().code() == ETIMEDOUT) return done;
    if (auto back = unbind(device); !back)
        return done.error().because(
            compose(done.error().cause(), "; and it can't be given back: ", back.error().cause()),
            std::string(back.error().next_step()));
    return done;
}

Result<void> Rebinder::unbind(const std::string& device) const {
    const Driven now = driven(kernel_, device);
    const auto record = records_.find(device);
    if (auto taken = check_taken(device, now, record); !taken) return taken;
    auto done =
        perform(compose("cannot give ", device, " back"), device, writes_to_unbind(device, now, record));
    if (!done) return done;
    return records_.remove(device);
}

}  // namespace iommufd::inline v0_1::cli
