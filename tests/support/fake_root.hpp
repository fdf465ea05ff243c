// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// For tests: a machine whose /sys, /proc and /dev are folders of our own, which other processes see as well.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>

#include "sys/faulty_kernel.hpp"

namespace iommufd::inline v0_1 {

class FakeRoot : public sys::FaultyKernel {
public:
    // `inner` is what opens the files, and answers for their descriptors.
    explicit FakeRoot(sys::Kernel& inner = sys::host_kernel()) : FaultyKernel(inner) {
        std::string pattern = (std::filesystem::temp_directory_path() / "fake_root.XXXXXX").string();
        root_ = ::mkdtemp(pattern.data());
        folder("/proc");
    }
    ~FakeRoot() override { std::filesystem::remove_all(root_); }

    std::map<std::string, sys::FileStatus> nodes;  // files of devices, by their path
    std::set<std::string> claimed;                 // those that nobody else may open for himself alone

    std::string real(const std::string& path) const { return root_ + path; }
    void folder(const std::string& path) const { std::filesystem::create_directories(real(path)); }
    void file(const std::string& path, const std::string& content) const {
        make_parent(path);
        std::ofstream(real(path)) << content;
    }
    void link(const std::string& path, const std::string& target) const {
        make_parent(path);
        std::filesystem::remove(real(path));
        std::filesystem::create_symlink(target, real(path));
    }
    void remove(const std::string& path) const { std::filesystem::remove_all(real(path)); }
    std::string content(const std::string& path) const {
        std::ifstream stream(real(path));
        return {std::istreambuf_iterator<char>(stream), {}};
    }

    // A device file, in /dev and in the list of sysfs: node("nvme0n1", S_IFBLK, 259, 0, "pci0000:00/0000:00:11.0/nvme/nvme0/nvme0n1").
    void node(const std::string& name, mode_t kind, unsigned major, unsigned minor,
              const std::string& device) {
        nodes["/dev/" + name] = {
            .mode = kind | 0600, .device = makedev(major, minor), .container = 0, .inode = 0, .size = 0};
        file("/dev/" + name, "");
        const std::string number = std::to_string(major) + ":" + std::to_string(minor);
        link((kind == S_IFBLK ? "/sys/dev/block/" : "/sys/dev/char/") + number, "../../devices/" + device);
        if (kind == S_IFBLK) {
            link("/sys/class/block/" + name, "../../devices/" + device);
            file("/sys/devices/" + device + "/dev", number + "\n");
        }
    }

    // A process with one descriptor.
    void process(int number, const std::string& program, const std::string& path) const {
        const std::string folder = "/proc/" + std::to_string(number);
        file(folder + "/comm", program + "\n");
        link(folder + "/fd/5", path);
    }

    int open(const char* path, int flags) override {
        if ((flags & O_EXCL) && claimed.contains(path)) return -EBUSY;
        return FaultyKernel::open(real(path).c_str(), flags & ~O_EXCL);
    }
    int stat(const char* path, sys::FileStatus& status) override {
        std::string target;
        const auto found = nodes.find(readlink(path, target) >= 0 ? target : path);
        if (found == nodes.end()) return FaultyKernel::stat(real(path).c_str(), status);
        status = found->second;
        return 0;
    }
    int readlink(const char* path, std::string& target) override {
        return FaultyKernel::readlink(real(path).c_str(), target);
    }
    int readdir(const char* path, std::vector<std::string>& names) override {
        return FaultyKernel::readdir(real(path).c_str(), names);
    }
    int read_file(const char* path, std::string& content) override {
        return FaultyKernel::read_file(real(path).c_str(), content);
    }

private:
    void make_parent(const std::string& path) const {
        std::filesystem::create_directories(std::filesystem::path(real(path)).parent_path());
    }

    std::string root_;
};

}  // namespace iommufd::inline v0_1
