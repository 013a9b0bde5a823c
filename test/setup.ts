/**
 * Every test file: random properties run from one seed, so that a run is repeatable. `KINTSUGI_SEED=n ./kintsugi test` tries another;
 * a failing property prints its seed and path.
 */
import fc from 'fast-check';

fc.configureGlobal({ seed: Number(process.env['KINTSUGI_SEED'] ?? 1) });
