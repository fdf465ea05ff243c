// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/get.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>

#include <cerrno>

#include "cli/arguments.hpp"
#include "cli/exec.hpp"
#include "cli/fail.hpp"
#include "cli/launch.hpp"
#include "error/compose.hpp"
#include "sys/fd.hpp"

namespace iommufd::inline v0_1::cli {

namespace {

struct MappedFile {
    sys::Fd file;  // empty: none was asked for
    Iova iova;
};

// Memory as the broker wants it: allocated, its size sealed, and mapped for the client's devices.
Result<MappedFile> mapped_memory(broker::Client& broker, std::uint64_t size) {
    if (size == 0) return MappedFile{};
    constexpr const char* kWhat = "cannot have memory for devices";
    sys::Fd file(sys::host_kernel(), ::memfd_create("devices' memory", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) return Error(Operation::none, errno, kWhat);
    if (const int code = ::posix_fallocate(file.number(), 0, static_cast<off_t>(size)); code != 0)
        return Error::refused(code, kWhat, compose(size_text(size), " can't be allocated"), "ask for less");
    // Each page is touched.
    void* const pages =
        ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.number(), 0);
    if (pages == MAP_FAILED) return Error(Operation::mmap, errno, kWhat);
    (void)::munmap(pages, size);
    if (::fcntl(file.number(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0)
        return Error(Operation::none, errno, kWhat);
    const auto mapped = broker.map({.memory = file.number(), .length = size, .write = true});
    if (!mapped) return mapped.error();
    return MappedFile{std::move(file), mapped->iova};
}

}  // namespace

int get(const GetArguments& arguments) {
    auto broker = broker::Client::connect(arguments.socket);
    if (!broker) return fail(kNotPrepared, broker.error());
    auto given = broker->get(arguments.wanted);
    if (!given) return fail(kNotPrepared, given.error());
    for (const std::string& note : given->notes()) fmt::print(stderr, "iommufd: note: {}\n", note);

    const auto memory = mapped_memory(*broker, arguments.map);
    if (!memory) return fail(kNotPrepared, memory.error());

    int iommufd = -1;
    std::vector<PassedDevice> devices;
    for (const broker::Descriptors::Entry& entry : given->entries())
        if (entry.kind == "iommufd")
            iommufd = entry.number;
        else
            devices.push_back({entry.name, entry.number, entry.kind == "vdpa"});
    auto words = name_descriptors(arguments.command, iommufd, devices, memory->file.number());
    if (!words) return fail(kUsage, words.error());
    auto variables = environment(iommufd, devices, nullptr);
    variables.push_back(compose("IOMMUFD_BROKER_FD=", broker->fd()));
    if (memory->file) {
        variables.push_back(compose("IOMMUFD_MEMORY_FD=", memory->file.number()));
        variables.push_back(compose("IOMMUFD_MEMORY_IOVA=", Hex{memory->iova.value}));
        (void)::fcntl(memory->file.number(), F_SETFD, 0);
    }
    // The connection as well: what was given is taken back when it ends.
    for (const broker::Descriptors::Entry& entry : given->entries()) (void)::fcntl(entry.number, F_SETFD, 0);
    (void)::fcntl(broker->fd(), F_SETFD, 0);
    return start(*std::move(words), std::move(variables));
}

}  // namespace iommufd::inline v0_1::cli
