// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a VMM does for a guest that has an SMMUv3: the guest's tables, commands, events and page requests, by four
// functions which the VMM calls where it emulates the SMMU.
//
//     guest_iommu [ADDRESS]      a device that VFIO has (0000:02:00.0); without it the model's, which can't nest
//
// Here the guest is played by one stream table entry and one command. It has never run on an SMMUv3; elsewhere it ends with
// the error that says why.
#include <cstdio>

#include "iommufd/core/hw_info.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/model/machine.hpp"
#include "iommufd/vfio/device.hpp"
#include "iommufd/viommu/batch.hpp"
#include "iommufd/viommu/events.hpp"
#include "iommufd/viommu/page_requests.hpp"
#include "iommufd/viommu/smmuv3.hpp"

using namespace iommufd;
namespace smmuv3 = viommu::smmuv3;

namespace {

constexpr std::uint32_t kStream = 0x10; // the guest's number of the device

// The SMMU of a guest with one device.
class GuestSmmu {
public:
    // `guest` is in a space, which has the guest's memory mapped.
    GuestSmmu(const core::Context& context, const viommu::GuestDevice& guest)
        : guest_(guest),
          hardware_(smmuv3::hardware(core::hw_info(context, guest.id()).value()).value()),
          slice_(guest.viommu({.label = "smmu0", .type = smmuv3::kViommu}).value()),
          vdevice_(guest.vdevice(slice_, kStream).value()), // before a table that translates
          events_(viommu::Events<smmuv3::Event>::alloc(context, slice_).value()),
          requests_(viommu::PageRequests::alloc(context).value()) {}

    // The guest has written the device's entry, and said so by CFGI_STE. On failure the old one stays.
    Result<void> configure(const smmuv3::StreamTableEntry& entry) {
        const auto decoded = smmuv3::decode(entry);
        if (!decoded) return decoded.error(); // C_BAD_STE for the guest
        return guest_.install(decoded->table, {.viommu = &slice_, .fault_queue = &requests_.queue()});
    }

    // A command of the guest's queue. An error is CERROR_ILL.
    Result<void> command(const smmuv3::CommandWords& words, const smmuv3::StreamTableEntry& entry) {
        const auto request = smmuv3::decode(words, hardware_);
        if (!request) return request.error();
        using Kind = smmuv3::Request::Kind;
        switch (request->kind) {
            case Kind::forward:
                if (batch_.add(request->command)) return {};
                if (auto flushed = batch_.flush(slice_); !flushed) return flushed;
                (void)batch_.add(request->command); // it has room now
                return {};
            case Kind::sync:
                return batch_.flush(slice_); // what is to blame for an error: batch_.entries()[batch_.bad()]
            case Kind::stream_entries:
                if (kStream < request->first || kStream > request->last) return {};
                if (auto flushed = batch_.flush(slice_); !flushed) return flushed;
                return configure(entry);
            case Kind::page_response:
            case Kind::nothing:
                return {};
        }
        return {};
    }

    // events_.fd() is readable: into the guest's event queue.
    void forward_events() {
        while (auto event = events_.read().value()) {
            if (event->lost != 0) std::printf("the guest's queue overflows: %u events\n", event->lost);
            if (!event->data) continue;
            const auto fault = smmuv3::decode(*event->data);
            std::printf("event 0x%02x of stream 0x%x\n", fault.type, fault.stream);
        }
    }

    // requests_.fd() is readable: into the guest's PRI queue, and kept until its PRI_RESP comes. Here nobody has the pages:
    // a group that goes is answered "invalid".
    void forward_page_requests() { (void)requests_.read().value(); }

private:
    const viommu::GuestDevice& guest_;
    smmuv3::Hardware hardware_;
    core::Viommu slice_;
    core::Vdevice vdevice_;
    viommu::Events<smmuv3::Event> events_;
    viommu::PageRequests requests_;
    viommu::Batch<smmuv3::Command> batch_;
};

} // namespace

int main(int count, char** arguments) try {
    model::Machine machine;
    sys::Kernel* const kernel = count > 1 ? nullptr : &machine.kernel();
    const auto backend = Backend::open({.id = "iommufd0", .fd = {}, .report = {}, .kernel = kernel}).value();
    auto device = vfio::Cdev::open(count > 1 ? arguments[1] : "0000:00:10.0", {.kernel = kernel})
                      .value()
                      .bind(backend)
                      .value();
    const auto space = dma::Space::on(backend).value();
    const auto memory = dma::Memory::memfd(64_MiB, {.label = "guest"}).value();
    const auto mapped = space.map(memory, {.iova = Iova{0x40000000}}).value();
    const auto guest = viommu::GuestDevice::of(device).value();
    const auto joined = space.attach(guest).value(); // and not the device itself

    GuestSmmu smmu(backend.context().value(), guest);
    const smmuv3::StreamTableEntry entry{0x4000000b}; // stage 1, one context descriptor at 0x40000000
    smmu.command({0x03 | std::uint64_t{kStream} << 32, 1}, entry).value();
    smmu.command({0x30, 0}, entry).value(); // TLBI_NSNH_ALL
    smmu.command({0x46, 0}, entry).value(); // CMD_SYNC
    smmu.forward_events();
    smmu.forward_page_requests();
    std::puts("the guest's table translates");
    return 0;
} catch (const Failure& failure) {
    std::fprintf(stderr, "guest_iommu: %s\n", failure.what());
    return 1;
}
