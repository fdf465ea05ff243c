// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One /dev/iommu that was opened (Linux: iommufd_ctx): its objects and its commands. It lives as long as a
// descriptor of it, of one of its queues or accesses, a window that is mapped, or a device that is bound to it.
//
// One lock guards all of it. It is let go of while a map waits for memory to be populated, so that
// everything else goes on; what must not happen meanwhile waits for `quiet_`.
#pragma once

#include <map>
#include <memory>
#include <set>

#include "model/access_object.hpp"
#include "model/file.hpp"
#include "model/file_table.hpp"
#include "model/hardware.hpp"
#include "model/objects.hpp"
#include "sys/mutex.hpp"
#include "uapi/iommufd.hpp"

namespace iommufd::inline v0_1::model {

// One ioctl: where its argument is, and how much of it the program knows.
class Call {
public:
    Call(user::Address argument, std::uint32_t user_size) : argument_(argument), user_size_(user_size) {}

    // Gives the struct back as far as the program's own goes.
    template <class T>
    int reply(const T& command) const {
        return user::copy_to(argument_, &command, std::min<std::size_t>(user_size_, sizeof command));
    }
    user::Address field(std::size_t offset) const noexcept { return argument_ + offset; }

private:
    user::Address argument_;
    std::uint32_t user_size_;
};

class Context : public std::enable_shared_from_this<Context> {
public:
    Context(Hardware& hardware, FileTable& files) : hardware_(hardware), files_(files) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    ~Context();

    int ioctl(unsigned long request, user::Address argument);
    int mmap(void** address, std::size_t length, int protection, int flags, std::uint64_t offset)
        IOMMUFD_EXCLUDES(mutex_);
    int show(int own, std::size_t length, int protection, int flags, std::uint64_t offset)
        IOMMUFD_EXCLUDES(mutex_);

    // For device files. The endpoint must stay until unbind(), which detaches.
    int bind(Endpoint& endpoint, std::uint32_t& device_id) IOMMUFD_EXCLUDES(mutex_);
    void unbind(std::uint32_t device_id) IOMMUFD_EXCLUDES(mutex_);
    // Attaches, or replaces what is attached; `pt_id` becomes the hwpt that is used.
    int attach(std::uint32_t device_id, std::uint32_t pasid, std::uint32_t& pt_id) IOMMUFD_EXCLUDES(mutex_);
    void detach(std::uint32_t device_id, std::uint32_t pasid) IOMMUFD_EXCLUDES(mutex_);

    // For descriptors of objects: what has been a user isn't one any more.
    void put(Object& object) IOMMUFD_EXCLUDES(mutex_);
    void close_access(AccessObject& access) IOMMUFD_EXCLUDES(mutex_);

    void count(Leaks& leaks) const IOMMUFD_EXCLUDES(mutex_);

private:
    struct Commands;      // the table: number, size, handler
    struct Mock;          // mock_*.cpp: the operations of the test command
    struct VfioCompat;    // vfio_compat.cpp: the ioctls of a type 1 container
    struct Invalidation;  // invalidate.cpp

    // ioas_commands.cpp
    int ioas_alloc(uapi::IoasAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_allow_iovas(uapi::IoasAllowIovas& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_iova_ranges(uapi::IoasIovaRanges& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_change_process(uapi::IoasChangeProcess& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    // All areas of files whose pins count, and not for `payer`. -EBUSY, -EINVAL where one is of something else.
    int files_that_others_pay(const AddressSpace* payer, std::set<Pages*>& files) const
        IOMMUFD_REQUIRES(mutex_);
    int ioas_noiommu_get_pa(uapi::IoasNoiommuGetPa& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int option(uapi::Option& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int vfio_ioas(uapi::VfioIoas& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int option_rlimit_mode(uapi::Option& command) IOMMUFD_REQUIRES(mutex_);
    int option_huge_pages(uapi::Option& command) IOMMUFD_REQUIRES(mutex_);

    // map_commands.cpp
    int ioas_map(uapi::IoasMap& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_map_file(uapi::IoasMapFile& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_copy(uapi::IoasCopy& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_unmap(uapi::IoasUnmap& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    struct Destination;
    int reserve(const Destination& destination, std::vector<IoPagetable::Piece> pieces, Ioas*& ioas,
                IoPagetable::Plan& plan) IOMMUFD_REQUIRES(mutex_);
    int finish(Ioas& ioas, IoPagetable::Plan& plan, std::uint64_t& iova) IOMMUFD_EXCLUDES(mutex_);
    int map_user(const Destination& destination, user::Address address, std::uint64_t length,
                 std::uint64_t& iova) IOMMUFD_EXCLUDES(mutex_);
    int pages_of(const uapi::IoasMapFile& command, const File* file, std::shared_ptr<Pages>& pages)
        IOMMUFD_REQUIRES(mutex_);
    void unmap_revoked(Pages& pages) IOMMUFD_EXCLUDES(mutex_);
    Pages::Charge charge() IOMMUFD_REQUIRES(mutex_);

    // hwpt_commands.cpp
    int hwpt_alloc(uapi::HwptAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int get_hw_info(uapi::HwInfo& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    struct NewHwpt;
    int make_paging(const NewHwpt& wanted, Ioas& ioas, PagingHwpt*& hwpt) IOMMUFD_REQUIRES(mutex_);
    int make_nested(const NewHwpt& wanted, Object& on, NestedHwpt*& hwpt) IOMMUFD_REQUIRES(mutex_);
    void drop(Hwpt& hwpt) IOMMUFD_REQUIRES(mutex_);

    // dirty_commands.cpp
    int hwpt_set_dirty_tracking(uapi::HwptSetDirtyTracking& command, const Call& call)
        IOMMUFD_EXCLUDES(mutex_);
    int hwpt_get_dirty_bitmap(uapi::HwptGetDirtyBitmap& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);

    // invalidate.cpp
    int hwpt_invalidate(uapi::HwptInvalidate& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);

    // event_commands.cpp
    int fault_queue_alloc(uapi::FaultQueueAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int veventq_alloc(uapi::VeventqAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);

    // viommu_commands.cpp
    int viommu_alloc(uapi::ViommuAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int vdevice_alloc(uapi::VdeviceAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int hw_queue_alloc(uapi::HwQueueAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    using Windows = std::map<std::uint64_t, Viommu*>;  // by offset
    // 0 and whose window that is, or what Linux says.
    int window_at(std::size_t length, int protection, int flags, std::uint64_t offset, Viommu*& viommu) const
        IOMMUFD_REQUIRES(mutex_);
    int open_window(Viommu& viommu, const UserData& data, Windows& opened) IOMMUFD_REQUIRES(mutex_);
    int hold_queue(HwQueue& queue) IOMMUFD_REQUIRES(mutex_);
    void drop(Viommu& viommu) IOMMUFD_REQUIRES(mutex_);
    void unlink(Vdevice& vdevice) IOMMUFD_REQUIRES(mutex_);
    void drop(HwQueue& queue) IOMMUFD_REQUIRES(mutex_);

    // attach.cpp
    enum class Change : std::uint8_t { attach, replace };
    int change_page_table(BoundDevice& device, std::uint32_t pasid, std::uint32_t& pt_id, Change change)
        IOMMUFD_REQUIRES(mutex_);
    int change_to_ioas(BoundDevice& device, std::uint32_t pasid, Ioas& ioas, Hwpt*& used, Change change)
        IOMMUFD_REQUIRES(mutex_);
    int attach_hwpt(BoundDevice& device, std::uint32_t pasid, Hwpt& hwpt) IOMMUFD_REQUIRES(mutex_);
    int replace_hwpt(BoundDevice& device, std::uint32_t pasid, Hwpt& hwpt) IOMMUFD_REQUIRES(mutex_);
    // What it was attached to, which still counts it as a user; null where it wasn't.
    Hwpt* take_off(BoundDevice& device, std::uint32_t pasid) IOMMUFD_REQUIRES(mutex_);
    void detach_device(BoundDevice& device, std::uint32_t pasid) IOMMUFD_REQUIRES(mutex_);
    void put_hwpt(Hwpt& hwpt) IOMMUFD_REQUIRES(mutex_);
    int reserve_for(BoundDevice& device, Ioas& ioas) IOMMUFD_REQUIRES(mutex_);
    BoundDevice& bind_locked(Endpoint& endpoint) IOMMUFD_REQUIRES(mutex_);
    void unbind_locked(BoundDevice& device) IOMMUFD_REQUIRES(mutex_);

    // access_commands.cpp
    AccessObject& make_access(bool pins) IOMMUFD_REQUIRES(mutex_);
    int change_ioas(AccessObject& access, Ioas* ioas) IOMMUFD_REQUIRES(mutex_);
    void drop(AccessObject& access) IOMMUFD_REQUIRES(mutex_);

    // context.cpp
    int destroy(uapi::Destroy& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    void destroy_object(Object& object) IOMMUFD_REQUIRES(mutex_);
    // Waits until none of its maps is in flight; meanwhile it can't be destroyed.
    void await_quiet(Ioas& ioas) IOMMUFD_REQUIRES(mutex_);
    Ioas* quiet_ioas(std::uint32_t id) IOMMUFD_REQUIRES(mutex_);

    Hardware& hardware_;
    FileTable& files_;
    mutable sys::Mutex mutex_;
    sys::Condition quiet_;  // a map has ended, or a call that had let go of the lock
    ObjectTable objects_ IOMMUFD_GUARDED_BY(mutex_);
    AccountMode account_mode_ IOMMUFD_GUARDED_BY(mutex_) = AccountMode::user;
    std::uint32_t vfio_ioas_ IOMMUFD_GUARDED_BY(mutex_) = 0;  // 0: none
    Windows windows_ IOMMUFD_GUARDED_BY(mutex_);
};

// A descriptor's share of a context.
class IommufdFile final : public File {
public:
    explicit IommufdFile(std::shared_ptr<Context> context) : context_(std::move(context)) {}

    const std::shared_ptr<Context>& context() const noexcept { return context_; }

    int ioctl(unsigned long request, user::Address argument) override {
        return context_->ioctl(request, argument);
    }
    int mmap(void** address, std::size_t length, int protection, int flags, std::uint64_t offset) override {
        return context_->mmap(address, length, protection, flags, offset);
    }
    int show(int own, std::size_t length, int protection, int flags, std::uint64_t offset) override {
        return context_->show(own, length, protection, flags, offset);
    }

private:
    std::shared_ptr<Context> context_;
};

}  // namespace iommufd::inline v0_1::model
