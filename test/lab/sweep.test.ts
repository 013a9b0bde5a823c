/** The sweep in small: one operation after the other, its servers killed at points all over its handling; each is done exactly once. */
import { mkdtempSync, readFileSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { OPERATIONS, type Operation } from '../../tools/lab/operations.ts';
import { NET_OPERATIONS, type NetOperation } from '../../tools/lab/net-operations.ts';
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

const NET_LIMIT = FULL ? 100 : 25;
const SMALL_NET: readonly NetOperation[] = ['syn', 'hole', 'fin-simultaneous', 'call-connect'];
describe.each((FULL ? NET_OPERATIONS : SMALL_NET).map((operation) => [operation]))('%s', (operation) => {
  it('costs no connection and no byte and leaves nothing behind wherever net or virtio-net dies in it', async () => {
    const report = await sweep({ victims: SWEEP_VICTIMS, operations: [operation], limit: NET_LIMIT, workers: 2, cpus: 1, scheduleSeed: 0 });
    const how = `./kintsugi demo tcp --sweep --operations ${operation} --limit ${NET_LIMIT}`;
    expect(report.rows.flatMap(({ failures }) => failures), how).toEqual([]);
    expect(report.lost, how).toBe(0);
    expect(report.rows[0]).toMatchObject({ victim: 'net', operation });
    for (const row of report.rows) {
      expect(row.instructions).toBeGreaterThan(500);
      expect(row.restarts, how).toBe(row.kills);
    }
  }, 600_000);
});

describe('a sweep', () => {
  it('has the same rows for one worker and two, and goes on where it was broken off', async () => {
    const root = mkdtempSync(path.join(tmpdir(), 'kintsugi-sweep-'));
    try {
      const options = { victims: ['fs'], operations: ['mkdir'], limit: 30, cpus: 1, scheduleSeed: 0 } as const;
      const one = await sweep({ ...options, workers: 1 }), two = await sweep({ ...options, workers: 2, root });
      expect(two.rows).toEqual(one.rows);
      expect([two.ran, two.kills]).toEqual([two.kills, one.kills]);
      // The last line of the record half written: that batch is done again, the others are not.
      const [file] = readdirSync(root), text = readFileSync(path.join(root, file!), 'utf8'), lines = text.trimEnd().split('\n');
      expect(lines.length).toBeGreaterThan(1);
      truncateSync(path.join(root, file!), text.length - 40);
      const again = await sweep({ ...options, workers: 2, root });
      expect(again.ran).toBe((JSON.parse(lines.at(-1)!) as unknown[]).length);
      expect(again.rows).toEqual(one.rows);
    } finally { rmSync(root, { recursive: true, force: true }); }
  }, 300_000);
});
