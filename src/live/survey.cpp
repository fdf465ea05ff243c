// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "live/survey.hpp"

#include <algorithm>
#include <cerrno>

#include "core/node.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "host/holders.hpp"
#include "iommufd/core/hw_info.hpp"
#include "vfio/device_node.hpp"

namespace iommufd::inline v0_1::live {
namespace {

class Obstacles {
public:
    explicit Obstacles(std::string what) : what_(std::move(what)) {}
    void add(int code, std::string cause, std::string next) {
        list.push_back(Error::refused(code, what_, std::move(cause), std::move(next)));
    }

    std::vector<Error> list;

private:
    const std::string what_;
};

// Those names that stand for nothing that was listed.
std::vector<std::string> without(std::vector<std::string> names, const std::vector<std::string>& listed) {
    for (const std::string& name : listed)
        if (const auto found = std::ranges::find(names, name); found != names.end()) names.erase(found);
    return names;
}

void find_strangers(const Instance& instance, Obstacles& obstacles) {
    std::vector<std::string> listed;
    for (const vfio::Device* const device : instance.devices) listed.push_back(device->name());
    for (const std::string& name : without(instance.backend.users(), listed))
        obstacles.add(EOPNOTSUPP, compose(name, " uses it as well"),
                      "list it, if it is a VFIO device; a vDPA device belongs to this process: quiesce and "
                      "close it before, "
                      "open it again afterwards, and attach it: what is mapped is replayed then");
    listed.clear();
    for (const dma::Space* const space : instance.spaces)
        listed.push_back(compose("dma-space '", space->id(), "'"));
    for (const std::string& name : without(instance.backend.references(), listed))
        obstacles.add(EOPNOTSUPP, compose(name, " stands on it as well"), "list it, or let it go before");
}

void look_at(const vfio::Device& device, const core::Context& context, const Instance& instance,
             Obstacles& obstacles) {
    vfio::DeviceNode& node = *device.node();
    if (node.context() != context.node())
        return obstacles.add(EXDEV, compose(device.name(), " is bound to another iommufd"), "leave it out");
    const auto known = core::hw_info(context, device.id());
    if (!known && known.error().code() == ENOENT)
        obstacles.add(
            EOPNOTSUPP,
            compose(device.name(), " is a mediated device: the kernel driver pins for this process"),
            "close it before, and open it again afterwards");
    else if (!known && known.error().code() != EOPNOTSUPP)
        obstacles.list.push_back(known.error());
    else if (!known)
        obstacles.add(EOPNOTSUPP, compose(device.name(), " has no IOMMU"),
                      "close it before, and open it again afterwards");
    if (node.has_pasids_attached())
        obstacles.add(EOPNOTSUPP, compose("PASIDs of ", device.name(), " are attached"),
                      "detach them before, and attach them again afterwards");
    const auto has_it = [&](const dma::Space* space) {
        const std::vector<std::string> devices = space->devices();
        return std::ranges::find(devices, device.name()) != devices.end();
    };
    if (node.is_attached() && std::ranges::none_of(instance.spaces, has_it))
        obstacles.add(EOPNOTSUPP, compose(device.name(), " is attached to what no space keeps"),
                      "attach it through a space");
}

}  // namespace

Result<std::vector<Error>> survey_devices(const Instance& instance) {
    Obstacles obstacles(compose("cannot hand over '", instance.backend.id(), "'"));
    const auto context = instance.backend.context();
    if (!context) {
        obstacles.add(EOPNOTSUPP, "nothing is attached, and the iommufd is not open",
                      "start the new process as this one was started");
        return std::move(obstacles.list);
    }
    if (context->node()->custody() != core::Custody::ours) {
        const bool gone = context->node()->custody() == core::Custody::theirs;
        obstacles.add(gone ? ESHUTDOWN : EBUSY,
                      gone ? "it was handed over already" : "it is being handed over",
                      gone ? "ask the process that has it" : "wait for the end of that");
        return std::move(obstacles.list);
    }
    find_strangers(instance, obstacles);
    for (const vfio::Device* const device : instance.devices) look_at(*device, *context, instance, obstacles);
    auto holders = host::other_holders(context->node()->kernel(), context->fd());
    if (!holders) return holders.error();
    for (const host::Holder& holder : *holders)
        obstacles.add(
            EOPNOTSUPP,
            compose("process ", holder.process, " (", holder.name,
                    ") has its descriptor as well: what it maps and accounts would be the successor's"),
            "close it there before");
    if (context->node()->is_orphaned())
        obstacles.add(
            EOPNOTSUPP,
            "its pages are accounted to an earlier successor, which has ended: Linux can't take them from it",
            "let go of all of it, and start again with a new iommufd");
    for (const NotReleased& entry : context->not_released())
        obstacles.add(EBUSY, compose(entry.object, " could not be given back yet"),
                      "see not_released(), and retry_releases() before");
    return std::move(obstacles.list);
}

Spaces survey_spaces(const Instance& instance) {
    Obstacles obstacles(compose("cannot hand over '", instance.backend.id(), "'"));
    Spaces spaces;
    std::size_t objects = 0;
    for (const dma::Space* const space : instance.spaces) {
        auto image = space->state()->image(spaces.obstacles);
        objects += image.tables.size() + (image.ioas ? 1 : 0);
        const auto is_listed = [&](const std::shared_ptr<dma::Attachable>& attached) {
            return std::ranges::any_of(instance.devices, [&](const vfio::Device* device) {
                return device->attachable() == attached;
            });
        };
        for (const auto& attached : image.devices)
            if (attached->iommu_device() && !is_listed(attached))
                obstacles.add(EOPNOTSUPP,
                              compose(attached->name(), ", in space '", space->id(), "', is not listed"),
                              "list it, or detach it before");
        spaces.images.push_back(std::move(image));
    }
    const auto context = instance.backend.context();
    if (context && spaces.obstacles.empty() && context->node()->objects() > objects)
        obstacles.add(
            EOPNOTSUPP,
            compose(context->node()->objects() - objects,
                    " objects of it are no space's: an ioas, a page table, a fault queue, a viommu"),
            "let them go before, and make them again afterwards");
    spaces.obstacles.insert(spaces.obstacles.end(), obstacles.list.begin(), obstacles.list.end());
    return spaces;
}

}  // namespace iommufd::inline v0_1::live
