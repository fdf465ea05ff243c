// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What udev's hardware database calls a PCI device.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct udev;
struct udev_hwdb;

namespace iommufd::inline v0_1::cli {

class HardwareNames {
public:
    HardwareNames();

    // Of vendor and device in hexadecimal, "8086:10c9": "Intel Corporation 82576 Gigabit Network Connection". Empty: they aren't in the
    // database, or there is none.
    std::string name_of(std::string_view id) const;

private:
    struct Release {
        void operator()(udev* context) const;
        void operator()(udev_hwdb* database) const;
    };

    std::unique_ptr<udev, Release> context_;
    std::unique_ptr<udev_hwdb, Release> database_;
};

}  // namespace iommufd::inline v0_1::cli
