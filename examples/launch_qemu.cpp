// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Opens /dev/iommu and a VFIO device, and starts QEMU with both descriptors, as a platform does that keeps QEMU from
// opening anything itself:
//
//     launch_qemu 0000:00:10.0 qemu-system-x86_64 -nodefaults -display none ...
//
// What follows the device is QEMU's own command line, to which the two options are added.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <vector>

#include "iommufd/backend/backend.hpp"
#include "iommufd/vfio/device.hpp"

using namespace iommufd;

namespace {

// A descriptor that a program started by exec() will have: the library's own are close-on-exec.
int inherited(int fd) { return ::fcntl(fd, F_DUPFD, 3); }

} // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: launch_qemu BDF QEMU [ARGUMENT...]\n");
        return 64;
    }
    auto backend = Backend::open();
    // A user keeps the node open; QEMU's own descriptor keeps it open afterwards.
    auto user = std::move(backend).and_then([](Backend&& object) { return object.connect("QEMU"); });
    auto device = vfio::Cdev::open(argv[1]);
    if (!user || !device) {
        std::fprintf(stderr, "launch_qemu: %s\n", (user ? device.error() : user.error()).line().c_str());
        return 1;
    }
    const std::string iommufd = std::to_string(inherited(user->context_fd()));
    const std::string cdev = std::to_string(inherited(device->fd()));

    std::vector<std::string> words(argv + 2, argv + argc);
    words.insert(words.end(), {"-object", "iommufd,id=iommufd0,fd=" + iommufd, "-device",
                               "vfio-pci,id=hostdev0,iommufd=iommufd0,fd=" + cdev});
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    ::execvp(arguments[0], arguments.data());
    std::perror("launch_qemu: cannot start QEMU");
    return 1;
}
