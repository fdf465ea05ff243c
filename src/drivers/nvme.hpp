// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A driver for NVMe controllers: namespace 1, one pair of queues, one command at a time.
//
//     auto disk = drivers::Nvme::start(device, window).value();   // window: Nvme::kKind.window_bytes
//     disk->write(0, iova, 64_KiB);                               // the controller reads memory
//     disk->read(0, iova + 64_KiB, 64_KiB);                       // the controller writes memory
//
// All memory that the controller uses of its own lies in the window: admin queues, I/O queues, a page for
// identify data and one for lists of pages. As a Driver it reads from memory to the start of the namespace
// and writes it from there.
//
//     enable() -> admin queues -> identify -> I/O queues -> commands ... -> shut down -> disable
//
// A command that isn't answered in time may still be carried out: the controller is stopped before the call
// returns ETIMEDOUT, or, where it doesn't stop, forbidden all DMA (bus mastering); afterwards every call
// fails with ESHUTDOWN.
//
// Threads: one at a time.
#pragma once

#include "drivers/driver.hpp"
#include "drivers/interrupt.hpp"
#include "drivers/nvme_queue.hpp"

namespace iommufd::inline v0_1::drivers {

class Nvme final : public Driver {
public:
    static constexpr Kind kKind{.name = "nvme", .dma_bits = 64, .window_bytes = 6 * NvmeQueue::kPage};

    // Resets the controller. ENODEV: the namespace is missing; EINVAL: the window; EOPNOTSUPP: it wants
    // larger pages or smaller queues; EIO: it failed; ETIMEDOUT.
    static Result<std::unique_ptr<Nvme>> start(const vfio::Device& device, Window window);
    Nvme(vfio::Region bar, vfio::Region config, Interrupts interrupts, Window window) noexcept;
    ~Nvme() override;

    // Shuts the controller down: what it caches is on the medium, and it uses no memory any more. The
    // destructor does it otherwise.
    Result<void> stop();

    Result<std::string> identify() override;
    bool keeps_what_it_reads() const noexcept override { return true; }
    std::uint64_t most() const noexcept override { return most_; }
    std::uint64_t unit() const noexcept override { return block_size_; }
    Result<void> read_memory(Iova source, std::uint64_t length) override { return write(0, source, length); }
    Result<void> write_memory(Iova target, std::uint64_t length) override { return read(0, target, length); }
    Result<void> flush() override;
    std::uint64_t interrupts() const noexcept override { return interrupts_.count(); }

    // `offset` in the namespace and `length` in bytes: whole blocks (EINVAL), within it (ERANGE). EIO: the
    // controller's status says why.
    Result<void> read(std::uint64_t offset, Iova to, std::uint64_t length);
    Result<void> write(std::uint64_t offset, Iova from, std::uint64_t length);

private:
    Result<void> bring_up();
    Result<void> check_abilities();
    Result<void> enable(bool on);
    Result<void> shut_down();
    Result<void> cut_off();
    Result<void> make_io_queues();
    Result<void> read_identity();
    Result<void> transfer(std::uint8_t opcode, std::uint64_t offset, Iova data, std::uint64_t length);
    Result<void> try_transfer(std::uint8_t opcode, std::uint64_t offset, Iova data, std::uint64_t length);
    Result<void> set_pages(NvmeCommand& command, Iova data, std::uint64_t length) const;
    Result<NvmeCompletion> run(NvmeQueue& queue, const NvmeCommand& command, std::string_view what);
    unsigned vector_of(const NvmeQueue& queue) const noexcept;
    Window page(unsigned number) const noexcept;

    vfio::Region bar_;
    vfio::Region config_;
    Interrupts interrupts_;
    const Window window_;
    std::uint64_t stride_ = 4;
    std::chrono::milliseconds ready_timeout_{5000};
    std::optional<NvmeQueue> admin_;
    std::optional<NvmeQueue> io_;
    std::string model_;
    std::uint64_t block_size_ = 512;
    std::uint64_t blocks_ = 0;
    std::uint64_t most_ = 64_KiB;  // of one command, in bytes
    bool stopped_ = false;
};

}  // namespace iommufd::inline v0_1::drivers
