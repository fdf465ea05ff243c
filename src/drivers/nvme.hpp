// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A driver for NVMe controllers: namespace 1, one pair of queues; one command at a time, or many reads.
//
//     auto disk = drivers::Nvme::start(device, window).value();   // window: Nvme::kKind.window_bytes
//     disk->write(0, iova, 64_KiB);                               // the controller reads memory
//     disk->read(0, iova + 64_KiB, 64_KiB);                       // the controller writes memory
//     disk->begin_read(0, iova, 4_KiB); ... disk->finish_read();  // up to the queue's size at once
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
// A controller at work goes to another process (live/) with state(), eventfds() and leave() here, and resume() there: nothing is
// reset, and commands that are under way are answered to the successor.
//
// Threads: one at a time.
#pragma once

#include "drivers/driver.hpp"
#include "drivers/interrupt.hpp"
#include "drivers/nvme_queue.hpp"

namespace iommufd::inline v0_1::drivers {

class Nvme final : public Driver {
public:
    static constexpr std::uint64_t window_bytes(std::uint16_t entries) {
        return (kFixedPages + NvmeQueue::pages(entries)) * NvmeQueue::kPage;
    }
    static constexpr std::uint64_t kFixedPages = 2 + NvmeQueue::pages(NvmeQueue::kFewest);
    static constexpr Kind kKind{
        .name = "nvme",
        .dma_bits = 64,
        .window_bytes = (kFixedPages + NvmeQueue::pages(NvmeQueue::kFewest)) * NvmeQueue::kPage};

    // Resets the controller. ENODEV: the namespace is missing; EINVAL: the window; EOPNOTSUPP: it wants
    // larger pages or smaller queues; EIO: it failed; ETIMEDOUT.
    static Result<std::unique_ptr<Nvme>> start(const vfio::Device& device, Window window,
                                               std::uint16_t entries = NvmeQueue::kFewest);
    // Goes on with what another process had: its state(), and its eventfds. EPROTO: that is none.
    static Result<std::unique_ptr<Nvme>> resume(const vfio::Device& device, Window window,
                                                std::span<const std::byte> state,
                                                std::vector<sys::Fd> eventfds);
    Nvme(vfio::Region bar, vfio::Region config, Interrupts interrupts, Window window,
         std::uint16_t entries) noexcept;
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

    // Reads without waiting, of two pages at most. Returns the read's id. EAGAIN: the queue is full. Meanwhile everything else
    // is refused with EBUSY.
    Result<std::uint16_t> begin_read(std::uint64_t offset, Iova to, std::uint64_t length);
    // Waits for one that is done, in any order. EIO, ETIMEDOUT; ENOENT: none is under way.
    Result<std::uint16_t> finish_read();
    std::size_t under_way() const noexcept { return io_ ? io_->progress().under_way.size() : 0; }

    // Of a moment between two calls.
    Result<std::vector<std::byte>> state() const;
    std::vector<int> eventfds() const { return interrupts_.eventfds(); }
    // Another process has it now: here it is stopped, and there it goes on.
    void leave() noexcept;

private:
    struct Saved;
    Result<void> bring_up();
    Result<void> check_abilities();
    Result<void> enable(bool on);
    Result<void> shut_down();
    Result<void> cut_off();
    Result<void> make_io_queues();
    Result<void> read_identity();
    Result<void> transfer(std::uint8_t opcode, std::uint64_t offset, Iova data, std::uint64_t length);
    Result<NvmeCommand> transfer_command(std::uint8_t opcode, std::uint64_t offset, Iova data,
                                         std::uint64_t length) const;
    Result<void> check_transfer(std::uint8_t opcode, std::uint64_t offset, Iova data,
                                std::uint64_t length) const;
    Result<void> check_status(const NvmeCompletion& completion, std::string_view what) const;
    NvmeQueue::Place admin_place() const noexcept;
    NvmeQueue::Place io_place() const noexcept;
    Result<void> try_transfer(std::uint8_t opcode, std::uint64_t offset, Iova data, std::uint64_t length);
    Result<void> set_pages(NvmeCommand& command, Iova data, std::uint64_t length) const;
    Result<NvmeCompletion> wait_for_completion(NvmeQueue& queue);
    Result<NvmeCompletion> run(NvmeQueue& queue, const NvmeCommand& command, std::string_view what);
    unsigned vector_of(const NvmeQueue& queue) const noexcept;
    Window page(unsigned number) const noexcept;

    vfio::Region bar_;
    vfio::Region config_;
    Interrupts interrupts_;
    const Window window_;
    std::uint16_t entries_ = NvmeQueue::kFewest;  // of the I/O queues
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
