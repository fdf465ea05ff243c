// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What somebody else's program looks like: every public header, and memory mapped for a modelled device.
#include <iommufd/backend/backend.hpp>
#include <iommufd/core/fault_queue.hpp>
#include <iommufd/core/hw_info.hpp>
#include <iommufd/core/hwpt.hpp>
#include <iommufd/core/ioas.hpp>
#include <iommufd/core/vevent_queue.hpp>
#include <iommufd/core/viommu.hpp>
#include <iommufd/dma/space.hpp>
#include <iommufd/host/process.hpp>
#include <iommufd/model/machine.hpp>
#include <iommufd/vfio/device.hpp>
#include <iommufd/viommu/batch.hpp>
#include <iommufd/viommu/events.hpp>
#include <iommufd/viommu/page_requests.hpp>
#include <iommufd/viommu/smmuv3.hpp>
#include <iommufd/viommu/vtd.hpp>

#include <cstdio>

using namespace iommufd;

int main() {
    model::Machine machine;
    {
        auto backend = Backend::on(machine.kernel()).value();
        auto space = dma::Space::on(backend).value();
        vfio::Cdev::Options where;
        where.kernel = &machine.kernel();
        auto device = vfio::Cdev::open(machine.devices().front().name, where).value().bind(backend).value();
        auto joined = space.attach(device).value();
        auto memory = dma::Memory::memfd(64_MiB).value();
        auto mapped = space.map(memory, {.iova = Iova{0x4000000}}).value();
        if (mapped.state() != dma::MappingState::mapped) return 1;
        const auto twice = space.map(memory, {.iova = Iova{0x4000000}});
        if (twice) return 1;
        std::puts(twice.error().line().c_str());
        if (viommu::smmuv3::decode(viommu::smmuv3::StreamTableEntry{})->table.ste[0] != 0) return 1;
    }
    return machine.leaks().any() ? 1 : 0;
}
