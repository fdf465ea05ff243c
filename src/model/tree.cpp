// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/tree.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <utility>

namespace iommufd::inline v0_1::model {
namespace {

constexpr int kMostLinks = 40;  // as Linux

void prepend_components(std::deque<std::string>& pending, std::string_view path) {
    std::vector<std::string> components;
    while (!path.empty()) {
        const std::size_t slash = path.find('/');
        const std::string_view component = path.substr(0, slash);
        if (!component.empty() && component != ".") components.emplace_back(component);
        path = slash == path.npos ? std::string_view{} : path.substr(slash + 1);
    }
    pending.insert(pending.begin(), components.begin(), components.end());
}

std::string parent_of(const std::string& path) { return path.substr(0, path.rfind('/')); }

}  // namespace

void Tree::cover(std::string path) { covered_.push_back(std::move(path)); }

void Tree::add(const std::string& path, Entry entry) {
    if (!path.empty() && !entries_.contains(parent_of(path))) folder(parent_of(path));
    entry.inode = entries_.size() + 1;
    entries_.try_emplace(path, std::move(entry));
}

void Tree::folder(const std::string& path) { add(path, {.mode = S_IFDIR | 0755}); }

void Tree::file(const std::string& path, std::string content) {
    add(path, {.mode = S_IFREG | 0444, .text = std::move(content)});
}

void Tree::setting(const std::string& path, std::string content) {
    add(path, {.mode = S_IFREG | 0644, .text = std::move(content)});
}

void Tree::link(const std::string& path, std::string target) {
    add(path, {.mode = S_IFLNK | 0777, .text = std::move(target)});
}

void Tree::node(const std::string& path, dev_t device, Opener open) {
    add(path, {.mode = S_IFCHR | 0600, .device = device, .open = std::move(open)});
}

bool Tree::covers(std::string_view path) const {
    return std::ranges::any_of(covered_, [&](const std::string& root) {
        return path.starts_with(root) &&
               (path.size() == root.size() || root.back() == '-' || path[root.size()] == '/');
    });
}

int Tree::resolve(std::string_view path, bool follow, std::string& real) const {
    std::deque<std::string> pending;
    prepend_components(pending, path);
    real.clear();
    int links = 0;
    while (!pending.empty()) {
        const std::string component = std::move(pending.front());
        pending.pop_front();
        if (component == "..") {
            real = real.empty() ? real : parent_of(real);
            continue;
        }
        const auto here = entries_.find(real);
        if (here != entries_.end() && !S_ISDIR(here->second.mode)) return -ENOTDIR;
        std::string next = real;
        next.append("/").append(component);
        const auto found = entries_.find(next);
        if (found == entries_.end()) return -ENOENT;
        if (S_ISLNK(found->second.mode) && (follow || !pending.empty())) {
            if (++links > kMostLinks) return -ELOOP;
            if (found->second.text.starts_with('/')) real.clear();
            prepend_components(pending, found->second.text);
        } else {
            real = next;
        }
    }
    return 0;
}

void Tree::each(const std::function<void(const std::string&, const Entry&)>& visit) const {
    for (const auto& [path, entry] : entries_) visit(path, entry);
}

int Tree::find(std::string_view path, bool follow, const Entry*& entry) const {
    std::string real;
    if (const int rc = resolve(path, follow, real); rc < 0) return rc;
    const auto found = entries_.find(real);
    if (found == entries_.end()) return -ENOENT;
    if (path.ends_with('/') && !S_ISDIR(found->second.mode)) return -ENOTDIR;
    entry = &found->second;
    return 0;
}

int Tree::stat(std::string_view path, sys::FileStatus& status) const {
    const Entry* entry = nullptr;
    if (const int rc = find(path, true, entry); rc < 0) return rc;
    status = {.mode = entry->mode,
              .device = entry->device,
              .container = 0,
              .inode = entry->inode,
              .size = S_ISREG(entry->mode) ? 4096U : 0U};  // what sysfs says of any file
    return 0;
}

int Tree::readlink(std::string_view path, std::string& target) const {
    const Entry* entry = nullptr;
    if (const int rc = find(path, false, entry); rc < 0) return rc;
    if (!S_ISLNK(entry->mode)) return -EINVAL;
    target = entry->text;
    return 0;
}

int Tree::readdir(std::string_view path, std::vector<std::string>& names) const {
    std::string real;
    if (const int rc = resolve(path, true, real); rc < 0) return rc;
    const auto found = entries_.find(real);
    if (found == entries_.end()) return -ENOENT;
    if (!S_ISDIR(found->second.mode)) return -ENOTDIR;
    names.clear();
    const std::string prefix = real + '/';
    for (auto entry = entries_.lower_bound(prefix);
         entry != entries_.end() && entry->first.starts_with(prefix); ++entry) {
        const std::string_view name = std::string_view(entry->first).substr(prefix.size());
        if (!name.contains('/')) names.emplace_back(name);
    }
    return 0;
}

int Tree::read_file(std::string_view path, std::string& content) const {
    const Entry* entry = nullptr;
    if (const int rc = find(path, true, entry); rc < 0) return rc;
    if (S_ISDIR(entry->mode)) return -EISDIR;
    if (!S_ISREG(entry->mode)) return -EINVAL;
    content = entry->text;
    return 0;
}

}  // namespace iommufd::inline v0_1::model
