/* SPDX-License-Identifier: Apache-2.0 OR MIT
 *
 * A kernel that finds an edu device on bus 0 and drives it: registers, the factorial, DMA both ways. It ends QEMU by its
 * debug exit device with 0x21, or with the number of the step that failed (0x01 to 0x05).
 */
        .intel_syntax noprefix
        .section .multiboot, "a"
        .align 4
        .long 0x1badb002, 0, -0x1badb002

        .text
        .globl _start
_start:
        mov     esp, 0x180000
        mov     ecx, 0x80000000         /* bus 0, device 0, function 0, register 0 */
scan:
        call    config_read
        cmp     eax, 0x11e81234
        je      found
        add     ecx, 0x800
        cmp     ecx, 0x80010000
        jb      scan
        mov     al, 1
        jmp     finish
found:
        mov     esi, ecx
        lea     ecx, [esi + 4]          /* memory and bus master */
        call    config_read
        or      eax, 6
        out     dx, eax
        lea     ecx, [esi + 0x10]
        call    config_read
        and     eax, 0xfffffff0
        mov     ebx, eax
        mov     bl, 0
        cmp     dword ptr [ebx], 0x010000ed
        mov     al, 2
        jne     finish
        mov     dword ptr [ebx + 4], 0x12345678
        cmp     dword ptr [ebx + 4], 0xedcba987
        mov     al, 3
        jne     finish
        mov     dword ptr [ebx + 8], 5
busy:
        test    dword ptr [ebx + 0x20], 1
        jnz     busy
        cmp     dword ptr [ebx + 8], 120
        mov     al, 4
        jne     finish

        mov     edi, 0x200000
        mov     ecx, 1024
fill:
        mov     [edi + ecx * 4 - 4], ecx
        loop    fill
        mov     eax, 0x200000           /* there and back to another place */
        mov     edx, 0x40000
        mov     ecx, 1
        call    dma
        mov     eax, 0x40000
        mov     edx, 0x201000
        mov     ecx, 3
        call    dma
        mov     esi, 0x200000
        mov     edi, 0x201000
        mov     ecx, 1024
        cld
        repe    cmpsd
        mov     al, 5
        jne     finish
        mov     al, 0x21
finish:
        out     0xf4, al
        hlt
        jmp     finish

config_read:                            /* ecx: address; eax: value, dx: the data port */
        mov     eax, ecx
        mov     dx, 0xcf8
        out     dx, eax
        mov     dx, 0xcfc
        in      eax, dx
        ret

dma:                                    /* eax: from, edx: to, ecx: command; a page */
        mov     [ebx + 0x80], eax
        mov     [ebx + 0x88], edx
        mov     dword ptr [ebx + 0x90], 4096
        mov     [ebx + 0x98], ecx
moving:
        test    dword ptr [ebx + 0x98], 1
        jnz     moving
        ret
