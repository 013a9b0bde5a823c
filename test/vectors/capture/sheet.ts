/**
 * The list of cases of one group. A *form* is one instruction in one encoding and operand kind ("add r/m32, r32 mem"); each has
 * its own generator, seeded by its name, so that adding a form leaves every other form's cases as they were.
 */
import { Random, Scene } from './scene.ts';

export interface Planned { form: number; scene: Scene }

export class Sheet {
  readonly group: string;
  readonly forms: string[] = [];
  readonly cases: Planned[] = [];
  readonly #seed: number;
  readonly #repeat: number;
  constructor(group: string, seed: number, repeat: number) { this.group = group; this.#seed = seed; this.#repeat = repeat; }

  /** `count` cases of a form, times the group's repetition; `build` fills one scene, `i` counts from 0. */
  form(name: string, count: number, build: (s: Scene, i: number) => void): void {
    if (this.forms.includes(name)) throw new Error(`form listed twice: ${name}`);
    let hash = 0x811c9dc5 ^ this.#seed;
    for (const c of name) hash = Math.imul(hash ^ c.charCodeAt(0), 0x01000193);
    const r = new Random(hash), form = this.forms.push(name) - 1;
    for (let i = 0; i < count * this.#repeat; i++) {
      const scene = new Scene(r);
      build(scene, i);
      if (scene.code.length > 32) throw new Error(`${name}: snippet of ${scene.code.length} bytes`);
      this.cases.push({ form, scene });
    }
  }

  /** Drops the cases that the CPU did not end as asked (Scene.onlyTrap), here and in the results. */
  keep<T extends { trap: number }>(results: readonly T[]): T[] {
    const kept = this.cases.map(({ scene }, i) => scene.onlyTrap === null || results[i]!.trap === scene.onlyTrap);
    this.cases.splice(0, this.cases.length, ...this.cases.filter((_, i) => kept[i]));
    return results.filter((_, i) => kept[i]);
  }
}
