// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "iommufd/host/process.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <map>

#include "sys/faulty_kernel.hpp"

namespace iommufd::host {
namespace {

// A /proc of our own.
class Proc final : public sys::FaultyKernel {
public:
    Proc() : FaultyKernel(sys::host_kernel()) {}

    int read_file(const char* path, std::string& content) override {
        const auto file = files.find(path);
        if (file == files.end()) return -ENOENT;
        content = file->second;
        return 0;
    }

    std::map<std::string, std::string> files = {
        {"/proc/self/status",
         "Name:\tx\nVmLck:\t      4 kB\nVmPin:\t   1024 kB\nCapEff:\t0000000001004000\n"},
        {"/proc/self/limits",
         "Limit                     Soft Limit           Hard Limit           Units\n"
         "Max locked memory         8388608              unlimited            bytes\n"},
        {"/proc/self/uid_map", "         0          0 4294967295\n"},
        {"/proc/meminfo", "MemTotal:       16384 kB\nMemFree:        1 kB\n"},
    };
};

TEST(ProcessTest, ReadsWhatLimitsPinning) {
    Proc kernel;
    const Process read = process(kernel).value();
    EXPECT_EQ(read.pinned, 1024U << 10);
    EXPECT_EQ(read.locked, 4U << 10);
    EXPECT_EQ(read.memlock_limit, 8388608U);
    EXPECT_TRUE(read.cap_ipc_lock);
    EXPECT_TRUE(read.cap_sys_resource);
    EXPECT_EQ(total_memory(kernel).value(), 16384U << 10);
}

TEST(ProcessTest, CapabilitiesOfAnotherUserNamespaceAreNone) {
    Proc kernel;
    for (const char* const map : {"0 1000 1\n", "0 0 65536\n", "0 0 4294967295\n1 1 1\n", ""}) {
        kernel.files["/proc/self/uid_map"] = map;
        EXPECT_FALSE(process(kernel).value().cap_ipc_lock) << map;
        EXPECT_FALSE(process(kernel).value().cap_sys_resource) << map;
    }
    kernel.files.erase("/proc/self/uid_map");  // a kernel without user namespaces
    EXPECT_TRUE(process(kernel).value().cap_ipc_lock);
}

TEST(ProcessTest, NoLimitIsNoNumber) {
    Proc kernel;
    kernel.files["/proc/self/limits"] =
        "Max locked memory         unlimited            unlimited            bytes\n";
    EXPECT_EQ(process(kernel).value().memlock_limit, std::nullopt);
}

TEST(ProcessTest, WithoutProcTheFileIsNamed) {
    Proc kernel;
    kernel.files.clear();
    EXPECT_EQ(process(kernel).error().line().substr(0, 30), "cannot read /proc/self/status:");
    EXPECT_EQ(total_memory(kernel).error().code(), ENOENT);
}

}  // namespace
}  // namespace iommufd::host
