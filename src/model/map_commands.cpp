// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// MAP, MAP_FILE, COPY and UNMAP.
#include <cerrno>
#include <limits>

#include "model/context.hpp"
#include "model/dma_buffer.hpp"
#include "model/map_destination.hpp"
#include "model/mock_commands.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();  // no IOVA and no length, ever
constexpr std::uint32_t kMapFlags = uapi::kMapFixedIova | uapi::kMapWriteable | uapi::kMapReadable;

unsigned permissions_of(std::uint32_t flags) {
    return ((flags & uapi::kMapReadable) != 0 ? kReadable : 0) |
           ((flags & uapi::kMapWriteable) != 0 ? kWritable : 0);
}

}  // namespace

Pages::Charge Context::charge() {
    return {
        .accountant = &hardware_.accountant,
        .mode = hardware_.accountant.limited() || !caller().may_lock() ? account_mode_ : AccountMode::none,
        .registry = &hardware_.pins};
}

int Context::reserve(const Destination& destination, std::vector<IoPagetable::Piece> pieces, Ioas*& ioas,
                     IoPagetable::Plan& plan) {
    ioas = objects_.find<Ioas>(destination.ioas_id);
    if (ioas == nullptr) return -ENOENT;
    const bool fixed = (destination.flags & uapi::kMapFixedIova) != 0;
    const int rc =
        ioas->iopt.reserve(std::move(pieces), fixed ? std::optional(destination.iova) : std::nullopt,
                           permissions_of(destination.flags), plan);
    if (rc == 0) ++ioas->users;  // until it is finished, DESTROY is EBUSY
    return rc;
}

int Context::finish(Ioas& ioas, IoPagetable::Plan& plan, std::uint64_t& iova) {
    const int populated = plan.populate();
    const sys::Lock lock(mutex_);
    iova = plan.iova();
    const int rc = ioas.iopt.publish(plan, populated);
    --ioas.users;
    quiet_.notify_all();
    return rc;
}

int Context::map_user(const Destination& destination, user::Address address, std::uint64_t length,
                      std::uint64_t& iova) {
    Ioas* ioas = nullptr;
    IoPagetable::Plan plan;
    {
        const sys::Lock lock(mutex_);
        if (objects_.find<Ioas>(destination.ioas_id) == nullptr) return -ENOENT;
        std::shared_ptr<Pages> pages;
        const bool writable = (destination.flags & uapi::kMapWriteable) != 0;
        if (const int rc = Pages::of_user(address, length, writable, charge(), pages); rc < 0) return rc;
        const std::uint64_t first = pages->first_byte();
        const int rc =
            reserve(destination, {{.pages = pages, .first_byte = first, .length = length}}, ioas, plan);
        if (rc < 0) return rc;
    }
    return finish(*ioas, plan, iova);
}

int Context::ioas_map(uapi::IoasMap& command, const Call& call) {
    if ((command.flags & ~kMapFlags) != 0 || command.reserved != 0) return -EOPNOTSUPP;
    if (command.iova == kNever || command.length == kNever) return -EOVERFLOW;
    if (permissions_of(command.flags) == 0) return -EINVAL;
    const int rc = map_user({.ioas_id = command.ioas_id, .flags = command.flags, .iova = command.iova},
                            command.user_va, command.length, command.iova);
    return rc < 0 ? rc : call.reply(command);
}

int Context::pages_of(const uapi::IoasMapFile& command, const File* file, std::shared_ptr<Pages>& pages) {
    const bool writable = (command.flags & uapi::kMapWriteable) != 0;
    if (const auto* const exported = dynamic_cast<const DmaBufferFile*>(file)) {
        const int rc = Pages::of_dma_buffer(exported->buffer(), command.start, command.length, writable,
                                            charge(), pages);
        if (rc < 0) return rc;
        const bool is_there =
            exported->buffer()->add([context = weak_from_this(), shown = std::weak_ptr(pages)] {
                const auto here = context.lock();
                const auto these = shown.lock();
                if (here && these) here->unmap_revoked(*these);
                return here && these;
            });
        return is_there ? 0 : -ENODEV;
    }
    std::shared_ptr<BackingFile> backing;
    if (const int rc = hardware_.backing_files.get(command.fd, file == nullptr, backing); rc < 0) return rc;
    return Pages::of_file(std::move(backing), command.start, command.length, writable, charge(), pages);
}

void Context::unmap_revoked(Pages& pages) {
    const sys::Lock lock(mutex_);
    if (pages.revoked()) return;
    for (const auto& [id, object] : objects_)
        if (auto* const ioas = dynamic_cast<Ioas*>(object.get())) ioas->iopt.unmap_revoked(pages);
    pages.revoke();
}

int Context::ioas_map_file(uapi::IoasMapFile& command, const Call& call) {
    if ((command.flags & ~kMapFlags) != 0) return -EOPNOTSUPP;
    if (command.iova == kNever || command.length == kNever) return -EOVERFLOW;
    if (permissions_of(command.flags) == 0) return -EINVAL;
    const FileTable::Found file = files_.find(command.fd);  // may be the last to let go of it
    Ioas* ioas = nullptr;
    IoPagetable::Plan plan;
    {
        const sys::Lock lock(mutex_);
        if (objects_.find<Ioas>(command.ioas_id) == nullptr) return -ENOENT;
        if (command.length == 0) return -EINVAL;
        if (command.start + (command.length - 1) < command.start) return -EOVERFLOW;
        std::shared_ptr<Pages> pages;
        if (const int rc = pages_of(command, file.file.get(), pages); rc < 0) return rc;
        const std::uint64_t first = pages->first_byte();
        const int rc = reserve({.ioas_id = command.ioas_id, .flags = command.flags, .iova = command.iova},
                               {{.pages = pages, .first_byte = first, .length = command.length}}, ioas, plan);
        if (rc < 0) return rc;
    }
    if (const int rc = finish(*ioas, plan, command.iova); rc < 0) return rc;
    return call.reply(command);
}

int Context::ioas_copy(uapi::IoasCopy& command, const Call& call) {
    if (hardware_.mock) Mock::name_by_area(*this, command);
    if ((command.flags & ~kMapFlags) != 0) return -EOPNOTSUPP;
    if (command.length == kNever || command.src_iova == kNever || command.dst_iova == kNever)
        return -EOVERFLOW;
    if (permissions_of(command.flags) == 0) return -EINVAL;
    Ioas* ioas = nullptr;
    IoPagetable::Plan plan;
    {
        const sys::Lock lock(mutex_);
        const Ioas* const source = objects_.find<Ioas>(command.src_ioas_id);
        if (source == nullptr) return -ENOENT;
        std::vector<IoPagetable::Piece> pieces;
        if (const int rc = source->iopt.pieces(command.src_iova, command.length, pieces); rc < 0) return rc;
        const int rc =
            reserve({.ioas_id = command.dst_ioas_id, .flags = command.flags, .iova = command.dst_iova},
                    std::move(pieces), ioas, plan);
        if (rc < 0) return rc;
    }
    if (const int rc = finish(*ioas, plan, command.dst_iova); rc < 0) return rc;
    return call.reply(command);
}

int Context::ioas_unmap(uapi::IoasUnmap& command, const Call& call) {
    const sys::Lock lock(mutex_);
    Ioas* const ioas = objects_.find<Ioas>(command.ioas_id);
    if (ioas == nullptr) return -ENOENT;
    std::uint64_t unmapped = 0;
    if (command.iova == 0 && command.length == kNever) {
        if (const int rc = ioas->iopt.unmap(0, kNever, unmapped); rc < 0) return rc;
    } else {
        if (command.iova == kNever || command.length == kNever) return -EOVERFLOW;
        if (command.length == 0) return -EINVAL;
        const std::uint64_t last = command.iova + command.length - 1;
        if (last < command.iova) return -EOVERFLOW;
        if (const int rc = ioas->iopt.unmap(command.iova, last, unmapped); rc < 0) return rc;
        if (unmapped == 0) return -ENOENT;
    }
    command.length = unmapped;
    return call.reply(command);
}

}  // namespace iommufd::inline v0_1::model
