import type { Producer } from '@lockstep/kafka';
import { topics } from '@lockstep/modules';
import { encodeHint, ownHint } from '@lockstep/notifications';
import type { WantedLooks } from '@lockstep/postgres';
import { crashPoint } from '@lockstep/telemetry';

export type HintWantedLooksDeps = { readonly looks: WantedLooks; readonly producer: Pick<Producer, 'send'>; readonly now: () => Date };

const AT_ONCE = 500;

/**
 * Makes hints of the looks that are wanted. A crash between the two repeats some hints, which costs a look and nothing else.
 * @returns true when more may be due.
 */
export async function hintWantedLooks({ looks, producer, now }: HintWantedLooksDeps): Promise<boolean> {
  await looks.resolveOvertaken();
  const due = await looks.due(AT_ONCE);
  if (due.length === 0) return false;
  await producer.send(topics.notifications, due.map(({ module, id }) => ({ key: id, value: encodeHint(ownHint(module, id, now().getTime())) })));
  crashPoint('looks-hinted');
  await looks.done(due);
  return due.length === AT_ONCE;
}
