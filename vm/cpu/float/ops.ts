/** Numbers of the floating-point operations that generated code hands to vm/cpu/float/unit.ts. */
export const FLOAT_OPS = [
  'add', 'sub', 'mul', 'div', 'min', 'max', 'sqrt', 'cmp', 'ucomi', 'comi',
  'cvtsi2sd', 'cvtsi2ss', 'cvttsd2si', 'cvttss2si', 'cvtsd2si', 'cvtss2si', 'cvtsd2ss', 'cvtss2sd',
  'cvtpd2ps', 'cvtps2pd', 'cvtdq2ps', 'cvttps2dq', 'cvtps2dq', 'cvtdq2pd', 'cvttpd2dq', 'cvtpd2dq',
  'cvtpi2ps', 'cvtpi2pd', 'cvtps2pi', 'cvttps2pi', 'cvtpd2pi', 'cvttpd2pi', 'hadd', 'hsub', 'addsub', 'rcp', 'rsqrt',
] as const;
export type FloatOp = (typeof FLOAT_OPS)[number];
export const floatOpNumber = (op: FloatOp): number => FLOAT_OPS.indexOf(op);
/** Lane shapes. */
export const SHAPES = ['ss', 'sd', 'ps', 'pd'] as const;
export type Shape = (typeof SHAPES)[number];
