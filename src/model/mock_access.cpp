// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Accesses that a test makes and drives by their descriptors.
#include <algorithm>
#include <cerrno>
#include <new>
#include <utility>
#include <vector>

#include "model/mock_commands.hpp"
#include "model/page_identity.hpp"

namespace iommufd::inline v0_1::model {
namespace {

namespace mock = uapi::mock;

constexpr std::uint64_t kMost = 16ULL << 20;

// It keeps the context, and with it goes the access.
class AccessFile final : public File {
public:
    explicit AccessFile(std::shared_ptr<Context> context) : context_(std::move(context)) {}
    ~AccessFile() override {
        if (access_ != nullptr) context_->close_access(*access_);
    }

    int ioctl(unsigned long, user::Address) override { return -ENOTTY; }

    Context& context() const noexcept { return *context_; }
    // Null until the access is complete.
    AccessObject* access() const noexcept { return access_; }
    void set_access(AccessObject* access) noexcept { access_ = access; }

private:
    std::shared_ptr<Context> context_;
    AccessObject* access_ = nullptr;
};

// The access behind a descriptor of any context; it may be the last to let go of it.
struct Opened {
    FileTable::Found found;
    Context* context = nullptr;
    AccessObject* access = nullptr;

    Opened(FileTable& files, std::uint32_t fd) : found(files.find(static_cast<int>(fd))) {
        const auto* const file = dynamic_cast<const AccessFile*>(found.file.get());
        if (file == nullptr) return;
        context = &file->context();
        access = file->access();
    }
};

// Whether the pages are those at these addresses of the program.
int compare(const std::vector<physical::Address>& pinned, user::Address address) {
    PageIdentities pages;
    for (const physical::Address page : pinned) {
        const std::optional<PageIdentity> expected = pages.of_user(address);
        if (!expected) return -EFAULT;
        if (pages.of(page) != expected) return -EBADE;
        address += user::kPage;
    }
    return 0;
}

}  // namespace

int Context::Mock::create_access(Context& context, Command& command, const Call& call) {
    if ((command.create_access.flags & ~mock::kCreateAccessNeedsPinPages) != 0) return -EOPNOTSUPP;
    const auto file = std::make_shared<AccessFile>(context.shared_from_this());
    const int fd = context.files_.install(file, "iommufd_test_staccess", 0);
    if (fd < 0) return -ENOMEM;
    const auto attach = [&]() {
        const sys::Lock lock(context.mutex_);
        AccessObject& access = context.make_access(command.create_access.flags != 0);
        Ioas* const ioas = context.quiet_ioas(command.id);
        int rc = ioas == nullptr ? -ENOENT : context.change_ioas(access, ioas);
        command.create_access.out_access_fd = static_cast<std::uint32_t>(fd);
        if (rc == 0) rc = call.reply(command);
        if (rc < 0)
            context.drop(access);
        else
            file->set_access(&access);
        return rc;
    };
    int rc = 0;
    try {
        rc = attach();
    } catch (const std::bad_alloc&) {
        rc = -ENOMEM;
    }
    if (rc < 0) (void)context.files_.close(fd);
    return rc;
}

int Context::Mock::replace_ioas(Context& context, const Command& command) {
    const Opened opened(context.files_, command.id);
    if (opened.access == nullptr) return -EBADFD;
    Context& own = *opened.context;
    const sys::Lock lock(own.mutex_);
    Ioas* const ioas = own.quiet_ioas(command.access_replace_ioas.ioas_id);
    return ioas == nullptr ? -ENOENT : own.change_ioas(*opened.access, ioas);
}

int Context::Mock::pin_pages(Context& context, Command& command, const Call& call) {
    auto [flags, id, iova, length, address] = command.access_pages;
    if (length > kMost) return -ENOMEM;
    if ((flags & ~(mock::kAccessWrite | mock::kAccessSyz)) != 0) return -EOPNOTSUPP;
    const Opened opened(context.files_, command.id);
    if (opened.access == nullptr) return -EBADFD;
    const sys::Lock lock(opened.context->mutex_);
    AccessObject& access = *opened.access;
    if (!access.pins) return -EOPNOTSUPP;
    IoPagetable& iopt = access.ioas->iopt;
    if ((flags & mock::kAccessSyz) != 0) iova = iopt.iova_of_nth(iova);
    access.items.reserve(access.items.size() + 1);
    if (const int rc = iopt.pin(iova, length, (flags & mock::kAccessWrite) != 0, false); rc < 0) return rc;
    int rc = 0;
    try {
        if (address != 0) rc = compare(iopt.addresses(iova, length), address - iova % user::kPage);
    } catch (const std::bad_alloc&) {
        rc = -ENOMEM;
    }
    if (rc == 0) {
        command.access_pages.out_access_pages_id = access.next_item++;
        rc = call.reply(command);
    }
    if (rc < 0)
        iopt.unpin(iova, length, false);
    else
        access.items.push_back(
            {.iova = iova, .length = length, .id = command.access_pages.out_access_pages_id});
    return rc;
}

int Context::Mock::unpin_pages(Context& context, const Command& command) {
    const Opened opened(context.files_, command.id);
    if (opened.access == nullptr) return -EBADFD;
    const sys::Lock lock(opened.context->mutex_);
    AccessObject& access = *opened.access;
    const auto item = std::ranges::find(access.items, command.destroy_access_pages.access_pages_id,
                                        &AccessObject::Item::id);
    if (item == access.items.end()) return -ENOENT;
    access.ioas->iopt.unpin(item->iova, item->length, false);
    access.items.erase(item);
    return 0;
}

int Context::Mock::transfer(Context& context, const Command& command) {
    auto [iova, length, address, flags] = command.access_rw;
    if (length > kMost) return -ENOMEM;
    if ((flags & ~(mock::kAccessRwWrite | mock::kAccessRwSlowPath | mock::kAccessSyz)) != 0)
        return -EOPNOTSUPP;
    const Opened opened(context.files_, command.id);
    if (opened.access == nullptr) return -EBADFD;
    const bool write = (flags & mock::kAccessRwWrite) != 0;
    std::vector<std::byte> data(length);
    if (write && user::copy_from(data.data(), address, length) < 0) return -EFAULT;
    const sys::Lock lock(opened.context->mutex_);
    const IoPagetable& iopt = opened.access->ioas->iopt;
    if ((flags & mock::kAccessSyz) != 0) iova = iopt.iova_of_nth(iova);
    const int rc = iopt.transfer({.iova = iova,
                                  .data = data,
                                  .write = write,
                                  .as_another_process = (flags & mock::kAccessRwSlowPath) != 0});
    if (rc < 0 || write) return rc;
    return user::copy_to(address, data.data(), length);
}

}  // namespace iommufd::inline v0_1::model
