/** The sweep in small: one operation after the other, fs and the disk driver killed at points all over its handling; each is done exactly once. */
import { describe, expect, it } from 'vitest';
import { OPERATIONS, type Operation } from '../../tools/lab/operations.ts';
import { SWEEP_VICTIMS, sweep } from '../../tools/lab/sweep.ts';

const FULL = process.env['KINTSUGI_FULL'] !== undefined;
const LIMIT = FULL ? 400 : 8;
/** Each costs two golden runs. */
const SMALL: readonly Operation[] = ['append', 'rename', 'create'];

describe.each((FULL ? OPERATIONS : SMALL).map((operation) => [operation]))('%s', (operation) => {
  it('is done exactly once wherever fs or virtio-blk dies in it', async () => {
    const report = await sweep({ victims: SWEEP_VICTIMS, operations: [operation], limit: LIMIT, workers: 2, cpus: 1, scheduleSeed: 0 });
    const how = `./kintsugi demo restart --sweep --operations ${operation} --limit ${LIMIT}`;
    expect(report.rows.flatMap(({ failures }) => failures), how).toEqual([]);
    expect(report.lost, how).toBe(0);
    for (const row of report.rows) {
      expect(row.instructions).toBeGreaterThan(500);
      expect(row.kills).toBeGreaterThan(0);
      expect(row.restarts, how).toBe(row.kills);
    }
  }, 600_000);
});
