/*
 * boot64.S - as boot.S of the kernel-debugger target, and on into long mode: the first GiB of memory lies where it is, and
 * at 0xFFFFF78000000000 is one page, the one that 64-bit kernels share with everybody.
 */
    .set MAGIC, 0x1BADB002
    .set FLAGS, 0x00010000
    .set STACK_TOP, 0x00800000
    .set TABLES, 0x00A00000     /* page tables, and behind them the shared page */
    .set SHARED, TABLES + 0x6000

    .text
    .globl Start
    .code32
Header:
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)
    .long Header                /* header address */
    .long Header                /* load address: the header is the first byte */
    .long 0                     /* load end: the whole file */
    .long 0                     /* zeroed end: we clear our own */
    .long Start                 /* entry */

Start:
    cli
    cld
    movl %eax, %ebp             /* the loader's magic number */
    movl $__bss_start__, %edi
    movl $__bss_end__, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
    movl $TABLES, %edi
    movl $0x7000, %ecx
    rep stosb

    movl $TABLES + 0x1003, TABLES
    movl $TABLES + 0x2003, TABLES + 0x1000
    movl $TABLES + 0x2000, %edi
    movl $0x83, %eax            /* 512 pages of 2 MiB */
1:  movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    cmpl $TABLES + 0x3000, %edi
    jb 1b
    movl $TABLES + 0x3003, TABLES + 0x1EF * 8
    movl $TABLES + 0x4003, TABLES + 0x3000
    movl $TABLES + 0x5003, TABLES + 0x4000
    movl $SHARED + 3, TABLES + 0x5000

    movl $TABLES, %eax
    movl %eax, %cr3
    movl %cr4, %eax
    orl $0x620, %eax            /* PAE, and the vector unit, which 64-bit code may use */
    movl %eax, %cr4
    movl $0xC0000080, %ecx      /* EFER */
    rdmsr
    orl $0x100, %eax            /* long mode */
    wrmsr
    movl %cr0, %eax
    andl $~4, %eax
    orl $0x80000002, %eax
    movl %eax, %cr0
    lgdt table
    ljmp $0x08, $long

    .code64
long:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $STACK_TOP - 0x20, %esp
    movl %ebp, %ecx
    movl %ebx, %edx             /* the loader's information */
    call Main
1:  hlt
    jmp 1b

    .balign 8
table:
    .word 23
    .long segments
    .balign 8
segments:
    .quad 0
    .quad 0x00AF9A000000FFFF    /* 08: 64-bit code */
    .quad 0x00CF92000000FFFF    /* 10: data */
