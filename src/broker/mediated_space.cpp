// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "broker/mediated_space.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::broker {
namespace {

constexpr std::uint64_t kLargePage = 2_MiB;
constexpr std::uint64_t kSmallPage = 64_KiB;

}  // namespace

MediatedSpace::MediatedSpace(Backend backend, core::Ioas ioas)
    : backend_(std::move(backend)), ioas_(std::move(ioas)) {}

Result<std::shared_ptr<MediatedSpace>> MediatedSpace::open(sys::Kernel& kernel, const std::string& label) {
    return guarded(Operation::none, [&]() -> Result<std::shared_ptr<MediatedSpace>> {
        auto context = core::Context::open({.label = label, .report = {}, .kernel = &kernel});
        if (!context) return context.error();
        // Where that is allowed: the broker's limit then counts for the broker alone.
        (void)context->set_rlimit_mode(core::RlimitMode::per_process);
        auto backend =
            Backend::open({.id = label, .fd = DupFd{context->fd()}, .report = {}, .kernel = &kernel});
        if (!backend) return backend.error();
        auto ioas = core::Ioas::alloc(*context);
        if (!ioas) return ioas.error();
        return std::shared_ptr<MediatedSpace>(new MediatedSpace(*std::move(backend), *std::move(ioas)));
    });
}

Result<int> MediatedSpace::attach(const std::string& name, sys::Fd device) {
    return guarded(Operation::vfio_bind, [&]() -> Result<int> {
        sys::Kernel& kernel = device.kernel();
        auto cdev = vfio::Cdev::from(AdoptFd{device.release()}, {.kernel = &kernel, .name = name});
        if (!cdev) return cdev.error();
        auto bound = std::move(*cdev).bind(backend_);
        if (!bound) return bound.error();
        if (auto attached = bound->attach(ioas_.id()); !attached) return attached.error();
        const std::lock_guard lock(mutex_);
        return devices_.emplace(name, *std::move(bound)).first->second.fd();
    });
}

void MediatedSpace::detach(const std::string& name) noexcept {
    decltype(devices_)::node_type leaving;
    {
        const std::lock_guard lock(mutex_);
        leaving = devices_.extract(name);
    }
    if (!leaving) return;
    const vfio::Device& device = leaving.mapped();
    (void)device.detach();
    if (device.info().resets) (void)device.reset();
    (void)std::move(leaving.mapped()).destroy();
}

Result<Range> MediatedSpace::reserve(std::uint64_t length, std::optional<Iova> at) {
    const auto allowed = ioas_.iova_ranges();
    if (!allowed) return allowed.error();
    const std::lock_guard lock(mutex_);
    // The last one that begins at or before the range's end, which is the only one that can overlap it from below.
    const auto in_the_way = [&](Range range) -> const Range* {
        auto after = taken_.upper_bound(range.last);
        if (after == taken_.begin() || !std::prev(after)->second.overlaps(range)) return nullptr;
        return &std::prev(after)->second;
    };
    const auto is_allowed = [&](Range range) {
        return std::ranges::any_of(allowed->ranges, [&](Range each) { return each.contains(range); });
    };
    if (at) {
        const auto range = Range::of(*at, length);
        if (!range || !is_allowed(*range))
            return cannot_map(EINVAL, compose("devices don't reach all of it at ", Hex{at->value}),
                              "leave iova out, and the broker chooses one");
        if (in_the_way(*range))
            return cannot_map(EEXIST,
                              compose("something is mapped there, at ", Hex{in_the_way(*range)->first.value}),
                              "leave iova out, or unmap that first");
        taken_.emplace(range->first, *range);
        return *range;
    }
    const std::uint64_t alignment = length >= kLargePage ? kLargePage : kSmallPage;
    const auto next = [&](std::uint64_t address) {
        return (address + alignment - 1) / alignment * alignment;
    };
    for (const Range& each : allowed->ranges)
        for (std::uint64_t first = next(std::max(each.first.value, alignment)); first >= each.first.value;) {
            const auto range = Range::of(Iova{first}, length);
            if (!range || !each.contains(*range)) break;
            const Range* const other = in_the_way(*range);
            if (!other) {
                taken_.emplace(range->first, *range);
                return *range;
            }
            first = next(other->last.value + 1);
        }
    return cannot_map(ENOSPC, "there is no room for it where the devices reach", "unmap something");
}

Result<void> MediatedSpace::map_steps(int memory, const Part& part, Range range, Clock::time_point deadline,
                                      std::uint64_t step) const {
    const Access access = part.write ? Access::read_write : Access::read;
    Result<void> mapped;
    std::uint64_t done = 0;
    while (mapped && done < part.length) {
        const std::uint64_t length = std::min(step, part.length - done);
        if (done != 0 && Clock::now() >= deadline) {
            mapped = cannot_map(ETIMEDOUT,
                                compose("it takes longer than the policy allows, after ", done, " bytes"),
                                "ask for less at a time, use huge pages, or raise the quota");
            break;
        }
        const auto piece = ioas_.map_file(memory, part.offset + done, length, access, range.first + done);
        if (piece)
            done += length;
        else
            mapped = piece.error();
    }
    // While it is pinned it can't be sealed against writing any more; what was sealed between the first look and that is seen here.
    if (mapped)
        if (auto still = check_memory(memory, part); !still) mapped = still.error();
    if (!mapped && done != 0) (void)ioas_.unmap(range.first, done);
    return mapped;
}

Result<Range> MediatedSpace::map(int memory, const Part& part, std::optional<Iova> at,
                                 Clock::time_point deadline, std::uint64_t step) {
    return guarded(Operation::ioas_map_file, [&]() -> Result<Range> {
        if (auto touched = check_touched(memory, part); !touched) return touched.error();
        auto range = reserve(part.length, at);
        if (!range) return range;
        if (auto mapped = map_steps(memory, part, *range, deadline, step); !mapped) {
            const std::lock_guard lock(mutex_);
            taken_.erase(range->first);
            return mapped.error();
        }
        return range;
    });
}

void MediatedSpace::unmap(Range range) noexcept {
    (void)ioas_.unmap(range.first, range.length());
    const std::lock_guard lock(mutex_);
    taken_.erase(range.first);
}

}  // namespace iommufd::inline v0_1::broker
