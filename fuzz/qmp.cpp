// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Any bytes from two clients of a control socket: the monitor lives on, and nothing is left when they have gone.
#include <fcntl.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "iommufd/model/machine.hpp"
#include "monitor/monitor.hpp"
#include "monitor/session.hpp"

namespace {

using namespace iommufd;

// Those would let the fuzzer read this machine's files, or touch as much memory as it can think of.
bool is_harmless(std::string_view bytes) {
    for (const std::string_view word : {"mem-path", "prealloc", "\\u"})
        if (bytes.find(word) != std::string_view::npos) return false;
    return true;
}

void say(monitor::Session& session, std::string_view bytes, std::vector<sys::Fd> descriptors) {
    session.receive(bytes, std::move(descriptors));
    while (session.handle_one()) {
    }
    session.sent(session.output().size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static model::Machine machine;
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    if (!is_harmless(input)) return -1;
    {
        object::Registry registry({.report = {}, .kernel = &machine.kernel(), .before_attach = {}});
        monitor::Monitor monitor(registry, {});
        monitor::Session one(monitor);
        monitor::Session other(monitor);
        say(one, "{'execute':'qmp_capabilities'}", {});
        // Lines go to the clients in turn; each brings a descriptor.
        bool first = true;
        std::size_t begin = 0;
        while (begin < input.size()) {
            const std::size_t end = input.find('\n', begin);
            std::vector<sys::Fd> descriptors;
            descriptors.emplace_back(
                machine.kernel(),
                machine.kernel().open(first ? "/dev/iommu" : "/dev/vfio/devices/vfio0", O_RDWR));
            say(first ? one : other, input.substr(begin, end == input.npos ? end : end - begin + 1),
                std::move(descriptors));
            first = !first;
            begin = end == input.npos ? input.size() : end + 1;
        }
    }
    if (machine.leaks().any()) {
        std::fprintf(stderr, "left: %s\n", machine.leaks().text().c_str());
        std::abort();
    }
    return 0;
}
