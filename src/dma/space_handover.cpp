// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A Space that goes from one process to the next: its image, what stands against that, and its restoration.
#include <algorithm>
#include <cerrno>

#include "backend/state.hpp"
#include "dma/space_image.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::dma {
namespace {

// Why this memory can't be had in another process; empty where it can.
std::string_view why_not(const Memory::Node& memory) {
    if (memory.is_dma_buf()) return "it is a dma-buf, which Linux accounts to no other process";
    if (memory.fd() < 0) return "it is memory of this process alone, without a file";
    if (!memory.is_shared())
        return "its file is mapped privately, so that its pages are of this process alone";
    return {};
}

std::string_view instead(const Memory::Node& memory) {
    return memory.is_dma_buf() ? "unmap it before, and export and map it again afterwards"
                               : "use a memfd, or a file that is mapped shared (share=on)";
}

Error no_image(std::string_view id, std::string cause) {
    return Error::refused(EINVAL, compose("cannot take over space '", id, "'"), std::move(cause),
                          "the state is not of this iommufd, or not of this version of the library");
}

Error no_image(std::string_view id, const Error& refusal) {
    return refusal.code() == ENOMEM ? refusal : no_image(id, refusal.line());
}

}  // namespace

void SpaceState::set_frozen(bool frozen) noexcept {
    const sys::Lock lock(mutex_);
    frozen_ = frozen;
}

Result<void> SpaceState::check_thawed(std::string_view what) const {
    if (!frozen_) return {};
    return Error::refused(EBUSY, compose("cannot ", what, " in '", id_, "'"),
                          "the space is being handed over to another process",
                          "wait until that has been done, or given up");
}

void SpaceState::find_obstacles(std::vector<Error>& obstacles) const {
    const auto add = [&](int code, std::string cause, std::string_view next) {
        obstacles.push_back(Error::refused(code, compose("cannot hand over space '", id_, "'"),
                                           std::move(cause), std::string(next)));
    };
    if (changing_) add(EBUSY, "a device is being attached or detached", "wait for that");
    for (const Joined& joined : sinks_)
        if (const auto device = joined.device.lock(); device && !joined.leaving)
            add(EOPNOTSUPP, compose(device->name(), " has a table of its own, which belongs to this process"),
                "stop the device and close it before, open it again afterwards, and attach it: what is "
                "mapped is "
                "replayed then");
    for (const auto& [first, interval] : intervals_.all()) {
        if (interval.is_busy())
            add(EBUSY, compose(interval.describe(), " is being mapped or unmapped"), "wait for that");
        else if (interval.phase == Phase::stuck || interval.abandoned)
            add(EBUSY, compose(interval.describe(), " could not be unmapped yet"),
                "see not_released(), and retry_releases() before");
        if (const auto why = why_not(*interval.memory); !why.empty())
            add(EOPNOTSUPP, compose(interval.describe(), " can't go over: ", why), instead(*interval.memory));
    }
    if (dirty_)
        add(EBUSY, "it tracks which pages are written to, and what it has noted would be lost",
            "end the dirty log before, and start another one afterwards");
    if (!reservations_.empty() || cached_ != 0)
        add(EBUSY, "ranges of it are reserved, or in an IovaCache", "let go of those before");
    if (!ioas_) return;
    if (!changing_ && ioas_->tables().have_faults())
        add(EOPNOTSUPP, "its devices' page requests go to a queue of this process",
            "attach them without a fault queue (dma-space: faults=off)");
    if (ioas_->fell_back())
        add(EOPNOTSUPP, "the kernel refused to map a file as such, and has its memory by address",
            "map memfds or tmpfs files only, on Linux 6.13 or later");
    if (ioas_->was_unlimited() || has_cap_ipc_lock(backend_->kernel()))
        add(EOPNOTSUPP,
            "its memory may have been mapped with CAP_IPC_LOCK: Linux then leaves the pins with the old "
            "process, "
            "and takes them from the new one at the unmap",
            "drop CAP_IPC_LOCK before the first device is attached, and raise RLIMIT_MEMLOCK instead");
}

SpaceImage SpaceState::image(std::vector<Error>& obstacles) const {
    SpaceImage image{.id = id_, .ioas = {}, .tables = {}, .devices = {}, .intervals = {}};
    const sys::Lock lock(mutex_);
    find_obstacles(obstacles);
    for (const Device& entry : devices_) image.devices.push_back(entry.device);
    const auto shared = [&](const IommuDevice* part) {
        return *std::ranges::find(image.devices, part, &Attachable::iommu_device);
    };
    // While an attach or a detach is under way, the tables are in its hands; it is an obstacle anyway.
    if (ioas_ && !changing_) {
        image.ioas = ioas_->ioas().id();
        image.left_to_the_kernel = ioas_->tables().left_to_the_kernel();
        for (const PageTables::Use& use : ioas_->tables().uses()) {
            auto& table = image.tables.emplace_back(SpaceImage::Table{
                .id = use.table, .dirty_tracking = use.dirty_tracking, .pasid = use.pasid, .devices = {}});
            for (const IommuDevice* const device : use.devices) table.devices.push_back(shared(device));
        }
    }
    for (const auto& [first, interval] : intervals_.all())
        image.intervals.push_back({.range = interval.range,
                                   .memory = interval.memory,
                                   .offset = interval.offset,
                                   .access = interval.access,
                                   .granule = interval.granule,
                                   .owned = interval.owner != 0});
    return image;
}

Result<std::shared_ptr<IoasSink>> SpaceState::adopt_ioas(const SpaceImage& image) {
    const auto node = backend_->context();
    if (!node) return no_image(id_, "the iommufd is not open");
    const core::Context context(node);
    auto ioas = core::Ioas::adopt(context, image.ioas, {.label = id_});
    if (!ioas) return ioas.error();
    auto huge_pages = ioas->huge_pages();
    if (!huge_pages) return huge_pages.error();
    auto sink = std::make_shared<IoasSink>(std::move(*ioas), *huge_pages);
    if (image.left_to_the_kernel) sink->tables().leave_to_the_kernel();
    for (const SpaceImage::Table& table : image.tables) {
        std::vector<const IommuDevice*> devices;
        for (const auto& device : table.devices) devices.push_back(device->iommu_device());
        if (auto adopted = sink->tables().adopt(context, table.id, table.dirty_tracking, table.pasid,
                                                std::move(devices));
            !adopted)
            return adopted.error();
    }
    return sink;
}

Result<void> SpaceState::restore(const SpaceImage& image, std::vector<Mapped>& owned) {
    std::shared_ptr<IoasSink> sink;
    Bound sink_bound;
    if (image.ioas) {
        auto adopted = adopt_ioas(image);
        if (!adopted) return adopted.error();
        sink = std::move(*adopted);
        auto limits = sink->limits();
        if (!limits) return limits.error();
        sink_bound = bound_of(*sink, std::move(*limits));
    }
    const sys::Lock lock(mutex_);
    change_company();
    if (sink) sinks_.push_back({.sink = sink, .device = {}, .bound = std::move(sink_bound)});
    ioas_ = std::move(sink);
    for (const auto& device : image.devices) {
        if (!device->claim(this)) return no_image(id_, compose(device->name(), " is in two spaces"));
        devices_.push_back({.device = device, .bound = bound_of(*device)});
    }
    const std::vector<Bound> all = bounds();
    for (const SpaceImage::Interval& from : image.intervals) {
        Interval interval{.range = from.range,
                          .memory = from.memory,
                          .offset = from.offset,
                          .access = from.access,
                          .granule = from.granule,
                          .owner = from.owned ? next_ticket_++ : 0,
                          .generation = generation_,
                          .phase = Phase::settled};
        if (auto fits = check_bounds(all, interval); !fits) return no_image(id_, fits.error());
        auto reserved = intervals_.reserve(std::move(interval));
        if (!reserved) return no_image(id_, reserved.error());
        if (auto room = make_room(**reserved, {}); !room) {
            drop(**reserved);
            return room;
        }
        readers_->show(**reserved);
        if (from.owned) owned.push_back({.ticket = (*reserved)->owner, .range = from.range});
    }
    return {};
}

Result<SpaceHandover::Restored> SpaceHandover::restore(const Backend& backend, const SpaceImage& image) {
    return guarded(Operation::none, [&]() -> Result<Restored> {
        auto space = Space::on(backend, {.id = image.id});
        if (!space) return space.error();
        const auto& state = space->state();
        std::vector<SpaceState::Mapped> owned;
        if (auto restored = state->restore(image, owned); !restored) return restored.error();
        Restored made{.space = Space(state), .attachments = {}, .mappings = {}};
        for (const auto& device : image.devices) made.attachments.push_back(Attachment(state, device));
        auto next = owned.begin();
        for (const SpaceImage::Interval& interval : image.intervals)
            if (interval.owned) {
                made.mappings.push_back(Mapping(state, next->ticket, next->range, Memory(interval.memory)));
                ++next;
            }
        return made;
    });
}

}  // namespace iommufd::inline v0_1::dma
