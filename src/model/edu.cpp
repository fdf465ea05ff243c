// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/edu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

enum Register : std::uint64_t {
    kIdentification = 0x00,
    kLiveness = 0x04,
    kFactorial = 0x08,
    kStatus = 0x20,
    kInterruptStatus = 0x24,
    kRaise = 0x60,
    kAcknowledge = 0x64,
    kFirstWide = 0x80,  // from here on registers may be accessed by 8 bytes
    kSource = 0x80,
    kDestination = 0x88,
    kCount = 0x90,
    kCommand = 0x98,
};

constexpr std::uint32_t kIdentificationValue = 0x010000ed;
constexpr std::uint32_t kStatusInterrupt = 0x80;  // after a factorial
constexpr std::uint32_t kFactorialDone = 0x001;
constexpr std::uint32_t kDmaDone = 0x100;

constexpr std::uint64_t kStart = 1;
constexpr std::uint64_t kToMemory = 2;
constexpr std::uint64_t kInterrupt = 4;

constexpr std::uint64_t kBuffer = 0x40000;

bool valid(std::uint64_t offset, unsigned width) {
    return width == 4 || (width == 8 && offset >= kFirstWide);
}

}  // namespace

Edu::Edu(Wiring wiring, unsigned dma_bits)
    : wiring_(wiring), dma_mask_(dma_bits >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << dma_bits) - 1) {}

std::uint64_t Edu::read(std::uint64_t offset, unsigned width) {
    if (width < 4) return 0;  // the bus refuses it before the device sees it
    if (!valid(offset, width)) return ~std::uint64_t{0};
    switch (offset) {
        case kIdentification:
            return kIdentificationValue;
        case kLiveness:
            return liveness_;
        case kFactorial:
            return factorial_;
        case kStatus:
            return status_;
        case kInterruptStatus:
            return causes_;
        case kSource:
            return source_;
        case kDestination:
            return destination_;
        case kCount:
            return count_;
        case kCommand:
            return command_;
        default:
            return ~std::uint64_t{0};
    }
}

void Edu::write(std::uint64_t offset, unsigned width, std::uint64_t value) {
    if (!valid(offset, width)) return;
    if (waits_for_page_ && offset >= kFirstWide) return;
    const auto low = static_cast<std::uint32_t>(value);
    switch (offset) {
        case kLiveness:
            liveness_ = ~low;
            break;
        case kFactorial:
            factorial_ = 1;
            // Modulo 2^32, where the product is zero from 34! on.
            for (std::uint32_t n = low; n > 0 && factorial_ != 0; --n) factorial_ *= n;
            if ((status_ & kStatusInterrupt) != 0) raise(kFactorialDone);
            break;
        case kStatus:
            status_ = low & kStatusInterrupt;
            break;
        case kRaise:
            raise(low);
            break;
        case kAcknowledge:
            acknowledge(low);
            break;
        case kSource:
            source_ = value;
            break;
        case kDestination:
            destination_ = value;
            break;
        case kCount:
            count_ = value;
            break;
        case kCommand:
            if ((value & kStart) == 0) break;
            command_ = value;
            start_dma();
            break;
        default:
            break;
    }
}

std::vector<PolledRegister> Edu::polled() const {
    using enum PolledRegister::Kind;
    return {{kIdentification, 4},  {kInterruptStatus, 4}, {kStatus, 4},
            {kLiveness, 4},        {kFactorial, 4},       {kAcknowledge, 4, doorbell},
            {kRaise, 4, doorbell}, {kSource, 8},          {kDestination, 8},
            {kCount, 8},           {kCommand, 8, command}};
}

void Edu::raise(std::uint32_t causes) {
    causes_ |= causes;
    if (causes_ == 0) return;
    if (wiring_.irqs.messages_enabled())
        wiring_.irqs.send_message(0);
    else
        wiring_.irqs.set_line(true);
}

void Edu::acknowledge(std::uint32_t causes) {
    causes_ &= ~causes;
    if (causes_ == 0 && !wiring_.irqs.messages_enabled()) wiring_.irqs.set_line(false);
}

Edu::Dma Edu::dma() {
    const bool to_memory = (command_ & kToMemory) != 0;
    const std::uint64_t inside = to_memory ? source_ : destination_;
    const std::uint64_t outside = (to_memory ? destination_ : source_) & dma_mask_;
    // A range that leaves the buffer is logged by QEMU and then undefined; here it moves nothing.
    const bool fits = inside >= kBuffer && inside - kBuffer <= buffer_.size() &&
                      count_ <= buffer_.size() - (inside - kBuffer);
    Dma dma{.memory = outside, .part = {}, .to_memory = to_memory};
    if (fits) dma.part = std::span(buffer_).subspan(inside - kBuffer, count_);
    return dma;
}

void Edu::start_dma() {
    const Dma wanted = dma();
    waits_for_page_ = wiring_.dma.ask_for_page(wanted.memory, wanted.part.size(), wanted.to_memory);
    if (!waits_for_page_) finish_dma();
}

void Edu::page_answered(bool there) {
    if (!waits_for_page_) return;
    waits_for_page_ = false;
    if (there)
        start_dma();
    else
        finish_dma();
}

void Edu::finish_dma() {
    const Dma wanted = dma();
    if (!wanted.part.empty()) {
        if (wanted.to_memory)
            (void)wiring_.dma.write(wanted.memory, wanted.part);
        else
            (void)wiring_.dma.read(wanted.memory, wanted.part);
    }
    command_ &= ~kStart;  // whether memory was reached or not: it ignores bus errors
    if ((command_ & kInterrupt) != 0) raise(kDmaDone);
}

}  // namespace iommufd::inline v0_1::model
