// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/context.hpp"

#include <sys/mman.h>

#include <array>
#include <cerrno>
#include <new>

#include "model/fault_queue.hpp"
#include "model/mock_commands.hpp"
#include "model/mock_device.hpp"
#include "model/vfio_compat.hpp"
#include "model/vintage.hpp"
#include "model/viommu.hpp"

namespace iommufd::inline v0_1::model {
namespace {

constexpr unsigned kFirstCommand = 0x80;
constexpr unsigned kTestNumber = uapi::mock::kTest & 0xff;

// The largest argument.
constexpr std::size_t kLargest = sizeof(uapi::mock::TestCmd);

}  // namespace

struct Context::Commands {
    struct Command {
        unsigned long request;
        std::uint32_t size;
        std::uint32_t min_size;  // what the command had at first
        int (*run)(Context& context, const std::byte* argument, const Call& call);
    };

    template <class T>
    static T argument_of(int (Context::*)(T&, const Call&));

    template <auto handler, std::uint32_t min_size = 0>
    static constexpr Command command(unsigned long request) {
        using T = decltype(argument_of(handler));
        static_assert(sizeof(T) <= kLargest);
        return {.request = request,
                .size = sizeof(T),
                .min_size = min_size == 0 ? static_cast<std::uint32_t>(sizeof(T)) : min_size,
                .run = [](Context& context, const std::byte* argument, const Call& call) {
                    T copy;
                    std::copy_n(argument, sizeof copy, reinterpret_cast<std::byte*>(&copy));
                    return (context.*handler)(copy, call);
                }};
    }

    static const std::array<Command, 22> kAll;  // by number
    static const Command kTest;                 // only with the mock, and far behind them
};

constexpr std::array<Context::Commands::Command, 22> Context::Commands::kAll = {
    command<&Context::destroy>(uapi::kDestroy),
    command<&Context::ioas_alloc>(uapi::kIoasAlloc),
    command<&Context::ioas_allow_iovas>(uapi::kIoasAllowIovas),
    command<&Context::ioas_copy>(uapi::kIoasCopy),
    command<&Context::ioas_iova_ranges>(uapi::kIoasIovaRanges),
    command<&Context::ioas_map>(uapi::kIoasMap),
    command<&Context::ioas_unmap>(uapi::kIoasUnmap),
    command<&Context::option>(uapi::kOption),
    command<&Context::vfio_ioas>(uapi::kVfioIoas),
    command<&Context::hwpt_alloc, 24>(uapi::kHwptAlloc),
    command<&Context::get_hw_info, 32>(uapi::kGetHwInfo),
    command<&Context::hwpt_set_dirty_tracking>(uapi::kHwptSetDirtyTracking),
    command<&Context::hwpt_get_dirty_bitmap>(uapi::kHwptGetDirtyBitmap),
    command<&Context::hwpt_invalidate>(uapi::kHwptInvalidate),
    command<&Context::fault_queue_alloc>(uapi::kFaultQueueAlloc),
    command<&Context::ioas_map_file>(uapi::kIoasMapFile),
    command<&Context::viommu_alloc, 24>(uapi::kViommuAlloc),
    command<&Context::vdevice_alloc>(uapi::kVdeviceAlloc),
    command<&Context::ioas_change_process>(uapi::kIoasChangeProcess),
    command<&Context::veventq_alloc, 28>(uapi::kVeventqAlloc),
    command<&Context::hw_queue_alloc>(uapi::kHwQueueAlloc),
    command<&Context::ioas_noiommu_get_pa>(uapi::kIoasNoiommuGetPa),
};

constexpr Context::Commands::Command Context::Commands::kTest = {
    .request = uapi::mock::kTest,
    .size = sizeof(uapi::mock::TestCmd),
    .min_size = uapi::mock::kTestCommand.minimum_size,
    .run = [](Context& context, const std::byte* argument, const Call& call) {
        uapi::mock::TestCmd copy;
        std::copy_n(argument, sizeof copy, reinterpret_cast<std::byte*>(&copy));
        return Mock::run(context, copy, call);
    }};

int Context::ioctl(unsigned long request, user::Address argument) {
    // The order of these checks is Linux's: a foreign type with a number of ours gets as far as its size.
    const unsigned number = request & 0xff;
    const unsigned end =
        hardware_.mock ? kTestNumber + 1 : kFirstCommand + vintage::commands_of(hardware_.kernel);
    if (number < kFirstCommand || number >= end) return VfioCompat::ioctl(*this, request, argument);
    std::uint32_t user_size = 0;
    if (const int rc = user::get(user_size, argument); rc < 0) return rc;
    const unsigned index = number - kFirstCommand;
    const bool test = number == kTestNumber;
    if (!test && index >= Commands::kAll.size()) return -ENOTTY;
    const Commands::Command& command = test ? Commands::kTest : Commands::kAll[index];
    if (command.request != request) return -ENOTTY;
    if (user_size < command.min_size) return -EINVAL;
    // An older kernel knows less of it, and so must find zeroes there.
    const std::uint32_t size = vintage::size_of(command.request, command.size, hardware_.kernel);
    std::array<std::byte, kLargest> copy{};
    if (const int rc = user::copy_struct_from(copy.data(), size, argument, user_size); rc < 0) return rc;
    return command.run(*this, copy.data(), Call(argument, std::min(user_size, size)));
}

Context::~Context() {
    Leaks left;
    count(left);
    hardware_.left.record(left);
    const sys::Lock lock(mutex_);
    // Descriptors and devices hold the context, so none is left: what nobody uses goes first.
    while (objects_.size() != 0) {
        const auto unused = std::ranges::find_if(
            objects_, [](const auto& entry) { return entry.second && entry.second->users == 1; });
        destroy_object(*unused->second);
    }
}

void Context::destroy_object(Object& object) {
    if (auto* const hwpt = dynamic_cast<Hwpt*>(&object)) return drop(*hwpt);
    if (auto* const viommu = dynamic_cast<Viommu*>(&object)) return drop(*viommu);
    if (auto* const queue = dynamic_cast<HwQueue*>(&object)) return drop(*queue);
    if (auto* const vdevice = dynamic_cast<Vdevice*>(&object)) unlink(*vdevice);
    if (auto* const events = dynamic_cast<VeventQueue*>(&object)) {
        std::erase(events->viommu->event_queues, events);
        --events->viommu->users;
    }
    if (const auto* const mock = dynamic_cast<MockObject*>(&object)) unbind_locked(*mock->device);
    objects_.remove(object);
}

void Context::put(Object& object) {
    const sys::Lock lock(mutex_);
    --object.users;
}

void Context::await_quiet(Ioas& ioas) {
    const InUse in_use(ioas, quiet_);
    while (ioas.iopt.in_flight()) quiet_.wait(mutex_);
}

Ioas* Context::quiet_ioas(std::uint32_t id) {
    Ioas* const ioas = objects_.find<Ioas>(id);
    if (ioas != nullptr) await_quiet(*ioas);
    return ioas;
}

// A call that uses the object, such as a map into an IOAS, is EBUSY and not waited for. But a domain leaves
// its IOAS only when no map is in flight there, for which it waits, found by nobody.
int Context::destroy(uapi::Destroy& command, const Call&) {
    const sys::Lock lock(mutex_);
    Object* const object = objects_.find(command.id);
    if (object == nullptr) return -ENOENT;
    if (object->users != 1) return -EBUSY;
    if (const auto* const viommu = dynamic_cast<const Viommu*>(object); viommu && viommu->window.is_mapped())
        return -EBUSY;
    object->hidden = true;
    if (object->id == vfio_ioas_) vfio_ioas_ = 0;
    if (auto* const hwpt = dynamic_cast<PagingHwpt*>(object)) await_quiet(*hwpt->ioas);
    if (auto* const queue = dynamic_cast<HwQueue*>(object)) await_quiet(*queue->access->ioas);
    destroy_object(*object);
    return 0;
}

void Context::count(Leaks& leaks) const {
    const sys::Lock lock(mutex_);
    ++leaks.contexts;
    leaks.objects += objects_.size();
    for (const auto& [id, object] : objects_)
        if (const auto* const ioas = dynamic_cast<const Ioas*>(object.get()))
            leaks.mappings += ioas->iopt.areas().size();
}

int Context::window_at(std::size_t length, int protection, int flags, std::uint64_t offset,
                       Viommu*& viommu) const {
    if ((flags & MAP_TYPE) != MAP_SHARED && (flags & MAP_TYPE) != MAP_SHARED_VALIDATE) return -EINVAL;
    if ((protection & PROT_EXEC) != 0) return -EPERM;
    const auto window = windows_.find(offset);
    const std::uint64_t whole = (length + (user::kPage - 1)) / user::kPage * user::kPage;
    if (window == windows_.end() || whole != window->second->window.length()) return -ENXIO;
    viommu = window->second;
    return 0;
}

int Context::mmap(void** address, std::size_t length, int protection, int flags, std::uint64_t offset) {
    const sys::Lock lock(mutex_);
    Viommu* viommu = nullptr;
    if (const int rc = window_at(length, protection, flags, offset, viommu); rc < 0) return rc;
    const std::uint64_t whole = viommu->window.length();
    // All but the address is ready before anything is mapped.
    Mappings::Prepared mapping =
        Mappings::prepare(whole, [self = shared_from_this(), viommu] { self->put(*viommu); });
    void* const mapped = ::mmap(*address, whole, protection, flags, viommu->window.fd(), 0);
    if (mapped == MAP_FAILED) return -errno;
    ++viommu->users;
    hardware_.mappings.add(user::address(mapped), std::move(mapping));
    *address = mapped;
    return 0;
}

int Context::show(int own, std::size_t length, int protection, int flags, std::uint64_t offset) {
    const sys::Lock lock(mutex_);
    Viommu* viommu = nullptr;
    const int rc = window_at(length, protection, flags, offset, viommu);
    return rc < 0 ? rc : viommu->window.show_in(own);
}

}  // namespace iommufd::inline v0_1::model
