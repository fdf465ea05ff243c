// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// What a reader loses while another thread maps and unmaps in its space, beside a thread that is busy elsewhere. (The kernel
// does nothing, so the writer is as fast as it gets; `pause` is what a kernel would take for each pair, in microseconds.)
#include <benchmark/benchmark.h>

#include <atomic>
#include <random>
#include <thread>

#include "iommufd/dma/space.hpp"
#include "noop_kernel.hpp"
#include "support/raw_device.hpp"

namespace iommufd::bench {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMappings = 4096;

struct Scene {
    Scene() {
        std::mt19937_64 random(1);
        for (std::size_t i = 0; i < kMappings; ++i)
            space.map(memory, {.iova = iova_of(i), .offset = i % 64 * kPage, .length = kPage})
                .value()
                .leave();
        for (Iova& query : queries) query = iova_of(random() % kMappings);
    }
    static Iova iova_of(std::size_t i) { return Iova{0x10000000 + i * 2 * kPage}; }

    NoopKernel kernel;
    Backend backend = Backend::on(kernel).value();
    dma::Memory memory = dma::Memory::anonymous(64 * kPage).value();
    dma::Space space = dma::Space::on(backend).value();
    dma::Attachment attached = space.attach(support::RawDevice::bind(backend)).value();
    std::vector<Iova> queries = std::vector<Iova>(1 << 14);
};

void spin(std::chrono::microseconds time) {
    const auto end = std::chrono::steady_clock::now() + time;
    while (std::chrono::steady_clock::now() < end) benchmark::ClobberMemory();
}

struct Writer {
    static void once(Scene& scene, std::chrono::microseconds pause) {
        auto mapped = scene.space.map(scene.memory, {.iova = Iova{0x4000000}, .length = kPage}).value();
        benchmark::DoNotOptimize(std::move(mapped).unmap());
        spin(pause);
    }
};

// The same work, in a space of its own.
struct Stranger {
    static void once(Scene&, std::chrono::microseconds pause) {
        static Scene own;
        Writer::once(own, pause);
    }
};

struct Spinner {
    static void once(Scene&, std::chrono::microseconds pause) {
        spin(std::max(pause, std::chrono::microseconds(1)));
    }
};

template <class Other>
void reader_beside(benchmark::State& state) {
    Scene scene;
    const std::chrono::microseconds pause(state.range(0));
    std::atomic<bool> stop = false;
    std::uint64_t turns = 0;
    std::thread other([&] {
        for (; !stop; ++turns) Other::once(scene, pause);
    });
    dma::Reader reader = scene.space.reader();
    for (auto _ : state)
        for (const Iova query : scene.queries) {
            const dma::Guard guard = reader.enter();
            benchmark::DoNotOptimize(guard.translate(query, 64, Access::read).data());
        }
    stop = true;
    other.join();
    state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(scene.queries.size()));
    state.counters["turns"] = benchmark::Counter(static_cast<double>(turns), benchmark::Counter::kIsRate);
}
BENCHMARK(reader_beside<Spinner>)->Arg(0)->Arg(2)->Arg(10)->Arg(50)->UseRealTime();
BENCHMARK(reader_beside<Stranger>)->Arg(0)->Arg(2)->Arg(10)->Arg(50)->UseRealTime();
BENCHMARK(reader_beside<Writer>)->Arg(0)->Arg(2)->Arg(10)->Arg(50)->UseRealTime();

}  // namespace
}  // namespace iommufd::bench

BENCHMARK_MAIN();
