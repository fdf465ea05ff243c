// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// A running instance goes to a newer process: its iommufd, devices and spaces, while DMA goes on. Nothing is reset, detached
// or unmapped.
//
//     the old process                                  the new one
//     live::hand_over(instance, socket, options)  -->  live::take_over(socket)
//
//     check()    nothing stands against it
//     save()     frozen: nothing changes any more      receive()
//     send()     the state, and descriptors by   -->   restore()   handles for what the kernel has already;
//                SCM_RIGHTS                                        IOAS_CHANGE_PROCESS: the pins count here
//     receive_answer()                           <--   answer()
//     commit()   "it is yours"                   -->   receive_word(), take()
//     or abort(), which thaws, and takes the pins back
//
// The old process lives until restore() has returned: from a dead one Linux takes no pages.
//
// Until commit() the old process has lost nothing: whatever becomes of the new one, it goes on where it was. Until take() the
// new one undoes nothing of what it was given. An old process that ends without a word has handed over.
//
// What goes over: the iommufd; the IOAS and page tables of each space, its mappings by memory that is a shared file, and which
// of them a Mapping owned; bound devices with their eventfds for requests and errors; and whatever the caller adds as Extras
// with names (a driver's queues, eventfds of interrupts, which go on firing: the kernel keeps them with the device). BARs are
// mapped anew: open regions after take(). From save() on, a driver takes and submits nothing more; what devices complete
// meanwhile is found in memory, and on the eventfds, by the successor.
//
// After commit() every call through the old handles fails with ESHUTDOWN, and letting them go undoes nothing: do that soon,
// since their descriptors keep the devices as well. Registers that are mapped must not be touched.
//
// What can't go over, and why, is told by check(). One process owns the context: another one that has its descriptor too would
// lose its accounting to the successor. check() finds those that this process may look at (of its own user), and no others.
//
// Linux accounts the pages to the new process before it takes them from the old: where both are charged to one user (the
// kernel's default; Backend::accounting()), RLIMIT_MEMLOCK must hold them twice for a moment; else the new one is told ENOMEM.
// CAP_IPC_LOCK must never have been there: pins made with it stay with the old process.
//
// Threads: of check(), save() and commit() one at a time for one instance, with no map, unmap, attach or detach under way in
// other threads (save() refuses that with EBUSY).
// Linux: 6.13.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "iommufd/backend/backend.hpp"
#include "iommufd/dma/space.hpp"
#include "iommufd/vfio/device.hpp"

namespace iommufd::inline v0_1::live {

// What the caller hands over besides: bytes that only it can read, and descriptors.
struct Extra {
    std::string name;
    std::vector<std::byte> bytes;
    std::vector<int> fds;  // borrowed from who hands over; owned by who takes over
};

// All that stands on one iommufd: every user and every space of it.
struct Instance {
    const Backend& backend;
    std::vector<const dma::Space*> spaces;
    std::vector<const vfio::Device*> devices;
    std::vector<Extra> extras;
};

// A state and its descriptors, on their way. The state is versioned: see docs/live-state.md.
struct Package {
    std::vector<std::byte> state;
    std::vector<int>
        fds;  // borrowed from a Handover, which outlives it; or received: then owned by restore()
};

// All that stands against handing it over now; empty: nothing does. EBUSY is a matter of time, EOPNOTSUPP of how it was made.
// If nothing else does, the kernel is asked as well (IOAS_CHANGE_PROCESS, which for the process that pinned all changes
// nothing).
IOMMUFD_EXPORT Result<std::vector<Error>> check(const Instance& instance);

enum class Successor : std::uint8_t {
    alive,  // it has let go of all it was given, and its process is still there
    gone,   // or one can't be sure
};

class Handover;
// EBUSY or EOPNOTSUPP with all that check() says, in one line; nothing has changed then. EMFILE: descriptors.
IOMMUFD_EXPORT Result<Handover> save(const Instance& instance);

// An instance that is frozen and described. Without commit() it is aborted when this goes, as if the successor were gone.
class IOMMUFD_EXPORT Handover {
public:
    Handover(Handover&&) noexcept;
    Handover& operator=(Handover&&) noexcept;
    ~Handover();

    // Valid as long as this.
    const Package& package() const noexcept;
    // The successor has everything: from here on it is its.
    void commit() && noexcept;
    // The successor has failed: thaws, tries again what could not be given back meanwhile, and accounts all pages to this
    // process again. An error says that they are not: ENOMEM, the limit; ESRCH, the successor ended after it had taken them,
    // and they were accounted per process. Everything works all the same, but they count for nobody until they are unmapped,
    // and check() has that against another hand-over of this iommufd.
    Result<void> abort(Successor successor) && noexcept;

private:
    friend Result<Handover> save(const Instance& instance);
    struct State;
    explicit Handover(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

// What the successor has, by the names and in the order of the old instance.
struct Restored {
    Backend backend;
    std::vector<vfio::Device> devices;
    std::vector<dma::Space> spaces;
    std::vector<dma::Attachment> attachments;  // of all spaces, one after another
    std::vector<dma::Mapping> mappings;        // those that a Mapping owned, ascending within a space
    std::vector<Extra> extras;                 // with descriptors that the caller owns from here on
};

struct RestoreOptions {
    Report report;
    sys::Kernel* kernel = nullptr;  // nothing: the machine's own; else it must outlive the instance
};

class Prepared;
// Takes the descriptors, also on failure. EPROTO: the state is not one (of a version that is known here), or its descriptors
// are not what it says. ENOMEM, ENOTTY and EINVAL of IOAS_CHANGE_PROCESS: the limit, the kernel, what is mapped. Nothing in
// the kernel has changed then, so that the old process can go on.
IOMMUFD_EXPORT Result<Prepared> restore(Package package, RestoreOptions options);

// Everything is there, and nothing is ours yet. Without take() it lets go without undoing anything.
class IOMMUFD_EXPORT Prepared {
public:
    Prepared(Prepared&&) noexcept;
    Prepared& operator=(Prepared&&) noexcept;
    ~Prepared();

    // The old process has given it up.
    Restored take() && noexcept;

private:
    friend Result<Prepared> restore(Package package, RestoreOptions options);
    struct State;
    explicit Prepared(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace iommufd::inline v0_1::live
