/* Multiboot 1 entry, exception stubs, the ring 3 entry and the application processor trampoline (Intel SDM vol. 3, 9.7). */
  .section .multiboot, "a"
  .align 4
  .long 0x1badb002, 0x00000003, -(0x1badb002 + 0x00000003)

  .text
  .globl _start
_start:
  cli
  cld
  mov $boot_stack_top, %esp
  push $0
  popf
  push %ebx
  push %eax
  call guest_start
1: cli
  hlt
  jmp 1b

/* Vectors 8, 10-14, 17 push an error code; the others get a zero, so that every frame looks alike (struct frame in guest.h). */
  .align 16
  .globl stubs
stubs:
  .set i, 0
  .rept 256
  .align 16
  .if (i == 8) || (i >= 10 && i <= 14) || (i == 17)
  .else
  push $0
  .endif
  .byte 0x68
  .long i
  jmp common
  .set i, i + 1
  .endr
common:
  pusha
  push %ds
  push %es
  push %fs
  push %gs
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  cld
  push %esp
  call isr
  add $4, %esp
  .globl trap_return
trap_return:
  pop %gs
  pop %fs
  pop %es
  pop %ds
  popa
  add $8, %esp
  iret

/* void switch_to(u32 *save_esp, u32 load_esp) */
  .globl switch_to
switch_to:
  mov 4(%esp), %eax
  mov 8(%esp), %edx
  push %ebp
  push %ebx
  push %esi
  push %edi
  mov %esp, (%eax)
  mov %edx, %esp
  pop %edi
  pop %esi
  pop %ebx
  pop %ebp
  ret

/* u32 enter_user(u32 eip, u32 esp): iret to ring 3; leave_user(value) in the handler comes back here as the result. */
  .globl enter_user
enter_user:
  mov 4(%esp), %eax
  mov 8(%esp), %edx
  push %ebp
  push %ebx
  push %esi
  push %edi
  mov %esp, user_return_esp
  mov %esp, %ecx
  mov %ecx, tss + 4
  push $0x23
  push %edx
  push user_eflags
  push $0x1b
  push %eax
  mov $0x23, %eax
  mov %eax, %ds
  mov %eax, %es
  iret
  .globl leave_user
leave_user:
  mov 4(%esp), %eax
  mov user_return_esp, %esp
  mov $0x10, %edx
  mov %edx, %ds
  mov %edx, %es
  pop %edi
  pop %esi
  pop %ebx
  pop %ebp
  ret

/* Started by SIPI in real mode at the page it is copied to (0x8000). */
  .globl trampoline, trampoline_end
  .code16
trampoline:
  cli
  xor %ax, %ax
  mov %ax, %ds
  lgdtl 0x8000 + (ap_gdtr - trampoline)
  mov %cr0, %eax
  or $1, %al
  mov %eax, %cr0
  ljmpl $0x08, $0x8000 + (ap32 - trampoline)
  .code32
ap32:
  mov $0x10, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  mov $1, %ecx
  lock xadd %ecx, ap_count
  shl $12, %ecx
  lea ap_stacks(%ecx), %esp
  add $4096, %esp
  mov $ap_main, %eax
  call *%eax
1: hlt
  jmp 1b
  .align 8
ap_gdtr:
  .word 0x2f
  .long gdt
trampoline_end:

  .bss
  .align 4096
boot_stack: .skip 16384
boot_stack_top:
  .globl ap_stacks
ap_stacks: .skip 8 * 4096
  .data
  .globl user_return_esp, user_eflags, ap_count
user_return_esp: .long 0
user_eflags: .long 0x202
ap_count: .long 0
