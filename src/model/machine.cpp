// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/model/machine.hpp"

#include <algorithm>
#include <utility>

#include "model/context.hpp"
#include "model/edu.hpp"
#include "model/file_table.hpp"
#include "model/hardware.hpp"
#include "model/inside.hpp"
#include "model/ivshmem.hpp"
#include "model/model_kernel.hpp"
#include "model/nvme.hpp"
#include "model/safe_copy.hpp"
#include "model/sysfs.hpp"
#include "model/tree.hpp"
#include "model/vdpa_device.hpp"
#include "model/vfio_device.hpp"
#include "model/worker.hpp"

namespace iommufd::inline v0_1::model {

struct Machine::State {
    explicit State(const Description& description);
    ~State() { hardware.mappings.clear(); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    int open_iommufd(std::shared_ptr<File>& file) IOMMUFD_EXCLUDES(mutex);
    void add(const DeviceDescription& description);
    void add_pci(const DeviceDescription& description, const PciIdentity& identity,
                 const VfioDevice::Make& make);
    void add_vdpa(const DeviceDescription& description);
    std::string free_name(DeviceKind kind) const;
    bool has(const std::string& name) const;

    Hardware hardware;
    Tree tree;
    std::vector<Device> present;
    std::vector<std::unique_ptr<VfioDevice>> vfio;
    std::vector<std::unique_ptr<VdpaDevice>> vdpa;
    mutable sys::Mutex mutex;
    std::vector<std::weak_ptr<Context>> contexts IOMMUFD_GUARDED_BY(mutex);
    // From here on in the order of need: files go first, and then the worker, before what they use.
    Worker worker;
    FileTable files;
    ModelKernel kernel;
};

Machine::State::State(const Description& description)
    : hardware{.iommu = Iommu::of(description),
               .accountant = Accountant(description.memlock),
               .sys_resource = description.sys_resource,
               .sys_rawio = description.sys_rawio,
               .mock = description.mock,
               .kernel = description.kernel},
      kernel(tree, files, hardware.mappings) {
    sysfs::add_machine(tree, hardware.iommu,
                       [this](std::shared_ptr<File>& file) { return open_iommufd(file); });
    if (description.mock) sysfs::add_fault_injection(tree);
    for (DeviceDescription device : description.devices) {
        if (device.name.empty()) device.name = free_name(device.kind);
        if (!has(device.name)) add(device);
    }
}

bool Machine::State::has(const std::string& name) const {
    return std::ranges::any_of(present, [&](const Device& device) { return device.name == name; });
}

std::string Machine::State::free_name(DeviceKind kind) const {
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (unsigned number = 0;; ++number) {
        // PCI slots from 0x10 on; more devices than slots go on to the next bus.
        std::string name = kind != DeviceKind::vdpa_blk
                               ? std::string("0000:") + kDigits[number / 256] + kDigits[number / 16 % 16] +
                                     ":1" + kDigits[number % 16] + ".0"
                               : "blk" + std::to_string(number);
        if (!has(name)) return name;
    }
}

int Machine::State::open_iommufd(std::shared_ptr<File>& file) {
    const auto context = std::make_shared<Context>(hardware, files);
    file = std::make_shared<IommufdFile>(context);
    const sys::Lock lock(mutex);
    std::erase_if(contexts, [](const auto& entry) { return entry.expired(); });
    contexts.push_back(context);
    return 0;
}

void Machine::State::add(const DeviceDescription& description) {
    switch (description.kind) {
        case DeviceKind::edu:
            return add_pci(description, Edu::kIdentity, [&](PciDevice::Wiring wiring) {
                return std::make_unique<Edu>(wiring, description.dma_bits);
            });
        case DeviceKind::nvme:
            return add_pci(description, Nvme::kIdentity, [&](PciDevice::Wiring wiring) {
                return std::make_unique<Nvme>(wiring, description.disk_size);
            });
        case DeviceKind::vdpa_blk:
            return add_vdpa(description);
        case DeviceKind::ivshmem:
            return add_pci(description, Ivshmem::identity(description.memory_size),
                           [](PciDevice::Wiring) { return std::make_unique<Ivshmem>(); });
    }
}

void Machine::State::add_pci(const DeviceDescription& description, const PciIdentity& identity,
                             const VfioDevice::Make& make) {
    const auto number = static_cast<unsigned>(vfio.size());
    vfio.push_back(std::make_unique<VfioDevice>(hardware, worker, files, description, identity, make));
    const sysfs::VfioNode node{.address = description.name,
                               .identity = identity,
                               .number = number,
                               .group = number,
                               .iommu = hardware.iommu};
    for (const Sibling& sibling : description.siblings) sysfs::add_sibling(tree, sibling, number);
    sysfs::add_vfio_device(tree, node, [&device = *vfio.back()](std::shared_ptr<File>& file) {
        file = std::make_shared<VfioFile>(device);
        return 0;
    });
    present.push_back({.kind = description.kind, .name = description.name, .node = sysfs::node_of(node)});
}

void Machine::State::add_vdpa(const DeviceDescription& description) {
    const auto number = static_cast<unsigned>(vdpa.size());
    vdpa.push_back(std::make_unique<VdpaDevice>(hardware, worker, description));
    const sysfs::VdpaNode node{.name = description.name, .number = number};
    sysfs::add_vdpa_device(tree, node, [&device = *vdpa.back()](std::shared_ptr<File>& file) {
        auto opened = std::make_shared<VdpaFile>(device);
        if (const int rc = opened->open(); rc < 0) return rc;
        file = std::move(opened);
        return 0;
    });
    present.push_back({.kind = description.kind, .name = description.name, .node = sysfs::node_of(node)});
}

Machine::Machine(const Description& description) : state_(std::make_unique<State>(description)) {
    expect_faults();
}

Machine::~Machine() = default;

void Inside::place_regions(Machine& machine, std::uint64_t first) {
    machine.state_->hardware.first_region = first;
}

Leaks Inside::left(const Machine& machine) { return machine.state_->hardware.left.all(); }

Inside Inside::of(Machine& machine) {
    return {.tree = machine.state_->tree,
            .files = machine.state_->files,
            .accountant = machine.state_->hardware.accountant};
}

sys::Kernel& Machine::kernel() noexcept { return state_->kernel; }

std::vector<Device> Machine::devices() const { return state_->present; }

Leaks Machine::leaks() const {
    Leaks leaks{.descriptors = state_->files.open_descriptors(),
                .pinned = state_->hardware.accountant.pinned() * user::kPage};
    std::vector<std::shared_ptr<Context>> contexts;
    {
        const sys::Lock lock(state_->mutex);
        for (const auto& entry : state_->contexts)
            if (auto context = entry.lock()) contexts.push_back(std::move(context));
    }
    for (const auto& context : contexts) context->count(leaks);
    for (const auto& device : state_->vfio) leaks.devices += device->bound() ? 1 : 0;
    for (const auto& device : state_->vdpa) device->count(leaks);
    return leaks;
}

std::vector<BlockedDma> Machine::blocked_dma() const { return state_->hardware.blocked.first(); }

std::uint64_t Machine::blocked_dma_count() const { return state_->hardware.blocked.count(); }

bool Machine::request_device(std::string_view name) {
    const auto device =
        std::ranges::find_if(state_->vfio, [&](const auto& candidate) { return candidate->name() == name; });
    return device != state_->vfio.end() && (*device)->request();
}

std::string Leaks::text() const {
    std::string text;
    const auto add = [&](std::uint64_t count, std::string_view one) {
        if (count == 0) return;
        if (!text.empty()) text += ", ";
        text += std::to_string(count) + ' ';
        text += one;
        if (count > 1) text += 's';
    };
    add(descriptors, "descriptor");
    add(contexts, "context");
    add(objects, "object");
    add(mappings, "mapping");
    add(devices, "device");
    add(pinned, "pinned byte");
    return text.empty() ? "nothing" : text;
}

}  // namespace iommufd::inline v0_1::model
