/* Multiboot kernel: echoes COM1 input, interrupt driven, halted in between. 'q' ends it with debug-exit value 5, 'z' halts for good. */
        .set    COM1, 0x3f8
        .section .text
        .align  4
        .long   0x1badb002, 0, -0x1badb002
        .globl  _start
_start: mov     $stack_top, %esp
        lgdt    gdt_register
        ljmp    $8, $1f
1:      mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %ss
        mov     $receive, %eax          /* gate 24h */
        mov     %ax, idt + 8 * 0x24
        movw    $8, idt + 8 * 0x24 + 2
        movw    $0x8e00, idt + 8 * 0x24 + 4
        shr     $16, %eax
        mov     %ax, idt + 8 * 0x24 + 6
        lidt    idt_register
        .macro  port port, value
        mov     $\port, %dx
        mov     $\value, %al
        out     %al, %dx
        .endm
        port    0x20, 0x11
        port    0x21, 0x20
        port    0x21, 4
        port    0x21, 1
        port    0x21, 0xef              /* COM1 only */
        port    0xa1, 0xff
        port    COM1 + 2, 0x07
        port    COM1 + 4, 0x0b
        port    COM1 + 1, 0x01
        port    COM1, '>'
        sti
2:      hlt
        jmp     2b

receive:
        pusha
3:      mov     $COM1 + 5, %dx
        in      %dx, %al
        test    $1, %al
        jz      4f
        mov     $COM1, %dx
        in      %dx, %al
        cmp     $'q', %al
        je      quit
        cmp     $'z', %al
        je      sleep
        out     %al, %dx
        jmp     3b
4:      mov     $0x20, %al
        out     %al, $0x20
        popa
        iret
quit:   mov     $5, %al
        out     %al, $0xf4
sleep:  cli
        hlt
        jmp     sleep

        .align  8
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdt_register: .word 23
        .long   gdt
idt_register: .word 2047
        .long   idt
        .bss
        .align  16
idt:    .skip   2048
        .skip   4096
stack_top:
