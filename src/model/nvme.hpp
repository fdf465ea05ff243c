// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An NVMe controller with one namespace, as QEMU 10.0 plays it (-device nvme), without its delays: what a doorbell announces has been
// done and answered when the write returns, or waits for room in the completion queue. Behind vfio-pci it is a conventional PCI
// device with MSI-X.
//
//     admin: identify (controller, namespace, the list of them, its descriptors), create and delete queues, the features that are
//            the number of queues and the cache, abort, and requests for events, which stay unanswered
//     I/O:   flush, write, read, write zeroes
//
//     doorbell --> submission queue --DMA--> command --> disk <--DMA--> data, in the pages that PRPs name
//                                                   --> completion queue --DMA--> memory, and an interrupt
//
// Every other command is answered as an invalid one. Data that the controller can't reach is blocked, and the command succeeds all
// the same, as in QEMU; a queue that it can't reach is fatal, a list of pages an error of the command.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "model/disk.hpp"
#include "model/nvme_abi.hpp"
#include "model/pci_device.hpp"

namespace iommufd::inline v0_1::model {

class Nvme final : public PciDevice {
public:
    static constexpr std::uint16_t kMostQueues = 64;  // of each kind, besides those of the administrator
    static constexpr PciIdentity kIdentity{
        .vendor = 0x1b36,
        .device = 0x0010,
        .subsystem_vendor = 0x1af4,
        .subsystem_device = 0x1100,
        .class_code = 0x010802,
        .revision = 0x02,
        .msix_vectors = kMostQueues + 1,
        .msix_table = 0x2000,
        .bars = {{{.size = 0x4000, .address = 0xc000000000, .wide = true}}},
        .has_reset = true};

    Nvme(Wiring wiring, std::uint64_t disk_size) : wiring_(wiring), disk_(disk_size) { reset(); }

    std::uint64_t read(std::uint64_t offset, unsigned width) override;
    void write(std::uint64_t offset, unsigned width, std::uint64_t value) override;
    void reset() override;
    std::vector<PolledRegister> polled() const override;

private:
    // In memory, `entries` long.
    struct Ring {
        std::uint64_t base;
        std::uint32_t entries;
        std::uint32_t head = 0;
        std::uint32_t tail = 0;

        std::uint32_t after(std::uint32_t place) const { return place + 1 == entries ? 0 : place + 1; }
    };
    struct CompletionQueue : Ring {
        std::uint32_t vector;
        bool interrupts;
        std::uint16_t phase = 1;
        std::uint16_t users = 0;  // submission queues

        bool full() const { return after(tail) == head; }
    };
    struct SubmissionQueue : Ring {
        std::uint16_t completions;  // the queue of the answers
    };
    struct Answer {
        nvme::Status status = nvme::kSuccess;
        std::uint32_t result = 0;
    };

    void configure(std::uint32_t value);
    bool start();
    void stop();
    void fail();

    void ring(std::uint64_t doorbell, std::uint32_t value);
    void serve(std::uint16_t queue);
    bool complete(std::uint16_t queue, std::uint16_t command, Answer answer);
    void update_line();

    // Nothing: there is no answer now.
    std::optional<Answer> administrate(const nvme::Command& command);
    Answer identify(const nvme::Command& command);
    Answer create_completions(const nvme::Command& command);
    Answer create_submissions(const nvme::Command& command);
    Answer delete_completions(const nvme::Command& command);
    Answer delete_submissions(const nvme::Command& command);
    Answer features(const nvme::Command& command) const;

    Answer work(const nvme::Command& command);
    Answer transfer(const nvme::Command& command);
    // Moves data between the host's pages that a command names, and `data`.
    nvme::Status move(const nvme::Command& command, std::span<std::byte> data, bool to_host);
    struct Piece {
        std::uint64_t iova;
        std::uint64_t length;
    };
    nvme::Status find_pages(const nvme::Command& command, std::uint64_t length, std::vector<Piece>& pieces);
    nvme::Status follow_list(std::uint64_t list, std::uint64_t length, std::vector<Piece>& pieces);

    Wiring wiring_;
    Disk disk_;
    std::uint32_t configuration_;
    std::uint32_t status_;
    std::uint32_t masked_;  // vectors of the line
    std::uint32_t admin_sizes_;
    std::uint64_t admin_submissions_;
    std::uint64_t admin_completions_;
    std::array<std::optional<SubmissionQueue>, kMostQueues + 1> submissions_;
    std::array<std::optional<CompletionQueue>, kMostQueues + 1> completions_;
};

}  // namespace iommufd::inline v0_1::model
