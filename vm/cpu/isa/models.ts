/**
 * CPU models: which instructions and features a vCPU has. CPUID announces them, the decoder makes #UD of the others, control registers and MSRs
 * refuse what belongs to them. A model is chosen for the whole machine, by number in the board's header.
 *
 * `i686` is what that name promises a compiler: a Pentium Pro (family 6, model 1). `pentium2` adds MMX, FXSAVE, SYSENTER and PAT (model 5).
 * `max` is all there is.
 */
import type { Entry } from './entries.ts';

export const FEATURES = ['base', 'mmx', 'fxsr', 'sep', 'pat', 'sse', 'sse2', 'sse3', 'popcnt', 'clflush', 'clwb', 'rdrand', 'nx', 'smep', 'smap', 'umip', 'pmu'] as const;
export type Feature = (typeof FEATURES)[number];
export const CPU_MODELS = ['max', 'pentium2', 'i686'] as const;
export type CpuModel = (typeof CPU_MODELS)[number];

export interface Model {
  readonly name: CpuModel;
  readonly features: ReadonlySet<Feature>;
  /** EAX of CPUID leaf 1: family, model, stepping. */
  readonly signature: number;
  /** Highest basic leaf; extended leaves exist or not. */
  readonly leaves: number;
  readonly extended: boolean;
  readonly brand: string;
}

const PENTIUM2: readonly Feature[] = ['base', 'mmx', 'fxsr', 'sep', 'pat'];
/** In the order of CPU_MODELS. */
export const MODELS: readonly Model[] = [
  { name: 'max', features: new Set(FEATURES), signature: 0x6d1, leaves: 10, extended: true, brand: 'Kintsugi virtual i686 processor' },
  { name: 'pentium2', features: new Set(PENTIUM2), signature: 0x652, leaves: 2, extended: false, brand: '' },
  { name: 'i686', features: new Set<Feature>(['base']), signature: 0x619, leaves: 2, extended: false, brand: '' },
];
export const modelNumber = (name: CpuModel): number => CPU_MODELS.indexOf(name);

const list = (text: string): ReadonlySet<string> => new Set(text.split(' '));
const BY_NAME: readonly (readonly [Feature, ReadonlySet<string>])[] = [
  ['fxsr', list('fxsave fxrstor')], ['sep', list('sysenter sysexit')], ['popcnt', list('popcnt')], ['clflush', list('clflush')], ['clwb', list('clwb')],
  ['rdrand', list('rdrand')], ['smap', list('clac stac')],
  ['sse', list('ldmxcsr stmxcsr sfence maskmovq movntq cvtpi2ps cvttps2pi cvtps2pi pshufw_mm pinsrw_mm pextrw_mm pmovmskb_mm pminub_mm pmaxub_mm pavgb_mm pavgw_mm pmulhuw_mm pminsw_mm pmaxsw_mm psadbw_mm')],
  ['sse2', list('lfence mfence maskmovdqu cvtpi2pd cvttpd2pi cvtpd2pi movdq2q movq2dq paddq_mm psubq_mm pmuludq_mm')],
  ['sse3', list('movddup movsldup movshdup haddps haddpd hsubps hsubpd addsubps addsubpd fisttp')],
];
/** Rows whose mnemonic does not tell. */
const BY_OPCODE: Readonly<Record<string, Feature>> = { '0FC3': 'sse2', F20FF0: 'sse3', '0F5A': 'sse2', '0F5B': 'sse2', F30F5A: 'sse2', F30F5B: 'sse2', F30F6F: 'sse2', F30F7F: 'sse2', F30F7E: 'sse2', F30FE6: 'sse2' };

/** The feature a row of the table needs. */
export function featureOf({ name, opcode, sse, mmx }: Pick<Entry, 'name' | 'opcode' | 'sse' | 'mmx'>): Feature {
  const known = BY_OPCODE[opcode] ?? BY_NAME.find(([, names]) => names.has(name))?.[0];
  if (known) return known;
  if (mmx) return 'mmx';
  if (!sse) return 'base';
  return opcode.startsWith('66') || opcode.startsWith('F2') ? 'sse2' : 'sse';
}
