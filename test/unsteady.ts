/**
 * A vitest reporter that names the tests that passed only when they were tried again. A second try is allowed once, because tests of the
 * parallel machine depend on a host that others may load; a test listed here often has a fault of its own.
 */
import type { Reporter, TestModule } from 'vitest/node';

export default class Unsteady implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        if (test.diagnostic()?.flaky) process.stdout.write(`unsteady: ${module.relativeModuleId} > ${test.fullName} passed only when tried again\n`);
      }
    }
  }
}
