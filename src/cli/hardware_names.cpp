// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/hardware_names.hpp"

#include <fmt/core.h>
#include <libudev.h>

#include <algorithm>

namespace iommufd::inline v0_1::cli {
namespace {

// As modaliases have it.
std::string digits(std::string_view hexadecimal) {
    std::string text(hexadecimal);
    std::ranges::transform(text, text.begin(),
                           [](char c) { return c >= 'a' && c <= 'f' ? char(c - 'a' + 'A') : c; });
    return fmt::format("{:0>8}", text);
}

}  // namespace

void HardwareNames::Release::operator()(udev* context) const { udev_unref(context); }
void HardwareNames::Release::operator()(udev_hwdb* database) const { udev_hwdb_unref(database); }

HardwareNames::HardwareNames()
    : context_(udev_new()), database_(context_ ? udev_hwdb_new(context_.get()) : nullptr) {}

std::string HardwareNames::name_of(std::string_view id) const {
    const std::size_t colon = id.find(':');
    if (!database_ || colon == std::string_view::npos) return {};
    const std::string alias =
        fmt::format("pci:v{}d{}sv", digits(id.substr(0, colon)), digits(id.substr(colon + 1)));
    std::string vendor;
    std::string model;
    for (udev_list_entry* entry = udev_hwdb_get_properties_list_entry(database_.get(), alias.c_str(), 0);
         entry != nullptr; entry = udev_list_entry_get_next(entry)) {
        const std::string_view key = udev_list_entry_get_name(entry);
        if (key == "ID_VENDOR_FROM_DATABASE") vendor = udev_list_entry_get_value(entry);
        if (key == "ID_MODEL_FROM_DATABASE") model = udev_list_entry_get_value(entry);
    }
    return vendor.empty() || model.empty() ? vendor + model : vendor + " " + model;
}

}  // namespace iommufd::inline v0_1::cli
