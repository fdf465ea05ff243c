// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The old process's side.
#include "iommufd/live/handover.hpp"

#include <algorithm>
#include <cerrno>

#include "core/delayed_reports.hpp"
#include "core/node.hpp"
#include "dma/space_state.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/host/process.hpp"
#include "live/state.hpp"
#include "live/survey.hpp"
#include "vfio/device_node.hpp"

namespace iommufd::inline v0_1::live {

// Keeps what the package's descriptors belong to, and thaws it all unless it was committed.
struct Handover::State {
    std::shared_ptr<core::ContextNode> context;
    std::vector<std::shared_ptr<dma::SpaceState>> spaces;
    std::vector<std::shared_ptr<vfio::DeviceNode>> devices;
    std::vector<dma::SpaceImage> images;
    std::uint64_t pinned = 0;  // VmPin of this process, when all was frozen
    Package package;

    ~State() {
        if (context) thaw(core::Custody::ours);
    }

    void freeze(const Instance& instance) {
        for (const dma::Space* const space : instance.spaces) spaces.push_back(space->state());
        for (const vfio::Device* const device : instance.devices) devices.push_back(device->node());
        context = instance.backend.context()->node();
        context->set_custody(core::Custody::frozen);
        for (const auto& space : spaces) space->set_frozen(true);
    }

    void thaw(core::Custody custody) noexcept {
        context->set_custody(custody);
        for (const auto& space : spaces) space->set_frozen(false);
        // What was let go meanwhile; or, if it is theirs, is given up now.
        (void)context->retry_releases();
        for (const auto& space : spaces) (void)space->retry_releases();
        context.reset();
    }
};

namespace {

class Scribe {
public:
    Scribe(const Instance& instance, const std::vector<dma::SpaceImage>& images)
        : instance_(instance), images_(images) {}

    Result<Package> write() {
        state_.backend = instance_.backend.id();
        fds_.push_back(instance_.backend.context()->fd());
        for (const vfio::Device* const device : instance_.devices) describe(*device);
        for (const dma::SpaceImage& image : images_) describe(image);
        for (const auto& memory : memories_) {
            state_.memories.push_back({.label = memory->label(),
                                       .length = memory->size(),
                                       .file_offset = memory->fd_offset(),
                                       .read_only = memory->is_read_only()});
            fds_.push_back(memory->fd());
        }
        for (const Extra& extra : instance_.extras) {
            state_.extras.push_back({.name = extra.name,
                                     .bytes = extra.bytes,
                                     .descriptors = static_cast<std::uint32_t>(extra.fds.size())});
            fds_.insert(fds_.end(), extra.fds.begin(), extra.fds.end());
        }
        auto bytes = encode(state_);
        if (!bytes) return bytes.error();
        return Package{.state = std::move(*bytes), .fds = std::move(fds_)};
    }

private:
    void describe(const vfio::Device& device) {
        state_.devices.push_back({.name = device.name(),
                                  .id = device.id().value,
                                  .translated = device.info().translated,
                                  .dma_bits = device.attachable()->dma_bits(),
                                  .has_request = device.request_fd() >= 0,
                                  .has_error = device.error_fd() >= 0});
        for (const int fd : {device.fd(), device.request_fd(), device.error_fd()})
            if (fd >= 0) fds_.push_back(fd);
    }

    std::uint32_t index_of(const std::shared_ptr<dma::Attachable>& attached) const {
        const auto is_it = [&](const vfio::Device* device) { return device->attachable() == attached; };
        return static_cast<std::uint32_t>(std::ranges::find_if(instance_.devices, is_it) -
                                          instance_.devices.begin());
    }

    std::uint32_t index_of(const std::shared_ptr<const dma::Memory::Node>& memory) {
        const auto found = std::ranges::find(memories_, memory);
        const auto index = static_cast<std::uint32_t>(found - memories_.begin());
        if (found == memories_.end()) memories_.push_back(memory);
        return index;
    }

    void describe(const dma::SpaceImage& image) {
        State::Space& space = state_.spaces.emplace_back(State::Space{
            .id = image.id, .ioas = image.ioas.value, .left_to_the_kernel = image.left_to_the_kernel});
        for (const auto& device : image.devices) space.devices.push_back(index_of(device));
        for (const dma::SpaceImage::Table& from : image.tables) {
            State::Table& table = space.tables.emplace_back(State::Table{
                .id = from.id.value, .dirty_tracking = from.dirty_tracking, .pasid = from.pasid});
            for (const auto& device : from.devices) table.devices.push_back(index_of(device));
        }
        for (const dma::SpaceImage::Interval& from : image.intervals)
            space.intervals.push_back({.first = from.range.first.value,
                                       .last = from.range.last.value,
                                       .memory = index_of(from.memory),
                                       .offset = from.offset,
                                       .access = static_cast<std::uint32_t>(from.access),
                                       .granule = from.granule,
                                       .owned = from.owned});
    }

    const Instance& instance_;
    const std::vector<dma::SpaceImage>& images_;
    State state_;
    std::vector<int> fds_;
    std::vector<std::shared_ptr<const dma::Memory::Node>> memories_;
};

std::uint64_t pinned_now(sys::Kernel& kernel) noexcept {
    const auto process = host::process(kernel);
    return process ? process->pinned : 0;
}

// All of them in one: the code of the first, whatever they are.
Error all_in_one(const std::string& id, const std::vector<Error>& obstacles) {
    std::string causes;
    for (const Error& obstacle : obstacles) causes += compose(causes.empty() ? "" : "; ", obstacle.line());
    return Error::refused(obstacles.front().code(), compose("cannot hand over '", id, "'"), std::move(causes),
                          "see live::check() for one at a time");
}

}  // namespace

Result<std::vector<Error>> check(const Instance& instance) {
    return guarded(Operation::none, [&]() -> Result<std::vector<Error>> {
        auto obstacles = survey_devices(instance);
        if (!obstacles) return obstacles;
        const Spaces spaces = survey_spaces(instance);
        obstacles->insert(obstacles->end(), spaces.obstacles.begin(), spaces.obstacles.end());
        // The kernel knows of what others have mapped through a copy of the descriptor.
        if (obstacles->empty())
            if (auto asked = instance.backend.context()->change_process(); !asked)
                obstacles->push_back(asked.error());
        return obstacles;
    });
}

Result<Handover> save(const Instance& instance) {
    return guarded(Operation::none, [&]() -> Result<Handover> {
        const auto obstacles = check(instance);
        if (!obstacles) return obstacles.error();
        if (!obstacles->empty()) return all_in_one(instance.backend.id(), *obstacles);
        auto state = std::make_unique<Handover::State>();
        state->freeze(instance);
        state->pinned = pinned_now(instance.backend.kernel());
        Spaces spaces = survey_spaces(instance);
        if (!spaces.obstacles.empty()) return all_in_one(instance.backend.id(), spaces.obstacles);
        state->images = std::move(spaces.images);
        auto written = Scribe(instance, state->images).write();
        if (!written) return written.error();
        state->package = std::move(*written);
        return Handover(std::move(state));
    });
}

Handover::Handover(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Handover::Handover(Handover&&) noexcept = default;
Handover& Handover::operator=(Handover&&) noexcept = default;

Handover::~Handover() {
    if (!state_) return;
    const auto context = state_->context;
    if (auto aborted = std::move(*this).abort(Successor::gone); !aborted)
        context->notice(Severity::warning, aborted.error());
}

const Package& Handover::package() const noexcept { return state_->package; }

void Handover::commit() && noexcept {
    if (!state_) return;
    const core::DelayedReports delayed;
    state_->thaw(core::Custody::theirs);
    state_.reset();
}

Result<void> Handover::abort(Successor successor) && noexcept {
    if (!state_) return {};
    const core::DelayedReports delayed;
    const core::Context context(state_->context);
    const std::uint64_t before = state_->pinned;
    state_->thaw(core::Custody::ours);
    state_.reset();
    const auto mode = context.rlimit_mode();
    if (successor == Successor::alive || (mode && *mode == core::RlimitMode::per_user))
        return context.change_process();
    // To ask now would charge the pages here, and Linux would never give that back: it finds nobody to take them from.
    if (pinned_now(context.node()->kernel()) >= before) return {};
    context.node()->set_orphaned();
    return guarded(Operation::ioas_change_process, [&]() -> Result<void> {
        return Error::refused(
            ESRCH, compose("cannot account the pages of '", context.label(), "' to this process"),
            "the successor had taken them and is gone, and Linux can't take them from a process that has "
            "ended",
            "nothing is wrong with them; they count again when they are unmapped and mapped anew");
    });
}

}  // namespace iommufd::inline v0_1::live
