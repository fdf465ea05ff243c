// SPDX-License-Identifier: Apache-2.0 OR MIT
#include "model/safe_copy.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "model/move_all.hpp"

namespace iommufd::inline v0_1::model {

// It moves less than asked where a page is missing, and at most 2 GiB in one call.
int checked_copy(void* to, const void* from, std::size_t length) noexcept {
    return move_all(length, [&](std::size_t done, std::size_t rest) {
        const iovec local{static_cast<std::byte*>(to) + done, rest};
        const iovec remote{const_cast<std::byte*>(static_cast<const std::byte*>(from)) + done, rest};
        return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0);
    });
}

}  // namespace iommufd::inline v0_1::model

#if defined(__x86_64__)

#include <ucontext.h>

#include <csignal>
#include <cstdint>

// Returns how many bytes are left. A fault leaves the string instruction's registers at the byte that isn't there, and the handler goes on
// behind it. The processor's own loop is what memcpy() takes for as much.
//
// The other one goes ahead by 256 bytes, and after a fault leaves the rest to the string instruction, which finds the byte: up to the step
// all registers are what they were before these bytes.
asm(R"(
    .pushsection .text
    .p2align 4
    .type iommufd_model_copy_cached, @function
    .hidden iommufd_model_copy_cached, iommufd_model_copy_cached_steps
    .globl iommufd_model_copy_cached, iommufd_model_copy_cached_steps
iommufd_model_copy_cached:
    .cfi_startproc
    endbr64
    mov %rdx, %rcx
1:  vmovdqu64 (%rsi), %zmm16
    vmovdqu64 64(%rsi), %zmm17
    vmovdqu64 128(%rsi), %zmm18
    vmovdqu64 192(%rsi), %zmm19
    vmovdqu64 %zmm16, (%rdi)
    vmovdqu64 %zmm17, 64(%rdi)
    vmovdqu64 %zmm18, 128(%rdi)
    vmovdqu64 %zmm19, 192(%rdi)
iommufd_model_copy_cached_steps:
    add $256, %rsi
    add $256, %rdi
    sub $256, %rcx
    cmp $256, %rcx
    jae 1b
    test %rcx, %rcx
    jnz iommufd_model_copy_faults
    xor %eax, %eax
    ret
    .cfi_endproc
    .size iommufd_model_copy_cached, . - iommufd_model_copy_cached

    .p2align 4
    .type iommufd_model_copy, @function
    .hidden iommufd_model_copy, iommufd_model_copy_faults, iommufd_model_copy_ends
    .globl iommufd_model_copy, iommufd_model_copy_faults, iommufd_model_copy_ends
iommufd_model_copy:
    .cfi_startproc
    endbr64
    mov %rdx, %rcx
iommufd_model_copy_faults:
    rep movsb
iommufd_model_copy_ends:
    mov %rcx, %rax
    ret
    .cfi_endproc
    .size iommufd_model_copy, . - iommufd_model_copy

    .p2align 4
    .type iommufd_model_exchange, @function
    .hidden iommufd_model_exchange, iommufd_model_exchange_faults, iommufd_model_exchange_fails
    .globl iommufd_model_exchange, iommufd_model_exchange_faults, iommufd_model_exchange_fails
iommufd_model_exchange:
    .cfi_startproc
    endbr64
    mov %rsi, %rax
iommufd_model_exchange_faults:
    lock cmpxchg %rdx, (%rdi)
    setne %al
    movzbl %al, %eax
    ret
iommufd_model_exchange_fails:
    mov $2, %eax
    ret
    .cfi_endproc
    .size iommufd_model_exchange, . - iommufd_model_exchange
    .popsection
)");

extern "C" {
extern const char iommufd_model_copy_cached_steps[];
extern const char iommufd_model_copy_faults[];
extern const char iommufd_model_copy_ends[];
extern const char iommufd_model_exchange_faults[];
extern const char iommufd_model_exchange_fails[];
// The number of an Exchange.
std::uint32_t iommufd_model_exchange(std::uint64_t* at, std::uint64_t expected,
                                     std::uint64_t desired) noexcept;
}

namespace iommufd::inline v0_1::model {
namespace {

struct sigaction before_segv;
struct sigaction before_bus;

void hand_on(int signal, siginfo_t* info, void* context) {
    const struct sigaction& before = signal == SIGSEGV ? before_segv : before_bus;
    if ((before.sa_flags & SA_SIGINFO) != 0) return before.sa_sigaction(signal, info, context);
    if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) return before.sa_handler(signal);
    const bool is_sent = info->si_code <= 0;
    if (is_sent && before.sa_handler == SIG_IGN) return;
    // The fault comes again, and ends the process as it would have.
    std::signal(signal, SIG_DFL);
    if (is_sent) std::raise(signal);
}

void handle(int signal, siginfo_t* info, void* context) {
    greg_t& at = static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    if (at >= reinterpret_cast<std::intptr_t>(iommufd_model_copy_cached) &&
        at < reinterpret_cast<std::intptr_t>(iommufd_model_copy_cached_steps))
        at = reinterpret_cast<std::intptr_t>(iommufd_model_copy_faults);
    else if (at == reinterpret_cast<std::intptr_t>(iommufd_model_copy_faults))
        at = reinterpret_cast<std::intptr_t>(iommufd_model_copy_ends);
    else if (at == reinterpret_cast<std::intptr_t>(iommufd_model_exchange_faults))
        at = reinterpret_cast<std::intptr_t>(iommufd_model_exchange_fails);
    else
        hand_on(signal, info, context);
}

bool take_over() noexcept {
    struct sigaction ours{};
    ours.sa_sigaction = handle;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    return ::sigaction(SIGSEGV, &ours, &before_segv) == 0 && ::sigaction(SIGBUS, &ours, &before_bus) == 0;
}

}  // namespace

Exchange safe_exchange(std::uint64_t* at, std::uint64_t expected, std::uint64_t desired) noexcept {
    return static_cast<Exchange>(iommufd_model_exchange(at, expected, desired));
}

void expect_faults() noexcept { [[maybe_unused]] static const bool taken = take_over(); }

}  // namespace iommufd::inline v0_1::model

#else

namespace iommufd::inline v0_1::model {

Exchange safe_exchange(std::uint64_t* at, std::uint64_t expected, std::uint64_t desired) noexcept {
    std::uint64_t now = 0;
    if (checked_copy(&now, at, sizeof now) < 0) return Exchange::fault;
    if (now != expected) return Exchange::other;
    return checked_copy(at, &desired, sizeof desired) < 0 ? Exchange::fault : Exchange::done;
}

void expect_faults() noexcept {}

}  // namespace iommufd::inline v0_1::model

#endif
