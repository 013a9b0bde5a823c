/*
 * What stands in for a BIOS under Bochs: the ROM's last 4 KiB, from the reset vector to protected mode to the guest.
 * The guest's ELF file is in the ROM itself, ROM_BYTES below 4 GiB (bochs.ts puts it there); its segments are copied to where they
 * belong and it is entered as a multiboot loader would. No BIOS, no disk, no VGA: nothing but a CPU with memory.
 */
  .code16
  .text
  .globl _start
_start:
rom:
  cli
  cld
  lgdtl %cs:(0xf000 + (gdtr - rom))
  mov %cr0, %eax
  and $0x9fffffff, %eax     /* caches on */
  or $1, %al
  mov %eax, %cr0
  ljmpl $0x08, $0xfffff000 + (flat - rom)

  .code32
flat:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  in $0x92, %al             /* A20 */
  or $2, %al
  out %al, $0x92
  mov $(0 - ROM_BYTES), %ebp
  movzwl 44(%ebp), %edx     /* e_phnum */
  mov 28(%ebp), %ebx        /* e_phoff */
  add %ebp, %ebx
1:
  cmpl $1, (%ebx)           /* PT_LOAD */
  jne 2f
  mov 4(%ebx), %esi
  add %ebp, %esi
  mov 12(%ebx), %edi        /* p_paddr */
  mov 16(%ebx), %ecx
  rep movsb
  mov 20(%ebx), %ecx
  sub 16(%ebx), %ecx
  xor %eax, %eax
  rep stosb
2:
  add $32, %ebx
  dec %edx
  jnz 1b
  mov 24(%ebp), %ecx        /* e_entry */
  mov $0x2badb002, %eax
  xor %ebx, %ebx
  jmp *%ecx

  .align 8
gdt:
  .quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:
  .word 23
  .long 0xfffff000 + (gdt - rom)

  .org 0xff0
  .code16
  jmp rom                   /* near: CS keeps the base FFFF0000h of the reset */
  .org 0x1000
