// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The process that takes over: `live_successor SOCKET TASK`.
// Exit status 0: all went as it must; 1: what didn't is on standard error.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <iostream>
#include <string_view>

#include "iommufd/core/ioas.hpp"
#include "iommufd/live/channel.hpp"
#include "kernel/live.hpp"

namespace iommufd::inline v0_1::kernel_tests {
namespace {

bool good = true;

#define MUST(condition)                                                                     \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            std::cerr << "successor, line " << __LINE__ << ": " << #condition << std::endl; \
            good = false;                                                                   \
        }                                                                                   \
    } while (false)

const live::Extra* extra(const live::Restored& mine, std::string_view name) {
    for (const live::Extra& each : mine.extras)
        if (each.name == name) return &each;
    return nullptr;
}

// What is under way is finished, and is what the disk holds; and new reads go as well.
void finish(const live::Restored& mine) {
    const live::Extra* const queues = extra(mine, "nvme");
    const live::Extra* const ids = extra(mine, "reads");
    MUST(queues && ids && mine.mappings.size() == 2);
    if (!good) return;
    std::byte* const memory = mine.mappings[0].memory().data();
    std::vector<sys::Fd> eventfds;
    for (const int fd : queues->fds) eventfds.emplace_back(sys::host_kernel(), fd);
    auto disk =
        drivers::Nvme::resume(mine.devices[0], window_in(memory), queues->bytes, std::move(eventfds)).value();
    std::vector<std::uint16_t> reads(ids->bytes.size() / sizeof(std::uint16_t));
    std::memcpy(reads.data(), ids->bytes.data(), ids->bytes.size());
    const std::size_t under_way = disk->under_way();
    std::size_t early = 0;  // done, but not taken, before we had it
    for (std::size_t i = 0; i < reads.size(); ++i) early += holds_block(memory + kData + i * kBlock, i);
    std::cout << "successor: " << under_way << " reads under way, of which " << early
              << " had moved their data" << std::endl;
    MUST(under_way == reads.size());
    MUST(under_way < 64 || under_way - early >= 64);
    while (disk->under_way() > 0) {
        const std::uint16_t id = disk->finish_read().value();
        bool known = false;
        for (std::size_t i = 0; i < reads.size(); ++i)
            if (reads[i] == id) {
                known = true;
                MUST(holds_block(memory + kData + i * kBlock, i));
            }
        MUST(known);
    }
    MUST(disk->interrupts() > 0);
    std::memset(memory + kData, 0, kBlock);
    MUST(disk->read(3 * kBlock, kRam + kData, kBlock));
    MUST(holds_block(memory + kData, 3));
    MUST(disk->stop());
}

void take_down(live::Restored mine) {
    const core::Context context = *mine.backend.context();
    const auto pinned = Locked{.pinned = kRamSize + kRomSize, .locked = kRamSize + kRomSize};
    MUST(locked_by("self") == pinned);
    const std::string where = mine.devices[0].name().substr(mine.devices[0].name().find(' ') + 1);
    const auto id = mine.devices[0].id();
    MUST(mine.mappings[0].state() == dma::MappingState::mapped);
    MUST(std::move(mine.mappings[1]).unmap());
    MUST(locked_by("self").pinned == kRamSize);
    MUST(std::move(mine.mappings[0]).unmap());
    MUST(locked_by("self") == Locked{});
    // What is mapped here, where everything was taken over, is as good.
    const auto memory = dma::Memory::memfd(1_MiB).value();
    MUST(mine.spaces[0].map(memory, {.iova = kRam}));
    MUST(std::move(mine.attachments[0]).detach());
    mine.attachments.clear();
    MUST(!mine.spaces[0].ioas());
    MUST(std::move(mine.devices[0]).destroy());
    mine.devices.clear();
    // All ids are free again: the lowest is given next.
    MUST(core::Ioas::alloc(context).value().id().value == 1);
    const auto again = vfio::Cdev::open(where).value().bind(mine.backend).value();
    MUST(again.id() == id);
    const auto joined = mine.spaces[0].attach(again);
    MUST(joined);
    MUST(mine.spaces[0].map(memory, {.iova = kRam}));
    MUST(mine.backend.notices() == 0);
    MUST(context.not_released().empty());
}

int run(int socket, std::string_view task) {
    if (task == "stall")
        for (;;) ::pause();
    if (task == "limited" || task == "declined") {
        const rlimit limit{.rlim_cur = 1_MiB, .rlim_max = 1_MiB};
        if (task == "limited") MUST(::setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
        const auto refused = live::take_over(socket, {});
        MUST(!refused && refused.error().code() == (task == "limited" ? ENOMEM : ECANCELED));
        MUST(locked_by("self") == Locked{});
        return good ? 0 : 1;
    }
    if (task == "finish") {
        auto taken = live::take_over(socket, {});
        if (!taken) std::cerr << taken.error().text() << std::endl;
        MUST(taken);
        if (!good) return 1;
        finish(*taken);
        take_down(std::move(*taken));
        MUST(locked_by("self") == Locked{});
        return good ? 0 : 1;
    }
    auto package = live::receive(socket);
    MUST(package);
    if (task == "die_received" || !good) ::_exit(good ? 0 : 1);
    const auto prepared = live::restore(std::move(*package), {});
    MUST(prepared);
    MUST(locked_by("self").pinned == kRamSize + kRomSize);
    if (task == "die_restored" || !good) ::_exit(good ? 0 : 1);
    MUST(live::answer(socket, {}));
    ::_exit(good && task == "die_answered" ? 0 : 1);
}

}  // namespace
}  // namespace iommufd::inline v0_1::kernel_tests

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    try {
        return iommufd::kernel_tests::run(std::stoi(argv[1]), argv[2]);
    } catch (const std::exception& failure) {
        std::cerr << "successor: " << failure.what() << std::endl;
        return 1;
    }
}
