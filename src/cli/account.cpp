// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "cli/account.hpp"

#include <cap-ng.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <optional>

#include "error/compose.hpp"

namespace iommufd::inline v0_1::cli {
namespace {

std::optional<unsigned> number(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    // The last one stands for "as it is" in the system calls.
    if (error != std::errc() || end != text.data() + text.size() || value == ~0U) return std::nullopt;
    return value;
}

Error unknown(std::string_view text, std::string_view kind, std::string_view name, std::string_view list) {
    return Error::refused(ENOENT, compose("cannot run as '", text, "'"),
                          compose("there is no ", kind, " '", name, "'"), compose("see `getent ", list, "`"));
}

std::vector<gid_t> groups_of(const char* name, gid_t group) {
    int count = 64;
    std::vector<gid_t> groups(static_cast<std::size_t>(count));
    while (::getgrouplist(name, group, groups.data(), &count) < 0)
        groups.resize(static_cast<std::size_t>(count));
    groups.resize(static_cast<std::size_t>(count));
    return groups;
}

Error cannot(std::string what, std::string cause) {
    return Error::refused(errno, std::move(what), std::move(cause), "run as root, or leave --user out");
}

Error still_has(std::string_view what) {
    return Error::refused(EPERM, "cannot give up privileges", compose("this process still has ", what),
                          "report this, with the kernel's version and security modules");
}

}  // namespace

Result<Account> find_account(std::string_view text) {
    const std::size_t colon = text.find(':');
    const std::string user(text.substr(0, colon));
    Account account{};
    const auto user_number = number(user);
    const ::passwd* entry = ::getpwnam(user.c_str());
    if (!entry && user_number) entry = ::getpwuid(*user_number);
    if (entry) {
        account = {.user = entry->pw_uid,
                   .group = entry->pw_gid,
                   .groups = {},
                   .name = entry->pw_name,
                   .home = entry->pw_dir,
                   .shell = entry->pw_shell};
    } else if (!user_number) {
        return unknown(text, "user", user, "passwd");
    } else if (colon == std::string_view::npos) {
        return Error::refused(EINVAL, compose("cannot run as '", text, "'"),
                              "no user has that number, so no group is known",
                              compose("give one: --user ", text, ":GROUP"));
    } else {
        account.user = *user_number;
    }
    if (colon != std::string_view::npos) {
        const std::string group(text.substr(colon + 1));
        const auto group_number = number(group);
        if (const ::group* const found = ::getgrnam(group.c_str()))
            account.group = found->gr_gid;
        else if (group_number)
            account.group = *group_number;
        else
            return unknown(text, "group", group, "group");
    }
    account.groups =
        account.name.empty() ? std::vector{account.group} : groups_of(account.name.c_str(), account.group);
    return account;
}

Result<void> become(const Account& account) {
    const std::string what = compose("cannot become user ", account.user);
    if (::setgroups(account.groups.size(), account.groups.data()) < 0)
        return cannot(what, "its groups can't be set without CAP_SETGID");
    if (::setresgid(account.group, account.group, account.group) < 0)
        return cannot(what, compose("its group ", account.group, " can't be set without CAP_SETGID"));
    if (::setresuid(account.user, account.user, account.user) < 0)
        return cannot(what, "that takes CAP_SETUID, and a user that this user namespace has");
    return {};
}

Result<void> empty_bounding_set() {
    if (::capng_get_caps_process() < 0) return still_has("capabilities that can't be read");
    if (!::capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)) return {};
    ::capng_clear(CAPNG_SELECT_BOUNDS);
    (void)::capng_apply(CAPNG_SELECT_BOUNDS);
    if (::capng_get_caps_process() < 0 || ::capng_have_capabilities(CAPNG_SELECT_BOUNDS) != CAPNG_NONE)
        return still_has("capabilities in its bounding set");
    return {};
}

Result<void> give_up_capabilities() {
    ::capng_clear(CAPNG_SELECT_CAPS);
    ::capng_clear(CAPNG_SELECT_AMBIENT);
    (void)::capng_apply(CAPNG_SELECT_AMBIENT);
    (void)::capng_apply(CAPNG_SELECT_CAPS);
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return still_has("a way to gain privileges (no_new_privs)");
    if (::capng_get_caps_process() < 0 || ::capng_have_capabilities(CAPNG_SELECT_CAPS) != CAPNG_NONE ||
        ::capng_have_capabilities(CAPNG_SELECT_AMBIENT) != CAPNG_NONE ||
        ::capng_have_permitted_capabilities() != CAPNG_NONE)
        return still_has("capabilities");
    return {};
}

}  // namespace iommufd::inline v0_1::cli
