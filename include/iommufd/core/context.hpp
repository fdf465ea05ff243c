// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// An open /dev/iommu. Everything else hangs off it:
//
//     Context --IOAS_ALLOC--> Ioas --HWPT_ALLOC--> Hwpt --HWPT_ALLOC--> Hwpt (nested)
//        |                                          |
//        |--FAULT_QUEUE_ALLOC--> FaultQueue         '--VIOMMU_ALLOC--> Viommu --> Vdevice, VeventQueue, HwQueue
//        '--VFIO_DEVICE_BIND_IOMMUFD-- a VFIO device (vfio/cdev.hpp)
//
// Handles are move-only. Each keeps what it stands on alive, so letting go in any order is right: the
// kernel object is destroyed when its handle and all that stand on it are gone, and the file is closed
// after the last of them.
//
// Threads: any call on a context, or on different handles of it, may run at the same time. One handle's
// own destroy() and move must not run against another call on that handle.
//
// Linux: 6.2; the newer commands say their own.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "iommufd/core/report.hpp"
#include "iommufd/core/types.hpp"
#include "iommufd/error/result.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

namespace sys {
class Kernel;
}

// A descriptor that changes hands: it is the library's from here on, which closes it, also on failure.
struct AdoptFd {
    int number;
};

// A descriptor that stays the caller's: the library works with a duplicate of it.
struct DupFd {
    int number;
};

namespace core {

class ContextNode;

// Against which limit the kernel counts the pages that a mapping pins.
enum class RlimitMode : std::uint8_t {
    per_user = 0,     // all processes of one uid share RLIMIT_MEMLOCK (the kernel's default)
    per_process = 1,  // each process has its own
};

class IOMMUFD_EXPORT Context {
public:
    struct Options {
        std::string label = "iommufd";  // named by errors
        Report report;                  // nothing: failures are counted only
        sys::Kernel* kernel = nullptr;  // nothing: the machine's own; else it must outlive the context
    };

    // Opens /dev/iommu. EACCES, ENOENT (no CONFIG_IOMMUFD), EMFILE, ...
    static Result<Context> open();
    static Result<Context> open(Options options);
    // Takes a descriptor that somebody opened; EBADF or ENOTTY if it isn't an iommufd.
    static Result<Context> from(AdoptFd fd, Options options);
    static Result<Context> from(DupFd fd, Options options);

    Context(Context&&) noexcept;
    Context& operator=(Context&&) noexcept;
    ~Context();

    // Borrowed: valid as long as this handle; never close it.
    int fd() const noexcept;
    std::string_view label() const noexcept;

    // IOMMU_OPTION RLIMIT_MODE. Setting needs CAP_SYS_RESOURCE (EPERM) and a context without objects (EBUSY).
    Result<RlimitMode> rlimit_mode() const;
    Result<void> set_rlimit_mode(RlimitMode mode) const;

    // IOAS_CHANGE_PROCESS: accounts all pinned pages of the context to this process from now on. Only where
    // every mapping is by file (EINVAL), and made without CAP_IPC_LOCK (Linux 7.3 leaves the pins of others
    // with the old process). The limit must hold them beside those of the old process, where both count together (ENOMEM).
    // With RlimitMode::per_process the old one must be alive: else Linux 7.3 says EINVAL, and has charged them here for good.
    // Linux 6.13.
    Result<void> change_process() const;

    // What the kernel may still hold though it was let go; empty in all good days.
    std::vector<NotReleased> not_released() const;
    // Tries those again, in the order in which they failed; returns how many remain.
    std::size_t retry_releases() const;
    // Failures and warnings that went to the report since the context was opened.
    std::uint64_t notices() const noexcept;

    // For the layers above.
    explicit Context(std::shared_ptr<ContextNode> node) noexcept;
    const std::shared_ptr<ContextNode>& node() const noexcept { return node_; }

private:
    std::shared_ptr<ContextNode> node_;
};

}  // namespace core
}  // namespace iommufd::inline v0_1
