// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "intercept/filter.hpp"

#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <memory>

#include "sys/fd.hpp"
#include "uapi/vhost.hpp"

namespace iommufd::inline v0_1::intercept {
namespace {

using Context = std::unique_ptr<void, void (*)(scmp_filter_ctx)>;

Error cannot(int error) {
    return Error::refused(error, "cannot make the filter of system calls", "libseccomp refuses it",
                          "install libseccomp 2.5 or newer");
}

class Rules {
public:
    explicit Rules(scmp_filter_ctx context) : context_(context) {}

    int error() const noexcept { return error_; }
    void always(std::initializer_list<int> calls) {
        for (const int call : calls) add(call, {});
    }
    void where(int call, const scmp_arg_cmp& condition) { add(call, {condition}); }

private:
    void add(int call, std::initializer_list<scmp_arg_cmp> conditions) {
        if (error_ != 0) return;
        error_ = -::seccomp_rule_add_array(context_, SCMP_ACT_NOTIFY, call,
                                           static_cast<unsigned>(conditions.size()), conditions.begin());
    }

    scmp_filter_ctx context_;
    int error_ = 0;
};

constexpr scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
    return {.arg = argument, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

void add_rules(Rules& rules, const FilterOptions& options) {
    rules.always({SCMP_SYS(open), SCMP_SYS(creat), SCMP_SYS(openat), SCMP_SYS(openat2), SCMP_SYS(stat),
                  SCMP_SYS(lstat), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(readlink),
                  SCMP_SYS(readlinkat), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
                  SCMP_SYS(memfd_create), SCMP_SYS(execve), SCMP_SYS(execveat)});
    constexpr std::uint64_t kType = 0xff00;
    for (const std::uint64_t type : {0x3b00ULL, 0xaf00ULL})
        rules.where(SCMP_SYS(ioctl), masked(1, kType, type));
    const scmp_arg_cmp in_a_region{.arg = 3, .op = SCMP_CMP_GE, .datum_a = kRegions, .datum_b = 0};
    for (const int call : {SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev),
                           SCMP_SYS(preadv2), SCMP_SYS(pwritev2)})
        rules.where(call, in_a_region);
    // Shared maps of a file.
    constexpr std::uint64_t kAnonymousAndShared = MAP_ANONYMOUS | MAP_SHARED;
    rules.where(SCMP_SYS(mmap), masked(3, kAnonymousAndShared, MAP_SHARED));
    if (options.mock) {
        constexpr std::uint64_t kNotShort = ~std::uint64_t{0xfff};
        rules.where(SCMP_SYS(read), masked(2, kNotShort, 0));
        rules.where(SCMP_SYS(write), masked(2, kNotShort, 0));
        rules.where(SCMP_SYS(pread64), masked(2, kNotShort, 0));
        rules.where(SCMP_SYS(pwrite64), masked(2, kNotShort, 0));
    } else if (options.vdpa) {
        rules.where(SCMP_SYS(write),
                    {.arg = 2, .op = SCMP_CMP_EQ, .datum_a = sizeof(uapi::vhost::MsgV2), .datum_b = 0});
    }
}

}  // namespace

Result<std::vector<sock_filter>> make_filter(const FilterOptions& options) {
    const Context context(::seccomp_init(SCMP_ACT_ALLOW), ::seccomp_release);
    if (!context) return cannot(ENOMEM);
    if (const int rc = ::seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ALLOW); rc < 0)
        return cannot(-rc);
    Rules rules(context.get());
    add_rules(rules, options);
    if (rules.error() != 0) return cannot(rules.error());
    const sys::Fd file(sys::host_kernel(), ::memfd_create("filter", MFD_CLOEXEC));
    if (!file) return cannot(errno);
    if (const int rc = ::seccomp_export_bpf(context.get(), file.number()); rc < 0) return cannot(-rc);
    const off_t size = ::lseek(file.number(), 0, SEEK_END);
    std::vector<sock_filter> filter(static_cast<std::size_t>(size) / sizeof(sock_filter));
    if (::pread(file.number(), filter.data(), static_cast<std::size_t>(size), 0) != size) return cannot(EIO);
    return filter;
}

}  // namespace iommufd::inline v0_1::intercept
