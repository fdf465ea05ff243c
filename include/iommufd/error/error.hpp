// SPDX-License-Identifier: Apache-2.0 OR MIT
//
// Why a call failed, in a form for programs (errno, operation, ids) and for people (cause, next step).
//
//     Error error = space.map(memory, {.iova = Iova{0x40000000}}).error();
//     error.code()       ENOMEM
//     error.operation()  Operation::ioas_map
//     error.what()       cannot map 0x40000000+0x200000 (RAM 'ram0') into ioas 3 of 'iommufd0'
//     error.cause()      RLIMIT_MEMLOCK does not allow that many pinned pages
//     error.next_step()  raise the limit, ...
//     error.text()       all of it; the first line says what happened
//
// Cause and next step come from one table, operation x errno (see explain()), unless the library itself
// refused: then it says exactly why.
//
// An Error is one pointer wide, and cheap to copy. Making one never throws: when there is no memory for
// the words, the errno and the operation are kept without them.
//
// Threads: an Error is a value; copies of it may be used in different threads.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>

#include "iommufd/error/operation.hpp"
#include "iommufd/visibility.hpp"

namespace iommufd::inline v0_1 {

// What the table says of one errno of one operation.
struct Explanation {
    std::string_view cause;
    std::string_view next_step;
};

// The table's entry; where the operation has none of its own, what the errno means in general.
IOMMUFD_EXPORT Explanation explain(Operation operation, int code) noexcept;

class [[nodiscard]] IOMMUFD_EXPORT Error {
public:
    // The kernel said no: `code` is a positive errno, `what` a sentence without a full stop ("cannot ...").
    Error(Operation operation, int code, std::string what) noexcept;
    // The same when there is no memory to say more.
    Error(Operation operation, int code) noexcept;

    // The library said no before asking the kernel, or knows better than the table.
    static Error refused(int code, std::string what, std::string cause, std::string next_step) noexcept;

    Error(const Error& other) noexcept;
    Error(Error&& other) noexcept;
    Error& operator=(Error other) noexcept;
    ~Error();

    // A positive errno.
    int code() const noexcept;
    Operation operation() const noexcept;
    std::string_view what() const noexcept;
    std::string_view cause() const noexcept;
    std::string_view next_step() const noexcept;

    // "WHAT: ERRNO" and, on a second line each, cause and next step. No newline at the end.
    std::string text() const;
    // "WHAT: ERRNO (CAUSE); NEXT STEP", for a log or a command's error line.
    std::string line() const;

    // The same error with its sentence put into a wider one: "cannot start 'vm1': cannot map ...".
    Error within(std::string_view wider) const noexcept;
    // The same error by somebody who knows its cause.
    Error because(std::string cause, std::string next_step) const noexcept;

private:
    void put(std::string cause, std::string next_step) noexcept;

    struct Words;
    // Either a pointer to Words, or (lowest bit set) the operation and the errno themselves.
    std::uintptr_t state_;
};

// "ENOMEM"; "errno 4711" for one without a name.
IOMMUFD_EXPORT std::string errno_name(int code);

// Thrown by Result<T>::value() only: what() is the error's whole text.
class IOMMUFD_EXPORT Failure : public std::exception {
public:
    explicit Failure(Error error);
    const char* what() const noexcept override { return text_.c_str(); }
    const Error& error() const noexcept { return error_; }

private:
    Error error_;
    std::string text_;
};

}  // namespace iommufd::inline v0_1
