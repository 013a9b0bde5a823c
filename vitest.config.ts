import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['test/**/*.test.ts'], setupFiles: ['test/setup.ts'], pool: 'forks', maxWorkers: 2, retry: 1, testTimeout: 120_000, hookTimeout: 120_000 },
});
