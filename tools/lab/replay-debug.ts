/**
 * A row opened in a debugger: the workload walked to the injected instruction, the fault placed, and gdb there, with the run up to it as history.
 *
 * Models that change state (registers, memory, code) are in the history itself: going back before the fault and forwards again meets it again. Those that sit in
 * the way of messages or disk transfers stay there as long as the machine lives.
 */
import { KintsugiAwareness } from '../gdb/awareness.ts';
import { MachineTarget } from '../gdb/machine-target.ts';
import { prepareCampaign, CampaignError } from './campaign.ts';
import { MODELS } from './models/index.ts';
import { openRow } from './replay.ts';
import type { Row } from './store.ts';
import { Subject } from './subject.ts';
import { BEGIN } from './workload.ts';

export interface DebuggedRow { readonly row: Row; readonly target: MachineTarget; readonly subject: Subject; /** Instruction count (of the whole run) of the fault. */ readonly at: number }

export function debugRow(id: string, options: { readonly root?: string; readonly log?: (line: string) => void } = {}): DebuggedRow {
  const { store, row } = openRow(id, options.root);
  const { spec } = store, images = store.get('images');
  store.close();
  const prepared = prepareCampaign(spec, options.log);
  if (prepared.images !== images) throw new CampaignError(`the images have changed since campaign ${store.id}: this row can be debugged only on the build that it came from`);
  const { fault, model: name } = prepared.plan.points[row.index]!, model = MODELS.get(name);
  if (!fault || !model) throw new CampaignError(`row ${row.id} broke nothing: there is no instruction to stop at`);
  const subject = new Subject(prepared.golden.subject);
  subject.boot(BEGIN);
  if (subject.machine.hash() !== prepared.golden.startHash) throw new CampaignError('this machine is not in the state of the golden run at the beginning of the workload');
  const target = new MachineTarget(subject.machine, (debug) => new KintsugiAwareness(debug.port)), at = subject.start + fault.offset;
  if (!target.debug.seek(at)) throw new CampaignError(`the golden run does not come to instruction ${at}`);
  target.debug.timeline.pin();
  if (model.place(subject, fault) === false) throw new CampaignError(`row ${row.id}: nothing was there to break`);
  target.changed();
  target.current = fault.cpu + 1;
  return { row, target, subject, at };
}
