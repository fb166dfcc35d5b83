/*
 * boot.S - where a Multiboot loader, such as QEMU's -kernel, finds and enters the target.
 *
 * The linked file is a PE, which no such loader knows: objcopy makes a flat file of it, and the header tells by addresses
 * (bit 16) how that file lies in memory. This object is linked first, so that the header is the flat file's beginning.
 */
    .set MAGIC, 0x1BADB002
    .set FLAGS, 0x00010000
    .set STACK_TOP, 0x00800000  /* far above the program, well below the smallest RAM */

    .text
    .globl _Start
_Header:
    .long MAGIC, FLAGS, -(MAGIC + FLAGS)
    .long _Header               /* header address */
    .long _Header               /* load address: the header is the first byte */
    .long 0                     /* load end: the whole file */
    .long 0                     /* zeroed end: we clear our own */
    .long _Start                /* entry */

_Start:
    cli
    cld
    movl $STACK_TOP, %esp
    movl %eax, %edx             /* the loader's magic number */
    movl $__bss_start__, %edi
    movl $__bss_end__, %ecx
    subl %edi, %ecx
    xorl %eax, %eax
    rep stosb
    pushl %ebx                  /* the loader's information */
    pushl %edx
    call _Main
1:  hlt
    jmp 1b
