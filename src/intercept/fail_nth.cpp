// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/fail_nth.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <string>
#include <string_view>

#include "intercept/known_threads.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

// As Linux reads a number that is written to one of its files: decimal, 0x or 0, with a newline or without. -EINVAL.
int parse(std::string_view text, std::uint64_t& n) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    } else if (text.starts_with('0') && text.size() > 1) {
        base = 8;
    }
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
    if (error != std::errc{} || end != text.data() + text.size()) return -EINVAL;
    n = number;
    return 0;
}

class FailNthFile final : public model::File {
public:
    FailNthFile(FailNth& all, pid_t thread) : all_(all), thread_(thread) {}

    int ioctl(unsigned long, model::user::Address) override { return -ENOTTY; }
    ssize_t read(model::user::Address to, std::size_t length) override {
        const ssize_t moved = pread(to, length, position_);
        if (moved > 0) position_ += static_cast<std::uint64_t>(moved);
        return moved;
    }
    ssize_t pread(model::user::Address to, std::size_t length, std::uint64_t position) override {
        const std::string text = std::to_string(all_.get(thread_)) + '\n';
        if (position >= text.size()) return 0;
        const std::size_t moved = std::min<std::size_t>(length, text.size() - position);
        const int rc = model::user::copy_to(to, text.data() + position, moved);
        return rc < 0 ? rc : static_cast<ssize_t>(moved);
    }
    ssize_t write(model::user::Address from, std::size_t length) override {
        std::array<char, 16> text{};
        if (length > text.size()) return -EINVAL;
        if (const int rc = model::user::copy_from(text.data(), from, length); rc < 0) return rc;
        std::uint64_t n = 0;
        if (const int rc = parse({text.data(), length}, n); rc < 0) return rc;
        const int rc = all_.set(thread_, n);
        return rc < 0 ? rc : static_cast<ssize_t>(length);
    }
    ssize_t pwrite(model::user::Address from, std::size_t length, std::uint64_t) override {
        return write(from, length);
    }

private:
    FailNth& all_;
    const pid_t thread_;
    std::uint64_t position_ = 0;
};

}  // namespace

std::shared_ptr<model::File> FailNth::open(pid_t thread) {
    return std::make_shared<FailNthFile>(*this, thread);
}

bool FailNth::is_of(const model::File& file) noexcept {
    return dynamic_cast<const FailNthFile*>(&file) != nullptr;
}

std::uint64_t FailNth::get(pid_t thread) {
    const auto found = threads_.find(thread);
    if (found == threads_.end()) return 0;
    if (!has_ended(found->second.process)) return found->second.n;
    threads_.erase(found);  // its number may be another's by now
    return 0;
}

int FailNth::set(pid_t thread, std::uint64_t n) {
    threads_.erase(thread);
    if (n == 0) return 0;
    sys::Fd process = open_process(thread);
    if (!process) return -ESRCH;
    threads_.emplace(thread, Thread{.process = std::move(process), .n = n});
    return 0;
}

FailNth::Armed::Armed(FailNth& of, pid_t thread) : of_(of), thread_(thread), n_(of.get(thread)) {
    if (n_ != 0) of_.failures_->arm(n_);
}

FailNth::Armed::~Armed() {
    if (n_ == 0) return;
    const std::uint64_t left = of_.failures_->disarm();
    const auto found = of_.threads_.find(thread_);
    if (found == of_.threads_.end()) return;
    if (left == 0)
        of_.threads_.erase(found);
    else
        found->second.n = left;
}

}  // namespace iommufd::inline v0_1::intercept
