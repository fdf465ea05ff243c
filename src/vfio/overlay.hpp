// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For tests: the model's machine with other things in /sys, other numbers of device files, and ioctls that
// fail.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <map>
#include <set>

#include "sys/faulty_kernel.hpp"
#include "uapi/vfio.hpp"

namespace iommufd::inline v0_1::vfio {

class Overlay final : public sys::FaultyKernel {
public:
    using FaultyKernel::FaultyKernel;

    std::map<std::string, std::string> files;              // and what is read of them
    std::map<std::string, std::string> links;              // and their targets
    std::map<std::string, std::set<std::string>> folders;  // and the names in them
    std::set<std::string> missing;                         // paths, with all below
    std::map<std::string, int> unopenable;                 // files, and the errno of opening them
    std::map<unsigned long, int> failing;                  // ioctls, and their errno
    std::atomic<bool> refuse_next_detach = false;

    int open(const char* path, int flags) override {
        if (const auto found = unopenable.find(path); found != unopenable.end()) return -found->second;
        return FaultyKernel::open(path, flags);
    }

    int ioctl(int fd, unsigned long request, void* argument) override {
        if (const auto found = failing.find(request); found != failing.end()) return -found->second;
        if (request == uapi::vfio::kDeviceDetachIommufdPt && refuse_next_detach.exchange(false)) return -EIO;
        return FaultyKernel::ioctl(fd, request, argument);
    }

    int stat(const char* path, sys::FileStatus& status) override {
        if (is_missing(path)) return -ENOENT;
        if (!folders.contains(path)) return FaultyKernel::stat(path, status);
        status = {};
        status.mode = S_IFDIR | 0755;
        return 0;
    }

    int readlink(const char* path, std::string& target) override {
        if (is_missing(path)) return -ENOENT;
        const auto found = links.find(path);
        if (found == links.end()) return FaultyKernel::readlink(path, target);
        target = found->second;
        return 0;
    }

    int readdir(const char* path, std::vector<std::string>& names) override {
        if (is_missing(path)) return -ENOENT;
        const auto found = folders.find(path);
        if (found == folders.end()) return FaultyKernel::readdir(path, names);
        names.assign(found->second.begin(), found->second.end());
        return 0;
    }

    int read_file(const char* path, std::string& content) override {
        if (is_missing(path)) return -ENOENT;
        const auto found = files.find(path);
        if (found == files.end()) return FaultyKernel::read_file(path, content);
        content = found->second;
        return 0;
    }

private:
    bool is_missing(const std::string& path) const {
        for (const std::string& start : missing)
            if (path == start || path.starts_with(start + "/")) return true;
        return false;
    }
};

}  // namespace iommufd::inline v0_1::vfio
