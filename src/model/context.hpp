// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// One /dev/iommu that was opened (Linux: iommufd_ctx): its objects and its commands. It lives as long as a
// descriptor of it or a device that is bound to it.
//
// One lock guards all of it. It is let go of while a map waits for memory to be populated, so that
// everything else goes on; what must not happen meanwhile waits for `quiet_`.
#pragma once

#include <memory>

#include "model/file.hpp"
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

class Context {
public:
    explicit Context(Hardware& hardware) : hardware_(hardware) {}
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    ~Context();

    int ioctl(unsigned long request, user::Address argument);

    // For device files. The port must stay until unbind(), which detaches.
    int bind(DmaPort& port, std::uint32_t& device_id) IOMMUFD_EXCLUDES(mutex_);
    void unbind(std::uint32_t device_id) IOMMUFD_EXCLUDES(mutex_);
    // Attaches, or replaces what is attached; `pt_id` becomes the hwpt that is used.
    int attach(std::uint32_t device_id, std::uint32_t& pt_id) IOMMUFD_EXCLUDES(mutex_);
    void detach(std::uint32_t device_id) IOMMUFD_EXCLUDES(mutex_);

    void count(Leaks& leaks) const IOMMUFD_EXCLUDES(mutex_);

private:
    struct Commands;  // the table: number, size, handler

    // ioas_commands.cpp
    int ioas_alloc(uapi::IoasAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_allow_iovas(uapi::IoasAllowIovas& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_iova_ranges(uapi::IoasIovaRanges& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int ioas_change_process(uapi::IoasChangeProcess& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
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
    Pages::Charge charge() IOMMUFD_REQUIRES(mutex_);

    // hwpt_commands.cpp
    int hwpt_alloc(uapi::HwptAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int get_hw_info(uapi::HwInfo& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int hwpt_set_dirty_tracking(uapi::HwptSetDirtyTracking& command, const Call& call)
        IOMMUFD_EXCLUDES(mutex_);
    int hwpt_get_dirty_bitmap(uapi::HwptGetDirtyBitmap& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int hwpt_invalidate(uapi::HwptInvalidate& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int fault_queue_alloc(uapi::FaultQueueAlloc& command, const Call& call);
    int viommu_alloc(uapi::ViommuAlloc& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    int vdevice_alloc(uapi::VdeviceAlloc& command, const Call& call);
    int veventq_alloc(uapi::VeventqAlloc& command, const Call& call);
    int hw_queue_alloc(uapi::HwQueueAlloc& command, const Call& call);
    int ioas_noiommu_get_pa(uapi::IoasNoiommuGetPa& command, const Call& call);

    // attach.cpp
    int make_hwpt(Ioas& ioas, bool automatic, BoundDevice* attach_first, Hwpt*& hwpt)
        IOMMUFD_REQUIRES(mutex_);
    void drop_hwpt(Hwpt& hwpt) IOMMUFD_REQUIRES(mutex_);
    int attach_hwpt(BoundDevice& device, Hwpt& hwpt) IOMMUFD_REQUIRES(mutex_);
    void detach_hwpt(BoundDevice& device) IOMMUFD_REQUIRES(mutex_);
    int reserve_for(BoundDevice& device, Ioas& ioas) IOMMUFD_REQUIRES(mutex_);

    // context.cpp
    int destroy(uapi::Destroy& command, const Call& call) IOMMUFD_EXCLUDES(mutex_);
    void destroy_object(Object& object) IOMMUFD_REQUIRES(mutex_);
    // Looked up again after waiting until none of its maps is in flight.
    Ioas* quiet_ioas(std::uint32_t id) IOMMUFD_REQUIRES(mutex_);

    Hardware& hardware_;
    mutable sys::Mutex mutex_;
    sys::Condition quiet_;  // a map has ended
    ObjectTable objects_ IOMMUFD_GUARDED_BY(mutex_);
    AccountMode account_mode_ IOMMUFD_GUARDED_BY(mutex_) = AccountMode::user;
    std::uint32_t vfio_ioas_ IOMMUFD_GUARDED_BY(mutex_) = 0;  // 0: none
};

// A descriptor's share of a context.
class IommufdFile final : public File {
public:
    explicit IommufdFile(std::shared_ptr<Context> context) : context_(std::move(context)) {}

    const std::shared_ptr<Context>& context() const noexcept { return context_; }

    int ioctl(unsigned long request, user::Address argument) override {
        return context_->ioctl(request, argument);
    }
    int mmap(std::size_t length, int protection, int flags, std::uint64_t offset) override;

private:
    std::shared_ptr<Context> context_;
};

}  // namespace iommufd::inline v0_1::model
