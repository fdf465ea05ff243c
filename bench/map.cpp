// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What the library adds to IOAS_MAP and IOAS_UNMAP, on a kernel that does nothing.
#include <benchmark/benchmark.h>

#include "core/node.hpp"
#include "iommufd/core/ioas.hpp"
#include "iommufd/dma/space.hpp"
#include "noop_kernel.hpp"
#include "support/raw_device.hpp"

namespace iommufd::bench {
namespace {

constexpr std::uint64_t kPage = 4096;

struct Scene {
    explicit Scene(std::size_t live) {
        for (std::size_t i = 0; i < live; ++i)
            space.map(memory, {.iova = Iova{(1ULL << 32) + i * 2 * kPage}, .length = kPage}).value().leave();
    }
    NoopKernel kernel;
    Backend backend = Backend::on(kernel).value();
    dma::Memory memory = dma::Memory::anonymous(64 * kPage).value();
    dma::Space space = dma::Space::on(backend).value();
    dma::Attachment attached = space.attach(support::RawDevice::bind(backend)).value();
};

// The two ioctls, as a program would make them.
void raw(benchmark::State& state) {
    Scene scene(0);
    sys::Kernel& kernel = scene.kernel;
    for (auto _ : state) {
        uapi::IoasMap map{.size = sizeof map,
                          .flags = 7,
                          .ioas_id = 1,
                          .reserved = 0,
                          .user_va = reinterpret_cast<std::uintptr_t>(scene.memory.data()),
                          .length = kPage,
                          .iova = 0x4000000};
        benchmark::DoNotOptimize(kernel.ioctl(1000, uapi::kIoasMap, &map));
        uapi::IoasUnmap unmap{.size = sizeof unmap, .ioas_id = 1, .iova = 0x4000000, .length = kPage};
        benchmark::DoNotOptimize(kernel.ioctl(1000, uapi::kIoasUnmap, &unmap));
    }
}
BENCHMARK(raw);

// What a program writes that has no use for a space.
void core(benchmark::State& state) {
    Scene scene(0);
    const core::Context context = core::Context::open({.kernel = &scene.kernel}).value();
    const auto ioas = core::Ioas::alloc(context).value();
    for (auto _ : state) {
        benchmark::DoNotOptimize(ioas.map(scene.memory.data(), kPage, Access::read_write, Iova{0x4000000}));
        benchmark::DoNotOptimize(ioas.unmap(Iova{0x4000000}, kPage));
    }
}
BENCHMARK(core);

void space(benchmark::State& state) {
    Scene scene(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        auto mapped = scene.space.map(scene.memory, {.iova = Iova{0x4000000}, .length = kPage});
        benchmark::DoNotOptimize(std::move(*mapped).unmap());
    }
}
BENCHMARK(space)->Arg(0)->Arg(1000)->Arg(100000);

// The same where the space chooses the IOVA.
void chosen(benchmark::State& state) {
    Scene scene(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        auto mapped = scene.space.map(scene.memory, {.length = kPage});
        benchmark::DoNotOptimize(std::move(*mapped).unmap());
    }
}
BENCHMARK(chosen)->Arg(0)->Arg(1000)->Arg(100000);

}  // namespace
}  // namespace iommufd::bench

BENCHMARK_MAIN();
