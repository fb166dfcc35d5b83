# A stand-in for Windows Setup, for SeaBIOS: on the wire it behaves as Setup does, and it needs seconds.
#
# The same four sectors are the boot image of the CD and, once "installed", the first sectors of the disk.
# From the CD it asks for a key, writes itself to the disk and restarts; from the disk it goes through three phases,
# each with a restart, says that it is done, and powers off. Started once more, it is a finished guest. The last bytes of its first sector say how it misbehaves
# (mode, set when the CD is made) and how far it is (phase).
#
# Addresses are written as differences to `start`, so that no relocation is left for a linker.

    .code16
    .text
    .set ORG, 0x7c00
    .set COM1, 0x3f8
    .set SECTORS, 4
    .set MODE_HANG, 1
    .set MODE_LOOP, 2
    .set MODE_FAIL, 3
    .set MODE_NO_MARK, 4
    .set MODE_NO_WRITE, 5
    .set KEY_TICKS, 55                      # 3 s of the BIOS clock
    .set PHASE_TICKS, 12

start:
    cli
    xorw    %ax, %ax
    movw    %ax, %ds
    movw    %ax, %es
    movw    %ax, %ss
    movw    $ORG, %sp
    sti
    cld
    cmpb    $0x80, %dl
    jne     from_cd
    movw    $(0x0200 + SECTORS - 1), %ax    # the firmware loads one sector of a disk: fetch the others
    movw    $2, %cx
    movw    $0x0080, %dx
    movw    $(ORG + 512), %bx
    int     $0x13
    jc      halt
    jmp     from_disk

# Wait as long as %cx ticks of the BIOS clock, 18 a second: no phase is over in an instant. Between two interrupts the processor
# stands still, and so does the host's.
pause:
    movw    0x46c, %bx
ticking:
    hlt
    movw    0x46c, %ax
    subw    %bx, %ax
    cmpw    %cx, %ax
    jb      ticking
    ret

halt:
    sti
    hlt
    jmp     halt

    .org 506
mode:
    .byte 0
phase:
    .byte 0
    .org 510
    .word 0xaa55

from_cd:
    movw    $(prompt - start + ORG), %si
    call    print
    movw    0x46c, %bx                      # the clock's ticks, 18 a second
wait_key:
    movb    $1, %ah
    int     $0x16
    jnz     got_key
    hlt
    movw    0x46c, %ax
    subw    %bx, %ax
    cmpw    $KEY_TICKS, %ax
    jb      wait_key
    movw    $(no_key - start + ORG), %si
    call    print
    jmp     halt

got_key:
    xorw    %ax, %ax
    int     $0x16
    movw    $(winpe_start - start + ORG), %si
    call    print
    cmpb    $MODE_NO_WRITE, mode - start + ORG
    je      halt
    movb    $1, phase - start + ORG
    call    install
    movw    $(winpe_ok - start + ORG), %si
    call    print
    jmp     restart

from_disk:
    movw    $PHASE_TICKS, %cx
    call    pause
    movb    phase - start + ORG, %al
    cmpb    $3, %al
    je      phase_provision
    ja      installed
    cmpb    $2, %al
    je      phase_oobe

    movw    $(specialize_start - start + ORG), %si
    call    print
    cmpb    $MODE_HANG, mode - start + ORG
    je      halt
    cmpb    $MODE_LOOP, mode - start + ORG
    je      restart
    movw    $(specialize_ok - start + ORG), %si
    jmp     next_phase

phase_oobe:
    movw    $(oobe_start - start + ORG), %si
    call    print
    cmpb    $MODE_NO_MARK, mode - start + ORG
    je      power_off
    cmpb    $MODE_FAIL, mode - start + ORG
    jne     oobe_good
    movw    $(oobe_failed - start + ORG), %si
    call    print
    jmp     power_off
oobe_good:
    movw    $(oobe_ok - start + ORG), %si
next_phase:
    call    print
    incb    phase - start + ORG
    call    install
    jmp     restart

phase_provision:
    movw    $(provision_start - start + ORG), %si
    call    print
    incb    phase - start + ORG
    call    install
    movw    $(done_ok - start + ORG), %si
    call    print

power_off:
    movw    $0x604, %dx                     # ACPI's PM1a control register, where SeaBIOS puts it on q35
    movw    $0x2000, %ax
    outw    %ax, %dx
    jmp     halt

# A start of the finished disk: says so, and powers off at a key, as Windows does at a command.
installed:
    movw    $(desktop - start + ORG), %si
    call    print
    xorw    %ax, %ax
    int     $0x16
    jmp     power_off

restart:
    movw    $0xcf9, %dx
    movb    $6, %al
    outb    %al, %dx
    jmp     halt

# Write this program, as it is in memory, to the beginning of the disk.
install:
    movw    $(0x0300 + SECTORS), %ax
    movw    $1, %cx
    movw    $0x0080, %dx
    movw    $ORG, %bx
    int     $0x13
    jc      halt
    ret

# Print the text at %si, which ends in a zero byte, on COM1 and on the screen.
print:
    lodsb
    testb   %al, %al
    jz      printed
    movb    %al, %cl
    movw    $(COM1 + 5), %dx
ready:
    inb     %dx, %al
    testb   $0x20, %al
    jz      ready
    movb    %cl, %al
    movw    $COM1, %dx
    outb    %al, %dx
    pushw   %bx
    movb    $0x0e, %ah
    movw    $7, %bx
    int     $0x10
    popw    %bx
    jmp     print
printed:
    ret

prompt:           .asciz "Press any key to boot from CD or DVD..."
no_key:           .asciz "\r\nno key was pressed\r\n"
winpe_start:      .asciz "\r\nLAB winpe start\r\n"
winpe_ok:         .asciz "LAB winpe ok\r\n"
specialize_start: .asciz "LAB specialize start\r\n"
specialize_ok:    .asciz "LAB specialize ok\r\n"
oobe_start:       .asciz "LAB oobe start\r\n"
oobe_ok:          .asciz "LAB oobe ok\r\n"
oobe_failed:      .asciz "LAB oobe failed no such account\r\n"
provision_start:  .asciz "LAB provision start\r\n"
done_ok:          .asciz "LAB done ok\r\n"
desktop:          .asciz "the stand-in is up\r\n"
    .org 512 * SECTORS
