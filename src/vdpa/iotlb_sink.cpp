// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vdpa/iotlb_sink.hpp"

#include <cerrno>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::vdpa {

// One piece among others.
class IotlbSink::Single {
public:
    explicit Single(IotlbSink& sink) noexcept : sink_(sink) {
        const sys::Lock lock(sink_.mutex_);
        while (sink_.alone_) sink_.changed_.wait(sink_.mutex_);
        ++sink_.singles_;
    }
    Single(const Single&) = delete;
    Single& operator=(const Single&) = delete;
    ~Single() {
        const sys::Lock lock(sink_.mutex_);
        if (--sink_.singles_ == 0) sink_.changed_.notify_all();
    }

private:
    IotlbSink& sink_;
};

// The whole table. New single pieces wait from its first moment on.
class IotlbSink::Alone {
public:
    explicit Alone(IotlbSink& sink) noexcept : sink_(sink) {
        const sys::Lock lock(sink_.mutex_);
        while (sink_.alone_) sink_.changed_.wait(sink_.mutex_);
        sink_.alone_ = true;
        while (sink_.singles_ > 0) sink_.changed_.wait(sink_.mutex_);
    }
    Alone(const Alone&) = delete;
    Alone& operator=(const Alone&) = delete;
    ~Alone() {
        const sys::Lock lock(sink_.mutex_);
        sink_.alone_ = false;
        sink_.changed_.notify_all();
    }

private:
    IotlbSink& sink_;
};

IotlbSink::IotlbSink(sys::Kernel& kernel, Iotlb iotlb, std::string device, Terms terms)
    : kernel_(kernel), iotlb_(iotlb), device_(std::move(device)), terms_(terms) {}

bool IotlbSink::is_stale() const {
    const sys::Lock lock(mutex_);
    return stale_;
}

void IotlbSink::set_stale(bool stale) noexcept {
    const sys::Lock lock(mutex_);
    stale_ = stale;
}

Result<void> IotlbSink::map(const dma::Piece& piece) {
    return guarded(Operation::iotlb_update, [&]() -> Result<void> {
        if (auto shape = check_shape(piece); !shape) return shape;
        if (is_stale()) {
            const Alone alone(*this);
            if (auto mended = mend({}); !mended) return mended.error().within(refusal(piece));
        }
        Result<void> mapped;
        {
            const Single single(*this);
            if (auto entered = enter({&piece, 1}); !entered) return entered;
            const int error = iotlb_.update(piece);
            if (error == 0) {
                const sys::Lock lock(mutex_);
                book_.set(piece.iova.value, IotlbBook::State::mapped);
                return {};
            }
            // Linux has taken back what it did of the piece. Asking again costs nothing, and fails for a
            // process that isn't the owner.
            const int undone = iotlb_.invalidate(*Range::of(piece.iova, piece.length));
            leave({&piece, 1});
            mapped = explain_refusal(piece, error, undone);
            // Linux 7.3 takes back too much where it got nowhere, at IOVA 0: a range of no bytes, which
            // there wraps around to all of them.
            if (terms_.uses_addresses && piece.iova.value == 0 && undone == 0) set_stale(true);
            if (undone < 0 && undone != -EFAULT) set_stale(true);
        }
        if (is_stale()) {
            const Alone alone(*this);
            if (auto mended = mend(mapped.error().what()); !mended) return mended;
        }
        return mapped;
    });
}

Result<void> IotlbSink::enter(std::span<const dma::Piece> pieces) {
    const sys::Lock lock(mutex_);
    std::size_t entered = 0;
    try {
        for (; entered < pieces.size(); ++entered) {
            auto room = check_room(pieces[entered], pieces.size() - entered - 1);
            if (!room) {
                for (const dma::Piece& piece : pieces.first(entered)) book_.remove(piece.iova.value);
                return room;
            }
            book_.add(pieces[entered], IotlbBook::State::mapping);
        }
    } catch (const std::bad_alloc&) {
        for (const dma::Piece& piece : pieces.first(entered)) book_.remove(piece.iova.value);
        throw;
    }
    return {};
}

void IotlbSink::leave(std::span<const dma::Piece> pieces) noexcept {
    const sys::Lock lock(mutex_);
    for (const dma::Piece& piece : pieces) book_.remove(piece.iova.value);
}

Result<void> IotlbSink::replay(std::span<const dma::Piece> pieces) {
    return guarded(Operation::iotlb_update, [&]() -> Result<void> {
        if (pieces.empty()) return {};
        std::uint64_t bytes = 0;
        for (const dma::Piece& piece : pieces) {
            if (auto shape = check_shape(piece); !shape) return shape;
            bytes += piece.length;
        }
        if (auto limit = check_memlock(bytes, refusal(pieces)); !limit) return limit;

        const Alone alone(*this);
        if (auto mended = mend({}); !mended) return mended.error().within(refusal(pieces));
        if (auto entered = enter(pieces); !entered) return entered;
        if (auto sent = send_all(pieces); !sent) {
            // Which of them the device has is unknown: all go.
            leave(pieces);
            set_stale(true);
            const Error error =
                pieces.size() == 1
                    ? sent.error()
                    : sent.error().within(compose(refusal(pieces), ", and all of them were invalidated"));
            if (auto mended = mend(error.what()); !mended) return mended;
            return error;
        }
        const sys::Lock lock(mutex_);
        for (const dma::Piece& piece : pieces) book_.set(piece.iova.value, IotlbBook::State::mapped);
        return {};
    });
}

Result<std::uint64_t> IotlbSink::unmap(Range range) {
    return guarded(Operation::iotlb_invalidate, [&]() -> Result<std::uint64_t> {
        // A stale table is emptied for it, which unmaps as well.
        if (is_stale()) {
            const Alone alone(*this);
            if (auto mended = mend({}); !mended && is_stale()) {
                if (auto emptied = empty_table(); !emptied) return emptied.error();
            }
        }
        const Single single(*this);
        IotlbBook::Found found;
        {
            const sys::Lock lock(mutex_);
            found = book_.in(range);
            if (found.across)
                return Error::refused(
                    EINVAL, compose("cannot unmap ", place(range)),
                    compose("it ends inside ", place(found.across->range()), " ('", found.across->label,
                            "'), and the device would lose all of that"),
                    "unmap whole mappings");
            if (found.in_flight)
                return Error::refused(
                    EBUSY, compose("cannot unmap ", place(range)),
                    compose(place(found.in_flight->range()), " ('", found.in_flight->label, "') is being ",
                            found.in_flight->state == IotlbBook::State::mapping ? "mapped" : "unmapped"),
                    "wait for that call to return");
            if (found.iovas.empty())
                return Error::refused(ENOENT, compose("cannot unmap ", place(range)),
                                      "nothing is mapped there", "unmap what was mapped, once");
            for (const std::uint64_t iova : found.iovas) book_.set(iova, IotlbBook::State::unmapping);
        }
        const int error = iotlb_.invalidate(found.hull);
        const sys::Lock lock(mutex_);
        for (const std::uint64_t iova : found.iovas) {
            if (error == 0)
                book_.remove(iova);
            else
                book_.set(iova, IotlbBook::State::mapped);
        }
        if (error < 0)
            return failed(Operation::iotlb_invalidate, -error,
                          [&] { return compose("cannot unmap ", place(found.hull)); });
        return found.bytes;
    });
}

Result<void> IotlbSink::around_reset(bool loses, const std::function<Result<void>()>& reset) {
    return guarded(Operation::vdpa_status, [&]() -> Result<void> {
        const Alone alone(*this);
        auto done = reset();
        if (loses) set_stale(true);  // also when it failed: the device may be anywhere on its way
        if (!done) return done;
        return mend("the device was reset");
    });
}

// All updates of a batch, and what tells whether the device took them.
Result<void> IotlbSink::send_all(std::span<const dma::Piece> pieces) {
    const bool batch = terms_.batches && pieces.size() > 1;
    if (batch)
        if (const int error = iotlb_.begin_batch(); error < 0)
            return failed(Operation::iotlb_batch, -error,
                          [&] { return compose("cannot begin a batch in ", describe()); });
    const auto last = pieces.size() - 1;
    for (std::size_t i = 0; i < pieces.size(); ++i) {
        if (batch && i == last)
            if (const int error = iotlb_.end_batch(); error < 0)
                return failed(Operation::iotlb_batch, -error,
                              [&] { return compose("cannot end a batch in ", describe()); });
        if (const int error = iotlb_.update(pieces[i]); error < 0)
            return explain_refusal(pieces[i], error,
                                   iotlb_.invalidate(*Range::of(pieces[i].iova, pieces[i].length)));
    }
    return {};
}

// Leaves nothing mapped, and no batch open.
Result<void> IotlbSink::empty_table() {
    if (const int error = iotlb_.invalidate_all(); error < 0)
        return failed(Operation::iotlb_invalidate, -error,
                      [&] { return compose("cannot invalidate all of ", describe()); });
    // Outside a batch, its end does nothing.
    if (terms_.batches)
        if (const int error = iotlb_.end_batch(); error < 0)
            return failed(Operation::iotlb_batch, -error,
                          [&] { return compose("cannot end a batch in ", describe()); });
    return {};
}

Result<void> IotlbSink::fill_table() {
    std::vector<dma::Piece> pieces;
    {
        const sys::Lock lock(mutex_);
        pieces = book_.pieces();
    }
    return pieces.empty() ? Result<void>() : send_all(pieces);
}

// Makes the device's table what the book says; alone. Where it can't, nothing is mapped, or (when not even
// emptying worked) anything: the next call tries again.
Result<void> IotlbSink::mend(std::string_view then) {
    if (!is_stale()) return {};
    const auto wider = [&](std::string_view what) {
        return then.empty() ? std::string(what) : compose(then, ", and ", what);
    };
    if (auto emptied = empty_table(); !emptied)
        return emptied.error().within(wider("what the device reaches is unknown until it is closed"));
    if (auto filled = fill_table(); !filled) {
        (void)empty_table();
        return filled.error().within(
            wider("the device reaches nothing until what was mapped is mapped again"));
    }
    set_stale(false);
    return {};
}

}  // namespace iommufd::inline v0_1::vdpa
