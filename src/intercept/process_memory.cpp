// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/process_memory.hpp"

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <string>

#include "intercept/huge_pages.hpp"
#include "intercept/known_threads.hpp"
#include "intercept/map_query.hpp"
#include "model/move_all.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::size_t kMostUnused = 16;  // each is three descriptors

sys::Fd open_at(pid_t number, const char* name, int flags) {
    return {sys::host_kernel(), ::open(proc_path(number, name).c_str(), flags | O_CLOEXEC)};
}

// Whether each of its pages is there as soon as it is looked for: a program's own, which no file, device or part of the kernel is behind.
bool is_always_there(const model::MappedPiece& piece) {
    return piece.container == 0 && piece.inode == 0 && piece.writable;
}

}  // namespace

int ProcessMemory::read(void* to, std::uint64_t from, std::size_t length) noexcept {
    const std::size_t held = files_.read(to, from, length);
    to = static_cast<std::byte*>(to) + held;
    from += held;
    return model::move_all(length - held, [&](std::size_t done, std::size_t rest) {
        return ::pread(memory_.number(), static_cast<std::byte*>(to) + done, rest,
                       static_cast<off_t>(from + done));
    });
}

int ProcessMemory::write(std::uint64_t to, const void* from, std::size_t length) noexcept {
    const std::size_t held = files_.write(to, from, length);
    from = static_cast<const std::byte*>(from) + held;
    to += held;
    return model::move_all(length - held, [&](std::size_t done, std::size_t rest) {
        return ::pwrite(memory_.number(), static_cast<const std::byte*>(from) + done, rest,
                        static_cast<off_t>(to + done));
    });
}

// What the program may do itself, since /proc/PID/mem would do more; then once each page that may be missing.
int ProcessMemory::populate(std::uint64_t from, std::uint64_t length, bool write) noexcept {
    const std::uint64_t last = from + length - 1;
    try {
        std::uint64_t next = from;
        const std::vector<model::MappedPiece> pieces = mapped_between(from, last);
        for (const model::MappedPiece& piece : pieces) {
            if (piece.last < next) continue;
            if (piece.first > next || !(write ? piece.writable : piece.readable)) return -EFAULT;
            if (piece.last >= last) {
                next = last;
                break;
            }
            next = piece.last + 1;
        }
        if (next != last) return -EFAULT;
        files_.hold(pieces, from / kPage * kPage, last / kPage * kPage + (kPage - 1));
        for (const model::MappedPiece& piece : pieces)
            if (!is_always_there(piece) && !touch(std::max(piece.first, from), std::min(piece.last, last)))
                return -EFAULT;
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    return 0;
}

bool ProcessMemory::touch(std::uint64_t first, std::uint64_t last) noexcept {
    std::byte byte{};
    for (std::uint64_t page = first / kPage * kPage; page <= last; page += kPage)
        if (read(&byte, page, 1) < 0) return false;
    return true;
}

std::vector<model::MappedPiece> ProcessMemory::mapped() {
    std::string text;
    std::array<char, 16384> part{};
    for (;;) {
        const ssize_t length =
            ::pread(maps_.number(), part.data(), part.size(), static_cast<off_t>(text.size()));
        if (length <= 0) break;
        text.append(part.data(), static_cast<std::size_t>(length));
    }
    return model::parse_maps(text);
}

std::vector<model::MappedPiece> ProcessMemory::mapped_between(std::uint64_t first, std::uint64_t last) {
    std::vector<model::MappedPiece> pieces;
    return query_maps(maps_.number(), first, last, pieces) ? pieces : mapped();
}

std::uint64_t ProcessMemory::page_size(std::uint64_t from, std::uint64_t length) noexcept {
    std::uint64_t smallest = 0;
    try {
        for (const model::MappedPiece& piece : mapped_between(from, from + (length - 1))) {
            if (piece.last < from || piece.first > from + (length - 1)) continue;
            const std::uint64_t size = page_size_of(piece.container);
            smallest = smallest == 0 ? size : std::min(smallest, size);
        }
    } catch (const std::bad_alloc&) {
        return kPage;
    }
    return smallest == 0 ? kPage : smallest;
}

bool ProcessMemory::alive() const noexcept {
    if (const auto alive = query_alive(maps_.number())) return *alive;
    std::byte byte{};
    return ::pread(memory_.number(), &byte, 1, 0) !=
           0;  // 0 where there is no address space; an error for its first page
}

std::shared_ptr<ProcessMemory> ProcessMemories::known(pid_t process) const {
    const auto found = known_.find(process);
    return found != known_.end() && found->second->alive() ? found->second : nullptr;
}

void ProcessMemories::forget_shared(pid_t process) {
    const auto found = known_.find(process);
    if (found == known_.end()) return;
    const long order = ::syscall(SYS_kcmp, process, parent_of(process), KCMP_VM, 0, 0);
    if (order <= 0) known_.erase(found);  // the same, or nobody can tell
}

void ProcessMemories::forget_ended(pid_t process) noexcept {
    if (const auto found = known_.find(process); found != known_.end() && !found->second->has_process())
        known_.erase(found);
}

void ProcessMemories::forget_unused() {
    const bool many = known_.size() >= kMostUnused;
    std::erase_if(known_, [&](const auto& entry) {
        return entry.second.use_count() == 1 && (many || !entry.second->alive());
    });
}

int ProcessMemories::of(pid_t process, pid_t thread, std::shared_ptr<ProcessMemory>& memory) {
    forget_ended(process);
    memory = known(process);
    if (memory) return 0;
    forget_unused();
    // Of the first thread, as long as it is there: before Linux 6.11 there are no maps without the thread that they were opened of.
    for (const pid_t owner : {process, thread}) {
        sys::Fd bytes = open_at(owner, "mem", O_RDWR);
        sys::Fd maps = open_at(owner, "maps", O_RDONLY);
        sys::Fd folder = open_at(process, "", O_PATH | O_DIRECTORY);
        if (!bytes || !maps || !folder) continue;
        memory = std::make_shared<ProcessMemory>(std::move(bytes), std::move(maps), std::move(folder), made_);
        known_.insert_or_assign(process, memory);
        if (memory->alive()) return 0;
    }
    if (memory) return 0;
    return errno == EMFILE || errno == ENFILE ? -EMFILE : -EACCES;
}

}  // namespace iommufd::inline v0_1::intercept
