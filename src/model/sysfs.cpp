// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/sysfs.hpp"

#include <sys/sysmacros.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <utility>

namespace iommufd::inline v0_1::model::sysfs {
namespace {

constexpr const char* kPciRoot = "/sys/devices/pci0000:00/";

// The numbers that the tried kernel gives out.
constexpr unsigned kMiscMajor = 10;
constexpr unsigned kIommuMinor = 257;
constexpr unsigned kVfioMajor = 248;
constexpr unsigned kVdpaMajor = 247;

std::string numbers(dev_t device) {
    return std::to_string(::major(device)) + ':' + std::to_string(::minor(device));
}

template <class... Values>
std::string format(const char* pattern, Values... values) {
    std::array<char, 128> text{};
    (void)std::snprintf(text.data(), text.size(), pattern, values...);
    return text.data();
}

// A node in /dev, the folder that says its number, and the link from the number to the folder.
void add_node(Tree& tree, const std::string& node, const std::string& folder, dev_t device,
              Tree::Opener open) {
    tree.node(node, device, std::move(open));
    tree.file(folder + "/dev", numbers(device) + '\n');
    tree.file(folder + "/uevent",
              format("MAJOR=%u\nMINOR=%u\nDEVNAME=%s\n", ::major(device), ::minor(device), node.c_str() + 5));
    tree.link("/sys/dev/char/" + numbers(device), "../.." + folder.substr(4));
}

constexpr const char* kNoResource = "0x0000000000000000 0x0000000000000000 0x0000000000000000\n";

// Linux's IORESOURCE_*: memory, of 64 bits, which can be prefetched.
unsigned resource_flags(const PciBar& bar) {
    return 0x00040200U | (bar.wide ? 0x00100004U : 0) | (bar.prefetchable ? 0x00002008U : 0);
}

constexpr std::uint64_t kInterruptWindow = 0xfee00000;
constexpr std::uint64_t kSoftwareWindow = 0x8000000;

// Where messages of interrupts go to.
bool is_message_window(const IovaRange& range, IommuKind iommu) {
    return range.first == (iommu == IommuKind::smmuv3 ? kSoftwareWindow : kInterruptWindow);
}

std::string name_of(IommuKind iommu) {
    switch (iommu) {
        case IommuKind::intel:
            return "dmar0";
        case IommuKind::virtio:
            return "virtio0";
        case IommuKind::smmuv3:
            return "smmu3.0x0000000009050000";
        case IommuKind::amd:
            return "ivhd0";
    }
    return {};
}

}  // namespace

std::string node_of(const VfioNode& node) { return "/dev/vfio/devices/vfio" + std::to_string(node.number); }
std::string node_of(const VdpaNode& node) { return "/dev/vhost-vdpa-" + std::to_string(node.number); }

void add_machine(Tree& tree, const Iommu& iommu, Tree::Opener open_iommufd) {
    for (const char* path :
         {"/dev/iommu", "/dev/vfio", "/dev/vhost-vdpa-", "/sys/bus/pci", "/sys/bus/vdpa", "/sys/class/iommu",
          "/sys/class/misc/iommu", "/sys/class/vfio-dev", "/sys/dev/char", "/sys/devices/pci0000:00",
          "/sys/devices/vdpa", "/sys/devices/virtual/iommu", "/sys/devices/virtual/misc/iommu",
          "/sys/kernel/iommu_groups"})
        tree.cover(path);
    for (const char* folder : {"/dev/vfio/devices", "/sys/bus/pci/devices", "/sys/bus/pci/drivers/vfio-pci",
                               "/sys/bus/vdpa/devices", "/sys/bus/vdpa/drivers/vhost_vdpa",
                               "/sys/class/vfio-dev", "/sys/kernel/iommu_groups"})
        tree.folder(folder);
    const std::string name = name_of(iommu.kind);
    tree.folder("/sys/devices/virtual/iommu/" + name + "/devices");
    add_node(tree, "/dev/iommu", "/sys/devices/virtual/misc/iommu", ::makedev(kMiscMajor, kIommuMinor),
             std::move(open_iommufd));
    tree.link("/sys/class/misc/iommu", "../../devices/virtual/misc/iommu");
    tree.link("/sys/class/iommu/" + name, "../../devices/virtual/iommu/" + name);
    if (iommu.kind == IommuKind::amd) {
        const std::string folder = "/sys/devices/virtual/iommu/" + name + "/amd-iommu/";
        tree.file(folder + "cap", "80b000f\n");
        tree.file(folder + "features", format("%" PRIx64 ":0\n", iommu.amd_features));
    }
    if (iommu.kind != IommuKind::intel) return;
    tree.file("/sys/devices/virtual/iommu/dmar0/intel-iommu/cap", format("%" PRIx64 "\n", iommu.vtd.cap));
    tree.file("/sys/devices/virtual/iommu/dmar0/intel-iommu/ecap", format("%" PRIx64 "\n", iommu.vtd.ecap));
    tree.file("/sys/devices/virtual/iommu/dmar0/intel-iommu/version", "1:0\n");
}

void add_fault_injection(Tree& tree) {
    tree.cover("/sys/kernel/debug");
    for (const std::string point : {"failslab", "fail_iommufd"}) {
        const std::string folder = "/sys/kernel/debug/" + point + '/';
        tree.setting(folder + "probability", "0\n");
        tree.setting(folder + "interval", "1\n");
        tree.setting(folder + "times", "1\n");
        tree.setting(folder + "space", "0\n");
        tree.setting(folder + "verbose", "2\n");
        tree.setting(folder + "task-filter", "N\n");
    }
    tree.setting("/sys/kernel/debug/failslab/ignore-gfp-wait", "Y\n");
    tree.setting("/sys/kernel/debug/failslab/cache-filter", "N\n");
}

void add_vfio_device(Tree& tree, const VfioNode& node, Tree::Opener open) {
    const std::string folder = kPciRoot + node.address;
    const PciIdentity& id = node.identity;
    tree.file(folder + "/vendor", format("0x%04x\n", id.vendor));
    tree.file(folder + "/device", format("0x%04x\n", id.device));
    tree.file(folder + "/subsystem_vendor", format("0x%04x\n", id.subsystem_vendor));
    tree.file(folder + "/subsystem_device", format("0x%04x\n", id.subsystem_device));
    tree.file(folder + "/class", format("0x%06x\n", id.class_code));
    tree.file(folder + "/revision", format("0x%02x\n", id.revision));
    tree.file(folder + "/numa_node", "-1\n");
    tree.file(folder + "/irq", "10\n");
    tree.file(folder + "/enable", "0\n");
    tree.file(folder + "/driver_override", "vfio-pci\n");
    std::string resources;
    for (const PciBar& bar : id.bars)
        resources += bar.size == 0 ? kNoResource
                                   : format("0x%016llx 0x%016llx 0x%016x\n", bar.address,
                                            bar.address + bar.size - 1, resource_flags(bar));
    for (std::size_t other = id.bars.size(); other < 13; ++other) resources += kNoResource;
    tree.file(folder + "/resource", resources);
    tree.file(
        folder + "/modalias",
        format("pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X\n", id.vendor, id.device, id.subsystem_vendor,
               id.subsystem_device, id.class_code >> 16, id.class_code >> 8 & 0xff, id.class_code & 0xff));
    tree.file(folder + "/uevent",
              format("DRIVER=vfio-pci\nPCI_CLASS=%X\nPCI_ID=%04X:%04X\nPCI_SUBSYS_ID=%04X:%04X\n",
                     id.class_code, id.vendor, id.device, id.subsystem_vendor, id.subsystem_device) +
                  "PCI_SLOT_NAME=" + node.address + '\n');
    tree.link(folder + "/driver", "../../../bus/pci/drivers/vfio-pci");
    tree.link(folder + "/subsystem", "../../../bus/pci");
    const std::string iommu = name_of(node.iommu.kind);
    tree.link(folder + "/iommu", "../../virtual/iommu/" + iommu);
    tree.link("/sys/bus/pci/devices/" + node.address, "../../../devices/pci0000:00/" + node.address);
    tree.link("/sys/bus/pci/drivers/vfio-pci/" + node.address,
              "../../../../devices/pci0000:00/" + node.address);

    const std::string group = "/sys/kernel/iommu_groups/" + std::to_string(node.group);
    tree.file(group + "/type", "DMA\n");
    std::string reserved;
    for (const IovaRange& range : node.iommu.reserved)
        reserved += format("0x%016llx 0x%016llx %s\n", range.first, range.last,
                           is_message_window(range, node.iommu.kind) ? "msi" : "reserved");
    tree.file(group + "/reserved_regions", reserved);
    tree.link(group + "/devices/" + node.address, "../../../../devices/pci0000:00/" + node.address);
    tree.link(folder + "/iommu_group", "../../../kernel/iommu_groups/" + std::to_string(node.group));
    tree.link("/sys/devices/virtual/iommu/" + iommu + "/devices/" + node.address,
              "../../../../pci0000:00/" + node.address);

    const std::string vfio = "vfio" + std::to_string(node.number);
    add_node(tree, node_of(node), folder + "/vfio-dev/" + vfio, ::makedev(kVfioMajor, node.number),
             std::move(open));
    tree.link(folder + "/vfio-dev/" + vfio + "/device", "../../../" + node.address);
    tree.link(folder + "/vfio-dev/" + vfio + "/subsystem", "../../../../../class/vfio-dev");
    tree.link("/sys/class/vfio-dev/" + vfio,
              "../../devices/pci0000:00/" + node.address + "/vfio-dev/" + vfio);
}

void add_sibling(Tree& tree, const Sibling& sibling, unsigned group) {
    const std::string folder = kPciRoot + sibling.address;
    tree.file(folder + "/vendor", "0x8086\n");
    tree.file(folder + "/device", "0x293e\n");
    tree.file(folder + "/class", "0x040300\n");
    tree.file(folder + "/uevent", "PCI_SLOT_NAME=" + sibling.address + '\n');
    tree.link(folder + "/subsystem", "../../../bus/pci");
    tree.link("/sys/bus/pci/devices/" + sibling.address, "../../../devices/pci0000:00/" + sibling.address);
    if (!sibling.driver.empty()) {
        tree.link(folder + "/driver", "../../../bus/pci/drivers/" + sibling.driver);
        tree.link("/sys/bus/pci/drivers/" + sibling.driver + '/' + sibling.address,
                  "../../../../devices/pci0000:00/" + sibling.address);
    }
    const std::string number = std::to_string(group);
    tree.link("/sys/kernel/iommu_groups/" + number + "/devices/" + sibling.address,
              "../../../../devices/pci0000:00/" + sibling.address);
    tree.link(folder + "/iommu_group", "../../../kernel/iommu_groups/" + number);
}

void add_vdpa_device(Tree& tree, const VdpaNode& node, Tree::Opener open) {
    const std::string folder = "/sys/devices/vdpa/" + node.name;
    const std::string vhost = "vhost-vdpa-" + std::to_string(node.number);
    add_node(tree, node_of(node), folder + '/' + vhost, ::makedev(kVdpaMajor, node.number), std::move(open));
    tree.file(folder + "/driver_override", "(null)\n");
    tree.file(folder + "/uevent", "DRIVER=vhost_vdpa\n");
    tree.link(folder + "/driver", "../../../bus/vdpa/drivers/vhost_vdpa");
    tree.link(folder + "/subsystem", "../../../bus/vdpa");
    tree.link("/sys/bus/vdpa/devices/" + node.name, "../../../devices/vdpa/" + node.name);
    tree.link("/sys/bus/vdpa/drivers/vhost_vdpa/" + node.name, "../../../../devices/vdpa/" + node.name);
}

}  // namespace iommufd::inline v0_1::model::sysfs
