// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A modelled device's DMA beside memcpy of the same blocks, and its page tables beside a std::map of pages.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "model/dma_port.hpp"
#include "model/domain.hpp"
#include "model/safe_copy.hpp"

namespace iommufd::bench {
namespace {

using model::Domain;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kIova = 1ULL << 32;
constexpr std::uint64_t kNear = 16 * kPage;  // in the first cache, with what is moved
constexpr std::uint64_t kFar = 256ULL << 20;

struct Memory {
    explicit Memory(std::uint64_t size)
        : bytes(static_cast<std::byte*>(std::aligned_alloc(2 << 20, std::max<std::uint64_t>(size, 2 << 20)))),
          length(size) {
        if (bytes == nullptr) std::abort();
        std::memset(bytes, 1, size);
    }
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;
    ~Memory() { std::free(bytes); }

    std::byte* const bytes;
    const std::uint64_t length;
};

std::vector<std::uint64_t> random_offsets(std::uint64_t size, std::uint64_t block) {
    std::mt19937_64 random(1);
    std::vector<std::uint64_t> offsets(4096);
    for (std::uint64_t& offset : offsets) offset = random() % (size / block) * block;
    return offsets;
}

// Blocks of so many bytes, within that much memory.
void in_blocks(benchmark::internal::Benchmark* bench) {
    for (const std::int64_t size : {kNear, kFar})
        for (const std::int64_t block : {64, 4096, 65536}) bench->Args({block, size});
}

void move_blocks(benchmark::State& state, auto&& move) {
    const auto block = static_cast<std::uint64_t>(state.range(0));
    const auto size = static_cast<std::uint64_t>(state.range(1));
    const Memory memory(size);
    const auto offsets = random_offsets(size, block);
    const Memory own(
        block);  // of whole pages, as the other is: how they lie to each other counts for more than the rest
    const std::span mine(own.bytes, block);
    std::size_t next = 0;
    const auto mover = move(memory);
    for (auto _ : state) {
        mover(mine, offsets[next++ % offsets.size()]);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * block));
}

// As a device has it: its port, and its page table.
struct Attached {
    explicit Attached(const Memory& memory) {
        if (domain->map(kIova, memory.length, reinterpret_cast<std::uint64_t>(memory.bytes),
                        model::kReadable | model::kWritable, model::kAnyLeaf) < 0)
            std::abort();
        port->point_at(domain);
        port->set_bus_master(true);
    }
    std::shared_ptr<Domain> domain = std::make_shared<Domain>(model::Geometry{});
    std::unique_ptr<model::BlockedLog> log = std::make_unique<model::BlockedLog>();
    std::unique_ptr<model::DmaPort> port = std::make_unique<model::DmaPort>(*log, "bench", nullptr);
};

template <bool writes>
void dma(benchmark::State& state) {
    move_blocks(state, [](const Memory& memory) {
        return
            [attached = std::make_shared<Attached>(memory)](std::span<std::byte> mine, std::uint64_t offset) {
                const bool reached = writes ? attached->port->write(kIova + offset, mine)
                                            : attached->port->read(kIova + offset, mine);
                if (!reached) std::abort();
            };
    });
}
BENCHMARK(dma<false>)->Name("dma_read")->Apply(in_blocks);
BENCHMARK(dma<true>)->Name("dma_write")->Apply(in_blocks);

template <bool writes>
void copy(benchmark::State& state) {
    move_blocks(state, [](const Memory& memory) {
        return [&memory](std::span<std::byte> mine, std::uint64_t offset) {
            std::byte* const theirs = memory.bytes + offset;
            std::memcpy(writes ? theirs : mine.data(), writes ? mine.data() : theirs, mine.size());
        };
    });
}
BENCHMARK(copy<false>)->Name("memcpy_read")->Apply(in_blocks);
BENCHMARK(copy<true>)->Name("memcpy_write")->Apply(in_blocks);

// What a page table would be that nobody thought about: an entry for each page in a tree.
class MapOfPages {
public:
    void map(std::uint64_t iova, std::uint64_t length, std::uint64_t memory) {
        auto hint = pages_.lower_bound(iova);
        for (std::uint64_t at = 0; at < length; at += kPage)
            hint = std::next(pages_.emplace_hint(hint, iova + at, memory + at));
    }
    void unmap(std::uint64_t iova, std::uint64_t length) {
        pages_.erase(pages_.lower_bound(iova), pages_.lower_bound(iova + length));
    }

private:
    std::map<std::uint64_t, std::uint64_t> pages_;
};

struct Tables {
    void map(std::uint64_t iova, std::uint64_t length, std::uint64_t memory) {
        if (domain.map(iova, length, memory, model::kReadable | model::kWritable, kPage) < 0) std::abort();
    }
    void unmap(std::uint64_t iova, std::uint64_t length) { domain.unmap(iova, length); }

    Domain domain{model::Geometry{}};
};

// So many pages in each call, one call after the other; what was mapped goes again, which isn't counted.
template <class Ours>
void map_pages(benchmark::State& state) {
    const auto pages = static_cast<std::uint64_t>(state.range(0));
    const std::uint64_t calls = (1 << 16) / pages;
    Ours tables;
    while (state.KeepRunningBatch(static_cast<benchmark::IterationCount>(calls * pages))) {
        for (std::uint64_t call = 0; call < calls; ++call)
            tables.map(kIova + call * pages * kPage, pages * kPage, 1ULL << 40);
        state.PauseTiming();
        tables.unmap(kIova, calls * pages * kPage);
        state.ResumeTiming();
    }
}
BENCHMARK(map_pages<Tables>)->Name("map")->Arg(1)->Arg(512)->Arg(1 << 16);
BENCHMARK(map_pages<MapOfPages>)->Name("map_std_map")->Arg(1)->Arg(512)->Arg(1 << 16);

}  // namespace
}  // namespace iommufd::bench

int main(int count, char** arguments) {
    iommufd::model::expect_faults();
    benchmark::Initialize(&count, arguments);
    benchmark::RunSpecifiedBenchmarks();
}
