// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/nvme.hpp"

#include <algorithm>
#include <span>

namespace iommufd::inline v0_1::model {

using namespace nvme;

namespace {

// Queues of 2048 entries that are contiguous, 7.5 s until ready, NVM and other command sets, pages up to 64 KiB.
constexpr std::uint64_t kAbilities = 0x00400820'0f0107ff;
constexpr std::uint32_t kVersion14 = 0x00010400;
constexpr std::uint32_t kMostEntries = 0x7ff + 1;
constexpr std::uint64_t kPage = 4096;

template <class T>
std::span<std::byte> bytes_of(T& value) {
    return std::as_writable_bytes(std::span(&value, 1));
}

// The four bytes of a register at `offset`, which may be half of a wider one.
std::uint32_t half(std::uint64_t value, std::uint64_t offset) {
    return static_cast<std::uint32_t>(offset % 8 == 0 ? value : value >> 32);
}
void set_half(std::uint64_t& value, std::uint64_t offset, std::uint32_t part) {
    value = offset % 8 == 0 ? (value & ~0xffffffffULL) | part
                            : (value & 0xffffffffULL) | std::uint64_t{part} << 32;
}

}  // namespace

void Nvme::reset() {
    configuration_ = 0;
    status_ = 0;
    masked_ = 0;
    admin_sizes_ = 0;
    admin_submissions_ = 0;
    admin_completions_ = 0;
    submissions_ = {};
    completions_ = {};
}

std::uint64_t Nvme::read(std::uint64_t offset, unsigned width) {
    const auto word = [&](std::uint64_t at) -> std::uint32_t {
        switch (at) {
            case kCapabilities:
            case kCapabilities + 4:
                return half(kAbilities, at);
            case kVersion:
                return kVersion14;
            case kMaskSet:
            case kMaskClear:
                return masked_;
            case kConfiguration:
                return configuration_;
            case kStatus:
                return status_;
            case kAdminSizes:
                return admin_sizes_;
            case kAdminSubmissions:
            case kAdminSubmissions + 4:
                return half(admin_submissions_, at);
            case kAdminCompletions:
            case kAdminCompletions + 4:
                return half(admin_completions_, at);
            default:
                return 0;
        }
    };
    if (width == 8) return word(offset) | std::uint64_t{word(offset + 4)} << 32;
    return word(offset & ~3ULL) >> (8 * (offset % 4));
}

std::vector<PolledRegister> Nvme::polled() const {
    std::vector<PolledRegister> registers = {
        {kCapabilities, 8},     {kVersion, 4},          {kStatus, 4},
        {kMaskSet, 4},          {kMaskClear, 4},        {kAdminSizes, 4},
        {kAdminSubmissions, 8}, {kAdminCompletions, 8}, {kConfiguration, 4}};
    for (std::uint64_t end = 0; end < 2 * submissions_.size(); ++end)
        registers.push_back({kDoorbells + 4 * end, 4, PolledRegister::Kind::doorbell});
    return registers;
}

void Nvme::write(std::uint64_t offset, unsigned width, std::uint64_t value) {
    if (width < 4) return;
    const auto low = static_cast<std::uint32_t>(value);
    if (offset >= kDoorbells) return ring(offset - kDoorbells, low);
    if (width == 8) {
        write(offset, 4, low);
        return write(offset + 4, 4, value >> 32);
    }
    switch (offset) {
        case kMaskSet:
        case kMaskClear:
            masked_ = offset == kMaskSet ? masked_ | low : masked_ & ~low;
            return update_line();
        case kConfiguration:
            return configure(low);
        case kAdminSizes:
            admin_sizes_ = low & 0x0fff0fff;
            break;
        case kAdminSubmissions:
        case kAdminSubmissions + 4:
            set_half(admin_submissions_, offset, low);
            break;
        case kAdminCompletions:
        case kAdminCompletions + 4:
            set_half(admin_completions_, offset, low);
            break;
        default:
            break;
    }
}

void Nvme::configure(std::uint32_t value) {
    const std::uint32_t before = std::exchange(configuration_, value);
    if ((value & kEnable) != 0 && (before & kEnable) == 0) status_ = start() ? kReady : kFatal;
    if ((value & kEnable) == 0 && (before & kEnable) != 0) {
        stop();
        status_ = 0;
    }
    if ((value & kShutDown) != 0 && (before & kShutDown) == 0) {
        stop();
        status_ |= kShutDownDone;
    }
    if ((value & kShutDown) == 0) status_ &= ~kShutDownDone;
}

bool Nvme::start() {
    const std::uint32_t submissions = (admin_sizes_ & 0xfff) + 1;
    const std::uint32_t completions = (admin_sizes_ >> 16 & 0xfff) + 1;
    if (submissions < 2 || completions < 2 || admin_submissions_ % kPage != 0 ||
        admin_completions_ % kPage != 0 || (configuration_ & (kCommandSets | kPageSize)) != 0)
        return false;
    completions_[0] = CompletionQueue{
        {.base = admin_completions_, .entries = completions}, /*vector=*/0, /*interrupts=*/true};
    completions_[0]->users = 1;
    submissions_[0] =
        SubmissionQueue{{.base = admin_submissions_, .entries = submissions}, /*completions=*/0};
    return true;
}

void Nvme::stop() {
    submissions_ = {};
    completions_ = {};
    update_line();
}

void Nvme::fail() { status_ |= kFatal; }

void Nvme::ring(std::uint64_t doorbell, std::uint32_t value) {
    const std::uint64_t queue = doorbell / 8;
    if (doorbell % 4 != 0 || queue >= submissions_.size() || (status_ & kFatal) != 0) return;
    const auto number = static_cast<std::uint16_t>(queue);
    if (doorbell % 8 == 0) {
        if (!submissions_[queue] || value >= submissions_[queue]->entries) return;
        submissions_[queue]->tail = value;
        return serve(number);
    }
    if (!completions_[queue] || value >= completions_[queue]->entries) return;
    completions_[queue]->head = value;
    update_line();
    // There is room for what had to wait.
    for (std::uint16_t other = 0; other < submissions_.size(); ++other)
        if (submissions_[other] && submissions_[other]->completions == number) serve(other);
}

void Nvme::serve(std::uint16_t number) {
    // A command may delete the queue, or the one of its answers.
    for (;;) {
        auto& queue = submissions_[number];
        if (!queue || queue->head == queue->tail) return;
        const std::uint16_t answers = queue->completions;
        if (completions_[answers]->full()) return;
        Command command{};
        if (!wiring_.dma.read(queue->base + queue->head * sizeof command, bytes_of(command))) return fail();
        queue->head = queue->after(queue->head);
        const auto answer = number == 0 ? administrate(command) : std::optional(work(command));
        if (answer && !complete(number, command.id, *answer)) return fail();
    }
}

bool Nvme::complete(std::uint16_t number, std::uint16_t command, Answer answer) {
    const SubmissionQueue& queue = *submissions_[number];
    CompletionQueue& answers = *completions_[queue.completions];
    Completion completion{.result = answer.result,
                          .reserved = 0,
                          .sq_head = static_cast<std::uint16_t>(queue.head),
                          .sq_id = number,
                          .command_id = command,
                          .status = static_cast<std::uint16_t>(answer.status << 1 | answers.phase)};
    if (!wiring_.dma.write(answers.base + answers.tail * sizeof completion, bytes_of(completion)))
        return false;
    answers.tail = answers.after(answers.tail);
    if (answers.tail == 0) answers.phase ^= 1;
    if (answers.interrupts && wiring_.irqs.messages_enabled()) wiring_.irqs.send_message(answers.vector);
    update_line();
    return true;
}

// High while an answer is there that nobody took.
void Nvme::update_line() {
    if (wiring_.irqs.messages_enabled()) return;
    wiring_.irqs.set_line(std::ranges::any_of(completions_, [&](const auto& queue) {
        return queue && queue->interrupts && queue->head != queue->tail &&
               (queue->vector >= 32 || (masked_ >> queue->vector & 1) == 0);
    }));
}

std::optional<Nvme::Answer> Nvme::administrate(const Command& command) {
    switch (command.opcode) {
        case kIdentify:
            return identify(command);
        case kCreateCompletions:
            return create_completions(command);
        case kCreateSubmissions:
            return create_submissions(command);
        case kDeleteCompletions:
            return delete_completions(command);
        case kDeleteSubmissions:
            return delete_submissions(command);
        case kSetFeatures:
        case kGetFeatures:
            return features(command);
        case kAbort:
            return Answer{.status = kSuccess, .result = 1};  // it was not aborted: it has been done
        case kAwaitEvent:
            return std::nullopt;
        default:
            return Answer{kInvalidOpcode};
    }
}

// The checks in QEMU's order.
Nvme::Answer Nvme::create_completions(const Command& command) {
    const auto id = static_cast<std::uint16_t>(command.cdw10);
    const std::uint32_t entries = (command.cdw10 >> 16) + 1;
    const std::uint32_t vector = command.cdw11 >> 16;
    if (id == 0 || id > kMostQueues || completions_[id]) return {kInvalidQueue};
    if (entries < 2 || entries > kMostEntries) return {kInvalidQueueSize};
    if (command.prp1 % kPage != 0) return {kInvalidPrp};
    if (vector > kMostQueues || (!wiring_.irqs.messages_enabled() && vector != 0)) return {kInvalidVector};
    if ((command.cdw11 & kContiguous) == 0) return {kInvalidField};
    completions_[id] = CompletionQueue{
        {.base = command.prp1, .entries = entries}, vector, (command.cdw11 & kInterruptsOn) != 0};
    return {};
}

Nvme::Answer Nvme::create_submissions(const Command& command) {
    const auto id = static_cast<std::uint16_t>(command.cdw10);
    const std::uint32_t entries = (command.cdw10 >> 16) + 1;
    const auto answers = static_cast<std::uint16_t>(command.cdw11 >> 16);
    if (answers == 0 || answers > kMostQueues || !completions_[answers]) return {kInvalidCompletionQueue};
    if (id == 0 || id > kMostQueues || submissions_[id]) return {kInvalidQueue};
    if (entries < 2 || entries > kMostEntries) return {kInvalidQueueSize};
    if (command.prp1 % kPage != 0) return {kInvalidPrp};
    if ((command.cdw11 & kContiguous) == 0) return {kInvalidField};
    submissions_[id] = SubmissionQueue{{.base = command.prp1, .entries = entries}, answers};
    ++completions_[answers]->users;
    return {};
}

Nvme::Answer Nvme::delete_completions(const Command& command) {
    const auto id = static_cast<std::uint16_t>(command.cdw10);
    if (id == 0 || id > kMostQueues || !completions_[id]) return {kInvalidCompletionQueue};
    if (completions_[id]->users != 0) return {kQueueInUse};
    completions_[id].reset();
    update_line();
    return {};
}

Nvme::Answer Nvme::delete_submissions(const Command& command) {
    const auto id = static_cast<std::uint16_t>(command.cdw10);
    if (id == 0 || id > kMostQueues || !submissions_[id]) return {kInvalidQueue};
    --completions_[submissions_[id]->completions]->users;
    submissions_[id].reset();
    return {};
}

Nvme::Answer Nvme::features(const Command& command) const {
    constexpr std::uint32_t kCache = 0x06;
    constexpr std::uint32_t kQueues = 0x07;
    const bool sets = command.opcode == kSetFeatures;
    const std::uint32_t feature = command.cdw10 & 0xff;
    if (feature == kCache) return {.status = kSuccess, .result = sets ? 0U : 1U};  // it is always on
    if (feature != kQueues) return {kInvalidField};
    if (sets && ((command.cdw11 & 0xffff) == 0xffff || command.cdw11 >> 16 == 0xffff)) return {kInvalidField};
    constexpr std::uint32_t kMost = kMostQueues - 1;  // counted from zero
    return {.status = kSuccess, .result = kMost << 16 | kMost};
}

}  // namespace iommufd::inline v0_1::model
