// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The interrupts of a VFIO PCI device: from the device's side lines and messages, from the program's
// side eventfds set by SET_IRQS.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/event_fd.hpp"
#include "model/pci_identity.hpp"
#include "model/worker.hpp"
#include "sys/mutex.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::model {

class PciIrqs {
public:
    PciIrqs(Worker& worker, const PciIdentity& device)
        : worker_(worker),
          has_line_(device.has_line),
          msi_vectors_(device.msi_vectors),
          msix_vectors_(device.msix_vectors) {}

    // The device's side.
    bool messages_enabled() const IOMMUFD_EXCLUDES(mutex_);
    void send_message(std::uint32_t vector) IOMMUFD_EXCLUDES(mutex_);
    void set_line(bool asserted) IOMMUFD_EXCLUDES(mutex_);
    // Of the command register.
    void disable_line(bool disabled) IOMMUFD_EXCLUDES(mutex_);

    // How many vectors an index has.
    std::uint32_t count(std::uint32_t index) const;
    // Vectors of MSI-X may be added while others are in use.
    std::uint32_t flags(std::uint32_t index) const;

    // SET_IRQS with its header checked against count(); `data` is what follows it.
    int set(const uapi::vfio::IrqSet& header, std::span<const std::byte> data) IOMMUFD_EXCLUDES(mutex_);
    // As when the device is closed.
    void reset() IOMMUFD_EXCLUDES(mutex_);

    // Signals the REQ interrupt; false where nobody listens.
    bool request() IOMMUFD_EXCLUDES(mutex_);

private:
    enum class Mode : std::uint8_t { none, line, msi, msix };
    struct Data;  // one value for each vector, of the kind that the flags name

    int set_line_trigger(const Data& data) IOMMUFD_REQUIRES(mutex_);
    int set_line_mask(const Data& data, bool masked) IOMMUFD_REQUIRES(mutex_);
    bool sends_messages() const IOMMUFD_REQUIRES(mutex_) { return mode_ == Mode::msi || mode_ == Mode::msix; }
    int set_message_trigger(Mode kind, const Data& data) IOMMUFD_REQUIRES(mutex_);
    static int set_single(const Data& data, EventFd& trigger);
    void fire_line() IOMMUFD_REQUIRES(mutex_);
    void set_masked(bool masked) IOMMUFD_REQUIRES(mutex_);
    void end_mode() IOMMUFD_REQUIRES(mutex_);

    Worker& worker_;
    const bool has_line_;
    const std::uint32_t msi_vectors_;
    const std::uint32_t msix_vectors_;
    mutable sys::Mutex mutex_;
    Mode mode_ IOMMUFD_GUARDED_BY(mutex_) = Mode::none;
    std::vector<EventFd> triggers_ IOMMUFD_GUARDED_BY(mutex_);  // of the mode
    bool asserted_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool masked_ IOMMUFD_GUARDED_BY(mutex_) = false;
    bool disabled_ IOMMUFD_GUARDED_BY(mutex_) = false;
    Worker::Watch unmask_ IOMMUFD_GUARDED_BY(mutex_) = 0;
    EventFd error_ IOMMUFD_GUARDED_BY(mutex_);
    EventFd request_ IOMMUFD_GUARDED_BY(mutex_);
};

}  // namespace iommufd::inline v0_1::model
