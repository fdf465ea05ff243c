// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The text form of a machine.
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

#include "error/compose.hpp"
#include "iommufd/model/machine.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::string_view kForm = "devices=edu,vdpa-blk:size=64M,memlock=1M";

Error refused(std::string what, std::string cause) {
    return Error::refused(EINVAL, std::move(what), std::move(cause), compose("write it like ", kForm));
}

// The text up to a separator, which is taken away with it.
std::string_view cut(std::string_view& text, char separator) {
    const std::size_t end = text.find(separator);
    const std::string_view piece = text.substr(0, end);
    text = end == text.npos ? std::string_view{} : text.substr(end + 1);
    return piece;
}

bool read_number(std::string_view text, std::uint64_t& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
}

// Bytes, or K, M, G, T of them.
bool read_size(std::string_view text, std::uint64_t& size) {
    constexpr std::string_view kUnits = "KMGT";
    const std::size_t unit = text.empty() ? text.npos : kUnits.find(text.back());
    const unsigned shift = unit == text.npos ? 0 : static_cast<unsigned>(10 * (unit + 1));
    if (shift != 0) text.remove_suffix(1);
    if (!read_number(text, size) || size > std::numeric_limits<std::uint64_t>::max() >> shift) return false;
    size <<= shift;
    return true;
}

bool read_switch(std::string_view text, bool& on) {
    on = text == "on";
    return on || text == "off";
}

bool is_pci_address(std::string_view name) {
    constexpr std::string_view kAddressForm = "hhhh:hh:hh.d";
    return name.size() == kAddressForm.size() &&
           std::ranges::equal(name, kAddressForm, [](char c, char form) {
               if (form == 'h') return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
               return form == 'd' ? c >= '0' && c <= '7' : c == form;
           });
}

bool is_plain_name(std::string_view name) {
    return !name.empty() && std::ranges::all_of(name, [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
               c == '_';
    });
}

Result<void> set(DeviceDescription& device, std::string_view key, std::string_view value) {
    const bool edu = device.kind == DeviceKind::edu;
    bool good = false;
    if (key == "name") {
        device.name = value;
        good = edu ? is_pci_address(value) : is_plain_name(value);
    } else if (key == "dma-bits" && edu) {
        std::uint64_t bits = 0;
        good = read_number(value, bits) && bits >= 12 && bits <= 64;
        device.dma_bits = static_cast<unsigned>(bits);
    } else if (key == "size" && !edu) {
        good = read_size(value, device.disk_size) && device.disk_size != 0 && device.disk_size % 512 == 0;
    } else if (key == "persist" && !edu) {
        good = read_switch(value, device.iotlb_persist);
    } else {
        return refused(compose("cannot give ", edu ? "edu" : "vdpa-blk", " the key '", key, "'"),
                       edu ? "its keys are name and dma-bits" : "its keys are name, size and persist");
    }
    if (good) return {};
    return refused(compose("cannot set '", key, "' to '", value, "'"),
                   "the value makes no sense for that key");
}

// A property of the machine that is on or off; null where the key names none.
bool* switch_of(Description& description, std::string_view key) {
    if (key == "sys-resource") return &description.sys_resource;
    if (key == "sys-rawio") return &description.sys_rawio;
    return key == "mock" ? &description.mock : nullptr;
}

Result<DeviceDescription> parse_device(std::string_view text) {
    const std::string_view kind = cut(text, ':');
    DeviceDescription device;
    if (kind == "edu")
        device.kind = DeviceKind::edu;
    else if (kind == "vdpa-blk")
        device.kind = DeviceKind::vdpa_blk;
    else
        return refused(compose("cannot model a '", kind, "'"), "the kinds of devices are edu and vdpa-blk");
    while (!text.empty()) {
        // A PCI address has colons, too.
        const std::string_view key = cut(text, '=');
        std::string_view value;
        if (key == "name" && device.kind == DeviceKind::edu && text.size() >= 12) {
            value = text.substr(0, 12);
            text.remove_prefix(12);
            if (text.starts_with(':')) text.remove_prefix(1);
        } else {
            value = cut(text, ':');
        }
        if (auto done = set(device, key, value); !done) return std::move(done).error();
    }
    return device;
}

}  // namespace

Description everything() {
    Description description;
    description.devices = {{.kind = DeviceKind::edu}, {.kind = DeviceKind::vdpa_blk}};
    return description;
}

Result<Description> parse(std::string_view text) {
    Description description;
    bool in_devices = false;
    while (!text.empty()) {
        std::string_view item = cut(text, ',');
        const std::string_view key = item.substr(0, item.find_first_of(":="));
        if (item.starts_with("devices=")) {
            cut(item, '=');
            in_devices = true;
            if (item.empty()) continue;  // none
        } else if (bool* const on = switch_of(description, key); on != nullptr || key == "memlock") {
            cut(item, '=');
            in_devices = false;
            std::uint64_t size = 0;
            if (on == nullptr ? !read_size(item, size) : !read_switch(item, *on))
                return refused(compose("cannot set '", key, "' to '", item, "'"),
                               "the value makes no sense for that key");
            if (key == "memlock") description.memlock = size;
            continue;
        } else if (!in_devices) {
            return refused(compose("cannot describe a machine by '", item, "'"),
                           "its keys are devices, memlock, sys-resource, sys-rawio and mock");
        }
        auto device = parse_device(item);
        if (!device) return std::move(device).error();
        const bool again =
            !device->name.empty() &&
            std::ranges::any_of(description.devices, [&](const auto& d) { return d.name == device->name; });
        if (again)
            return refused(compose("cannot have two devices named '", device->name, "'"), "names are unique");
        description.devices.push_back(*std::move(device));
    }
    return description;
}

}  // namespace iommufd::inline v0_1::model
