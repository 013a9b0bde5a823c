/** `./kintsugi bench vm|ipc|fs`: each benchmark is a room in tools/bench; this finds it and shows its table or JSON. */
import { EXIT, UserError } from './errors.ts';

export interface BenchOptions { readonly json: boolean; readonly runs: number }

export async function bench(what: string, options: BenchOptions): Promise<number> {
  const progress = (text: string): void => { process.stderr.write(`${text}\n`); };
  if (what === 'vm') {
    const { benchVm, formatBenchVm } = await import('../bench/vm.ts');
    const result = await benchVm({ runs: options.runs, progress });
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatBenchVm(result)}\n`);
    return result.problems.some((problem) => problem.includes('checksums differ')) ? EXIT.failure : EXIT.ok;
  }
  if (what === 'fs') {
    const { benchFs, formatBenchFs } = await import('../bench/fs.ts');
    const result = await benchFs({ runs: options.runs, place: 'follow', progress });
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatBenchFs(result)}\n`);
    return EXIT.ok;
  }
  if (what === 'ipc') {
    const { benchIpc, formatBenchIpc } = await import('../bench/ipc.ts');
    const result = await benchIpc({ runs: options.runs, progress });
    process.stdout.write(options.json ? `${JSON.stringify(result)}\n` : `${formatBenchIpc(result)}\n`);
    return EXIT.ok;
  }
  throw new UserError(`there is no benchmark "${what}"; there are: vm, ipc, fs`, EXIT.usage);
}
