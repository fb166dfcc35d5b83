        .section .rdata, "dr"
        .globl MeterBanner
MeterBanner:
        .incbin "data/banner.bin"
        .byte 0
