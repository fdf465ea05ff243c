// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "drivers/nvme.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "drivers/nvme_registers.hpp"
#include "error/compose.hpp"
#include "error/guarded.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::drivers {
namespace {

using namespace nvme;

constexpr std::uint32_t kNamespace = 1;
constexpr auto kTimeout = std::chrono::milliseconds(5000);
constexpr std::uint64_t kPciCommand = 4;
constexpr std::uint16_t kPciCommandMaster = 1U << 2;

template <class T>
T field(const std::byte* data, std::size_t offset) {
    T value;
    std::memcpy(&value, data + offset, sizeof value);
    return value;
}

// A text field: padded with blanks.
std::string text(const std::byte* data, std::size_t offset, std::size_t length) {
    std::string value(reinterpret_cast<const char*>(data) + offset, length);
    value.erase(value.find_last_not_of(std::string_view(" \0", 2)) + 1);
    return value;
}

NvmeCommand command(std::uint8_t opcode, std::uint32_t nsid) {
    NvmeCommand made{};
    made.opcode = opcode;
    made.nsid = nsid;
    return made;
}

std::string_view what_is(std::uint8_t opcode) {
    return opcode == kRead ? "read from the namespace" : "write to the namespace";
}

}  // namespace

Nvme::Nvme(vfio::Region bar, vfio::Region config, Interrupts interrupts, Window window,
           std::uint16_t entries) noexcept
    : bar_(std::move(bar)),
      config_(std::move(config)),
      interrupts_(std::move(interrupts)),
      window_(window),
      entries_(entries) {}

Nvme::~Nvme() { (void)stop(); }

// The window's pages: 0 and 1 admin queues, 2 identify data, 3 a list of pages, the others I/O queues.
Window Nvme::page(unsigned number) const noexcept {
    const std::uint64_t offset = number * NvmeQueue::kPage;
    return {.memory = window_.memory + offset, .iova = window_.iova + offset, .size = window_.size - offset};
}

NvmeQueue::Place Nvme::admin_place() const noexcept {
    return {
        .id = 0, .entries = NvmeQueue::kFewest, .window = page(0), .doorbell = kDoorbells, .stride = stride_};
}

NvmeQueue::Place Nvme::io_place() const noexcept {
    return {.id = 1,
            .entries = entries_,
            .window = page(kFixedPages),
            .doorbell = kDoorbells + 2 * stride_,
            .stride = stride_};
}

Result<std::unique_ptr<Nvme>> Nvme::start(const vfio::Device& device, Window window, std::uint16_t entries) {
    return guarded(Operation::none, [&]() -> Result<std::unique_ptr<Nvme>> {
        if (!std::has_single_bit(entries) || entries < NvmeQueue::kFewest || entries > NvmeQueue::kMost)
            return Error::refused(
                EINVAL, compose("cannot drive ", device.name()),
                compose("its queues can't have ", entries, " entries"),
                compose("give a power of two from ", NvmeQueue::kFewest, " to ", NvmeQueue::kMost));
        if (window.size < window_bytes(entries) || window.iova.value % NvmeQueue::kPage != 0)
            return Error::refused(
                EINVAL, compose("cannot drive ", device.name()),
                compose("its window is ", Hex{window.iova.value}, "+", Hex{window.size}),
                compose("give it ", size_text(window_bytes(entries)), " at a page's start"));
        if (auto enabled = device.enable(); !enabled) return enabled.error();
        auto bar = device.region(0);
        if (!bar) return bar.error();
        auto config = device.region(uapi::vfio::kPciConfig);
        if (!config) return config.error();
        auto interrupts = Interrupts::enable(device, 2);
        if (!interrupts) return interrupts.error();
        auto nvme = std::make_unique<Nvme>(std::move(*bar), std::move(*config), std::move(*interrupts),
                                           window, entries);
        if (auto up = nvme->bring_up(); !up)
            return up.error().within(compose("cannot start ", device.name()));
        return nvme;
    });
}

Result<void> Nvme::bring_up() {
    if (auto able = check_abilities(); !able) return able;
    if (auto off = enable(false); !off) return off;
    admin_.emplace(admin_place());
    constexpr std::uint32_t kSize = NvmeQueue::kFewest - 1;
    if (auto set = bar_.write<std::uint32_t>(kAdminSizes, kSize << 16 | kSize); !set) return set;
    if (auto set = bar_.write<std::uint64_t>(kAdminSubmissions, admin_->submissions().value); !set)
        return set;
    if (auto set = bar_.write<std::uint64_t>(kAdminCompletions, admin_->completions().value); !set)
        return set;
    if (auto on = enable(true); !on) return on;
    if (auto identity = read_identity(); !identity) return identity;
    return make_io_queues();
}

Result<void> Nvme::check_abilities() {
    auto capabilities = bar_.read<std::uint64_t>(kCapabilities);
    if (!capabilities) return capabilities.error();
    stride_ = doorbell_stride(*capabilities);
    ready_timeout_ = std::chrono::milliseconds(ready_timeout_ms(*capabilities));
    if (has_nvm_commands(*capabilities) && min_page_shift(*capabilities) == 12 &&
        max_queue_entries(*capabilities) >= entries_)
        return {};
    return Error::refused(
        EOPNOTSUPP, "cannot use the controller", compose("its abilities are ", Hex{*capabilities}),
        compose("use one with NVM commands, pages of 4 KiB and queues of ", entries_, " entries"));
}

Result<void> Nvme::enable(bool on) {
    if (auto set = bar_.write<std::uint32_t>(kConfiguration, on ? kEntrySizes | kEnable : 0); !set)
        return set;
    return interrupts_.wait(ready_timeout_, [&]() -> Result<bool> {
        auto status = bar_.read<std::uint32_t>(kStatus);
        if (!status) return status.error();
        if (on && (*status & kFatal))
            return Error::refused(EIO, "the controller does not start", "it reports a fatal status",
                                  "reset the device");
        return ((*status & kReady) != 0) == on;
    });
}

Result<void> Nvme::stop() {
    if (stopped_) return {};
    return guarded(Operation::none, [&]() -> Result<void> {
        stopped_ = true;
        auto down = io_ ? shut_down() : Result<void>();
        if (enable(false)) return down;
        return cut_off();
    });
}

Result<void> Nvme::shut_down() {
    if (auto asked = bar_.write<std::uint32_t>(kConfiguration, kEntrySizes | kEnable | kShutDown); !asked)
        return asked;
    return interrupts_.wait(kTimeout, [&] {
        return bar_.read<std::uint32_t>(kStatus).transform(
            [](std::uint32_t status) { return (status & kShutDownMask) == kShutDownDone; });
    });
}

// A controller that doesn't stop must not reach the window when it is somebody else's memory.
Result<void> Nvme::cut_off() {
    return config_.read<std::uint16_t>(kPciCommand).and_then([&](std::uint16_t now) {
        return config_.write<std::uint16_t>(kPciCommand,
                                            static_cast<std::uint16_t>(now & ~kPciCommandMaster));
    });
}

Result<void> Nvme::read_identity() {
    NvmeCommand identify = command(kIdentify, 0);
    identify.prp1 = page(2).iova.value;
    identify.cdw10 = kIdentifyController;
    if (auto done = run(*admin_, identify, "identify the controller"); !done) return done.error();
    const std::byte* const data = page(2).memory;
    model_ = compose(text(data, 24, 40), ", serial ", text(data, 4, 20));
    // The largest transfer, as a power of two of pages; 0: no limit. One list of pages is as much as we use.
    const auto most_pages = field<std::uint8_t>(data, 77);
    most_ = std::min(NvmeQueue::kPage << (most_pages == 0 ? 8 : std::min<unsigned>(most_pages, 8)),
                     std::uint64_t{1_MiB});

    identify.nsid = kNamespace;
    identify.cdw10 = kIdentifyNamespace;
    if (auto done = run(*admin_, identify, "identify the namespace"); !done) return done.error();
    blocks_ = field<std::uint64_t>(data, 0);
    const unsigned format = field<std::uint8_t>(data, 26) & 0xf;
    const auto shift = field<std::uint8_t>(data, 128 + 4 * format + 2);
    if (blocks_ == 0 || shift < 9 || shift > 16)
        return Error::refused(ENODEV, "cannot use the controller", "it has no namespace 1",
                              "create one with nvme-cli");
    block_size_ = 1ULL << shift;
    return {};
}

Result<void> Nvme::make_io_queues() {
    NvmeCommand queues = command(kSetFeatures, 0);
    queues.cdw10 = kFeatureQueues;
    queues.cdw11 = 0;  // one of each, counted from zero
    if (auto done = run(*admin_, queues, "ask for I/O queues"); !done) return done.error();
    io_.emplace(io_place());
    const std::uint32_t size = (entries_ - 1U) << 16;
    NvmeCommand create = command(kCreateCompletions, 0);
    create.prp1 = io_->completions().value;
    create.cdw10 = size | io_->id();
    create.cdw11 = kContiguous | (interrupts_.vectors() > 0 ? kInterruptsOn : 0) | vector_of(*io_) << 16;
    if (auto done = run(*admin_, create, "create a completion queue"); !done) return done.error();
    create = command(kCreateSubmissions, 0);
    create.prp1 = io_->submissions().value;
    create.cdw10 = size | io_->id();
    create.cdw11 = kContiguous | std::uint32_t{io_->id()} << 16;
    return run(*admin_, create, "create a submission queue").transform([](const NvmeCompletion&) {});
}

// The admin queues' vector is 0, always; the others' where there is one more.
unsigned Nvme::vector_of(const NvmeQueue& queue) const noexcept {
    return queue.id() != 0 && interrupts_.vectors() > 1 ? 1 : 0;
}

Result<NvmeCompletion> Nvme::run(NvmeQueue& queue, const NvmeCommand& command, std::string_view what) {
    if (stopped_)
        return Error::refused(ESHUTDOWN, compose("cannot ", what), "the controller was stopped",
                              "start the driver again");
    if (!queue.progress().under_way.empty())
        return Error::refused(EBUSY, compose("cannot ", what), "reads are under way", "finish those first");
    if (auto submitted = queue.submit(bar_, command); !submitted) return submitted.error();
    auto completion = wait_for_completion(queue);
    if (!completion) {
        io_.reset();  // nothing to shut down in order
        (void)stop();
        return completion.error().within(compose("cannot ", what));
    }
    if (auto good = check_status(*completion, what); !good) return good.error();
    return completion;
}

Result<NvmeCompletion> Nvme::wait_for_completion(NvmeQueue& queue) {
    std::optional<NvmeCompletion> completion;
    auto waited = interrupts_.wait(vector_of(queue), kTimeout, [&]() -> Result<bool> {
        auto taken = queue.take(bar_);
        if (!taken) return taken.error();
        completion = *taken;
        return completion.has_value();
    });
    if (!waited) return waited.error();
    return *completion;
}

Result<void> Nvme::check_status(const NvmeCompletion& completion, std::string_view what) const {
    const unsigned status = completion.status >> 1 & 0x7ff;
    if (status == 0) return {};
    return Error::refused(EIO, compose("cannot ", what),
                          compose("the controller's status is ", Hex{status}, ": ", status_text(status)),
                          "check that the memory is mapped for it, with the access it needs");
}

Result<void> Nvme::set_pages(NvmeCommand& command, Iova data, std::uint64_t length) const {
    constexpr std::uint64_t kPage = NvmeQueue::kPage;
    command.prp1 = data.value;
    const std::uint64_t first = kPage - data.value % kPage;
    if (length <= first) return {};
    const Iova second = data + first;
    if (length - first <= kPage) {
        command.prp2 = second.value;
        return {};
    }
    const std::uint64_t pages = (length - first + kPage - 1) / kPage;
    if (pages > kPage / sizeof(std::uint64_t))
        return Error::refused(EINVAL, "cannot describe the data", "it has more pages than one list holds",
                              "transfer less");
    std::byte* const list = page(3).memory;
    for (std::uint64_t i = 0; i < pages; ++i) {
        const std::uint64_t address = second.value + i * kPage;
        std::memcpy(list + i * sizeof address, &address, sizeof address);
    }
    command.prp2 = page(3).iova.value;
    return {};
}

Result<void> Nvme::transfer(std::uint8_t opcode, std::uint64_t offset, Iova data, std::uint64_t length) {
    return guarded(Operation::none, [&] { return try_transfer(opcode, offset, data, length); });
}

Result<void> Nvme::check_transfer(std::uint8_t opcode, std::uint64_t offset, Iova data,
                                  std::uint64_t length) const {
    const std::string_view what = what_is(opcode);
    if (stopped_)
        return Error::refused(ESHUTDOWN, compose("cannot ", what), "the controller was stopped",
                              "start the driver again");
    if (length == 0 || offset % block_size_ != 0 || length % block_size_ != 0 || data.value % 4 != 0)
        return Error::refused(EINVAL, compose("cannot ", what),
                              compose(Hex{offset}, "+", Hex{length}, " are no whole blocks"),
                              compose("use multiples of ", size_text(block_size_)));
    if (offset / block_size_ > blocks_ || length / block_size_ > blocks_ - offset / block_size_)
        return Error::refused(ERANGE, compose("cannot ", what), compose("it has ", blocks_, " blocks only"),
                              "stay within it");
    return {};
}

Result<NvmeCommand> Nvme::transfer_command(std::uint8_t opcode, std::uint64_t offset, Iova data,
                                           std::uint64_t length) const {
    const std::uint64_t block = offset / block_size_;
    NvmeCommand io = command(opcode, kNamespace);
    io.cdw10 = static_cast<std::uint32_t>(block);
    io.cdw11 = static_cast<std::uint32_t>(block >> 32);
    io.cdw12 = static_cast<std::uint32_t>(length / block_size_ - 1);
    if (auto set = set_pages(io, data, length); !set) return set.error();
    return io;
}

Result<void> Nvme::try_transfer(std::uint8_t opcode, std::uint64_t offset, Iova data, std::uint64_t length) {
    if (auto good = check_transfer(opcode, offset, data, length); !good) return good;
    // The list of pages is one for all.
    if (under_way() > 0)
        return Error::refused(EBUSY, "cannot use the namespace", "reads are under way", "finish those first");
    for (std::uint64_t done = 0; done < length;) {
        const std::uint64_t piece = std::min(most_, length - done);
        auto io = transfer_command(opcode, offset + done, data + done, piece);
        if (!io) return io.error();
        if (auto ran = run(*io_, *io, what_is(opcode)); !ran) return ran.error();
        done += piece;
    }
    return {};
}

Result<std::string> Nvme::identify() {
    return guarded(Operation::none, [&]() -> Result<std::string> {
        return compose("NVMe ", model_, ", ", size_text(blocks_ * block_size_));
    });
}

Result<void> Nvme::read(std::uint64_t offset, Iova to, std::uint64_t length) {
    return transfer(kRead, offset, to, length);
}

Result<void> Nvme::write(std::uint64_t offset, Iova from, std::uint64_t length) {
    return transfer(kWrite, offset, from, length);
}

Result<std::uint16_t> Nvme::begin_read(std::uint64_t offset, Iova to, std::uint64_t length) {
    return guarded(Operation::none, [&]() -> Result<std::uint16_t> {
        if (auto good = check_transfer(kRead, offset, to, length); !good) return good.error();
        if (to.value % NvmeQueue::kPage + length > 2 * NvmeQueue::kPage)
            return Error::refused(EINVAL, "cannot begin to read", "it takes more than two pages of memory",
                                  "read 8 KiB at a page's start, or less");
        auto io = transfer_command(kRead, offset, to, length);
        if (!io) return io.error();
        return io_->submit(bar_, *io);
    });
}

Result<std::uint16_t> Nvme::finish_read() {
    return guarded(Operation::none, [&]() -> Result<std::uint16_t> {
        if (under_way() == 0)
            return Error::refused(ENOENT, "cannot finish a read", "none is under way", "begin one");
        auto completion = wait_for_completion(*io_);
        if (!completion) return completion.error();
        if (auto good = check_status(*completion, what_is(kRead)); !good) return good.error();
        return completion->command_id;
    });
}

Result<void> Nvme::flush() {
    return guarded(Operation::none, [&]() -> Result<void> {
        if (stopped_)
            return Error::refused(ESHUTDOWN, "cannot flush the namespace", "the controller was stopped",
                                  "start the driver again");
        return run(*io_, command(kFlush, kNamespace), "flush the namespace")
            .transform([](const NvmeCompletion&) {});
    });
}

}  // namespace iommufd::inline v0_1::drivers
