/** The test guests: name, source, extra compiler options and what the machine must have. */
export interface Guest { name: string; source: string; defines?: readonly string[]; cpus?: number; disk?: boolean; net?: boolean; /** Asks the CPU alone, no devices and no time. */ oneCpu?: boolean }

export const GUESTS: readonly Guest[] = [
  { name: 'hello', source: 'hello.c' },
  { name: 'exceptions', source: 'exceptions.c' },
  { name: 'debug', source: 'debug.c' },
  { name: 'paging', source: 'paging.c' },
  { name: 'paging-pae', source: 'paging.c', defines: ['PAE'] },
  { name: 'segments', source: 'segments.c', oneCpu: true },
  { name: 'gates', source: 'gates.c', oneCpu: true },
  { name: 'control', source: 'control.c', oneCpu: true },
  { name: 'faults', source: 'faults.c', oneCpu: true },
  { name: 'ring3', source: 'ring3.c' },
  { name: 'interrupts', source: 'interrupts.c' },
  { name: 'lapic', source: 'lapic.c' },
  { name: 'smp', source: 'smp.c', cpus: 2 },
  { name: 'smp4', source: 'smp.c', cpus: 4 },
  { name: 'virtio-blk', source: 'virtio-blk.c', disk: true },
  { name: 'virtio-net', source: 'virtio-net.c', net: true },
  { name: 'smc', source: 'smc.c' },
  { name: 'strings', source: 'strings.c' },
  { name: 'tasks', source: 'tasks.c' },
];
