// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The new process's side.
#include <fcntl.h>

#include <cerrno>

#include "core/delayed_reports.hpp"
#include "core/node.hpp"
#include "dma/space_image.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "iommufd/live/handover.hpp"
#include "live/descriptors.hpp"
#include "live/state.hpp"
#include "vfio/device_node.hpp"

namespace iommufd::inline v0_1::live {
namespace {

class Builder {
public:
    Builder(const State& state, Descriptors& descriptors, RestoreOptions options)
        : state_(state), descriptors_(descriptors), options_(std::move(options)) {}

    // From here on nothing is given back, whatever goes.
    Result<Backend> open() {
        auto backend = Backend::open({.id = state_.backend,
                                      .fd = AdoptFd{descriptors_.take().release()},
                                      .report = options_.report,
                                      .kernel = options_.kernel});
        if (backend) backend->context()->node()->set_custody(core::Custody::taking);
        return backend;
    }

    Result<void> fill(Restored& made) {
        for (const State::Device& from : state_.devices)
            if (auto added = add(from, made); !added) return added;
        for (const State::Memory& from : state_.memories)
            if (auto added = add(from); !added) return added;
        for (const State::Space& from : state_.spaces)
            if (auto added = add(from, made); !added) return added;
        for (const State::Extra& from : state_.extras) {
            Extra& extra = made.extras.emplace_back(Extra{.name = from.name, .bytes = from.bytes, .fds = {}});
            extra.fds.reserve(from.descriptors);
            for (std::uint32_t i = 0; i < from.descriptors; ++i)
                extra.fds.push_back(descriptors_.take().release());
        }
        return {};
    }

private:
    Result<void> add(const State::Device& from, Restored& made) {
        sys::Fd file = descriptors_.take();
        sys::Fd request = from.has_request ? descriptors_.take() : sys::Fd();
        sys::Fd error = from.has_error ? descriptors_.take() : sys::Fd();
        auto user = made.backend.connect(from.name);
        if (!user) return user.error();
        const auto node =
            std::make_shared<vfio::DeviceNode>(std::move(*user), std::move(file), from.name, from.translated);
        if (auto adopted = node->adopt(DeviceId{from.id}, std::move(request), std::move(error)); !adopted)
            return adopted;
        node->set_dma_bits(from.dma_bits);
        made.devices.emplace_back(node);
        return {};
    }

    Result<void> add(const State::Memory& from) {
        const sys::Fd file = descriptors_.take();
        auto memory = dma::Memory::fd(file.number(), from.length,
                                      {.label = from.label,
                                       .shared = true,
                                       .read_only = from.read_only,
                                       .offset = from.file_offset,
                                       .host_nodes = {},
                                       .kernel = options_.kernel});
        if (!memory) return memory.error();
        memories_.push_back(std::move(*memory));
        return {};
    }

    Result<void> add(const State::Space& from, Restored& made) {
        dma::SpaceImage image{.id = from.id,
                              .ioas = IoasId{from.ioas},
                              .left_to_the_kernel = from.left_to_the_kernel,
                              .tables = {},
                              .devices = {},
                              .intervals = {}};
        for (const std::uint32_t index : from.devices) {
            if (auto attached = made.devices[index].node()->adopt_attachment(); !attached) return attached;
            image.devices.push_back(made.devices[index].attachable());
        }
        for (const State::Table& table : from.tables) {
            auto& added =
                image.tables.emplace_back(dma::SpaceImage::Table{.id = HwptId{table.id},
                                                                 .dirty_tracking = table.dirty_tracking,
                                                                 .pasid = table.pasid,
                                                                 .devices = {}});
            for (const std::uint32_t index : table.devices)
                added.devices.push_back(made.devices[index].attachable());
        }
        for (const State::Interval& interval : from.intervals)
            image.intervals.push_back({.range = {Iova{interval.first}, Iova{interval.last}},
                                       .memory = memories_[interval.memory].node(),
                                       .offset = interval.offset,
                                       .access = static_cast<Access>(interval.access),
                                       .granule = interval.granule,
                                       .owned = interval.owned});
        auto restored = dma::SpaceHandover::restore(made.backend, image);
        if (!restored) return restored.error();
        made.spaces.push_back(std::move(restored->space));
        for (auto& attachment : restored->attachments) made.attachments.push_back(std::move(attachment));
        for (auto& mapping : restored->mappings) made.mappings.push_back(std::move(mapping));
        return {};
    }

    const State& state_;
    Descriptors& descriptors_;
    const RestoreOptions options_;
    std::vector<dma::Memory> memories_;
};

}  // namespace

struct Prepared::State {
    explicit State(Backend backend) : restored{.backend = std::move(backend)} {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() {
        for (const Extra& extra : restored.extras)
            for (const int fd : extra.fds) (void)restored.backend.kernel().close(fd);
    }

    Restored restored;
};

Result<Prepared> restore(Package package, RestoreOptions options) {
    sys::Kernel& kernel = options.kernel ? *options.kernel : sys::host_kernel();
    Descriptors descriptors(kernel, std::move(package.fds));
    const core::DelayedReports delayed;
    return guarded(Operation::none, [&]() -> Result<Prepared> {
        auto state = decode(package.state);
        if (!state) return state.error();
        if (state->descriptors() != descriptors.size())
            return Error::refused(EPROTO, "cannot take over the state",
                                  compose("it needs ", state->descriptors(), " descriptors, and there are ",
                                          descriptors.size()),
                                  "pass those that came with it, in their order");
        Builder builder(*state, descriptors, std::move(options));
        auto backend = builder.open();
        if (!backend) return backend.error();
        const core::Context context = *backend->context();
        auto made = std::make_unique<Prepared::State>(std::move(*backend));
        if (auto filled = builder.fill(made->restored); !filled) return filled.error();
        // Last: what fails before it leaves the accounting with the old process.
        if (auto changed = context.change_process(); !changed) return changed.error();
        return Prepared(std::move(made));
    });
}

Prepared::Prepared(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Prepared::Prepared(Prepared&&) noexcept = default;
Prepared& Prepared::operator=(Prepared&&) noexcept = default;
Prepared::~Prepared() = default;

Restored Prepared::take() && noexcept {
    const std::unique_ptr<State> state = std::move(state_);
    state->restored.backend.context()->node()->set_custody(core::Custody::ours);
    Restored taken = std::move(state->restored);
    state->restored.extras.clear();
    return taken;
}

}  // namespace iommufd::inline v0_1::live
