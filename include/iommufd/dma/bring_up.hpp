// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// How a large mapping is brought up: part by part, by several threads, with progress and a way to stop.
//
//     space.map(ram, {.iova = gpa}, {.threads = 8, .progress = show, .stop = source.get_token()});
//
//     for each part, by whichever thread is free:   allocate and clear its pages --> IOAS_MAP, IOAS_MAP_FILE
//
// Most of the time goes into clearing pages; the kernel does that, pins, and writes page tables for several threads at
// once, of one IOAS too. Attach devices first: what is mapped before waits for the attach, and is then mapped by one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

namespace iommufd::inline v0_1::dma {

struct BringUp {
    // The caller's is one of them. The others live during the call only, with all signals blocked.
    unsigned threads = 1;
    // Bytes of one part, which is one kernel call (with a granule: one for each granule in it). Rounded up to a power of two;
    // 0: 64 MiB to 1 GiB, by the size and the threads. Parts start at multiples of it, so that no large page is cut.
    std::uint64_t part = 0;
    // Give each part its pages before it is mapped: a fault for each inside the ioctl is slower.
    bool prefault = true;
    // In the calling thread, without a lock held, after each part that it has done and at the end. In bytes, of all sinks
    // together; it must not throw.
    std::function<void(std::uint64_t done, std::uint64_t total)> progress;
    // Looked at between parts. ECANCELED: nothing is mapped then. (Pages that were allocated stay with the memory.)
    std::stop_token stop;
};

}  // namespace iommufd::inline v0_1::dma
