/*
 * processors.S - what a further processor does first. It starts in real mode at a page below 1 MB, to which this code is
 * copied: TRAMPOLINE. It gets flat segments and a stack of its own, and goes on in ProcessorMain.
 */
    .set TRAMPOLINE, 0x8000
    .set STACKS, 0x00900000     /* above the first processor's stack; 64 KiB each */

    .text
    .globl _TrampolineBegin, _TrampolineEnd
    .code16
_TrampolineBegin:
    cli
    lgdtl %cs:(table - _TrampolineBegin)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $0x08, $(TRAMPOLINE + flat - _TrampolineBegin)
    .code32
flat:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    cld
    movl $1, %eax
    lock xaddl %eax, (TRAMPOLINE + started - _TrampolineBegin)
    incl %eax
    shll $16, %eax
    leal STACKS(%eax), %esp
    movl $_ProcessorMain, %eax
    call *%eax
1:  hlt
    jmp 1b
    .balign 8
started:
    .long 0
table:
    .word 23
    .long TRAMPOLINE + segments - _TrampolineBegin
    .balign 8
segments:
    .quad 0
    .quad 0x00CF9A000000FFFF    /* 08: code, 0 to 4 GB */
    .quad 0x00CF92000000FFFF    /* 10: data, 0 to 4 GB */
_TrampolineEnd:
