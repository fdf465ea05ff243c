// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a VMM does with its guest's memory and devices, without the guest: RAM at guest addresses, a device plugged and
// unplugged, memory taken from the guest and given back (virtio-mem), a device that is modelled in a thread and reads
// guest memory meanwhile, and the kernel asking for the device back.
//
//     hotplug          on the model kernel: any machine, no privilege
//     hotplug BDF      on this machine's kernel, with the edu device at that PCI address; it then waits until somebody
//                      runs `echo BDF > /sys/bus/pci/drivers/vfio-pci/unbind`
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>

#include "drivers/edu.hpp"
#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/device.hpp"
#include "iommufd/vfio/features.hpp"
#include "sys/kernel.hpp"

using namespace iommufd;

namespace {

// The guest's map of memory. A device's IOVA is the guest's physical address.
constexpr Iova kRam{0};
constexpr std::uint64_t kRamSize = 32_MiB;
constexpr Iova kPluggable{0x8000000}; // memory that comes and goes in blocks
constexpr std::uint64_t kPluggableSize = 32_MiB;
constexpr std::uint64_t kBlock = 2_MiB;
constexpr Iova kBar{0xe000000};

unsigned long long number(Iova iova) { return iova.value; }

class GuestMemory {
public:
    explicit GuestMemory(const Backend& backend)
        : space_(dma::Space::on(backend, {.id = "guest"}).value()),
          ram_(dma::Memory::memfd(kRamSize, {.label = "ram"}).value()),
          pluggable_(dma::Memory::memfd(kPluggableSize, {.label = "pluggable"}).value()) {
        // leave(): these belong to the space, as what a VMM's memory listener maps does, and are unmapped by range.
        space_.map(ram_, {.iova = kRam}).value().leave();
        // The granule makes it possible to unmap block by block what is mapped at once.
        space_.map(pluggable_, {.iova = kPluggable, .granule = kBlock}).value().leave();
    }

    const dma::Space& space() const { return space_; }
    std::byte* ram() const { return ram_.data(); }
    // A block of the pluggable memory, and where the guest sees it.
    std::byte* block(std::uint64_t index) const { return pluggable_.data() + index * kBlock; }
    static Iova address_of(std::uint64_t index) { return kPluggable + index * kBlock; }

    // The guest has given blocks back: first no device may reach them, then their memory is freed.
    void discard(std::uint64_t first, std::uint64_t count) {
        space_.unmap(*Range::of(address_of(first), count * kBlock)).value();
        if (::fallocate(pluggable_.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                        static_cast<off_t>(first * kBlock), static_cast<off_t>(count * kBlock)) < 0)
            std::perror("hotplug: the discarded memory stays allocated");
    }

    void plug(std::uint64_t first, std::uint64_t count) {
        space_
            .map(pluggable_, {.iova = address_of(first),
                              .offset = first * kBlock,
                              .length = count * kBlock,
                              .granule = kBlock})
            .value()
            .leave();
    }

private:
    dma::Space space_;
    dma::Memory ram_;
    dma::Memory pluggable_;
};

// A device of the guest's.
struct Device {
    vfio::Device device;
    dma::Attachment attachment;
    drivers::Edu driver; // the guest's driver, as far as this program has a guest
    std::optional<dma::Mapping> bar;
};

// Lets other devices reach BAR 0. Not every kernel, device and IOMMU can: the guest runs without it, so what fails is
// told and no more. The guest may turn memory decoding off and on; a VMM comes back here when it is on.
std::optional<dma::Mapping> map_bar(const vfio::Device& device, const dma::Space& space,
                                    sys::Kernel& kernel) {
    auto mapped = device.region(0).and_then([&](const vfio::Region& bar) {
        return vfio::export_dma_buf(device, 0, 0, bar.size()).and_then([&](int buffer) {
            auto memory = dma::Memory::dma_buf(buffer, bar.size(),
                                               {.label = "BAR 0 of " + device.name(), .kernel = &kernel});
            kernel.close(buffer); // the memory has a duplicate
            return std::move(memory).and_then(
                [&](const dma::Memory& of_bar) { return space.map(of_bar, {.iova = kBar}); });
        });
    });
    if (mapped) return std::move(*mapped);
    std::printf("warning: other devices can't reach BAR 0 of %s: %s\n", device.name().c_str(),
                mapped.error().line().c_str());
    return std::nullopt;
}

Device plug(const std::string& where, const Backend& backend, const GuestMemory& memory) {
    auto device = vfio::Cdev::open(where, {.kernel = &backend.kernel()}).value().bind(backend).value();
    device.set_dma_bits(drivers::Edu::kKind.dma_bits);
    // Everything that is mapped is replayed for it here, or the device is refused and nothing has changed.
    auto attachment = memory.space().attach(device).value();
    auto driver = drivers::Edu::start(device).value();
    auto bar = map_bar(device, memory.space(), backend.kernel());
    std::printf("plugged %s: %zu ranges are mapped for it\n", device.name().c_str(),
                memory.space().mappings().size());
    return {std::move(device), std::move(attachment), std::move(driver), std::move(bar)};
}

// A device that this program models itself. Its thread looks at one word of guest memory all the time, and never waits
// for those who map and unmap.
class ModelledDevice {
public:
    enum class Sees : int { nothing_yet, word, no_memory };

    ModelledDevice(const dma::Space& space, Iova where)
        : thread_(
              [this, where, reader = space.reader("modelled device")](const std::stop_token& stop) mutable {
                  while (!stop.stop_requested()) {
                      const dma::Guard guard = reader.enter(); // unmap waits for guards: keep them short
                      const auto bytes = guard.translate(where, sizeof(std::uint32_t), Access::read);
                      Sees now = Sees::no_memory;
                      if (bytes.size() == sizeof(std::uint32_t)) {
                          // The guest may write it at any moment.
                          std::atomic_ref word(*reinterpret_cast<std::uint32_t*>(bytes.data()));
                          last_ = word.load();
                          now = Sees::word;
                      }
                      if (sees_.exchange(now) != now) sees_.notify_all();
                  }
              }) {}

    // Returns when the thread has seen that.
    void wait_until(Sees wanted) const {
        for (Sees now = sees_; now != wanted; now = sees_) sees_.wait(now);
    }
    std::uint32_t last() const { return last_; }

private:
    std::atomic<Sees> sees_ = Sees::nothing_yet;
    std::atomic<std::uint32_t> last_ = 0;
    std::jthread thread_; // the last member: ends before what it uses
};

void write_word(std::byte* to, std::uint32_t value) {
    std::atomic_ref(*reinterpret_cast<std::uint32_t*>(to)).store(value);
}
std::uint32_t word(const std::byte* from) { return *reinterpret_cast<const volatile std::uint32_t*>(from); }

void run(sys::Kernel& kernel, const std::string& where, model::Machine* machine) {
    const auto backend = Backend::on(kernel).value();
    GuestMemory memory(backend);
    std::printf("the guest has 32 MiB at 0x%llx and 32 MiB at 0x%llx; no device, so /dev/iommu is %s\n",
                number(kRam), number(kPluggable), backend.is_open() ? "open" : "closed");

    // A plug that fails is the guest's news, not its end.
    try {
        (void)plug("0000:00:1e.7", backend, memory);
    } catch (const Failure& failure) {
        std::printf("not plugged: %s\n", failure.error().line().c_str());
    }

    std::optional<Device> device(plug(where, backend, memory));
    constexpr std::uint64_t kBlockInUse = 3;
    const Iova word_in_block = GuestMemory::address_of(kBlockInUse);
    write_word(memory.ram(), 4711);
    device->driver.copy(word_in_block, kRam, 4_KiB).value();
    ModelledDevice modelled(memory.space(), word_in_block);
    modelled.wait_until(ModelledDevice::Sees::word);
    std::printf("DMA wrote %u to 0x%llx; the modelled device reads %u there\n",
                word(memory.block(kBlockInUse)), number(word_in_block), modelled.last());

    memory.discard(kBlockInUse, 2);
    modelled.wait_until(ModelledDevice::Sees::no_memory);
    device->driver.copy(word_in_block, kRam, 4_KiB).value(); // edu doesn't notice that it reaches nothing
    std::printf("discarded 4 MiB at 0x%llx: the modelled device sees no memory there, and DMA leaves %u\n",
                number(word_in_block), word(memory.block(kBlockInUse)));

    memory.plug(kBlockInUse, 2);
    modelled.wait_until(ModelledDevice::Sees::word);
    device->driver.copy(word_in_block, kRam, 4_KiB).value();
    std::printf("plugged them again: DMA writes %u\n", word(memory.block(kBlockInUse)));

    // The VMM's event loop: the kernel asks for the device when somebody unbinds it from vfio-pci or pulls it out, and
    // waits until it is closed.
    if (machine) machine->request_device(where);
    std::printf("waiting until the kernel wants %s back\n", where.c_str());
    pollfd waiting{.fd = device->device.request_fd(), .events = POLLIN, .revents = 0};
    while (::poll(&waiting, 1, -1) < 0 && errno == EINTR) continue;
    device.reset(); // stops its driver, detaches and closes it, in whatever order
    std::printf("unplugged it: /dev/iommu is %s, the guest's memory is %s\n",
                backend.is_open() ? "open" : "closed",
                memory.space().mappings().front().state == dma::MappingState::planned ? "planned" : "mapped");

    if (!machine) return; // it has no VFIO driver any more
    device.emplace(plug(where, backend, memory));
    write_word(memory.ram(), 1147);
    device->driver.copy(word_in_block, kRam, 4_KiB).value();
    std::printf("in a new context, DMA writes %u\n", word(memory.block(kBlockInUse)));
}

} // namespace

int main(int argc, char** argv) try {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    if (argc > 1) {
        run(sys::host_kernel(), argv[1], nullptr);
        return 0;
    }
    model::Machine machine({.devices = {{.kind = model::DeviceKind::edu}}});
    run(machine.kernel(), machine.devices().front().name, &machine);
    if (machine.leaks().any()) {
        std::printf("left behind: %s\n", machine.leaks().text().c_str());
        return 1;
    }
    std::puts("nothing is left behind");
    return 0;
} catch (const Failure& failure) {
    std::fprintf(stderr, "hotplug: %s\n", failure.what());
    return 1;
}
