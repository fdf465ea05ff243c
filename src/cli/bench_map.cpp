// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Map and unmap through a space, beside the raw ioctls, in turns: what else the machine does hits both.
#include "cli/figures.hpp"
#include "error/compose.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

constexpr unsigned kTurns = 15;  // a run

// Of map and unmap, in a turn: what takes long is done less often.
unsigned pairs_of(std::uint64_t length) {
    return static_cast<unsigned>(std::clamp<std::uint64_t>(500 * 64_KiB / length, 4, 500));
}

// The two ioctls, as a program without the library would make them.
class RawIoas {
public:
    RawIoas(const core::ContextNode& context, IoasId ioas, const dma::Memory& memory, std::uint64_t length,
            Iova iova) noexcept
        : context_(context), ioas_(ioas), memory_(memory), length_(length), iova_(iova) {}

    int map_and_unmap() const noexcept {
        uapi::IoasMap map{.size = sizeof map,
                          .flags = 7,  // at this IOVA, readable, writable
                          .ioas_id = ioas_.value,
                          .reserved = 0,
                          .user_va = reinterpret_cast<std::uintptr_t>(memory_.data()),
                          .length = length_,
                          .iova = iova_.value};
        if (const int result = context_.ioctl(uapi::kIoasMap, &map); result < 0) return result;
        uapi::IoasUnmap unmap{
            .size = sizeof unmap, .ioas_id = ioas_.value, .iova = iova_.value, .length = length_};
        return context_.ioctl(uapi::kIoasUnmap, &unmap);
    }

private:
    const core::ContextNode& context_;
    const IoasId ioas_;
    const dma::Memory& memory_;
    const std::uint64_t length_;
    const Iova iova_;
};

Result<void> measure(Bench& bench, const core::ContextNode& context, std::uint64_t length) {
    auto memory = dma::Memory::anonymous(length, {.prealloc = true});
    if (!memory) return memory.error();
    auto reserved = bench.space->map(*memory, {.length = length});
    if (!reserved) return reserved.error();
    const Iova iova = reserved->iova();
    if (auto unmapped = std::move(*reserved).unmap(); !unmapped) return unmapped;
    const RawIoas raw(context, *bench.space->ioas(), *memory, length, iova);

    const unsigned pairs = pairs_of(length);
    std::vector<double> ours;
    std::vector<double> theirs;
    Result<void> done;
    for (unsigned turn = 0; turn < kTurns * bench.runs; ++turn) {
        ours.push_back(nanoseconds([&] {
            for (unsigned i = 0; done && i < pairs; ++i) {
                auto mapped = bench.space->map(*memory, {.iova = iova, .length = length});
                done = mapped ? std::move(*mapped).unmap() : Result<void>(mapped.error());
            }
        }));
        theirs.push_back(nanoseconds([&] {
            for (unsigned i = 0; done && i < pairs; ++i)
                if (const int result = raw.map_and_unmap(); result < 0)
                    done = Error(Operation::ioas_map, -result);
        }));
        if (!done) return done;
    }
    // Of each turn and the one beside it.
    std::vector<double> overhead;
    for (std::size_t i = 0; i < ours.size(); ++i) overhead.push_back(ours[i] / theirs[i]);
    const double beside = median(theirs) / pairs;
    bench.figures.push_back({.test = "map",
                             .what = compose("map and unmap ", size_text(length)),
                             .value = beside * median(std::move(overhead)),
                             .unit = "ns",
                             .yardstick = "the two ioctls",
                             .yardstick_value = beside});
    return {};
}

}  // namespace

Result<void> bench_map(Bench& bench) {
    if (!bench.space || !bench.space->ioas()) {
        bench.left_out.emplace_back("map: no dma-space with a VFIO device is given");
        return {};
    }
    for (const std::uint64_t length : {4_KiB, 64_KiB, 2_MiB, 64_MiB})
        if (auto measured = measure(bench, *bench.context, length); !measured) return measured;
    return {};
}

}  // namespace iommufd::inline v0_1::cli
