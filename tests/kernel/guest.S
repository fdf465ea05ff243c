# SPDX-License-Identifier: Apache-2.0 OR MIT
#
# The guest of the test that starts QEMU: the first sectors of an NVMe disk that the BIOS boots from. It says on the serial port what
# the disk's second sector holds, waits for a byte from there, writes the second sector over the third, says so, and ends QEMU with
# status 33 (isa-debug-exit).

        .code16
        .globl  _start
_start: ljmp    $0, $begin
begin:  xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movb    %dl, drive

        movb    $0x42, %ah              # extended read
        call    disk
        movw    $0x8000, %si
        call    say

wait:   movw    $0x3fd, %dx
        inb     %dx, %al
        testb   $1, %al                 # a byte has come
        jz      wait

        movw    $2, sector
        movw    $0x4300, %ax            # extended write
        call    disk
        movw    $written, %si
        call    say
        movb    $16, %al                # QEMU's status is 2 * 16 + 1
        outb    %al, $0xf4
halt:   hlt
        jmp     halt

disk:   movb    drive, %dl
        movw    $packet, %si
        int     $0x13
        jnc     done
        movw    $failed, %si
        call    say
        movb    $1, %al
        outb    %al, $0xf4
        jmp     halt

say:    lodsb
        testb   %al, %al
        jz      done
        movb    %al, %bl
        movw    $0x3fd, %dx
busy:   inb     %dx, %al
        testb   $0x20, %al              # there is room for a byte
        jz      busy
        movb    %bl, %al
        movw    $0x3f8, %dx
        outb    %al, %dx
        jmp     say
done:   ret

written: .asciz "written\n"
failed: .asciz  "the disk failed\n"
drive:  .byte   0
packet: .byte   16, 0
        .word   1                       # one sector
        .word   0x8000, 0               # of this memory
sector: .quad   1                       # from or to there

        .org    510
        .word   0xaa55
        .ascii  "what only the disk has\n"
        .org    1024
