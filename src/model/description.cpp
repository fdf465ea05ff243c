// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The text form of a machine.
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <limits>
#include <string>
#include <utility>

#include "error/compose.hpp"
#include "iommufd/model/machine.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::string_view kForm = "devices=edu,nvme:size=64M,vdpa-blk,memlock=1M";

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

// Text forms of the kinds, and what each can be told.
struct KindFacts {
    DeviceKind kind;
    std::string_view name;
    std::string_view keys;
    bool pci;
    bool disk;
};
constexpr KindFacts kKinds[] = {
    {.kind = DeviceKind::edu,
     .name = "edu",
     .keys = "name, dma-bits, page-requests and doorbells",
     .pci = true,
     .disk = false},
    {.kind = DeviceKind::nvme, .name = "nvme", .keys = "name, size and doorbells", .pci = true, .disk = true},
    {.kind = DeviceKind::vdpa_blk,
     .name = "vdpa-blk",
     .keys = "name, size and persist",
     .pci = false,
     .disk = true},
    {.kind = DeviceKind::ivshmem, .name = "ivshmem", .keys = "name and size", .pci = true, .disk = false}};

constexpr std::uint64_t kMostMemory = 16ULL << 30;

bool is_bar_size(std::uint64_t size) {
    return std::has_single_bit(size) && size >= 4096 && size <= kMostMemory;
}

const KindFacts& facts_of(DeviceKind kind) { return *std::ranges::find(kKinds, kind, &KindFacts::kind); }

bool has_doorbells(DeviceKind kind) { return kind == DeviceKind::edu || kind == DeviceKind::nvme; }

bool is_name_of(const KindFacts& kind, std::string_view name) {
    return kind.pci ? is_pci_address(name) : is_plain_name(name);
}

Result<void> set(DeviceDescription& device, std::string_view key, std::string_view value) {
    const KindFacts& kind = facts_of(device.kind);
    bool good = false;
    if (key == "name") {
        device.name = value;
        good = is_name_of(kind, value);
    } else if (key == "dma-bits" && device.kind == DeviceKind::edu) {
        std::uint64_t bits = 0;
        good = read_number(value, bits) && bits >= 12 && bits <= 64;
        device.dma_bits = static_cast<unsigned>(bits);
    } else if (key == "page-requests" && device.kind == DeviceKind::edu) {
        good = read_switch(value, device.page_requests);
    } else if (key == "doorbells" && has_doorbells(device.kind)) {
        device.polls_doorbells = value == "poll";
        good = device.polls_doorbells || value == "trap";
    } else if (key == "size" && kind.disk) {
        good = read_size(value, device.disk_size) && device.disk_size != 0 && device.disk_size % 512 == 0;
    } else if (key == "size" && device.kind == DeviceKind::ivshmem) {
        good = read_size(value, device.memory_size) && is_bar_size(device.memory_size);
    } else if (key == "persist" && device.kind == DeviceKind::vdpa_blk) {
        good = read_switch(value, device.iotlb_persist);
    } else {
        return refused(compose("cannot give ", kind.name, " the key '", key, "'"),
                       compose("its keys are ", kind.keys));
    }
    if (good) return {};
    return refused(compose("cannot set '", key, "' to '", value, "'"),
                   "the value makes no sense for that key");
}

// A property of the machine that is on or off; null where the key names none.
bool* switch_of(Description& description, std::string_view key) {
    if (key == "dirty-tracking") return &description.dirty_tracking;
    if (key == "nesting") return &description.nesting;
    if (key == "unsafe-interrupts") return &description.unsafe_interrupts;
    if (key == "sys-resource") return &description.sys_resource;
    if (key == "sys-rawio") return &description.sys_rawio;
    return key == "mock" ? &description.mock : nullptr;
}

bool set(Description& description, std::string_view key, std::string_view value) {
    if (bool* const on = switch_of(description, key); on != nullptr) return read_switch(value, *on);
    if (key == "kernel") return read_version(value, description.kernel);
    if (key == "memlock") {
        std::uint64_t size = 0;
        if (!read_size(value, size)) return false;
        description.memlock = size;
        return true;
    }
    if (!read_iommu(value, description.iommu)) return false;
    description.iova_ranges = ranges_of(description.iommu);
    description.page_sizes = page_sizes_of(description.iommu);
    return true;
}

Result<DeviceDescription> parse_device(std::string_view text) {
    const std::string_view kind = cut(text, ':');
    DeviceDescription device;
    if (!read_kind(kind, device.kind))
        return refused(compose("cannot model a '", kind, "'"),
                       "the kinds of devices are edu, nvme, vdpa-blk and ivshmem");
    while (!text.empty()) {
        // A PCI address has colons, too.
        const std::string_view key = cut(text, '=');
        std::string_view value;
        if (key == "name" && facts_of(device.kind).pci && text.size() >= 12) {
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

bool read_version(std::string_view text, KernelVersion& version) {
    std::uint64_t major = 0;
    std::uint64_t minor = 0;
    const std::string_view first = cut(text, '.');
    constexpr std::uint64_t kMost = 1000;
    if (!read_number(first, major) || !read_number(text, minor) || major > kMost || minor > kMost)
        return false;
    version = {.major = static_cast<unsigned>(major), .minor = static_cast<unsigned>(minor)};
    return true;
}

std::string_view text(DeviceKind kind) { return facts_of(kind).name; }

bool read_iommu(std::string_view text, IommuKind& kind) {
    constexpr std::pair<std::string_view, IommuKind> kNames[] = {{"intel", IommuKind::intel},
                                                                 {"virtio", IommuKind::virtio},
                                                                 {"smmuv3", IommuKind::smmuv3},
                                                                 {"amd", IommuKind::amd}};
    const auto* const found = std::ranges::find(kNames, text, &std::pair<std::string_view, IommuKind>::first);
    if (found == std::end(kNames)) return false;
    kind = found->second;
    return true;
}

std::vector<IovaRange> ranges_of(IommuKind kind) {
    switch (kind) {
        case IommuKind::virtio:
            return {{0, 0xfedfffff}, {0xfef00000, 0x7fffffffff}};  // 39 bits
        case IommuKind::smmuv3:
            return {{0, 0x7ffffff}, {0x8100000, 0xffffffffffff}};  // without Linux's window for messages
        case IommuKind::amd:
            // Without the interrupt window, and what HyperTransport has for itself.
            return {{0, 0xfedfffff},
                    {0xfef00000, 0xfcffffffff},
                    {0x10000000000, std::numeric_limits<std::uint64_t>::max()}};
        case IommuKind::intel:
            break;
    }
    return Description().iova_ranges;
}

std::uint64_t page_sizes_of(IommuKind kind) {
    if (kind != IommuKind::amd) return Description().page_sizes;
    constexpr std::uint64_t kBroken = 1ULL << 39;  // by an erratum
    return ((1ULL << 48) - 4096) & ~kBroken;
}

bool read_kind(std::string_view text, DeviceKind& kind) {
    const auto* const found = std::ranges::find(kKinds, text, &KindFacts::name);
    if (found == std::end(kKinds)) return false;
    kind = found->kind;
    return true;
}

Result<void> check(const Description& description) {
    constexpr KernelVersion kFirst{.major = 6, .minor = 6};
    constexpr KernelVersion kLast{.major = 7, .minor = 3};
    const auto unfit = [](std::string cause) {
        return refused("cannot make that machine", std::move(cause));
    };
    const auto hex = [](std::uint64_t value) { return compose(Hex{value}); };
    if (description.kernel < kFirst || description.kernel > kLast)
        return unfit(compose("Linux ", description.kernel.major, ".", description.kernel.minor,
                             " is not played: VFIO has cdevs from 6.6 on, and the model knows 7.3"));
    if (description.mock && description.kernel != kLast)
        return unfit("the kernel's mock is that of Linux 7.3 only");
    if (description.nesting && description.iommu != IommuKind::intel)
        return unfit("only an intel IOMMU nests");
    if (description.page_sizes == 0 || description.page_sizes % 4096 != 0 ||
        description.page_sizes >> 48 != 0)
        return unfit("page sizes are powers of two from 4K to 128T, and there is one at least");
    if (description.iova_ranges.empty()) return unfit("no IOVA is usable");
    std::uint64_t next = 0;
    for (const IovaRange& range : description.iova_ranges) {
        const bool ascending = &range == description.iova_ranges.data() || (range.first >= next && next != 0);
        if (!ascending || range.first > range.last || range.first % 4096 != 0 || range.last % 4096 != 4095)
            return unfit(compose("the IOVAs ", hex(range.first), " to ", hex(range.last),
                                 " are not whole pages, or do not lie behind those before"));
        next = range.last + 1;
    }
    std::vector<std::string_view> names;
    for (const DeviceDescription& device : description.devices) {
        const KindFacts& kind = facts_of(device.kind);
        if (!device.name.empty()) names.emplace_back(device.name);
        if (!device.name.empty() && !is_name_of(kind, device.name))
            return unfit(compose("'", device.name, "' names no ", kind.pci ? "PCI device" : "vDPA device"));
        if (device.kind == DeviceKind::edu && (device.dma_bits < 12 || device.dma_bits > 64))
            return unfit("edu has 12 to 64 DMA bits");
        if (device.page_requests && device.kind != DeviceKind::edu) return unfit("only edu asks for pages");
        if (device.page_requests && description.iommu == IommuKind::smmuv3)
            return unfit("Linux takes no page requests of PCI devices behind an SMMUv3");
        if (device.polls_doorbells && !has_doorbells(device.kind))
            return unfit("only edu and nvme have doorbells to poll");
        if (kind.disk && (device.disk_size == 0 || device.disk_size % 512 != 0))
            return unfit("a disk's size is a multiple of 512");
        if (device.kind == DeviceKind::ivshmem && !is_bar_size(device.memory_size))
            return unfit("an ivshmem's size is a power of two from 4K to 16G");
        if (!kind.pci && !device.siblings.empty()) return unfit("a vDPA device is in no IOMMU group");
        for (const Sibling& sibling : device.siblings) {
            names.emplace_back(sibling.address);
            if (!is_pci_address(sibling.address))
                return unfit(compose("'", sibling.address, "' is no PCI address"));
            if (!sibling.driver.empty() && !is_plain_name(sibling.driver))
                return unfit(compose("'", sibling.driver, "' is no driver's name"));
        }
    }
    std::ranges::sort(names);
    if (const auto again = std::ranges::adjacent_find(names); again != names.end())
        return refused(compose("cannot have two devices named '", *again, "'"), "names are unique");
    return {};
}

Description everything() {
    Description description;
    description.devices = {
        {.kind = DeviceKind::edu}, {.kind = DeviceKind::nvme}, {.kind = DeviceKind::vdpa_blk}};
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
        } else if (bool* const on = switch_of(description, key);
                   on != nullptr || key == "memlock" || key == "kernel" || key == "iommu") {
            cut(item, '=');
            in_devices = false;
            if (!set(description, key, item))
                return refused(compose("cannot set '", key, "' to '", item, "'"),
                               "the value makes no sense for that key");
            continue;
        } else if (!in_devices) {
            return refused(
                compose("cannot describe a machine by '", item, "'"),
                "its keys are devices, memlock, kernel, iommu, dirty-tracking, nesting, unsafe-interrupts, "
                "sys-resource, sys-rawio and mock");
        }
        auto device = parse_device(item);
        if (!device) return std::move(device).error();
        description.devices.push_back(*std::move(device));
    }
    if (auto sound = check(description); !sound) return std::move(sound).error();
    return description;
}

}  // namespace iommufd::inline v0_1::model
