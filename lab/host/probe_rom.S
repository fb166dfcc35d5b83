# The guest of the accelerator probe: a BIOS image of 64 KiB. lab/host/probe_rom.py holds it assembled, with this text's digest.
#
# It does what every kernel does at once and what a KVM that cannot run kernels fails at. Seen: a paravirtual KVM inside a
# virtual machine passed 64-bit mode, page tables and I/O, because it emulated each instruction, and hung with every real
# kernel. There, the way to user mode and back ended in a shutdown, and a short loop took minutes.
        .code16
        .globl  start
start:  cli                                     # at F000:0000, where the reset vector jumps to
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        # page tables at 0x1000, 0x2000, 0x3000: one page of 2 MiB that maps itself, for user mode too
        movw    $0x1000, %di
        movw    $0xc00, %cx
        xorl    %eax, %eax
        rep stosl
        movw    $0x2007, 0x1000
        movw    $0x3007, 0x2000
        movw    $0x0087, 0x3000
        lgdtl   %cs:gdtr
        movl    $0x20, %eax                     # CR4.PAE
        movl    %eax, %cr4
        movl    $0x1000, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx               # EFER.LME
        rdmsr
        orw     $0x100, %ax
        wrmsr
        movl    $0x80000001, %eax               # CR0.PG and CR0.PE at once
        movl    %eax, %cr0
        ljmpl   $0x08, $(long + 0xf0000)

        .balign 8, 0xf4                         # a fill of its own: each assembler has another no-operation for it
gdt:    .quad   0
        .quad   0x00af9b000000ffff              # 0x08 kernel code
        .quad   0x00cf93000000ffff              # 0x10 kernel data
        .quad   0x00cff3000000ffff              # 0x18 user data
        .quad   0x00affb000000ffff              # 0x20 user code
        .quad   0x0000890050000067              # 0x28 task state at 0x5000, two entries long
        .quad   0
gdtr:   .word   gdtr - gdt - 1
        .long   gdt + 0xf0000

        .code64
long:   movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %ss
        movl    $0x7000, %esp
        # task state: the kernel stack on entries from user mode
        movl    $0x7800, 0x5004
        movl    $0, 0x5008
        movl    $0x28, %eax
        ltr     %ax
        # interrupt descriptors at 0x4000: 6 for the exception, 0x30 for the way back from user mode; the limit ends there
        movl    $0x4000, %edi
        movl    $(0x31 * 4), %ecx
        xorl    %eax, %eax
        rep stosl
        movl    $0x4000 + 6 * 16, %edi
        movl    $invalid, %eax
        call    gate
        movl    $0x4000 + 0x30 * 16, %edi
        movl    $back, %eax
        call    gate
        movw    $(0x31 * 16 - 1), 0x6000
        movq    $0x4000, 0x6002
        lidt    0x6000
        # an exception and its return
        xorl    %ebx, %ebx
        ud2
        cmpl    $1, %ebx
        jne     fail
        # forty million instructions: a hundredth of a second, or a tenth emulated
        movl    $20000000, %ecx
1:      decl    %ecx
        jnz     1b
        # to user mode
        pushq   $0x1b
        pushq   $0x6800
        pushq   $0x2
        pushq   $0x23
        pushq   $(user + 0xf0000)
        iretq
user:   int     $0x30
        jmp     fail

back:   movw    $0xf4, %dx                      # the exit device
        movb    $0x2a, %al
        outb    %al, %dx
fail:   hlt
        jmp     fail

invalid:
        incl    %ebx
        addq    $2, (%rsp)                      # behind the ud2
        iretq

gate:   movw    %ax, (%rdi)                     # offset, its low half
        movw    $0x08, 2(%rdi)
        movw    $0xee00, 4(%rdi)                # interrupt gate, open to user mode
        movw    $0x000f, 6(%rdi)                # offset, bits 16 and up
        ret
