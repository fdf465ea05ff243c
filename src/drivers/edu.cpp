// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/edu.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

// Registers of BAR 0.
constexpr std::uint64_t kIdentification = 0x00;  // 0xRRrr00ed: major and minor version
constexpr std::uint64_t kLiveness = 0x04;        // reads as the complement of what was written
constexpr std::uint64_t kInterruptStatus = 0x24;
constexpr std::uint64_t kInterruptAcknowledge = 0x64;
constexpr std::uint64_t kDmaSource = 0x80;
constexpr std::uint64_t kDmaTarget = 0x88;
constexpr std::uint64_t kDmaCount = 0x90;
constexpr std::uint64_t kDmaCommand = 0x98;

constexpr std::uint64_t kDmaStart = 1;
constexpr std::uint64_t kDmaToMemory = 2;
constexpr std::uint64_t kDmaInterrupt = 4;

constexpr std::uint64_t kBuffer = 0x40000;  // where the card sees its own buffer
constexpr std::uint32_t kDmaDone = 0x100;   // of the interrupt status

constexpr auto kTimeout = std::chrono::milliseconds(5000);

}  // namespace

Result<Edu> Edu::start(const vfio::Device& device) {
    return guarded(Operation::none, [&]() -> Result<Edu> {
        device.set_dma_bits(kKind.dma_bits);
        if (auto enabled = device.enable(); !enabled) return enabled.error();
        auto bar = device.region(0);
        if (!bar) return bar.error();
        auto identification = bar->read<std::uint32_t>(kIdentification);
        if (!identification) return identification.error();
        if ((*identification & 0xffff) != 0x00ed)
            return Error::refused(
                ENODEV, compose("cannot drive ", device.name()),
                compose("it identifies itself as ", Hex{*identification}, ", not as an edu device"),
                "use the driver of that device");
        auto interrupts = Interrupts::enable(device, 1);
        if (!interrupts) return interrupts.error();
        return Edu(std::move(*bar), std::move(*interrupts));
    });
}

Result<std::string> Edu::identify() {
    return guarded(Operation::none, [&]() -> Result<std::string> {
        constexpr std::uint32_t kQuestion = 0x12345678;
        if (auto asked = bar_.write<std::uint32_t>(kLiveness, kQuestion); !asked) return asked.error();
        auto answer = bar_.read<std::uint32_t>(kLiveness);
        if (!answer) return answer.error();
        if (*answer != ~kQuestion)
            return Error::refused(EIO, "edu is not alive", compose("it answers ", Hex{*answer}),
                                  "look at the device");
        return bar_.read<std::uint32_t>(kIdentification).transform([](std::uint32_t id) {
            return compose("QEMU edu ", id >> 24, ".", id >> 16 & 0xff);
        });
    });
}

Result<void> Edu::transfer(std::uint64_t from, std::uint64_t to, std::uint64_t length,
                           std::uint64_t command) {
    const std::uint64_t memory = command & kDmaToMemory ? to : from;
    constexpr std::uint64_t kReach = std::uint64_t{1} << kKind.dma_bits;
    if (length == 0 || length > kBufferSize || memory >= kReach || length > kReach - memory)
        return guarded(Operation::none, [&]() -> Result<void> {
            return Error::refused(
                EINVAL, compose("edu cannot do DMA at ", Hex{memory}, "+", Hex{length}),
                compose("it moves up to ", kBufferSize, " bytes, with ", kKind.dma_bits, " address bits"),
                "map its memory below 256 MiB");
        });
    for (const auto& [offset, value] :
         {std::pair(kDmaSource, from), std::pair(kDmaTarget, to), std::pair(kDmaCount, length),
          std::pair(kDmaCommand, command | kDmaStart | kDmaInterrupt)})
        if (auto written = bar_.write<std::uint64_t>(offset, value); !written) return written;
    auto finished = interrupts_.wait(0, kTimeout, [&] {
        return bar_.read<std::uint64_t>(kDmaCommand).transform([](std::uint64_t now) {
            return (now & kDmaStart) == 0;
        });
    });
    if (!finished) return finished;
    return bar_.read<std::uint32_t>(kInterruptStatus).and_then([&](std::uint32_t status) {
        return bar_.write<std::uint32_t>(kInterruptAcknowledge, status & kDmaDone);
    });
}

Result<void> Edu::read_memory(Iova source, std::uint64_t length) {
    return transfer(source.value, kBuffer, length, 0);
}

Result<void> Edu::write_memory(Iova target, std::uint64_t length) {
    return transfer(kBuffer, target.value, length, kDmaToMemory);
}

Result<void> Edu::copy(Iova target, Iova source, std::uint64_t length) {
    for (std::uint64_t done = 0; done < length;) {
        const std::uint64_t piece = std::min(kBufferSize, length - done);
        if (auto in = read_memory(source + done, piece); !in) return in;
        if (auto out = write_memory(target + done, piece); !out) return out;
        done += piece;
    }
    return {};
}

}  // namespace iommufd::inline v0_1::drivers
