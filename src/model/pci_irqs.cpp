// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/pci_irqs.hpp"

#include <cerrno>
#include <cstring>
#include <utility>

namespace iommufd::inline v0_1::model {

using namespace uapi::vfio;

struct PciIrqs::Data {
    std::uint32_t kind;
    std::uint32_t start;
    std::uint32_t count;
    std::span<const std::byte> bytes;

    bool none() const { return kind == kIrqSetDataNone; }
    bool eventfds() const { return kind == kIrqSetDataEventfd; }
    // Whether the vector is meant: every one without data.
    bool chosen(std::uint32_t i) const { return none() || bytes[i] != std::byte{0}; }
    int eventfd(std::uint32_t i) const {
        std::int32_t fd = -1;
        std::memcpy(&fd, bytes.data() + i * sizeof fd, sizeof fd);
        return fd;
    }
    // The eventfd of a vector, empty for -1.
    int take(std::uint32_t i, EventFd& taken) const {
        return eventfd(i) < 0 ? 0 : EventFd::take(eventfd(i), taken);
    }
};

std::uint32_t PciIrqs::count(std::uint32_t index) const {
    switch (index) {
        case kPciIntx:
            return has_line_ ? 1 : 0;
        case kPciErr:
        case kPciReq:
            return 1;
        case kPciMsi:
            return msi_vectors_;
        case kPciMsix:
            return msix_vectors_;
        default:
            return 0;
    }
}

std::uint32_t PciIrqs::flags(std::uint32_t index) const {
    if (index == kPciIntx) return kIrqEventfd | kIrqMaskable | kIrqAutomasked;
    return kIrqEventfd | (index == kPciMsix && msix_vectors_ != 0 ? 0 : kIrqNoresize);
}

bool PciIrqs::messages_enabled() const {
    const sys::Lock lock(mutex_);
    return sends_messages();
}

void PciIrqs::send_message(std::uint32_t vector) {
    const sys::Lock lock(mutex_);
    if (sends_messages() && vector < triggers_.size()) triggers_[vector].signal();
}

void PciIrqs::set_line(bool asserted) {
    const sys::Lock lock(mutex_);
    asserted_ = asserted;
    fire_line();
}

void PciIrqs::disable_line(bool disabled) {
    const sys::Lock lock(mutex_);
    disabled_ = disabled;
    fire_line();
}

// A line that fires is masked until the program has handled it.
void PciIrqs::fire_line() {
    if (mode_ != Mode::line || !asserted_ || masked_ || disabled_) return;
    masked_ = true;
    triggers_[0].signal();
}

void PciIrqs::set_masked(bool masked) {
    masked_ = masked;
    fire_line();
}

void PciIrqs::end_mode() {
    mode_ = Mode::none;
    triggers_.clear();
    masked_ = false;
    worker_.forget(std::exchange(unmask_, 0));
}

void PciIrqs::reset() {
    const sys::Lock lock(mutex_);
    end_mode();
    error_ = {};
    request_ = {};
    disabled_ = false;
}

bool PciIrqs::request() {
    const sys::Lock lock(mutex_);
    request_.signal();
    return static_cast<bool>(request_);
}

int PciIrqs::set(const IrqSet& header, std::span<const std::byte> bytes) {
    const Data data{.kind = header.flags & (kIrqSetDataNone | kIrqSetDataBool | kIrqSetDataEventfd),
                    .start = header.start,
                    .count = header.count,
                    .bytes = bytes};
    const std::uint32_t action = header.flags & (kIrqSetMask | kIrqSetUnmask | kIrqSetTrigger);
    const sys::Lock lock(mutex_);
    if (header.index == kPciIntx && action == kIrqSetTrigger) return set_line_trigger(data);
    if (header.index == kPciIntx && action == kIrqSetMask) return set_line_mask(data, true);
    if (header.index == kPciIntx && action == kIrqSetUnmask) return set_line_mask(data, false);
    if (header.index == kPciMsi && action == kIrqSetTrigger) return set_message_trigger(Mode::msi, data);
    if (header.index == kPciMsix && action == kIrqSetTrigger) return set_message_trigger(Mode::msix, data);
    if (header.index == kPciErr && action == kIrqSetTrigger) return set_single(data, error_);
    if (header.index == kPciReq && action == kIrqSetTrigger) return set_single(data, request_);
    return -ENOTTY;
}

int PciIrqs::set_line_trigger(const Data& data) {
    if (mode_ == Mode::line && data.count == 0 && data.none()) return end_mode(), 0;
    if (sends_messages() || data.start != 0 || data.count != 1) return -EINVAL;
    if (data.eventfds()) {
        EventFd trigger;
        if (const int rc = data.take(0, trigger); rc < 0) return rc;
        if (mode_ == Mode::none) triggers_.resize(1);
        mode_ = Mode::line;
        triggers_[0] = std::move(trigger);
        fire_line();
        return 0;
    }
    if (mode_ != Mode::line) return -EINVAL;
    if (data.chosen(0)) triggers_[0].signal();
    return 0;
}

int PciIrqs::set_line_mask(const Data& data, bool masked) {
    if (mode_ != Mode::line || data.start != 0 || data.count != 1) return -EINVAL;
    if (data.eventfds()) {
        if (masked) return -ENOTTY;
        EventFd unmask;
        if (const int rc = data.take(0, unmask); rc < 0) return rc;
        Worker::Watch watch = 0;
        if (unmask)
            watch = worker_.watch(std::move(unmask), [this] {
                const sys::Lock lock(mutex_);
                set_masked(false);
            });
        worker_.forget(std::exchange(unmask_, watch));
        return 0;
    }
    if (data.chosen(0)) set_masked(masked);
    return 0;
}

int PciIrqs::set_message_trigger(Mode kind, const Data& data) {
    if (mode_ == kind && data.count == 0 && data.none()) return end_mode(), 0;
    if (mode_ != kind && mode_ != Mode::none) return -EINVAL;
    if (data.eventfds()) {
        const bool enables = mode_ == Mode::none;
        if (enables && data.start + data.count == 0) return -ERANGE;
        const bool grows = data.start + data.count > triggers_.size();
        if (!enables && grows && kind != Mode::msix) return -EINVAL;
        std::vector<EventFd> taken(data.count);
        for (std::uint32_t i = 0; i < data.count; ++i)
            if (const int rc = data.take(i, taken[i]); rc < 0) return rc;
        if (grows) triggers_.resize(data.start + data.count);
        mode_ = kind;
        for (std::uint32_t i = 0; i < data.count; ++i) triggers_[data.start + i] = std::move(taken[i]);
        return 0;
    }
    if (mode_ != kind) return -EINVAL;
    for (std::uint32_t i = 0; i < data.count && data.start + i < triggers_.size(); ++i)
        if (data.chosen(i)) triggers_[data.start + i].signal();
    return 0;
}

int PciIrqs::set_single(const Data& data, EventFd& trigger) {
    if (data.start != 0 || data.count > 1) return -EINVAL;
    if (data.none()) {
        if (!trigger) return -EINVAL;
        if (data.count == 0)
            trigger = {};
        else
            trigger.signal();
        return 0;
    }
    if (data.count == 0) return -EINVAL;
    if (data.eventfds()) {
        EventFd taken;
        if (const int rc = data.take(0, taken); rc < 0) return rc;
        trigger = std::move(taken);
        return 0;
    }
    if (data.chosen(0)) trigger.signal();
    return 0;
}

}  // namespace iommufd::inline v0_1::model
