// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/trace.hpp"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "error/operations.hpp"
#include "intercept/filter.hpp"
#include "intercept/path.hpp"
#include "iommufd/error/error.hpp"
#include "model/context.hpp"
#include "model/vdpa_device.hpp"
#include "model/vfio_device.hpp"
#include "uapi/iommufd_test.hpp"
#include "uapi/vfio.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

constexpr Name kOpenBits[] = {{O_CREAT, "CREAT"},     {O_EXCL, "EXCL"},           {O_NOCTTY, "NOCTTY"},
                              {O_TRUNC, "TRUNC"},     {O_APPEND, "APPEND"},       {O_NONBLOCK, "NONBLOCK"},
                              {O_CLOEXEC, "CLOEXEC"}, {O_DIRECTORY, "DIRECTORY"}, {O_NOFOLLOW, "NOFOLLOW"},
                              {O_PATH, "PATH"}};
constexpr Names kOpen{"O_", kOpenBits};
constexpr Name kProtectionBits[] = {{PROT_READ, "READ"}, {PROT_WRITE, "WRITE"}, {PROT_EXEC, "EXEC"}};
constexpr Names kProtection{"PROT_", kProtectionBits};
constexpr Name kMemoryBits[] = {{MFD_CLOEXEC, "CLOEXEC"}, {MFD_ALLOW_SEALING, "ALLOW_SEALING"}};
constexpr Names kMemory{"MFD_", kMemoryBits};
constexpr Name kIotlbTypes[] = {{uapi::vhost::kIotlbUpdate, "UPDATE"},
                                {uapi::vhost::kIotlbInvalidate, "INVALIDATE"},
                                {uapi::vhost::kIotlbBatchBegin, "BATCH_BEGIN"},
                                {uapi::vhost::kIotlbBatchEnd, "BATCH_END"}};
constexpr Names kIotlbType{"VHOST_IOTLB_", kIotlbTypes};
constexpr std::uint32_t kMostShown = 16;  // of an array

std::string show_open_flags(std::uint64_t flags) {
    // Three values, not bits.
    std::string text = (flags & O_ACCMODE) == O_RDWR     ? "O_RDWR"
                       : (flags & O_ACCMODE) == O_WRONLY ? "O_WRONLY"
                                                         : "O_RDONLY";
    flags &= ~std::uint64_t{O_ACCMODE};
    return flags == 0 ? text : text + '|' + show_bits(flags, kOpen);
}

Operation operation_of(std::string_view name) noexcept {
    const auto* const found = std::ranges::find(kOperations, name, &OperationFacts::name);
    return found == std::end(kOperations) ? Operation::none : found->operation;
}

const Form* find(std::span<const Form> forms, std::uint64_t request) noexcept {
    const auto found = std::ranges::find(forms, request, &Form::request);
    return found == forms.end() ? nullptr : &*found;
}

std::span<const Form> forms_of(const model::File& file) noexcept {
    if (dynamic_cast<const model::IommufdFile*>(&file) != nullptr) return iommufd_forms();
    if (dynamic_cast<const model::VfioFile*>(&file) != nullptr) return vfio_forms();
    if (dynamic_cast<const model::VdpaFile*>(&file) != nullptr) return vhost_forms();
    return {};
}

// As much of the argument as the program has.
std::vector<std::byte> read_argument(Tracee& tracee, const Form& form, std::uint64_t argument) {
    std::uint32_t size = form.size;
    if (form.sized && tracee.copy_from(&size, argument, sizeof size) < 0) return {};
    std::vector<std::byte> bytes(std::min(size, form.size));
    if (tracee.copy_from(bytes.data(), argument, bytes.size()) < 0) return {};
    return bytes;
}

template <class T>
T as(const std::vector<std::byte>& bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
}

std::string show_ranges(Tracee& tracee, std::uint64_t address, std::uint32_t count) {
    std::vector<uapi::IovaRange> ranges(std::min(count, kMostShown));
    if (tracee.copy_from(ranges.data(), address, ranges.size() * sizeof ranges[0]) < 0) return {};
    std::string text = ", [";
    for (const uapi::IovaRange& range : ranges)
        text += (text.size() > 3 ? ", " : "") + show_address(range.start) + '-' + show_address(range.last);
    return text + (ranges.size() < count ? ", ...]" : "]");
}

std::string show_eventfds(Tracee& tracee, std::uint64_t argument, const uapi::vfio::IrqSet& set) {
    std::vector<std::int32_t> numbers(std::min(set.count, kMostShown));
    if (tracee.copy_from(numbers.data(), argument + sizeof set, numbers.size() * sizeof numbers[0]) < 0)
        return {};
    std::string text = ", [";
    for (const std::int32_t number : numbers) text += (text.size() > 3 ? ", " : "") + std::to_string(number);
    return text + (numbers.size() < set.count ? ", ...]" : "]");
}

std::string show_message(const uapi::vhost::MsgV2& message) {
    std::string text =
        "{asid=" + std::to_string(message.asid) + ", type=" + show_value(message.iotlb.type, kIotlbType);
    if (message.iotlb.type == uapi::vhost::kIotlbUpdate ||
        message.iotlb.type == uapi::vhost::kIotlbInvalidate)
        text += ", iova=" + show_address(message.iotlb.iova) + ", size=" + show_address(message.iotlb.size);
    if (message.iotlb.type == uapi::vhost::kIotlbUpdate)
        text +=
            ", uaddr=" + show_address(message.iotlb.uaddr) + ", perm=" + std::to_string(message.iotlb.perm);
    return text + '}';
}

Operation operation_of(const uapi::vhost::MsgV2& message) noexcept {
    switch (message.iotlb.type) {
        case uapi::vhost::kIotlbUpdate:
            return Operation::iotlb_update;
        case uapi::vhost::kIotlbInvalidate:
            return Operation::iotlb_invalidate;
        default:
            return Operation::iotlb_batch;
    }
}

}  // namespace

void Trace::add_path(Tracee& tracee, Line& line, std::uint64_t address) {
    std::string path;
    const bool readable = tracee.copy_text(path, address, PATH_MAX) == 0;
    line.text += readable ? '"' + path + '"' : show_address(address);
}

// "3</dev/iommu>": what the model has named it.
void Trace::add_descriptor(Tracee& tracee, Line& line, int fd) {
    if (fd == AT_FDCWD) {
        line.text += "AT_FDCWD";
        return;
    }
    const std::string link = tracee.link("fd/" + std::to_string(fd));
    (line.text += std::to_string(fd) + '<').append(node_of(link)) += '>';
}

void Trace::add_ioctl(Tracee& tracee, Line& line, const seccomp_data& call) {
    const auto [fd, request, argument, unused3, unused4, unused5] = call.args;
    line.text = "ioctl(";
    add_descriptor(tracee, line, static_cast<int>(fd));
    const auto found = files_.find(static_cast<int>(fd));
    if (!found) return;
    line.form = find(forms_of(*found.file), request & 0xffffffff);
    line.argument = argument;
    if (line.form == nullptr) {
        line.text += ", " + show_address(request & 0xffffffff) + ", " + show_address(argument);
        return;
    }
    line.text.append(", ").append(line.form->name);
    line.operation = operation_of(line.form->name);
    if (line.form->size == 0) {
        if (argument != 0) line.text += ", " + show_address(argument);
        return;
    }
    line.given = read_argument(tracee, *line.form, argument);
    if (line.form->request == uapi::mock::kTest && line.given.size() >= 2 * sizeof(std::uint32_t)) {
        const Form* const operation = find(mock_forms(), as<uapi::mock::TestCmd>(line.given).op);
        if (operation != nullptr) line.text.append(", ").append(operation->name);
        if (operation != nullptr) line.form = operation;
    }
    line.text += ", " + (line.given.empty() ? show_address(argument) : show(*line.form, line.given));
    if (line.form->request == uapi::kIoasAllowIovas) {
        const auto command = as<uapi::IoasAllowIovas>(line.given);
        line.text += show_ranges(tracee, command.allowed_iovas, command.num_iovas);
    }
    if (line.operation == Operation::vfio_set_irqs) {
        const auto set = as<uapi::vfio::IrqSet>(line.given);
        if ((set.flags & uapi::vfio::kIrqSetDataEventfd) != 0)
            line.text += show_eventfds(tracee, argument, set);
    }
}

// Few bytes are shown as a number: before it is written, or after it was read.
void Trace::add_value(Tracee& tracee, Line& line, std::uint64_t buffer, std::uint64_t count, bool writes) {
    std::uint64_t value = 0;
    const bool small = count <= sizeof value;
    if (!writes && small) line.read_into = buffer;
    const bool known = writes && small && tracee.copy_from(&value, buffer, count) == 0;
    line.text += ", " + show_address(known ? value : buffer) + ", " + std::to_string(count);
}

void Trace::add_move(Tracee& tracee, Line& line, const seccomp_data& call, bool writes) {
    const auto [fd, buffer, count, unused3, unused4, unused5] = call.args;
    line.text = writes ? "write(" : "read(";
    line.operation = writes ? Operation::write : Operation::read;
    add_descriptor(tracee, line, static_cast<int>(fd));
    uapi::vhost::MsgV2 message{};
    if (!writes || count != sizeof message || tracee.copy_from(&message, buffer, sizeof message) < 0)
        return add_value(tracee, line, buffer, count, writes);
    line.text += ", " + show_message(message) + ", " + std::to_string(count);
    line.operation = operation_of(message);
}

void Trace::add_move_at(Tracee& tracee, Line& line, const seccomp_data& call) {
    const auto [fd, buffer, count, position, unused4, unused5] = call.args;
    const bool pieces = call.nr != SYS_pread64 && call.nr != SYS_pwrite64;
    const bool writes = call.nr == SYS_pwrite64 || call.nr == SYS_pwritev || call.nr == SYS_pwritev2;
    line.text = std::string(writes ? "pwrite" : "pread").append(pieces ? "v(" : "(");
    line.operation = writes ? Operation::region_write : Operation::region_read;
    add_descriptor(tracee, line, static_cast<int>(fd));
    if (pieces)
        line.text += ", " + show_address(buffer) + ", " + std::to_string(count);
    else
        add_value(tracee, line, buffer, count, writes);
    line.text += ", " + show_position(position, kRegions);
}

Trace::Line Trace::before(Tracee& tracee, const seccomp_data& call) {
    Line line;
    const auto& args = call.args;
    const auto path = [&](const char* name, unsigned at) {
        line.text = std::string(name) + '(';
        if (at == 1) add_descriptor(tracee, line, static_cast<int>(args[0]));
        if (at == 1) line.text += ", ";
        add_path(tracee, line, args[at]);
        line.operation = Operation::open;
    };
    switch (call.nr) {
        case SYS_open:
            path("open", 0);
            line.text += ", " + show_open_flags(args[1]);
            break;
        case SYS_creat:
            path("creat", 0);
            break;
        case SYS_openat:
            path("openat", 1);
            line.text += ", " + show_open_flags(args[2]);
            break;
        case SYS_openat2: {
            path("openat2", 1);
            open_how how{};
            if (tracee.copy_from(&how, args[2], sizeof how.flags) == 0)
                line.text += ", " + show_open_flags(how.flags);
            break;
        }
        case SYS_stat:
            path("stat", 0);
            break;
        case SYS_lstat:
            path("lstat", 0);
            break;
        case SYS_fstat:
            line.text = "fstat(";
            add_descriptor(tracee, line, static_cast<int>(args[0]));
            break;
        case SYS_newfstatat:
            path("newfstatat", 1);
            break;
        case SYS_statx:
            path("statx", 1);
            break;
        case SYS_readlink:
            path("readlink", 0);
            break;
        case SYS_readlinkat:
            path("readlinkat", 1);
            break;
        case SYS_access:
            path("access", 0);
            break;
        case SYS_faccessat:
        case SYS_faccessat2:
            path("faccessat", 1);
            break;
        case SYS_ioctl:
            add_ioctl(tracee, line, call);
            break;
        case SYS_read:
        case SYS_write:
            add_move(tracee, line, call, call.nr == SYS_write);
            break;
        case SYS_memfd_create:
            line.text = "memfd_create(";
            add_path(tracee, line, args[0]);
            line.text += ", " + show_bits(args[1], kMemory);
            break;
        case SYS_mmap:
            line.text = "mmap(" + show_address(args[0]) + ", " + show_address(args[1]) + ", " +
                        show_bits(args[2], kProtection) + ", MAP_SHARED, ";
            add_descriptor(tracee, line, static_cast<int>(args[4]));
            line.text += ", " + show_position(args[5], kRegions);
            line.operation = args[5] < kRegions ? Operation::iommufd_mmap : Operation::region_mmap;
            break;
        default:
            add_move_at(tracee, line, call);
    }
    return line;
}

void Trace::after(Tracee& tracee, Line& line, std::int64_t value) {
    if (line.form != nullptr && !line.given.empty()) {
        std::vector<std::byte> now = read_argument(tracee, *line.form, line.argument);
        now.resize(line.given.size());
        if (now != line.given) line.text += " => " + show(*line.form, now, line.given);
        if (line.form->request == uapi::kIoasIovaRanges && (value == 0 || value == -EMSGSIZE)) {
            const std::uint32_t room = as<uapi::IoasIovaRanges>(line.given).num_iovas;
            const auto command = as<uapi::IoasIovaRanges>(now);
            line.text += show_ranges(tracee, command.allowed_iovas, std::min(room, command.num_iovas));
        }
    }
    std::uint64_t read = 0;
    if (line.read_into != 0 && value > 0 &&
        tracee.copy_from(&read, line.read_into,
                         std::min<std::size_t>(static_cast<std::size_t>(value), sizeof read)) == 0)
        line.text += " => " + show_address(read);
    line.text = '[' + std::to_string(tracee.thread()) + "] " + line.text + ") = ";
    if (value >= 0) {
        line.text += std::to_string(value);
    } else {
        const int error = static_cast<int>(-value);
        const char* const name = ::strerrorname_np(error);
        line.text.append("-1 ").append(name != nullptr ? name : std::to_string(error)).append(" (");
        line.text.append(explain(line.operation, error).cause).append(")");
    }
    line.text += '\n';
    (void)!::write(output_, line.text.data(), line.text.size());
}

}  // namespace iommufd::inline v0_1::intercept
