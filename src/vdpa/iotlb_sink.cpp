// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "vdpa/iotlb_sink.hpp"

#include <algorithm>
#include <cerrno>

#include "error/compose.hpp"
#include "error/guarded.hpp"

namespace iommufd::inline v0_1::vdpa {

class IotlbSink::Turn {
public:
    explicit Turn(IotlbSink& sink) noexcept : sink_(sink) {
        const sys::Lock lock(sink_.mutex_);
        while (sink_.taken_) sink_.changed_.wait(sink_.mutex_);
        sink_.taken_ = true;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
        const sys::Lock lock(sink_.mutex_);
        sink_.taken_ = false;
        sink_.changed_.notify_all();
    }

private:
    IotlbSink& sink_;
};

IotlbSink::IotlbSink(sys::Kernel& kernel, Iotlb iotlb, std::string device, Terms terms)
    : kernel_(kernel), iotlb_(iotlb), device_(std::move(device)), terms_(terms) {}

Result<void> IotlbSink::map(const dma::Piece& piece) {
    return guarded(Operation::iotlb_update, [&]() -> Result<void> {
        if (auto shape = check_shape(piece); !shape) return shape;
        const Turn turn(*this);
        if (auto mended = mend({}); !mended) return mended.error().within(refusal(piece));
        if (auto entered = enter({&piece, 1}); !entered) return entered;
        // Guarded for itself: from here on an error must be followed by taking back.
        auto sent = guarded(Operation::iotlb_update, [&] { return send_all({&piece, 1}); });
        if (sent) return sent;
        leave({&piece, 1});
        // Where Linux 7.3 maps by address and got nowhere, it takes back a range of no bytes: at IOVA 0 that
        // wraps around, and everything is gone.
        if (!take_back(piece) || (terms_.uses_addresses && piece.iova.value == 0)) stale_ = true;
        if (auto mended = mend(sent.error().what()); !mended) return mended;
        return sent;
    });
}

Result<void> IotlbSink::replay(std::span<const dma::Piece> pieces) {
    return guarded(Operation::iotlb_update, [&]() -> Result<void> {
        if (pieces.empty()) return {};
        std::uint64_t bytes = 0;
        for (const dma::Piece& piece : pieces) {
            if (auto shape = check_shape(piece); !shape) return shape;
            bytes += piece.length;
        }
        const std::string what = refusal(pieces);
        if (auto limit = check_memlock(bytes, what); !limit) return limit;

        const Turn turn(*this);
        if (auto mended = mend({}); !mended) return mended.error().within(what);
        if (auto entered = enter(pieces); !entered) return entered;
        auto sent = guarded(Operation::iotlb_update, [&] { return send_all(pieces); });
        if (sent) return sent;
        // Which of them the device has is unknown: everything goes, and what was there before comes back.
        leave(pieces);
        stale_ = true;
        const Error error = sent.error().within(compose(what, ", and all of it was invalidated"));
        if (auto mended = mend(error.what()); !mended) return mended;
        return error;
    });
}

Result<std::uint64_t> IotlbSink::unmap(Range range) {
    return guarded(Operation::iotlb_invalidate, [&]() -> Result<std::uint64_t> {
        const Turn turn(*this);
        // An open batch would keep the device from being told. Emptied is good enough to unmap.
        if (auto mended = mend({}); !mended)
            if (auto emptied = empty_table(); !emptied) return emptied.error();
        IotlbBook::Found found;
        {
            const sys::Lock lock(mutex_);
            found = book_.in(range);
            if (found.across)
                return Error::refused(EINVAL, compose("cannot unmap ", place(range)),
                                      compose("it would cut ", place(found.across->range()), " ('",
                                              found.across->label, "'), all of which the device would lose"),
                                      "unmap whole mappings");
        }
        if (found.iovas.empty())
            return Error::refused(ENOENT, compose("cannot unmap ", place(range)), "nothing is mapped there",
                                  "unmap what was mapped, once");
        if (const int error = iotlb_.invalidate(found.hull); error < 0)
            return failed(Operation::iotlb_invalidate, -error,
                          [&] { return compose("cannot unmap ", place(found.hull)); });
        const sys::Lock lock(mutex_);
        for (const std::uint64_t iova : found.iovas) book_.remove(iova);
        return found.bytes;
    });
}

Result<void> IotlbSink::around_reset(bool loses, const std::function<Result<void>()>& reset) {
    return guarded(Operation::vdpa_status, [&]() -> Result<void> {
        const Turn turn(*this);
        auto done = reset();
        if (loses) stale_ = true;  // also when it failed: the device may be anywhere on its way
        if (!done) return done;
        return mend("the device was reset");
    });
}

// Into the book, before the kernel is asked: nothing may fail after it.
Result<void> IotlbSink::enter(std::span<const dma::Piece> pieces) {
    const sys::Lock lock(mutex_);
    std::size_t entered = 0;
    const auto undo = [&]() IOMMUFD_REQUIRES(mutex_) {
        for (const dma::Piece& piece : pieces.first(entered)) book_.remove(piece.iova.value);
    };
    try {
        for (; entered < pieces.size(); ++entered) {
            if (auto room = check_room(pieces[entered], pieces.size() - entered - 1); !room) {
                undo();
                return room;
            }
            book_.add(pieces[entered]);
        }
    } catch (const std::bad_alloc&) {
        undo();
        throw;
    }
    return {};
}

void IotlbSink::leave(std::span<const dma::Piece> pieces) noexcept {
    const sys::Lock lock(mutex_);
    for (const dma::Piece& piece : pieces) book_.remove(piece.iova.value);
}

// One UPDATE; an error of it speaks of the whole piece.
Result<void> IotlbSink::send(const dma::Piece& part, const dma::Piece& whole) const {
    const int error = iotlb_.update(part);
    return error == 0 ? Result<void>() : explain_refusal(whole, error);
}

Result<void> IotlbSink::send_all(std::span<const dma::Piece> pieces) const {
    // By address, a piece is one entry as a rule; pinned, as many as there are runs of pages.
    const bool one_entry =
        pieces.size() == 1 && (terms_.uses_addresses || pieces.front().length == terms_.page_size);
    if (terms_.batches && !one_entry) return send_batch(pieces);
    for (const dma::Piece& piece : pieces)
        if (auto sent = send(piece, piece); !sent) return sent;
    return {};
}

Result<void> IotlbSink::send_batch(std::span<const dma::Piece> pieces) const {
    const auto batch_failed = [&](std::string_view what, int error) {
        // The address space is known from the probe on, and nobody else's batch can be open.
        if (error == -EFAULT) return not_the_owner(refusal(pieces));
        return failed(Operation::iotlb_batch, -error,
                      [&] { return compose("cannot ", what, " a batch in ", describe()); });
    };
    dma::Piece most = pieces.back();
    dma::Piece last_page = most;
    most.length -= terms_.page_size;
    last_page.iova = last_page.iova + most.length;
    last_page.address += most.length;
    last_page.length = terms_.page_size;

    if (const int error = iotlb_.begin_batch(); error < 0) return batch_failed("begin", error);
    for (const dma::Piece& piece : pieces.first(pieces.size() - 1))
        if (auto sent = send(piece, piece); !sent) return sent;
    if (most.length > 0)
        if (auto sent = send(most, pieces.back()); !sent) return sent;
    if (const int error = iotlb_.end_batch(); error < 0) return batch_failed("end", error);
    return send(last_page, pieces.back());
}

// Undoes what there is of a piece after a failure, and ends the batch.
bool IotlbSink::take_back(const dma::Piece& piece) const noexcept {
    const int undone = iotlb_.invalidate(*Range::of(piece.iova, piece.length));
    // A process that isn't the owner has done nothing either.
    if (undone == -EFAULT) return true;
    return undone == 0 && (!terms_.batches || iotlb_.end_batch() == 0);
}

// Leaves nothing mapped, and no batch open.
Result<void> IotlbSink::empty_table() const {
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

Result<void> IotlbSink::fill_table() const {
    std::vector<dma::Piece> pieces;
    {
        const sys::Lock lock(mutex_);
        pieces = book_.pieces();
    }
    return pieces.empty() ? Result<void>() : send_all(pieces);
}

// Makes a stale table what the book says. Where it can't, the device has nothing or, when not even emptying
// worked, anything; the next change tries again.
Result<void> IotlbSink::mend(std::string_view then) {
    if (!stale_) return {};
    const auto wider = [&](std::string_view what) {
        return then.empty() ? std::string(what) : compose(then, ", and ", what);
    };
    if (auto emptied = empty_table(); !emptied)
        return emptied.error().within(wider("what the device reaches is unknown until it is closed"));
    if (auto filled = fill_table(); !filled) {
        (void)empty_table();
        return filled.error().within(
            wider("the device reaches nothing of what was mapped until that is mapped again"));
    }
    stale_ = false;
    return {};
}

}  // namespace iommufd::inline v0_1::vdpa
