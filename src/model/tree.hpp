// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// The files by which programs find devices: an in-memory tree of folders, small files, symbolic links
// and device nodes. It covers some paths of the host; within those, what isn't here doesn't exist.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/file.hpp"
#include "sys/kernel.hpp"

namespace iommufd::inline v0_1::model {

class Tree {
public:
    // 0 and the new file, or a negative errno.
    using Opener = std::function<int(std::shared_ptr<File>&)>;

    struct Entry {
        mode_t mode = 0;
        std::string text = {};  // a file's content, a link's target
        dev_t device = 0;
        Opener open = {};
        ino_t inode = 0;
    };

    // Building: folders on the way are made. Not while anybody looks something up.
    void cover(std::string path);
    void folder(const std::string& path);
    void file(const std::string& path, std::string content);
    // One that can be written to; nothing comes of it.
    void setting(const std::string& path, std::string content);
    void link(const std::string& path, std::string target);
    void node(const std::string& path, dev_t device, Opener open);

    bool covers(std::string_view path) const;
    // 0 and the entry after following links (the last one only if `follow`), or a negative errno.
    int find(std::string_view path, bool follow, const Entry*& entry) const;

    // 0 and the path that has no links in it any more, or a negative errno.
    int resolve(std::string_view path, bool follow, std::string& real) const;
    // Every entry with its real path, folders before what is in them.
    void each(const std::function<void(const std::string& path, const Entry& entry)>& visit) const;

    int stat(std::string_view path, sys::FileStatus& status) const;
    int readlink(std::string_view path, std::string& target) const;
    int readdir(std::string_view path, std::vector<std::string>& names) const;
    int read_file(std::string_view path, std::string& content) const;

private:
    void add(const std::string& path, Entry entry);

    std::map<std::string, Entry, std::less<>> entries_;  // by real absolute path; "" is the root
    std::vector<std::string> covered_;
};

}  // namespace iommufd::inline v0_1::model
